"""The same answers by our program and by one of transformers, measured in turns."""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from electra_jax.bench import records
from electra_jax.config import shapes
from electra_jax.config.recipe import recipe
from electra_jax.core import files
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError
from electra_jax.finetune import batches
from electra_jax.finetune import predict as predictors
from electra_jax.finetune import split as splits
from electra_jax.finetune.answers import put
from electra_jax.finetune.files import predict_input
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.predict import Predictor
from electra_jax.finetune.split import Loaded
from electra_jax.init_from import checked_start
from electra_jax.model import decoder as decoders
from electra_jax.runtime import compiled, terminal
from electra_jax.train import parameters

Batch = dict[str, np.ndarray]
_NO_TOKEN = -1


class Seconds(NamedTuple):
    """What a turn took."""

    wall: float
    processor: float  # of all threads; what others do on the machine bears less on it


class Measured(NamedTuple):
    """What was measured of each program."""

    first: dict[str, Seconds]  # of the turn in which programs are compiled
    turns: dict[str, list[Seconds]]  # of those after it
    rows: int  # of a turn


class Request(NamedTuple):
    """What is measured."""

    checkpoint: str  # a workdir of a task with texts as answers
    texts: pathlib.Path  # a file of texts
    batch_size: int
    tokens: int  # of each answer
    turns: int  # of each program
    method: str | None  # of the search; None: as the task has it


def run(request: Request, folder: pathlib.Path) -> None:
    """Measures, prints both speeds, and writes the record into a folder."""
    predictor = _open(request)
    todo = _batches(predictor, request.texts)
    programs = {'electra_jax': _ours(predictor), 'transformers': _peer(predictor, request.tokens)}
    seconds: dict[str, list[Seconds]] = {who: [] for who in programs}
    first = {who: _turn(write, todo) for who, write in programs.items()}  # compiles
    for _ in range(request.turns):
        for who, write in programs.items():
            seconds[who].append(_turn(write, todo))
            terminal.OUT.print(f'{who}: {seconds[who][-1].processor:.1f} s of processor time')
    rows = int(sum(np.sum(batch['weight'] > 0) for batch in todo))
    terminal.OUT.print(_finish(predictor, request, Measured(first, seconds, rows), folder))


def _open(request: Request) -> Predictor:
    """The model, whose answers have at most so many tokens."""
    compiled.keep()
    folder = predictors.best_folder(files.absolute(pathlib.Path(request.checkpoint)))
    settings = recipe({'job': 'evaluate', 'batch_size': request.batch_size})
    params, about = parameters.read_params(folder)
    task = about.get('task') or {}
    if task.get('kind') != 'seq2seq':
        raise ConfigError(
            f'--checkpoint is {request.checkpoint}, whose task is {task.get("name")}: one that '
            'writes texts is needed, such as translation'
        )
    task = {**task, 'decoder': {**task['decoder'], 'target_length': request.tokens}}
    if request.method is not None:
        task['decoding'] = {**task['decoding'], 'method': request.method}
    start = checked_start(settings, str(folder), params, {**about, 'task': task})
    return predictors.open_predictor(start, settings)


def _batches(predictor: Predictor, path: pathlib.Path) -> list[Batch]:
    """The texts of a file, those of similar length together; no token ends their answers."""
    task, bad = predictor.task, Complaints('data.on_bad_row', 'error')
    form = 'lines' if path.suffix in ('', '.txt', f'.{task.usual_columns.source}') else None
    examples = list(
        predict_input.read(task, path, form or predict_input.format_of(path), Columns(), bad)
    )
    split = splits.make_split(
        predictor.config, predictor.tokenizer, Loaded(examples, task, bad, '')
    )
    size = predictor.config.batch_size
    todo = batches.in_order(split.rows.lengths(), split.sizes, size)
    end = np.full(size, _NO_TOKEN, np.int32)
    return [{**split.host_batch(batch, size), 'end': end} for batch in todo]


def _turn(write: Callable[[Batch], object], todo: list[Batch]) -> Seconds:
    wall, processor = time.perf_counter(), time.process_time()
    for batch in todo:
        write(batch)
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def _ours(predictor: Predictor) -> Callable[[Batch], object]:
    answerer = predictor.answerer

    def write(batch: Batch) -> object:
        batch_of_devices = put(answerer.mesh, batch)
        return jax.device_get(answerer.answers(predictor.params, batch_of_devices))

    return write


def _peer(predictor: Predictor, size: int) -> Callable[[Batch], object]:
    """An encoder-decoder of transformers of the same size, with random weights."""
    import torch
    import transformers

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    task, special = predictor.task, predictor.tokenizer.special
    usual = {
        'pad_token_id': special.pad, 'bos_token_id': special.cls, 'eos_token_id': special.sep,
    }  # fmt: skip
    encoder, decoder = (
        transformers.BertGenerationConfig(**one, **usual) for one in sizes_of(predictor)
    )
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    model = transformers.EncoderDecoderModel(config).eval()
    how = task.decoding
    search: dict[str, Any] = {
        'num_beams': how.beams if how.method == 'beam' else 1,
        'do_sample': how.method == 'nucleus',
        'no_repeat_ngram_size': how.no_repeat,
    }
    if how.method == 'beam':
        search |= {'length_penalty': how.length_penalty, 'early_stopping': how.early_stop}

    def write(batch: Batch) -> object:
        real = batch['weight'] > 0
        longest = int(np.max(np.sum(batch['documents'], axis=1)))
        tokens, mask = (
            torch.from_numpy(np.int64(batch[one][real, :longest]))
            for one in ('tokens', 'documents')
        )
        with torch.inference_mode():
            return model.generate(
                tokens, attention_mask=mask, min_new_tokens=size, max_new_tokens=size,
                decoder_start_token_id=special.cls, **usual, **search,
            )  # fmt: skip

    return write


def sizes_of(predictor: Predictor) -> tuple[dict[str, Any], dict[str, Any]]:
    """The encoder and the decoder as arguments of transformers' configurations."""
    model, task = predictor.config.model, predictor.task
    shape = KINDS[task.kind].head(task).decoder
    assert shape is not None
    decoder = decoders.shape_of(model, shape)
    common = {
        'vocab_size': predictor.tokenizer.vocab_size,
        'max_position_embeddings': max(task.row_length, task.decoder.target_length) + 1,
    }
    encoder_sizes, decoder_sizes = (
        {
            'hidden_size': one.hidden_size,
            'num_hidden_layers': one.num_layers,
            'num_attention_heads': one.num_heads,
            'intermediate_size': one.ffn_size,
            **common,
        }
        for one in (shapes.discriminator_shape(model), decoder)
    )
    return encoder_sizes, {**decoder_sizes, 'is_decoder': True, 'add_cross_attention': True}


def _finish(
    predictor: Predictor, request: Request, measured: Measured, folder: pathlib.Path
) -> str:
    """Writes the record, and returns it in words."""
    rows = measured.rows
    best = {
        who: Seconds(*(min(values) for values in zip(*turns, strict=True)))
        for who, turns in measured.turns.items()
    }
    ours, peer = best['electra_jax'], best['transformers']
    ratio = Seconds(peer.wall / ours.wall, peer.processor / ours.processor)
    encoder, decoder = sizes_of(predictor)
    seconds = {who: [turn._asdict() for turn in turns] for who, turns in measured.turns.items()}
    record = records.make(
        'decoding', predictor.config,
        {'name': 'transformers', 'config': {'encoder': encoder, 'decoder': decoder}},
        {'turns': request.turns, 'rows': rows, 'tokens': request.tokens},
        {
            'decoding': vars(predictor.task.decoding),
            'first_seconds': {who: turn._asdict() for who, turn in measured.first.items()},
            'seconds': seconds,
            'ratio': ratio._asdict(),
        },
    )  # fmt: skip
    path = records.write(folder, record)
    lines = [
        f'{who}: {rows / turn.processor:,.0f} texts in a second of processor time, '
        f'{rows / turn.wall:,.0f} in one by the clock; {measured.first[who].processor:.1f} s of '
        'processor time in the first turn, which compiles'
        for who, turn in best.items()
    ]
    lines.append(f'ratio: {ratio.processor:.2f} by processor time, {ratio.wall:.2f} by the clock')
    return '\n'.join([*lines, f'record: {path}'])
