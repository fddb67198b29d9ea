"""What messages tell a person to type is typed, and ends well."""

import bz2
import contextlib
import dataclasses
import functools
import gzip
import io
import json
import lzma
import math
import os
import pathlib
import random
import re
import shutil
import sqlite3
import subprocess
import tempfile
import types
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import process
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
import zstandard
from etils import epath
from PIL import Image

from electra_jax import init_from, prepare
from electra_jax.aot import report as aot_report
from electra_jax.config import checks as config_checks
from electra_jax.config import fields, mixture, recipe, resolve
from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config, TokenizerConfig
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import UserError
from electra_jax.corpus import job as corpus
from electra_jax.corpus import prepared, web, workers
from electra_jax.data import manifest
from electra_jax.finetune import job as finetuning
from electra_jax.finetune import known, run
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as tasks
from electra_jax.finetune.files import lines, predict_input
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.images import IMAGE_CLASSIFICATION
from electra_jax.interop import convert, projects
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.interop.tokenizer import write_tokenizer
from electra_jax.model.bind import bind
from electra_jax.pretrain import length
from electra_jax.pretrain import report as pretraining
from electra_jax.pretrain import text as texts
from electra_jax.pretrain import words as words_read
from electra_jax.tokenizers import load
from electra_jax.tokenizers.sentencepiece import SentencePiece
from electra_jax.train import checkpoint, parameters
from tests.support import advice, fakes, loading
from tests.support.configs import TWO_STAGE_MODEL, VOCABULARY, merged, tiny_config
from tests.support.corpora import WORDS

Act = Callable[[pathlib.Path, list[str]], str | None]


class Case(NamedTuple):
    """What a person did, whose message has advice; all of it is followed, one after another."""

    act: Act  # in a folder, with words typed: raises a UserError, or returns its messages
    files: Mapping[str, str | bytes | Callable[[], bytes]] = {}
    blanks: Mapping[str, str] = {}  # what is filled in for names and numbers in the advice
    words: tuple[str, ...] = ()  # typed at first
    hand: Mapping[str, str] = {}  # files that a person gives other names
    more: tuple[str, ...] = ()  # typed with the advice, where it does not name all that is needed
    other: tuple[str, ...] = ('?',)  # beginnings of advice that is for another situation
    joined: bool = False  # whether a command and what it made, as a setting, belong together


# ---------------------------------------------------------------------------------------------
# What a person does


def checks(**changes: Any) -> Act:
    """Settings are checked, as before anything else."""

    def act(folder: pathlib.Path, words: list[str]) -> None:
        settings = advice.type_settings(folder, changes, words)
        if not resolve.inherits_model(settings):
            resolve.resolve(settings, 'gpu' if settings.model.attention == 'triton' else 'cpu')

    return act


def reads(name: str, **changes: Any) -> Act:
    """A task's files are read: those to train on, those that are scored, and a test file."""

    def act(folder: pathlib.Path, words: list[str]) -> str:
        asked = {'job': 'finetune', 'task': {'name': name}, 'data': {'path': str(folder)}}
        settings = advice.type_settings(folder, merged(asked, changes), words)
        length = known.get(settings.task.name).row_length
        config = resolve.resolve(settings, 'cpu', row_length=length)
        loaded, held_out = splits.read_train(config)
        read = [loaded, *splits.read_scored(config, loaded.task, held_out).values()]
        read += splits.read_tests(config, loaded.task).values()
        return '\n'.join(line for one in read for line in one.complaints.lines())

    return act


def builds(**data: Any) -> Act:
    """A corpus is built of what is in the folder, with a small vocabulary."""

    def act(folder: pathlib.Path, words: list[str]) -> str:
        asked = {
            'path': str(folder / 'corpus'), 'source': f'text:{folder}/*.txt', 'row_length': 16,
            'layout': 'packed', 'workers': 1, 'tokenizer': {'vocab_size': 100}, 'holdout': 0.2,
        }  # fmt: skip
        settings = advice.type_settings(folder, {'data': merged(asked, data)}, words)
        with pytest.MonkeyPatch.context() as patch:
            lines: list[str] = []
            patch.setattr(corpus.terminal.ERR, 'print', lambda line: lines.append(str(line)))
            corpus.build_corpus(resolve.resolve(settings, 'cpu').data)
        return '\n'.join(lines)

    return act


def warns_of_spaces(folder: pathlib.Path, words: list[str]) -> str:
    """A corpus is built, and its words may be as long as those of text without spaces."""
    builds(source='text:SELF/x.txt', tokenizer={'vocab_size': 30})(folder, words)
    built = max(folder.glob('*/corpus.json'), key=lambda path: path.stat().st_mtime_ns).parent
    return '\n'.join(manifest._unspaced(manifest.described(built)))


def warns_of_few_documents(folder: pathlib.Path, words: list[str]) -> str:
    """A corpus is built of lines without a blank one between them."""
    builds()(folder, words)
    built = max(folder.glob('*/corpus.json'), key=lambda path: path.stat().st_mtime_ns).parent
    return '\n'.join(manifest.warnings(manifest.described(built)))


def has_other_images(folder: pathlib.Path, words: list[str]) -> None:
    """A model of images of 8 pixels is to be trained on a corpus of larger ones."""
    builds(source=f'images:{folder}/index.jsonl', layout='segments', image_size=16)(folder, [])
    settings = advice.type_settings(folder, {'model': {'image_size': 8}}, words)
    settings.data.row_length = 16
    built = manifest.load_corpus(folder / 'corpus')
    manifest.check_corpus(built, resolve.resolve(settings, 'cpu').data)


def reads_no_images(folder: pathlib.Path, words: list[str]) -> None:
    """Rows with images are made for a model."""
    asked = {'job': 'finetune', 'task': {'name': 'image_text'}}
    settings = advice.type_settings(folder, asked, words)
    task = tasks.from_config(resolve.resolve(settings, 'cpu'))
    IMAGE_CLASSIFICATION.features(fakes.tokenizer(), [], task)


def warms_up(**changes: Any) -> Act:
    """A run starts, whose learning rate may rise for most of it."""

    def act(folder: pathlib.Path, words: list[str]) -> str:
        return '\n'.join(
            pretraining.long_warmup(
                resolve.resolve(advice.type_settings(folder, changes, words), 'cpu')
            )
        )

    return act


def reads_too_often(**changes: Any) -> Act:
    """A run is asked for that reads its corpus of 30 rows or so many times."""

    def act(folder: pathlib.Path, typed: list[str]) -> None:
        data = {'path': str(folder / 'corpus'), 'row_length': 16, 'layout': 'packed'}
        asked = {'data': data, 'batch_size': 4, 'max_exposures': 3.0}
        if not (folder / 'corpus').exists():
            builds()(folder, [])
        settings = advice.type_settings(folder, merged(asked, changes), typed)
        full, workdir = resolve.fill(settings), epath.Path(folder / 'run')
        words_read.check_settings(full, workdir, ('words',))
        reading = words_read.of_settings(full)
        config = resolve.resolve(settings, 'cpu')
        config = length.of_operations(config, VOCABULARY, workdir)
        words_read.check(words_read.of_words(config, reading, workdir), reading, workdir)

    return act


def in_steps(**changes: Any) -> Act:
    """Fine-tuning is asked for, with a length in steps, and then as the message has it."""

    def act(folder: pathlib.Path, words: list[str]) -> None:
        asked = {'job': 'finetune', 'task': {'name': 'sst2'}, **({} if words else changes)}
        run.refuse_steps(advice.type_settings(folder, asked, words))

    return act


def of_few_rows(**changes: Any) -> Act:
    """Fine-tuning on texts that belong together is asked for, in small batches."""

    def act(folder: pathlib.Path, words: list[str]) -> None:
        asked = {'job': 'finetune', 'task': {'name': 'retrieval'}, **changes}
        run._check_rows(resolve.fill(advice.type_settings(folder, asked, words)))

    return act


def writes_for_transformers(folder: pathlib.Path, words: list[str]) -> None:
    """A tokenizer of the typed settings is trained, and written for transformers."""
    changes = {'data': {'tokenizer': {'kind': 'characters', 'vocab_size': 40}}}
    config = resolve.resolve(advice.type_settings(folder, changes, words), 'cpu').data.tokenizer
    tokenizer = load.train_tokenizer(TEXT.split('\n'), config)
    write_tokenizer(tokenizer, folder, 128)


@functools.cache
def model() -> bytes:
    """A small SentencePiece model."""
    config = TokenizerConfig(kind='unigram', vocab_size=40)
    return SentencePiece.train(TEXT.split('\n'), config).model


def opens(typed: Sequence[str] = (), **changes: Any) -> Act:
    """A corpus is opened to train on it; one that is missing is built. `typed` are settings."""

    def act(folder: pathlib.Path, words: list[str]) -> str:
        shutil.copytree(small_corpus(), folder / 'corpus')
        data = {
            'path': str(folder / 'corpus'), 'row_length': 16, 'layout': 'packed', 'workers': 1,
            'tokenizer': {'vocab_size': 100}, 'holdout': 0.2,
        }  # fmt: skip
        settings = advice.type_settings(folder, merged({'data': data}, changes), words)
        lines: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(texts.terminal.OUT, 'print', lambda line: lines.append(str(line)))
            patch.setattr(corpus.terminal.ERR, 'print', lambda line: None)
            patch.setattr(manifest, '_QUICK_SECONDS', -1.0)  # of a corpus that takes longer
            patch.setattr(manifest, '_QUICK_BYTES', 0)
            texts.open_text(resolve.resolve(settings, 'cpu'), corpus.build_corpus, typed)
        return '\n'.join(lines)

    return act


@functools.cache
def small_corpus() -> pathlib.Path:
    """A folder with a small corpus."""
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / 'a.txt').write_text(TEXT)
    builds()(folder, [])
    return folder / 'corpus'


def has_positions(folder: pathlib.Path, words: list[str]) -> None:
    """Rows are compared with the positions of the model, and these with a checkpoint's."""
    asked = {'model': {'max_positions': 64}, 'data': {'row_length': 80}}
    settings = advice.type_settings(folder, asked, words)
    config_checks.check_positions(resolve.resolve(settings, 'cpu'))


def has_fewer_positions(folder: pathlib.Path, words: list[str]) -> None:
    """A model has fewer positions than the checkpoint that it starts from."""
    settings = advice.type_settings(folder, {'model': {'max_positions': 64}}, words)
    most = settings.model.max_positions
    init_from.initialize(
        {'embeddings': {'position': np.zeros((80, 4))}},
        lambda: {'embeddings': {'position': np.zeros((most, 4))}},
    )


def goes_on_in_two_stages(folder: pathlib.Path, words: list[str]) -> str | None:
    """A trained discriminator is continued by a recipe that starts it from the generator."""
    model = {'size': 'tiny', **TWO_STAGE_MODEL, 'embedding_size': 16}
    asked = {'objective': {'name': 'two_stage', 'generator_share': 0.5}, 'model': model}
    config = resolve.resolve(advice.type_settings(folder, asked, words), 'cpu')
    account = init_from.Account(['discriminator/kernel'], [], [], {})
    about = {'config': {'objective': {'name': 'electra'}}}
    return init_from.lost_discriminator(config, about, account)


def starts(**changes: Any) -> Act:
    """A task starts from a checkpoint, or from scratch."""

    def act(folder: pathlib.Path, words: list[str]) -> None:
        (folder / 'vocab').write_text(VOCAB)
        if words and '--config.init_from' in words[0]:
            shutil.copytree(trained(), folder / 'model')
        asked = {'job': 'finetune', 'task': {'name': 'sst2'}}
        init_from.load_start(advice.type_settings(folder, merged(asked, changes), words))

    return act


@functools.cache
def trained() -> pathlib.Path:
    """A folder with the checkpoint of a model."""
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / 'vocab').write_text(VOCAB)
    tokenizer = load.open_tokenizer(
        resolve.resolve(
            advice.type_settings(folder, {'data': {'tokenizer': {'path': 'SELF/vocab'}}}, []), 'cpu'
        ).data.tokenizer
    )
    config = tiny_config(model={'norm': 'post'})
    init = functools.partial(
        bind(config.model, tokenizer.vocab_size).init, jax.random.key(0), ('encoder',)
    )
    about = {'config': dataclasses.asdict(config), 'tokenizer': tokenizer.to_json()}
    parameters.write_params(epath.Path(folder / 'model'), jax.device_get(jax.jit(init)()), about)
    return folder / 'model'


def starts_from(folder: str, act: Callable[[epath.Path, Settings], object]) -> Act:
    """A folder is used that is no fine-tuned model; advice names what to fine-tune or train."""

    def tries(where: pathlib.Path, words: list[str]) -> None:
        shutil.copytree(trained(), where / folder)
        base = {'job': 'finetune', 'task': {'name': 'sst2'}}
        settings = advice.type_settings(where, base, words)
        if words:
            init_from.load_start(settings)
        else:
            act(epath.Path(where) / folder, settings)

    return tries


def from_trials(folder: epath.Path, settings: Settings) -> None:
    init_from.read_checkpoint(settings, str(folder.parent.parent))


def evaluated(folder: epath.Path, settings: Settings) -> None:
    finetuning.evaluate(settings, folder)


def continued(folder: epath.Path, settings: Settings) -> None:
    reports: list[str] = []
    saved = checkpoint.Checkpoints(
        folder / parameters.FOLDER, settings.checkpoint, reports.append, read_only=True
    )
    saved.check_state(0)


def without_vocabulary(folder: pathlib.Path, words: list[str]) -> None:
    """A task starts from a model of another project, whose folder has no vocabulary."""
    params, about = parameters.read_params(epath.Path(trained()))
    stored, tokenizer = init_from.recorded(about, 'model')
    found = Checkpoint(params, resolve.stored_model(stored), tokenizer)
    projects.WRITERS['huggingface'](folder / 'theirs', found)
    for path in folder.glob('theirs/**/*'):
        if path.name.startswith(('vocab', 'tokenizer')):
            path.unlink()
    starts(init_from='huggingface:SELF/theirs')(folder, words)


def loses_a_worker(folder: pathlib.Path, words: list[str]) -> str | None:
    """A process that builds a corpus is killed."""

    def killed(*arguments: Any) -> Any:
        raise process.BrokenProcessPool

    with pytest.MonkeyPatch.context() as patch:
        if not words:
            patch.setattr(workers, '_keep_busy', killed)
        builds(workers=2)(folder, words)


def has_no_network(folder: pathlib.Path, words: list[str]) -> None:
    """A data set is named, which neither this machine nor the network has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TFDS_DATA_DIR', str(folder / 'nothing'))
        patch.setenv(prepared.BUCKET_VARIABLE, 'http://127.0.0.1:9')  # nobody answers there
        patch.setattr(web, 'FIRST_WAITS', ())
        builds(source='tfds:wikipedia/20230601.en:train')(folder, words)


def prepares(folder: pathlib.Path, words: list[str]) -> str:
    """A corpus is built by the command, which names the one that trains on it."""
    data = {
        'path': str(folder / 'corpus'), 'source': f'text:{folder}/*.txt', 'row_length': 16,
        'layout': 'packed', 'workers': 1, 'tokenizer': {'vocab_size': 100},
    }  # fmt: skip
    if not words:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            prepare.main(recipe.recipe({'data': data}))
        return out.getvalue()
    builds()(folder, [])
    settings = advice.type_settings(folder, {}, words)
    texts.open_text(resolve.resolve(settings, 'cpu'), corpus.build_corpus)
    return ''


def suggests_less_memory(folder: pathlib.Path, words: list[str]) -> str:
    """A step did not fit; what is suggested is a possible configuration of as many chips."""
    mesh = {'data': 4, 'fsdp': 2}
    settings = advice.type_settings(folder, {'batch_size': 64, 'mesh': mesh}, words)
    config = resolve.resolve(settings, 'tpu')
    sizes = dataclasses.asdict(config.mesh)
    if math.prod(sizes.values()) != 8:
        raise UserError(f'{sizes} are not 8 chips')
    program = types.SimpleNamespace(config=config, mesh=types.SimpleNamespace(shape=sizes))
    return '' if words else ' or '.join(aot_report.to_try(program))


def continues_a_converted_model(folder: pathlib.Path, words: list[str]) -> str:
    """A converted model is trained on; the command names its sizes."""
    model = fakes.model()
    found = types.SimpleNamespace(model=model, objective='electra', task=None)
    settings = advice.type_settings(folder, {}, words)
    ours = resolve.resolve(settings, 'cpu').model
    if words and resolve.other_block(ours, dataclasses.asdict(model)):
        raise UserError(f'{ours} is not {model}')
    sizes = ('hidden_size', 'num_layers', 'ffn_size', 'max_positions', 'generator_width')
    if words and any(getattr(ours, name) != getattr(model, name) for name in sizes):
        raise UserError(f'{ours} is not {model}')
    return '' if words else convert._next_command(convert.OURS, folder / 'model', found)


def names_no_recipe(folder: pathlib.Path, words: list[str]) -> None:
    """A recipe that does not exist is named."""
    advice.type_settings(folder, {'job': 'finetune'} if words else {}, words)
    if not words:
        recipe.find(folder / 'absent.py')


def mixes(folder: pathlib.Path, words: list[str]) -> None:
    """Several corpora are named, only one with a weight."""
    settings = advice.type_settings(folder, {'data': {'path': 'a=0.5,b'}}, words)
    mixture.parse_paths(settings.data.path)


def without(closed: str, act: Act) -> Act:
    """The same, where a folder cannot be read."""
    scandir = os.scandir

    def guarded(path: Any) -> Any:
        if pathlib.Path(path).name == closed:
            raise PermissionError(13, 'Permission denied', str(path))
        return scandir(path)

    def closed_act(folder: pathlib.Path, words: list[str]) -> str | None:
        (folder / closed).mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, 'scandir', guarded)
            return act(folder, words)

    return closed_act


def predicts(name: str, **settings: Any) -> Act:
    """New text is read for a trained model."""

    def act(folder: pathlib.Path, words: list[str]) -> str:
        typed = dict(word.removeprefix('--').split('=', 1) for word in words)
        path = next(folder.glob('input*'))
        task = loading.task_of(name, loading.Known(('no', 'yes')), **settings)
        columns = predict_input.parse_columns(typed.get('columns'))
        form = typed.get('format') or predict_input.format_of(path)
        if 'format' not in typed and form == 'lines':
            predict_input.check_lines(task, path, columns)
        complaints = Complaints('data.on_bad_row', 'error')
        predict_input.read(task, path, form, columns, complaints)
        return '\n'.join(complaints.lines())

    return act


def listens(folder: pathlib.Path, words: list[str]) -> None:
    """A line comes to a model that answers each alone."""
    typed = dict(word.removeprefix('--').split('=', 1) for word in words)
    task = loading.task_of('text', loading.Known(('no', 'yes')))
    line = predict_input.Line('row 0', 0, (folder / 'input').read_text())
    complaints = Complaints('data.on_bad_row', 'error')
    with lines.Refusing(complaints, line.where):
        form = typed.get('format', 'auto')
        predict_input.from_line(task, line, form, Columns(), complaints)


COLUMNS = '--config.task.columns.'
TEXT = '\n\n'.join(' '.join(WORDS[i:] + WORDS[:i]) for i in range(16)) + '\n'
NUMBERED = '1 a DET\n1 b NOUN\n2 c DET\n2 d NOUN\n'
VOCAB = '\n'.join(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *WORDS]) + '\n'
SEED = 0
TINY_TEXTS = pathlib.Path(__file__).parent / 'corpus/tiny_texts/en/1.0.0'
TABLE = 'text,label\ngood film,yes\nbad film,no\nso so,no\n'
MANY = TABLE + ''.join(f'film {i},yes\n' for i in range(40))
HALF = b'\xff\xfe' + TABLE.encode('utf-16-le').replace(b's\0o\0 \0', b's\0\0\xd8 \0')
LATIN = TABLE.replace('so so', 'café').encode('latin-1')
JSON = [{'text': text} for text in TEXT.split('\n\n')]
IMAGES: dict[str, str | Callable[[], bytes]] = {
    'index.jsonl': ''.join(json.dumps({**row, 'image': 'a.png'}) + '\n' for row in JSON),
    'a.png': lambda: png(),
}
LABELS = '{"text": "film", "label": ["a"]}\n{"text": "so", "label": ["b"]}\n'
TAGS = 'anna B-PER\nsaw O\nrome B-LOC\n\nbob B-PER\nran O\n'
QUESTION = {'id': 'q', 'question': 'who ?', 'answers': [{'text': 'anna', 'answer_start': 0}]}


def png() -> bytes:
    """A small image."""
    file = io.BytesIO()
    Image.new('RGB', (8, 8), 'red').save(file, 'PNG')
    return file.getvalue()


def packed_by_compress(text: bytes) -> bytes:
    """A file of `compress`, whose codes are the bytes themselves; of at most 255 bytes."""
    bits = sum(byte << (9 * number) for number, byte in enumerate(text[:255]))
    return b'\x1f\x9d\x90' + bits.to_bytes(-(-9 * len(text[:255]) // 8), 'little')


def packed_by_lz4(text: bytes) -> bytes:
    """A frame of lz4 with a block that is not compressed."""
    size = (len(text) | 1 << 31).to_bytes(4, 'little')
    return b'\x04\x22\x4d\x18\x60\x40\x82' + size + text + bytes(4)


def in_sqlite() -> bytes:
    """A database with a text a row."""
    with contextlib.closing(sqlite3.connect(':memory:')) as base:
        base.execute('CREATE TABLE books (body TEXT)')
        base.executemany('INSERT INTO books VALUES (?)', [(one['text'] + '\n',) for one in JSON])
        base.commit()
        return base.serialize()


def in_parquet() -> bytes:
    """A Parquet file with a column of texts."""
    import pyarrow
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(JSON), out)
    return out.getvalue()


def squad(*questions: dict) -> str:
    paragraph = {'context': 'anna saw rome', 'qas': list(questions)}
    return json.dumps({'data': [{'paragraphs': [paragraph]}]}, ensure_ascii=False)


def two(ending: str, train: str | bytes, dev: str | bytes | None = None) -> dict:
    return {f'train{ending}': train, f'dev{ending}': train if dev is None else dev}


# What two stages need.
TWO_STAGE = (
    '--config.model.embedding_sharing=untied',
    '--config.model.generator_width=1',
    '--config.model.generator_layers=1',
    '--config.model.generator_embedding_size=128',
)

CASES = {
    # Settings.
    'a_part_of_fine_tuning': Case(
        checks(trials=3), other=('--config.seed=',), more=('--config.task.name=sst2',)
    ),
    'freeze_without_networks_apart': Case(checks(objective={'freeze_generator': True})),
    'generator_steps_of_minutes': Case(
        checks(minutes=30.0, objective={'name': 'two_stage', 'generator_steps': 5}),
        more=TWO_STAGE,
    ),
    'generator_steps': Case(
        checks(objective={'generator_steps': 5}),
        more=TWO_STAGE,
    ),
    'beam_options': Case(checks(data={'runner_options': '--runner=X'}), other=('--runner',)),
    'no_task': Case(checks(job='finetune')),
    'a_mean_that_is_not_kept': Case(checks(eval={'average': True})),
    'a_decay_of_power_0': Case(checks(optimizer={'decay_steps': 9, 'decay_power': 0.0})),
    'a_kind_for_a_task': Case(reads('multi_label'), two('.jsonl', LABELS)),
    'words_of_other_classes': Case(
        reads('text', task={'head': 'prompt', 'template': 'sentiment', 'labels': 'good,bad'}),
        two('.csv', 'text,label\na,good\nb,bad\n'),
        blanks={'WORD': 'film'},
    ),
    'accents': Case(
        checks(data={'tokenizer': {'strip_accents': True, 'kind': 'unigram'}}),
    ),
    'float32_kernel': Case(checks(model={'attention': 'triton', 'compute_dtype': 'float32'})),
    'two_stage': Case(checks(objective={'name': 'two_stage'})),
    'two_stage_from_a_discriminator': Case(goes_on_in_two_stages),
    # Files of tasks.
    'bad_row': Case(reads('text'), two('.csv', TABLE + 'a,b,c\n')),
    'latin_1': Case(reads('text'), {'train.csv': LATIN, 'dev.csv': TABLE}),
    'latin_1_packed': Case(reads('text'), {'train.csv.gz': gzip.compress(LATIN), 'dev.csv': TABLE}),
    'half_a_character': Case(reads('text'), {'train.csv': HALF, 'dev.csv': TABLE}),
    'half_a_character_packed': Case(
        reads('text'), {'train.csv.gz': gzip.compress(HALF), 'dev.csv': TABLE}
    ),
    'latin_1_in_quotes': Case(
        reads('text', task={'train_file': "anna's train.csv"}),
        {"anna's train.csv": LATIN, 'dev.csv': TABLE},
    ),
    'latin_1_answers': Case(
        reads('squad1'),
        {
            'dev.json': squad({**QUESTION, 'question': 'café ?'}).encode('latin-1'),
            'train.json': squad(QUESTION),
        },
    ),
    'no_dev': Case(reads('text'), {'train.csv': MANY, 'other.csv': TABLE}, {'NAME': 'other.csv'}),
    'a_file_for_a_folder': Case(
        reads('text', data={'path': 'SELF/train.csv'}),
        two('.csv', TABLE),
        {'NAME': 'train.csv'},
        more=('--config.data.path=SELF',),
    ),
    'sides_without_names': Case(
        reads('translation'),
        {f'{name}.{side}': 'a b\n' for name in ('train', 'dev') for side in ('en', 'de')},
        other=('--config.task.train_file',),
    ),
    'a_missing_side': Case(
        reads('translation'),
        {f'{name}.{side}': 'a b\n' for name in ('train', 'dev') for side in ('en', 'fr')},
        {'ENDING': 'fr'},
        words=(f'{COLUMNS}source=en', f'{COLUMNS}target=de'),
    ),
    'path_missing': Case(
        reads('text', data={'path': None}),
        two('.csv', TABLE),
        {'FOLDER': 'SELF', 'NAME': 'SELF/train.csv'},
        more=('--config.task.dev_share=0.4',),
    ),
    'header': Case(
        reads('text'),
        two('.csv', TABLE.split('\n', 1)[1]),
        other=(f'{COLUMNS}text_a=NAME',),
        more=(f'{COLUMNS}label=1',),
    ),
    'semicolons': Case(reads('text'), two('.csv', TABLE.replace(',', ';')), other=(COLUMNS,)),
    'tabs_in_a_csv': Case(reads('text'), two('.csv', TABLE.replace(',', '\t')), other=(COLUMNS,)),
    'commas_in_a_tsv': Case(reads('text'), two('.tsv', TABLE), other=(COLUMNS,)),
    'other_names': Case(
        reads('text'),
        two('.csv', TABLE.replace('text', 'review')),
        {'NAME': 'review'},
        other=('--config.task.header', f'{COLUMNS}text_a=0'),
    ),
    'quoted_lines_in_a_tsv': Case(
        reads('text'),
        two('.tsv', 'text\tlabel\n"a\nfilm"\tyes\nb\tno\n'),
        hand={'train.tsv': 'train.csv', 'dev.tsv': 'dev.csv'},
        other=('--config.data.on_bad_row',),
    ),
    'minus_one_and_one': Case(reads('text'), two('.csv', 'text,label\na,-1\nb,1\n')),
    'a_pair': Case(reads('text'), two('.csv', 'text,text_b,label\na,b,yes\nc,d,no\n')),
    'a_second_text': Case(
        reads('text'), two('.csv', 'text,more,label\na,it is good,yes\nc,it was bad,no\n')
    ),
    'classes_alike': Case(reads('text'), two('.csv', TABLE + 'film,Yes\n')),
    'classes_alike_by_spaces': Case(reads('text'), two('.csv', TABLE + 'a,not so\nb,Not so\n')),
    'impossible': Case(
        reads('squad1'),
        two(
            '.json', squad(QUESTION, {**QUESTION, 'id': 'r', 'answers': [], 'is_impossible': True})
        ),
    ),
    'conllu': Case(
        reads('tagging'),
        two('.conllu', '1\ta\ta\tDET\n2\tb\tb\tNOUN\n'),
    ),
    'quotes_in_a_tsv': Case(
        reads('text'),
        two('.tsv', 'text\tlabel\n"a ""b"" c"\tyes\n"d ""e"" f"\tno\n'),
        hand={'train.tsv': 'train.csv', 'dev.tsv': 'dev.csv'},
    ),
    'quotes_in_the_header': Case(
        reads('text'),
        two('.tsv', '"text"\t"label"\n"a"\t"yes"\n"b"\t"no"\n'),
        other=(COLUMNS,),
        hand={'train.tsv': 'train.csv', 'dev.tsv': 'dev.csv'},
    ),
    'a_name_twice': Case(
        reads('text'),
        two('.csv', 'text,text,yes\na,b,yes\nc,d,no\n'),
        more=(f'{COLUMNS}text_a=0', f'{COLUMNS}label=2'),
    ),
    'another_ending': Case(
        reads('text', task={'train_file': 'a.dat'}),
        {'a.dat': TABLE, 'dev.csv': TABLE},
        {'CHARACTER': ','},
    ),
    'another_field': Case(
        reads('text'),
        two('.jsonl', ''.join(f'{{"a": "{i}", "label": "{i % 2}"}}\n' for i in range(4))),
        {'NAME': 'a'},
        other=('--config.data.on_bad_row',),
    ),
    'semicolons_and_commas': Case(
        reads('text'),
        two('.csv', 'n, text;label\na, b;yes\nc, d;no\n'),
        more=(f'{COLUMNS}text_a=n, text',),
    ),
    'tags_as_a_table': Case(reads('text'), two('.tsv', TAGS.replace(' ', '\t'))),
    'tags_in_another_file': Case(
        reads('text', task={'train_file': 'a.bio', 'dev_file': 'a.bio'}), {'a.bio': TAGS}
    ),
    'tags_in_a_folder': Case(
        reads('text'),
        two('.conll', TAGS),
        other=('--config.task.train_file', '--config.task.dev_share'),
    ),
    'rows_missing_from_a_test_file': Case(
        reads('rte', task={'predict_test': True}),
        {
            **two('.tsv', 'index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n'),
            'test.tsv': 'index\tsentence1\tsentence2\n0\ta\tb\n1\ta\n2\ta\tb\n',
            'whole.tsv': 'index\tsentence1\tsentence2\n0\ta\tb\n1\ta\tb\n2\ta\tb\n',
        },
        words=('--config.data.on_bad_row=skip',),
        hand={'whole.tsv': 'test.tsv'},
    ),
    'numbers_as_classes': Case(
        reads('text'),
        two('.csv', 'text,label\n' + ''.join(f'a {i},0.{i}\n' for i in range(10, 50))),
    ),
    'words_with_numbers': Case(
        reads('tagging'), two('.txt', '1 a DET\n2 b NOUN\n\n1 c DET\n2 d NOUN\n'), {'NUMBER': '2'}
    ),
    'a_header_of_words': Case(
        reads('tagging'),
        two('.txt', 'sent word tag\n' + NUMBERED),
        {'words=NAME': 'words=word', 'tags=NAME': 'tags=tag', 'sentence=NAME': 'sentence=sent'},
        hand={'train.txt': 'train.tsv', 'dev.txt': 'dev.tsv'},
        more=('--config.task.separator= ',),
    ),
    'a_column_too_far': Case(
        reads('tagging', task={'columns': {'tags': '7'}}), two('.txt', TAGS), {'NUMBER': '1'}
    ),
    'a_word_a_row': Case(
        reads('tagging'),
        two('.csv', 'n,words,tags\n1,a,DET\n1,b,NOUN\n2,c,DET\n2,d,NOUN\n'),
        {'NAME': 'n'},
    ),
    'a_sentence_a_row': Case(
        reads('tagging'),
        two('.txt', 'w\tt\na b\tDET NOUN\nc d\tDET NOUN\n'),
        {'words=NAME': 'words=w', 'tags=NAME': 'tags=t'},
        hand={'train.txt': 'train.tsv', 'dev.txt': 'dev.tsv'},
        other=('--config.data.on_bad_row',),
    ),
    'tags_as_numbers': Case(reads('tagging'), two('.txt', 'a 0\nb 1\nc 2\nd 0\n\n')),
    'tags_of_no_scheme': Case(
        reads('tagging'),
        two('.txt', 'a B-PER\nb O\nc XYZ\n\nd B-PER\ne O\n'),
        more=('--config.data.on_bad_row=skip',),
    ),
    'tags_without_letters': Case(reads('tagging'), two('.txt', 'a PER\nb O\nc O\nd LOC\n\n')),
    'steps': Case(in_steps(total_steps=5), blanks={'NUMBER': '2'}),
    'stop_at': Case(in_steps(stop_at=5), blanks={'NUMBER': '2'}),
    'warmup_steps': Case(in_steps(optimizer={'warmup_steps': 5}), blanks={'NUMBER': '0.2'}),
    'warmup_share': Case(in_steps(optimizer={'warmup_share': 0.1}), blanks={'NUMBER': '0.2'}),
    'one_pair': Case(of_few_rows(batch_size=1)),
    'one_pair_in_parts': Case(of_few_rows(batch_size=2, optimizer={'microbatches': 2})),
    'too_many_steps': Case(reads_too_often(total_steps=9999), {'x.txt': TEXT}),
    'too_many_words': Case(reads_too_often(words=1e7), {'x.txt': TEXT}),
    'too_few_words': Case(reads_too_often(words=2.0), {'x.txt': TEXT}),
    'too_many_operations': Case(
        reads_too_often(petaflop=1.0, model={'size': 'tiny'}), {'x.txt': TEXT}
    ),
    'no_number_of_words': Case(checks(checkpoint={'keep_at_words': '1 million'})),
    'long_warmup': Case(warms_up(total_steps=60, optimizer={'warmup_steps': 31})),
    # Corpora.
    'pretty_json': Case(
        builds(source='jsonl:SELF/x.json'),
        {'x.json': '\n'.join(json.dumps(x, indent=1) for x in JSON)},
        other=('--config.data.on_bad_text',),
    ),
    'no_path': Case(builds(path=None), {'a.txt': TEXT}, {'FOLDER': 'SELF/corpus'}),
    'cyrillic': Case(
        builds(source='text:SELF/x*'),
        {'x.txt': 'привет, мир\n\n'.encode('cp1251') * 30},
        {'ENCODING': 'CP1251'},
        other=('--config.data.on_bad_text',),
    ),
    'cyrillic_packed': Case(
        builds(source='text:SELF/x*'),
        {'x.txt.bz2': bz2.compress('привет, мир\n\n'.encode('cp1251') * 30)},
        {'ENCODING': 'CP1251'},
        other=('--config.data.on_bad_text',),
    ),
    'a_few_letters': Case(
        builds(),
        {'x.txt': (TEXT + 'un café noir\n\n' * 2).encode('latin-1')},
        {'ENCODING': 'LATIN1', 'FILE': 'x.txt'},
    ),
    'lzma': Case(
        builds(source='text:SELF/x*'),
        {'x.txt': lzma.compress(TEXT.encode(), format=lzma.FORMAT_ALONE)},
        other=('--config.data.on_bad_text',),
    ),
    'several_corpora': Case(
        builds(path='SELF/a=0.5,SELF/b=0.5'), {'a.txt': TEXT}, {'FOLDER': 'SELF/corpus'}
    ),
    'all_held_out': Case(
        builds(holdout=0.5, source='text:SELF/x.txt', build_seed=SEED),
        {'x.txt': 'one document'},
        other=('--config.data.path',),
    ),
    'long_words': Case(
        builds(source='text:SELF/x.txt', tokenizer={'vocab_size': 30}),
        {'x.txt': '\n\n'.join(''.join(random.Random(i).choices('ACGT', k=300)) for i in range(40))},
    ),
    'no_spaces': Case(
        warns_of_spaces,
        {'x.txt': '\n\n'.join(''.join(random.Random(i).choices('ACGT', k=60)) for i in range(40))},
    ),
    'fewer_pieces': Case(
        builds(tokenizer={'kind': 'unigram', 'vocab_size': 5000}), {'x.txt': TEXT}, {'N': '40'}
    ),
    'no_vocabulary': Case(
        builds(tokenizer={'path': 'SELF/absent.txt', 'vocab_size': None}),
        {'x.txt': TEXT, 'pieces': VOCAB},
        {'FILE': 'SELF/pieces'},
    ),
    'no_model': Case(
        builds(tokenizer={'kind': 'unigram', 'path': 'SELF/absent.model', 'vocab_size': None}),
        {'x.txt': TEXT, 'a.model': model()},
        {'FILE': 'SELF/a.model'},
    ),
    'a_model_of_another_kind': Case(
        builds(tokenizer={'kind': 'bpe', 'path': 'SELF/a.model', 'vocab_size': None}),
        {'x.txt': TEXT, 'a.model': model()},
    ),
    'a_model_as_wordpiece': Case(
        builds(tokenizer={'path': 'SELF/a.model', 'vocab_size': None}),
        {'x.txt': TEXT, 'a.model': model()},
    ),
    'pieces_with_scores': Case(
        builds(tokenizer={'path': 'SELF/vocab', 'vocab_size': None}),
        {'vocab': VOCAB.replace('\n', '\t0\n'), 'x.txt': TEXT},
    ),
    'cased_vocabulary': Case(
        builds(tokenizer={'path': 'SELF/vocab', 'vocab_size': None}),
        {'vocab': VOCAB + 'Anna\nBob\nRome\nOslo\n', 'x.txt': TEXT},
    ),
    'accents_in_a_vocabulary': Case(
        builds(tokenizer={'path': 'SELF/vocab', 'vocab_size': None}),
        {'vocab': VOCAB + 'é\nè\nà\nü\n', 'x.txt': TEXT},
    ),
    'another_size': Case(
        builds(),
        {'vocab': VOCAB, 'x.txt': TEXT},
        words=('--config.data.tokenizer.path=SELF/vocab', '--config.data.tokenizer.vocab_size=99'),
    ),
    'compress': Case(
        builds(source='text:SELF/x*', holdout=0.0),
        {'x.txt': packed_by_compress(TEXT[:250].encode())},
        other=('--config.data.on_bad_text',),
    ),
    'lz4': Case(
        builds(source='text:SELF/x*'),
        {'x.txt': packed_by_lz4(TEXT.encode())},
        other=('--config.data.on_bad_text',),
    ),
    'sqlite': Case(
        builds(source='text:SELF/x*'),
        {'x.txt': in_sqlite},
        {'COLUMN': 'body', 'TABLE': 'books'},
        other=('--config.data.on_bad_text',),
    ),
    'parquet': Case(
        builds(source='text:SELF/x.txt'),
        {'x.txt': in_parquet},
        other=('--config.data.on_bad_text',),
    ),
    'cyrillic_in_zst': Case(
        builds(source='text:SELF/x*'),
        {'x.txt.zst': zstandard.compress('привет, мир\n\n'.encode('cp1251') * 30)},
        {'ENCODING': 'CP1251'},
        other=('--config.data.on_bad_text',),
    ),
    'a_table_as_text': Case(
        builds(source='text:SELF/*.csv'),
        {'x.csv': MANY, 'y.csv': MANY},
        {'FILE': 'x.csv', 'NEW.jsonl': 'SELF/NEW.jsonl', 'COLUMN': 'text'},
        joined=True,
    ),
    'a_folder_that_cannot_be_read': Case(
        without('closed', builds(source='text:SELF')),
        {'a.txt': TEXT, 'b.txt': TEXT},
        {'ONE': 'SELF/a.txt', 'OTHER': 'SELF/b.txt'},
    ),
    'lines_that_are_documents': Case(
        warns_of_few_documents,
        {'x.txt': '\n'.join(' '.join(WORDS[i % 9 :]) for i in range(3000))},
        more=('--config.data.path=SELF/again',),
    ),
    'no_memory': Case(loses_a_worker, {'a.txt': TEXT}, {'N': '1'}),
    'no_network': Case(
        has_no_network,
        {'a.txt': TEXT},
        {'FOLDER:SPLIT': f'{TINY_TEXTS}:train', 'FOLDER': 'SELF'},
    ),
    'prepared': Case(prepares, {'a.txt': TEXT}),
    'images_of_no_size': Case(builds(source='images:SELF/index.jsonl', layout='segments'), IMAGES),
    'packed_images': Case(builds(source='images:SELF/index.jsonl', image_size=16), IMAGES),
    'other_images': Case(has_other_images, IMAGES, other=('--config.data.source',)),
    'model_of_text': Case(reads_no_images),
    # Text to train on.
    'another_row_length': Case(opens(data={'row_length': 32})),
    'another_layout': Case(opens(data={'layout': 'segments'})),
    'another_holdout': Case(
        opens(['data.holdout'], data={'holdout': 0.5, 'source': 'text:SELF/a.txt'}),
        {'a.txt': TEXT},
    ),
    'corpora_one_missing': Case(
        opens(data={'path': 'SELF/corpus=1,SELF/none=1'}), {'a.txt': TEXT}, {'FILES': 'SELF/a.txt'}
    ),
    'no_source': Case(
        opens(data={'path': 'SELF/none'}), {'a.txt': TEXT}, {'FILES/*.txt': 'SELF/a.txt'}
    ),
    'no_corpus': Case(opens(data={'path': None}), blanks={'FOLDER': 'SELF/corpus'}),
    'not_all_compared': Case(opens()),
    'a_mixture': Case(mixes),
    # Starting.
    'positions': Case(has_positions),
    'fewer_positions_than_the_checkpoint': Case(has_fewer_positions),
    'from_nothing': Case(
        starts(),
        blanks={'WORKDIR': 'SELF/model', 'vocab.txt': 'SELF/vocab'},
        other=('--config.init_network',),  # with the first one
    ),
    'from_trials': Case(starts_from('trials/0', from_trials)),
    'a_model_that_was_not_fine_tuned': Case(starts_from('model', evaluated)),
    'parameters_alone': Case(starts_from('model', continued)),
    'no_vocabulary_of_theirs': Case(without_vocabulary, blanks={'vocab.txt': 'SELF/vocab'}),
    'no_recipe': Case(names_no_recipe, blanks={'NAME': 'sst2'}),
    'less_memory': Case(suggests_less_memory),
    # Conversion.
    'next': Case(continues_a_converted_model, blanks={'FOLDER': 'SELF/corpus'}),
    'characters_for_transformers': Case(writes_for_transformers, other=('--checkpoint',)),
    # Prediction.
    'table_as_lines': Case(predicts('text'), {'input': TABLE}),
    'json_as_lines': Case(
        predicts('text'), {'input': '{"text": "a"}\n{"text": "b"}\n'}, other=('--format=json ',)
    ),
    'a_column_without_a_field': Case(
        predicts('text'), {'input.csv': 'body\ngood\n'}, words=('--columns=body',)
    ),
    'a_header_that_training_lacked': Case(
        predicts('text', header=False, columns={'text_a': '0', 'label': '1'}),
        {'input.csv': 'text,label\ngood,yes\n'},
    ),
    'a_pair_as_lines': Case(
        predicts('text'), {'input': 'a\tb\n'}, other=('--config.data.on_bad_row',)
    ),
    'json_to_listen': Case(
        listens, {'input': '{"text": "a"}'}, other=('--config.data.on_bad_row',)
    ),
    'other_column': Case(predicts('text'), {'input.csv': 'review\ngood\n'}, {'NAME': 'review'}),
}

# Advice that no case types -> why; (file, words of the text).
UNTRIED = {
    'These are the lines of docs/export.md, which a test runs.': (
        ('export/job.py', 'of an ELECTRA model: {count:,} pa'),
    ),
    'A package, program or device that is missing cannot be installed by a test.': (
        ('aot/gpu.py', 'the GPU compiler (jax-cuda12-plugin of the'),
        ('aot/gpu.py', ' cannot be described by the GPU compiler ('),
        ('aot/gpu.py', "config.model.attention is 'triton', whose ker"),
        ('aot/gpu.py', ', which is compiled by cuDNN, and that'),
        ('aot/tpu.py', 'the TPU compiler (libtpu) is not installed:'),
        ('aot/tpu.py', 'is not a slice that libtpu knows ('),
        ('bench/job.py', '--versus=transformers is timed on a CPU or a'),
        ('bench/torch_step.py', ": pip install -e '.[parity]'"),
        ('config/kernels.py', '): type --config.model.attention=xla, or ins'),
        ('core/files.py', ' needs a package that is not installed: type'),
        ('core/pictures.py', 'images are read by Pillow: type pip install'),
        ('core/tfds.py', 'needs the package tensorflow-datasets; type'),
        ('corpus/beam.py', "data.runner is 'beam', which needs Apache Be"),
        ('corpus/beam.py', ': it is read as the words of a command line,'),
        ('corpus/hub.py', 'data.source=hf:... needs the package hugging'),
        ('corpus/parquet.py', 'Parquet files need the package pyarrow; type'),
        ('demo/page.py', 'the page needs Gradio'),
        ('export/job.py', 'jax.export needs the package flatbuffers'),
        ('inference/files.py', 'the rows have labels, and are not scored'),
        ('init_from.py', ', but it is not there: get the repository with'),
        ('interop/check.py', '--check compares with transformers and PyTor'),
        ('interop/google_tf.py', "Google's checkpoints are read and written wi"),
        ('interop/probes.py', 'tokenizer not checked against transformers,'),
        ('sweep/plot.py', 'no plot: type pip install matplotlib'),
        ('train/trackers.py', ', which is not installed: type pip install -e'),
    ),
    'It needs a cluster, or Apache Beam at least; tests/corpus/test_dask.py has both.': (
        ('corpus/beam.py', ' in data.runner_options is no runner of Beam'),
        ('corpus/beam.py', ' in data.runner_options: '),
        ('corpus/dask_cluster.py', '--dask_client_address=tcp://HOST:8786'),
        ('corpus/dask_cluster.py', 'dask worker tcp://HOST:8786 --nworkers=auto'),
        ('corpus/dask_cluster.py', 'names Dask, which is not installed ('),
        ('corpus/dask_cluster.py', 'names no Dask scheduler: type'),
        ('corpus/dask_cluster.py', 'dask scheduler --scheduler-file FILE` writes it'),
        ('corpus/dask_cluster.py', "there type pip install -e '.[dask]', as here"),
    ),
    'It needs a network.': (
        ('core/tfds.py', 'Where there is a network, with tensorflow'),
        ('corpus/hub.py', 'hf download {} --repo-type dataset --local-d'),
    ),
    'It asks for a password.': (('core/formats.py', 'unpack it by: unzip'),),
    "It needs TensorFlow or transformers, which few have; interop's tests run such commands.": (
        ('interop/convert.py', 'type --vocab=vocab.txt'),
        ('interop/convert.py', ', AutoTokenizer; AutoTokenizer.from_pretrain'),
        ('interop/convert.py', 'from sentence_transformers import Sentence'),
        ('interop/convert.py', 'to publish: hf upload OWNER/NAME'),
        ('interop/convert.py', 'no license: --license=NAME states one'),
        ('interop/files.py', 'only, a pickle, which can run code when it'),
        ('interop/google_tf.py', 'heads: give their number with convert --num'),
    ),
    'A trained model or a whole run is needed; the slow tests of finetune and train have them.': (
        ('finetune/files/locate.py', '; a prepared TensorFlow dataset is named by'),
        ('inference/abilities/detect.py', 'pre-train with --config.objective.name=electra'),
        ('inference/files.py', ', an array, which only --task=embed writes'),
        ('demo/__main__.py', 'no model is given: type --checkpoint=WORKDIR'),
        ('demo/page.py', 'cannot be used ('),
        ('demo/page.py', ' is no IPv4 address of this machine ('),
        ('demo/tabs.py', ' answers about images, which this page does not take'),  # test_tabs
        ('export/__main__.py', 'type --checkpoint=WORKDIR --target=FOLDER'),
        ('export/programs.py', '; --task=embed exports its encoder'),
        ('finetune/report.py', 'next: python -m electra_jax.predict --checkp'),
        ('finetune/kinds/prompt.py', '--config.task.head=mean'),
        ('finetune/kinds/prompt.py', 'name a checkpoint that was pre-trained with'),
        ('finetune/kinds/prompt.py', 'but there is no second text: leave {text_b} out'),
        ('finetune/kinds/seq2seq.py', 'type --config.task.decoder.start=encoder or'),
        ('finetune/kinds/seq2seq.py', 'name fewer, or type --config.task.decoder.s'),
        ('finetune/kinds/seq2seq.py', 'with --config.data.tokenizer.lower_case=Fal'),
        ('finetune/kinds/seq2seq.py', '--config.task.decoder.start=fresh'),
        ('finetune/report.py', ': for a model that can be converted to one, typ'),
        ('finetune/report.py', 'warning: models that have read so little text '),
        ('finetune/split.py', '--config.task.decoder.target_length=NUMBER'),
        ('model/decoder.py', 'type --config.task.decoder.target_length='),
        ('finetune/job.py', ': --config.job=evaluate makes them'),
        ('finetune/job.py', ': name that file, or another --workdir. Fini'),
        ('interop/huggingface.py', 'have: fine-tune with --config.task.head='),
        ('interop/modernbert.py', 'that is pre-trained with --config.model.dis'),
        ('bench/decoding/__main__.py', 'type --checkpoint=WORKDIR --input=FILE'),
        ('predict.py', 'no model is given: type --checkpoint=WORKDIR'),
        ('pretrain/job.py', ': train first (--config.job=pretrain), or na'),
        ('pretrain/job.py', 'there is no workdir'),
        ('sweep/earlier.py', 'Nothing was started. Type --folder='),  # sweep/test_earlier
        ('pretrain/report.py', 'next: python -m electra_jax.main --config=confi'),
        ('train/health.py', 'The usual fix is a run in another --workdir'),
        ('train/health.py', 'repeats that step and shows where it goes w'),
    ),
    'It names no value that could be typed, or what to leave out.': (
        ('bench/__main__.py', "what to compare it with: 'transformers' (par"),
        ('bench/job.py', '--versus_set is for another recipe: type --v'),
        ('bench/job.py', ', which is all that transformers has, not'),
        ('init_from.py', '): type another --config.data.path, with --c'),
        ('objectives/table.py', ', but there is no generator of its own size'),
        ('train/workdir.py', '--config.total_steps=NUMBER'),
        ('runtime/cli.py', 'is not understood: settings look like --con'),
        ('runtime/cli.py', 'an unknown flag with a very long name: setti'),
        ('runtime/cli.py', ' changes a recipe, and none is given: type --'),
    ),
    'It is a part of a command or of a file, not a message.': (
        ('interop/convert.py', '--config.model.size='),
        ('prepare.py', '--config.init_from=CHECKPOINT'),
        ('pretrain/report.py', ' --task=embed'),
        ('runtime/usage.py', '  --config='),
        ('runtime/usage.py', '--config.NAME=VALUE'),
        ('report/__main__.py', 'python -m electra_jax.report'),
        ('sweep/__main__.py', 'python -m electra_jax.sweep'),
        ('sweep/job.py', '#!/usr/bin/env bash\n# {runs}, one for each'),
    ),
}

MESSAGES: dict[str, str] = {}  # of the cases that were tried in this process
# A recipe and nothing else, which `test_recipes_that_are_named_in_texts_exist` reads.
_RECIPE = re.compile(r'--config=(configs/[\w/]+\.py)')


def tried(
    case: Case, folder: pathlib.Path, words: Sequence[str], command: str | None = None
) -> tuple[str, bool]:
    """The messages of a case in a fresh folder, and whether it was refused."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content = content() if callable(content) else content
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    folder.mkdir(exist_ok=True)
    if command:
        subprocess.run(['bash', '-c', command], cwd=folder, check=True)
    if command and not case.joined:
        (folder / next(iter(case.files))).unlink()
        (made,) = folder.glob('NEW*')
        made.rename(folder / next(iter(case.files)).removesuffix('.gz').removesuffix('.zst'))
    if command is not None:
        for old, new in case.hand.items():
            (folder / old).rename(folder / new)
    try:
        return case.act(folder, [word.replace('SELF', str(folder)) for word in words]) or '', False
    except UserError as error:
        return str(error), True


@pytest.mark.parametrize('name', CASES)
def test_what_a_message_tells_to_type_ends_well(tmp_path, name):
    case, folder = CASES[name], tmp_path / 'folder'
    message, _ = tried(case, folder, case.words)
    MESSAGES[name] = message
    blanks = {blank: value.replace('SELF', str(folder)) for blank, value in case.blanks.items()}
    settings = advice.settings_in(message, blanks)
    commands = advice.commands_in(message, blanks)
    tries = [*((words, '') for words in settings), *(([], command) for command in commands)]
    if case.joined:
        tries = [(settings[0], commands[0])]
    tries = [one for one in tries if not ' '.join([*one[0], one[1]]).startswith(case.other)]
    assert tries, message
    for words, command in tries:
        words = [*case.words, *words, *case.more]
        later, was_refused = tried(case, folder, words, command)
        assert not was_refused, (message, words, command, later)
        assert not later or later not in message


def test_all_advice_in_the_source_is_typed_or_listed(tmp_path):
    for name, case in CASES.items():
        if name not in MESSAGES:
            MESSAGES[name] = tried(case, tmp_path / 'folder', case.words)[0]
    messages = MESSAGES.values()
    # Texts that name a recipe alone are in the test below.
    written = [one for one in advice.written() if advice.has_advice(_RECIPE.sub('', one.text))]
    texts = [one for one in written if not any(map(one.is_in, messages))]
    listed = {one for group in UNTRIED.values() for one in group}
    found = {
        (file, words)
        for file, words in listed
        for one in texts
        if one.where.startswith(f'electra_jax/{file}:') and words in one.text
    }
    assert listed == found, 'no longer in the source, or typed by a case'
    new = [
        one
        for one in texts
        if not any(one.where.startswith(f'electra_jax/{f}:') and w in one.text for f, w in listed)
    ]
    assert not new, 'add a case'


def test_settings_that_are_named_in_texts_exist():
    known = fields.leaves(Config)
    for one in advice.written():
        for name in re.findall(r'--config\.([a-z_.]+)(?==)', one.text):
            assert name in known, one


def test_recipes_that_are_named_in_texts_exist():
    named = {path for one in advice.written() for path in _RECIPE.findall(one.text)}
    assert len(named) > 3
    for path in named:
        resolve.check(recipe.load(advice.ROOT / path))
