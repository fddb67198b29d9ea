"""Tasks whose answer is a text of its own: translation, summaries, and the like."""

# R: tokens of a target

import dataclasses
import pathlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.task_settings import DecodingConfig
from electra_jax.core import trees
from electra_jax.core.errors import ConfigError
from electra_jax.finetune import plots, sentences
from electra_jax.finetune.examples import WrittenExample
from electra_jax.finetune.features import Rows, Targets, encode_all, ragged
from electra_jax.finetune.files import parallel
from electra_jax.finetune.files.lines import UnusableError
from electra_jax.finetune.files.locate import TaskFiles
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds import kind
from electra_jax.finetune.kinds.kind import Kind, Predictions, Scores, Task, TaskSpec
from electra_jax.model.decoder import DecoderShape
from electra_jax.model.task_heads import HeadShape
from electra_jax.ops.decoding import Search
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.unknown import Unknown


class Written(NamedTuple):
    """What a model answers."""

    text: str
    score: float  # log-probability / length ** length_penalty


# ---------------------------------------------------------------------------------------------
# Files


def read(task: Task, source: Source) -> tuple[list[WrittenExample], Task]:
    """Texts to read, and what to write about them."""
    return list(parallel.read(source)), task


def from_line(task: Task, name: str, line: str, where: str) -> WrittenExample:
    """A text to read."""
    if not line.strip():
        raise UnusableError('empty_text', 'the line is empty')
    return WrittenExample(name, line.strip(), None, where)


# ---------------------------------------------------------------------------------------------
# Token rows, model and loss


def features(tokenizer: Tokenizer, examples: Sequence[WrittenExample], task: Task) -> Rows:
    """[CLS] source [SEP], and targets that end with [SEP]; what is too long is cut.

    'begin' and 'end' are the tokens around an answer, and 'draw' is what its random draws depend
    on: the same text has the same ones in any batch.
    """
    special, most = tokenizer.special, task.row_length - 2
    cls, sep = np.array([special.cls], np.int32), np.array([special.sep], np.int32)
    sources = encode_all(tokenizer.encode_batch, [example.source for example in examples])
    count = len(examples)
    numbers = {
        'begin': np.full(count, special.cls, np.int32),
        'end': np.full(count, special.sep, np.int32),
        'draw': np.array([zlib.crc32(ids.tobytes()) >> 1 for ids in sources], np.int32),
    }
    tokens = [np.concatenate([cls, ids[:most], sep]) for ids in sources]
    targets: Targets | None = None
    notes: list[str] = []
    if all(example.target is not None for example in examples):
        targets, notes = _targets(tokenizer, [str(example.target) for example in examples], task)
    return Rows(
        ragged(tokens),
        np.array([len(ids) for ids in tokens], np.int32),
        np.arange(count, dtype=np.int32),
        numbers,
        {},
        cut=[i for i, ids in enumerate(sources) if len(ids) > most],
        targets=targets,
        decode=tokenizer.decode,
        notes=notes,
    )


def _targets(tokenizer: Tokenizer, texts: Sequence[str], task: Task) -> tuple[Targets, list[str]]:
    """What is to be written, and what people must know about it."""
    most, end = task.decoder.target_length - 1, np.array([tokenizer.special.sep], np.int32)
    encoded = encode_all(tokenizer.encode_batch, texts)
    targets = Targets(
        ragged([np.concatenate([ids[:most], end]) for ids in encoded]),
        longest=task.decoder.target_length,
        row_length=task.row_length,
        cut=[i for i, ids in enumerate(encoded) if len(ids) > most],
    )
    notes, unknown = [], Unknown()
    unknown.add(tokenizer, texts, encoded)
    if unknown.many:
        notes.append(f'of the targets {unknown.describe()}: the model learns to write [UNK]')
    if tokenizer.switches().get('lower_case') and any(text != text.lower() for text in texts):
        notes.append(
            'the tokenizer lower-cases, so that no capital letter is written; one that is made '
            'with --config.data.tokenizer.lower_case=False keeps them'
        )
    return targets, notes


def head(task: Task) -> HeadShape:
    """A decoder."""
    settings, how = task.decoder, task.decoding
    like = 'generator' if settings.start == 'generator' else 'discriminator'
    search = _search(task, how)
    decoder = DecoderShape(like, settings.layers, settings.tied, settings.copies, search)
    return HeadShape('text', task.style, 0, task.head_dropout, decoder=decoder)


def quick(task: Task) -> Task:
    """The task with one hypothesis for each text."""
    how = dataclasses.replace(task.decoding, method='greedy')
    return dataclasses.replace(task, decoding=how)


def _search(task: Task, how: DecodingConfig) -> Search:
    found = {name: getattr(how, name) for name in Search._fields if name != 'length'}
    missing = [name for name, value in found.items() if value is None]
    assert not missing, f'task.decoding is not complete: {missing}'
    return Search(length=task.decoder.target_length, **found)


# Setting -> the network of the checkpoint that the decoder starts from.
_STARTS = {'encoder': 'discriminator', 'generator': 'generator'}


def start(task: Task, params: Mapping[str, Any]) -> kind.HeadStart:
    """The arrays of the checkpoint that the decoder starts from.

    Raises:
        ConfigError: the checkpoint lacks that network, or has fewer layers.
    """
    settings = task.decoder
    network = _STARTS.get(settings.start)
    if network is None or not params:
        return kind.FRESH
    setting, parts = f'config.task.decoder.start is {settings.start!r}', [network]
    if network not in params:
        raise ConfigError(
            f'{setting}, but config.init_from has no '
            f'{network}: type --config.task.decoder.start=encoder or fresh'
        )
    found = {}
    for path, x in trees.named_leaves(params[network]):
        if path.startswith('layers/') and settings.layers is not None:
            if settings.layers > len(x):
                raise ConfigError(
                    f'config.task.decoder.layers is {settings.layers}, and the {network} has '
                    f'{len(x)}: name fewer, or type --config.task.decoder.start=fresh'
                )
            x = x[np.linspace(0, len(x) - 1, settings.layers).round().astype(int)]
        found[f'task_head/{path}'] = np.asarray(x)
    if network == 'generator' and 'generator_head' in params:
        named = trees.named_leaves(params['generator_head'])
        found |= {f'task_head/language_head/{path}': np.asarray(x) for path, x in named}
        parts.append('generator_head')
    return kind.HeadStart(
        found,
        tuple(parts),
        line=f'decoder: {len(found)} arrays from its {settings.start}, the others are fresh',
        setting=setting,
        otherwise='--config.task.decoder.start=fresh',
    )


def loss(task: Task, outputs: kind.HeadOutputs, batch: kind.Batch) -> jax.Array:
    """Cross-entropy with smoothed labels, added up over the target's tokens [B].

    A share of the probability is spread over all tokens: -log p(target) plus that share of the
    distance between log p(target) and the mean log-probability that the softmax gives.
    """
    smoothed_BR = outputs['loss'] + task.decoder.label_smoothing * outputs['above_mean']
    return jnp.sum(outputs['real'] * smoothed_BR, axis=1)


def terms(batch: kind.Batch) -> jax.Array:
    """How many tokens each row's target has [B]."""
    return jnp.sum(batch['target'] >= 0, axis=1).astype(jnp.float32)


# ---------------------------------------------------------------------------------------------
# Answers and their scores


def answers(
    task: Task, examples: Sequence[WrittenExample], rows: Rows, outputs: kind.RowOutputs
) -> list[Written]:
    """The text that is written about each example."""
    assert rows.decode is not None
    found = []
    for row, output in enumerate(outputs):
        ids = np.asarray(output['tokens']).tolist()
        end = int(rows.numbers['end'][row])
        ids = ids[: ids.index(end)] if end in ids else ids
        found.append(Written(rows.decode(ids), float(output['score'])))
    return found


def score(predictions: Predictions) -> Scores:
    """The task's metrics; notes hold the signatures of those that sacrebleu computes."""
    gold = [str(example.target) for example in predictions.examples]
    texts = [answer.text for answer in predictions.values]
    values: dict[str, float] = {}
    notes = []
    for name in predictions.task.spec.metrics:
        if name not in values:
            found, note = METRICS[name](gold, texts)
            values |= found
            notes += [note] if note else []
    empty = sum(not text for text in texts)
    if empty:
        notes.append(f'{empty} of {len(texts)} answers are empty')
    return Scores({name: values[name] for name in predictions.task.spec.metrics}, tuple(notes))


Metric = Callable[[list[str], list[str]], tuple[dict[str, float], str]]


def _sacrebleu(name: str) -> Metric:
    def measure(gold: list[str], texts: list[str]) -> tuple[dict[str, float], str]:
        from sacrebleu.metrics import bleu, chrf  # they take a while, and only scoring needs them

        metric = {'bleu': bleu.BLEU, 'chrf': chrf.CHRF}[name]()
        value = metric.corpus_score(texts, [gold]).score / 100
        return {name: value}, f'{name} {metric.get_signature()}'

    return measure


def _rouge(gold: list[str], texts: list[str]) -> tuple[dict[str, float], str]:
    """The means of F1 over texts, with words stemmed."""
    from rouge_score import rouge_scorer

    names = ['rouge1', 'rouge2', 'rougeL']
    scorer = rouge_scorer.RougeScorer(names, use_stemmer=True)
    found = [scorer.score(one, text) for one, text in zip(gold, texts, strict=True)]
    return {name: float(np.mean([x[name].fmeasure for x in found])) for name in names}, ''


def _exact_match(gold: list[str], texts: list[str]) -> tuple[dict[str, float], str]:
    return {'exact_match': float(np.mean([a == b for a, b in zip(gold, texts, strict=True)]))}, ''


# Name of a metric -> true texts, texts -> shares by name, and how they were computed.
METRICS: dict[str, Metric] = {
    'bleu': _sacrebleu('bleu'),
    'chrf': _sacrebleu('chrf'),
    'rouge1': _rouge,
    'rouge2': _rouge,
    'rougeL': _rouge,
    'exact_match': _exact_match,
}


def trivial(
    task: Task, known: Sequence[WrittenExample], examples: Sequence[WrittenExample]
) -> dict[str, list[Written]]:
    """The text itself where targets are about as long, its first sentence, its first words."""
    sizes = [(len(e.source.split()), len(e.target.split())) for e in known if e.target is not None]
    read_words, written_words = (float(np.mean(side)) for side in zip(*sizes, strict=True))
    first = max(1, round(written_words))
    sources = [example.source for example in examples]
    found = {
        'the first sentence of each text': [sentences.split(text)[0] for text in sources],
        f'the first {first} words of each text': [' '.join(x.split()[:first]) for x in sources],
    }
    if read_words < 3 * written_words:
        found['each text itself'] = sources
    return {name: [Written(text, 0.0) for text in texts] for name, texts in found.items()}


# ---------------------------------------------------------------------------------------------
# What is written


def to_json(predictions: Predictions) -> Iterator[dict[str, Any]]:
    """The text that is written about each example."""
    for example, answer in zip(predictions.examples, predictions.values, strict=True):
        source, score = {'source': example.source}, kind.json_number(answer.score)
        yield {**source, **text_fields(example, answer.text), 'score': score}


def text_fields(example: WrittenExample, text: str) -> dict[str, str]:
    """What is written of an example and the text that answers it."""
    target = {} if example.target is None else {'target': example.target}
    return {'id': example.id, **target, 'prediction': text}


def write(folder: pathlib.Path, split: str, predictions: Predictions) -> None:
    """SPLIT.txt: an answer a line, as other programs score them."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = (' '.join(answer.text.split()) for answer in predictions.values)
    (folder / f'{split}.txt').write_text(''.join(f'{text}\n' for text in texts), encoding='utf-8')


def draw(folder: pathlib.Path, split: str, predictions: Predictions) -> None:
    """How long answers are, and how long they should be, in words."""
    groups = {
        'targets': [float(len(str(one.target).split())) for one in predictions.examples],
        'answers': [float(len(one.text.split())) for one in predictions.values],
    }
    title = f'{predictions.task.name}, {split}'
    plots.distribution(folder / f'{split}_lengths.png', groups, title, 'words')


SEQ2SEQ = Kind(
    own_task='seq2seq',
    own_spec=TaskSpec(
        TaskFiles(columns=Columns(source='source', target='target'), parallel=True),
        ('bleu', 'chrf', 'exact_match'),
        epochs=20,
    ),
    styles=('reference',),
    read=read,
    inputs=('source',),
    from_line=from_line,
    content=lambda example: example.source,
    head=head,
    quick=quick,
    start=start,
    features=features,
    loss=loss,
    terms=terms,
    answers=answers,
    has_label=lambda example: example.target is not None,
    score=score,
    trivial=trivial,
    to_json=to_json,
    write=write,
    draw=draw,
    means=('exact_match', 'rouge1', 'rouge2', 'rougeL'),
)
