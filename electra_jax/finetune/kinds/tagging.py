"""Tasks that give each word of a sentence a tag: chunks, names, parts of speech.

A word is judged at its first piece (electra, finetune/tagging/tagging_tasks.py). The files' tags
are read in their own scheme; the model may learn another one (chunking: IOBES).
"""

# W: words of a sentence.

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError, unknown
from electra_jax.finetune import plots
from electra_jax.finetune.examples import TaggedExample
from electra_jax.finetune.features import Rows, encode_all, ragged
from electra_jax.finetune.files import conll, tag_schemes, tag_writings, texts
from electra_jax.finetune.files.locate import TaskFiles
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import TABLES
from electra_jax.finetune.kinds import kind
from electra_jax.finetune.kinds.kind import Kind, Predictions, Scores, Task, TaskSpec
from electra_jax.finetune.written import write_json
from electra_jax.ops import losses
from electra_jax.tokenizers.api import Tokenizer

_SHOWN = 20  # tags that a message lists
_IO = 'io'  # a setting of the scheme: IOB1 whose tags are those of types alone

# ---------------------------------------------------------------------------------------------
# Files


def read(task: Task, source: Source) -> tuple[list[TaggedExample], Task]:
    """Sentences with tags in the scheme that is learned, whatever the writing of the file.

    A training file also gives scheme, writing and tags, where they are not known.
    """
    examples, complaints = list(conll.read(source)), source.complaints
    counts = collections.Counter(tag for e in examples for tag in e.tags or ())
    task, names = _standard(task, counts)
    changed = {tag: name for tag, name in names.items() if tag != name}
    if changed:
        examples = [e._replace(tags=e.tags and tuple(names[t] for t in e.tags)) for e in examples]
    scheme = task.scheme or tag_schemes.find(e.tags for e in examples if e.tags)
    if scheme not in tag_schemes.SCHEMES:
        raise unknown('config.task.scheme', scheme, [*tag_schemes.SCHEMES, _IO])
    is_doubtful = task.scheme is None and scheme == 'plain' and source.split == 'train'
    task = dataclasses.replace(task, scheme=scheme)
    if changed:
        tag, name = max(changed.items(), key=lambda item: item[1] != tag_schemes.OUTSIDE)
        complaints.note(f'{source.where}: tags such as {tag!r} are read as {name!r} ({scheme})')
    elif is_doubtful and counts:
        doubt = tag_writings.doubt(counts)
        complaints.note(f'{source.where}: {doubt}' if doubt else None)
    examples = list(_learnable(task, examples, complaints))
    if not task.labels and examples:
        named: collections.Counter[str] = collections.Counter()
        for tag, number in counts.items():
            named[names[tag]] += number
        if scheme == 'plain':  # letter case has a meaning in tags such as MULTEXT-East's
            slip = texts.alike(named)
            complaints.note(f'{source.where}: {slip}' if slip else None)
        else:
            texts.check_alike(named, source.where)
        learned = task.learned_scheme or scheme
        labels = tag_schemes.classes((e.tags for e in examples if e.tags), learned)
        if len(labels) < 2:
            raise DataError(
                f'{source.where}: a tagger needs two tags or more, and every word has {labels[0]!r}'
                '; is --config.task.columns.tags the right column?'
            )
        task = dataclasses.replace(task, labels=labels)
    return examples, task


def _standard(task: Task, counts: Mapping[str, int]) -> tuple[Task, dict[str, str]]:
    """The task with the writing of its tags, and each tag of a file as the task knows it."""
    is_new = task.writing is None
    names = {tag: tag for tag in counts}
    by_number = {str(i): label for i, label in enumerate(task.labels)}
    if not any(label.isdecimal() for label in task.labels) and all(map(_is_number, counts)):
        names = {tag: by_number.get(tag, tag) for tag in counts}
    if task.scheme == _IO:
        task = dataclasses.replace(task, scheme='iob1', writing='TYPE')
    elif task.scheme != 'plain' and is_new:
        known = task.labels or names.values()
        nearest = tag_writings.nearest(known) if task.scheme else None
        task = dataclasses.replace(task, writing=tag_writings.find(known) or nearest)
    writing = task.writing
    if writing is None:
        return task, names

    def read(name: str) -> str:
        return tag_writings.standard(name, writing) or name

    if is_new:
        task = dataclasses.replace(task, labels=tuple(dict.fromkeys(map(read, task.labels))))
    return task, {tag: read(name) for tag, name in names.items()}


def _is_number(tag: str) -> bool:
    return tag.isascii() and tag.isdigit()


def _learnable(
    task: Task, examples: Iterable[TaggedExample], complaints: Complaints
) -> Iterator[TaggedExample]:
    """The sentences in the scheme that is learned; unknown and impossible tags are refused."""
    scheme, learned = task.scheme or 'plain', task.learned_scheme or 'plain'
    more = ', ...' if len(task.labels) > _SHOWN else ''
    listed = ', '.join(map(repr, task.labels[:_SHOWN])) + more
    for example in examples:
        tags = example.tags
        problem = tag_schemes.problem(tags, scheme) if tags else None
        if tags and not problem:
            if learned != scheme:
                tags = tag_schemes.convert(tags, learned)
            strange = sorted(set(tags) - set(task.labels)) if task.labels else ()
            if strange:
                problem = f'the tag {strange[0]!r} is not one of the task: {listed}'
        if problem:
            problem += f' ({" ".join(example.words)!r:.60})'
            complaints.refuse('bad_tags', example.where, problem)
        else:
            yield example._replace(tags=tags)


# ---------------------------------------------------------------------------------------------
# Token rows and loss


def features(tokenizer: Tokenizer, examples: Sequence[TaggedExample], task: Task) -> Rows:
    """[CLS] pieces of the words [SEP]; the 'reference' head gives all tokens type 1, others 0.

    A sentence too long for a row becomes several rows, cut between words, so that each word is
    judged. 'words' marks a word's first piece with the word's number, 'labels' with its tag's
    number (-1: not given, as at all other pieces).
    """
    words = sorted({word for example in examples for word in example.words})
    special = tokenizer.special
    unknown = np.array([special.unk], np.int32)
    pieces = dict(zip(words, encode_all(tokenizer.encode_batch, words), strict=True))
    room, numbers = task.row_length - 2, kind.numbered(task.labels)
    tokens, example_of, marked, tagged = [], [], [], []
    for i, example in enumerate(examples):
        tags = example.tags or [None] * len(example.words)
        tag_numbers = [numbers[tag] for tag in tags]
        encoded = [pieces[w][:room] if len(pieces[w]) else unknown for w in example.words]
        for begin, end in divided([len(x) for x in encoded], room):
            some = encoded[begin:end]
            tokens.append(np.concatenate([[special.cls], *some, [special.sep]]))
            marked.append(_at_first_pieces(range(begin, end), some))
            tagged.append(_at_first_pieces(tag_numbers[begin:end], some))
            example_of.append(i)
    rows = ragged(tokens)
    second = np.zeros(len(tokens)) if task.style == 'reference' else rows.lengths()
    marks = {'words': ragged(marked), 'labels': ragged(tagged)}
    return Rows(rows, second.astype(np.int32), np.array(example_of, np.int32), {}, marks, fill=-1)


def divided(lengths: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Runs of words, (begin, end), each of at most `room` pieces.

    >>> divided([2, 2, 3], 4)
    [(0, 2), (2, 3)]
    """
    runs, begin, used = [], 0, 0
    for i, length in enumerate(lengths):
        if used + length > room and i > begin:
            runs.append((begin, i))
            begin, used = i, 0
        used += length
    return [*runs, (begin, len(lengths))]


def _at_first_pieces(numbers: Sequence[int], words: Sequence[np.ndarray]) -> np.ndarray:
    """A number at the first piece of each word of a row, -1 at all other tokens."""
    marks = np.full(2 + sum(map(len, words)), -1, np.int32)
    marks[1 + np.cumsum([0, *map(len, words[:-1])])] = numbers
    return marks


def loss(task: Task, outputs: kind.HeadOutputs, batch: kind.Batch) -> jax.Array:
    """Cross-entropy, times the weight of the tag, added over the tagged words of each row [B]."""
    tagged_BL, tag_BL = batch['labels'] >= 0, jnp.maximum(batch['labels'], 0)
    loss_BL = losses.softmax_cross_entropy(outputs['logits'], tag_BL)
    if task.class_weights:
        loss_BL *= jnp.asarray(task.class_weights, jnp.float32)[tag_BL]
    return jnp.sum(jnp.where(tagged_BL, loss_BL, 0.0), axis=1)


# ---------------------------------------------------------------------------------------------
# Answers and their scores


def answers(
    task: Task, examples: Sequence[TaggedExample], rows: Rows, outputs: kind.RowOutputs
) -> list[np.ndarray]:
    """Probabilities [W, C] of each sentence, whose words may be in several rows, in their order."""
    probs: list[list[np.ndarray]] = [[] for _ in examples]
    for row, output in enumerate(outputs):
        words = rows.marks['words'][row]
        probs[int(rows.example[row])].append(
            kind.softmax(output['logits'][: len(words)][words >= 0])
        )
    return [np.concatenate(runs) for runs in probs]


def _gold(predictions: Predictions) -> list[Sequence[str]]:
    return [example.tags for example in predictions.examples]


def best_tags(predictions: Predictions) -> list[list[str]]:
    """The likeliest tag of each word of each sentence."""
    labels = predictions.task.labels
    return [[labels[int(best)] for best in np.argmax(p, axis=-1)] for p in predictions.values]


def tag_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], scheme: str | None
) -> Scores:
    """Span F1, precision and recall by seqeval, and the share of words with the right tag.

    Spans are read as leniently as conlleval does; tags of the scheme 'plain' have an accuracy only.
    """
    words = [pair for both in zip(gold, predicted, strict=True) for pair in zip(*both, strict=True)]
    accuracy = {'accuracy': float(np.mean([one == other for one, other in words]))}
    if scheme == 'plain':
        return Scores(accuracy)
    by_type = scores_by_type(gold, predicted)
    if not by_type:
        nothing = {'f1': 0.0, 'precision': 0.0, 'recall': 0.0}
        return Scores({**nothing, **accuracy}, ('no span in the file, and none predicted',))
    overall = by_type['micro avg']
    return Scores({**{name: overall[name] for name in ('f1', 'precision', 'recall')}, **accuracy})


def scores_by_type(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Precision, recall, f1 and support of each type of span, and of averages named '... avg'.

    Empty where there is no span at all.
    """
    from seqeval import metrics

    if all(tag == tag_schemes.OUTSIDE for tags in (*gold, *predicted) for tag in tags):
        return {}
    # seqeval does not know BILOU, and what spans tags write is the same in every scheme.
    sides = ([list(tag_schemes.convert(t, 'iobes')) for t in side] for side in (gold, predicted))
    report = metrics.classification_report(*sides, output_dict=True, zero_division=0)
    return {
        name: {metric.removesuffix('-score'): float(value) for metric, value in row.items()}
        for name, row in report.items()
    }


def trivial(
    task: Task, known: Sequence[TaggedExample], examples: Sequence[TaggedExample]
) -> dict[str, list[np.ndarray]]:
    """The most frequent tag."""
    counts = collections.Counter(tag for example in known for tag in example.tags or ())
    best = max(counts, key=counts.__getitem__)
    probs_C = np.eye(len(task.labels))[task.labels.index(best)]
    shapes = ((len(example.words), len(probs_C)) for example in examples)
    # Views: a copy for each word may not fit into memory.
    return {f'{best!r} for every word': [np.broadcast_to(probs_C, shape) for shape in shapes]}


# ---------------------------------------------------------------------------------------------
# What is written


def to_json(predictions: Predictions) -> Iterator[dict[str, Any]]:
    """The words of each sentence, their likeliest tags and how likely these are."""
    labels = predictions.task.labels
    for example, probs_WC in zip(predictions.examples, predictions.values, strict=True):
        given = {} if example.tags is None else {'tags': list(example.tags)}
        best_W = np.argmax(probs_WC, axis=-1)
        yield {
            'id': example.id,
            'words': list(example.words),
            **given,
            'predictions': [labels[int(best)] for best in best_W],
            'probabilities': [
                kind.json_number(probs_C[best])
                for probs_C, best in zip(probs_WC, best_W, strict=True)
            ],
        }


def draw(folder: pathlib.Path, split: str, predictions: Predictions) -> None:
    """Words of each type of span against the type they are given; plain tags as they are.

    Also writes the scores of each type.
    """
    plain = predictions.task.learned_scheme == 'plain'

    def type_of(tag: str) -> str:
        return tag if plain else tag.partition('-')[2] or tag

    types = list(dict.fromkeys(map(type_of, predictions.task.labels)))
    numbers = {tag: types.index(type_of(tag)) for tag in predictions.task.labels}
    tags, predicted = _gold(predictions), best_tags(predictions)
    gold, best = ([numbers[tag] for one in side for tag in one] for side in (tags, predicted))
    title = f'{predictions.task.name}, {split}, words'
    plots.confusion(folder / f'{split}_confusion.png', gold, best, types, title)
    if not plain:
        by_type = scores_by_type(tags, predicted)
        shown = {name: row for name, row in by_type.items() if not name.endswith(' avg')}
        write_json(folder / f'{split}_types.json', shown)


TAGGING = Kind(
    own_task='tagging',
    own_spec=TaskSpec(
        TaskFiles(endings=('.txt', '.conll', '.conllu', *TABLES)),
        ('f1', 'precision', 'recall', 'accuracy'),
        row_length=256,
    ),
    styles=('reference', 'huggingface', 'modernbert'),
    formats=('conll', 'conllu'),
    read=read,
    inputs=('words', 'sentence'),
    from_line=lambda task, name, line, where: TaggedExample(name, tuple(line.split()), None, where),
    content=lambda example: example.words,
    head=lambda task: task.head_shape('token', len(task.labels)),
    features=features,
    terms=lambda batch: jnp.sum(batch['labels'] >= 0, axis=1),
    loss=loss,
    class_counts=lambda examples: collections.Counter(
        tag for e in examples for tag in e.tags or ()
    ),
    answers=answers,
    has_label=lambda example: example.tags is not None,
    score=lambda predictions: tag_scores(
        _gold(predictions), best_tags(predictions), predictions.task.learned_scheme
    ),
    trivial=trivial,
    to_json=to_json,
    draw=draw,
    foreign_fields=lambda labels: {'labels': labels, 'scheme': tag_schemes.of_classes(labels)},
    foreign_notes=lambda task: (
        ['trained with token type 1 throughout: pass token_type_ids of ones']
        if task.style == 'reference'
        else []
    ),
)
