"""Summaries that are sentences of the text: each gets a score, and the best ones are the answer.

The encoder reads the sentences of a text in one row (Liu & Lapata 2019, section 3.1, BertSumExt
without the layers on top). It learns which sentences come nearest to the summary that people wrote.
"""

# S: sentences of a text

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.core import metric_table
from electra_jax.finetune import sentences
from electra_jax.finetune.examples import WrittenExample
from electra_jax.finetune.features import Rows, encode_all, ragged
from electra_jax.finetune.files.locate import TaskFiles
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds import kind, seq2seq
from electra_jax.finetune.kinds.kind import Predictions, Scores, Task, TaskSpec
from electra_jax.tokenizers.api import Tokenizer

_LOWEST = -1e9  # score of what is no sentence


class Extract(NamedTuple):
    """The sentences that are the answer."""

    text: str
    chosen: tuple[int, ...]  # numbers of the sentences, from 0
    scores: tuple[float, ...]  # probabilities of all that were read, which sum to 1


def read(task: Task, source: Source) -> tuple[list[WrittenExample], Task]:
    """Texts and summaries; a training file also gives how many sentences an answer has."""
    examples, task = seq2seq.read(task, source)
    if task.sentences is None and source.split == 'train':
        sizes = [len(_oracle(example)) for example in examples]
        usual = float(np.mean([size for size in sizes if size] or [1]))
        task = dataclasses.replace(task, sentences=max(1, round(usual)))
        none = sizes.count(0)
        if none:
            source.complaints.note(
                f'{source.where}: {none:,} of {len(sizes):,} summaries share no word with their '
                'text: nothing is learned from these'
            )
    return examples, task


def _oracle(example: WrittenExample) -> tuple[int, ...]:
    return sentences.oracle(example.source, str(example.target))


# ---------------------------------------------------------------------------------------------
# Token rows and loss


def features(tokenizer: Tokenizer, examples: Sequence[WrittenExample], task: Task) -> Rows:
    """[CLS] sentence [SEP] sentence [SEP] ...; sentences that do not fit are left out.

    'sentence' marks each token of a sentence with the sentence's number (-1: [CLS]), and 'wanted'
    those of the sentences that are learned (1; others 0).
    """
    special, room = tokenizer.special, task.row_length - 1
    split = [sentences.split(example.source) for example in examples]
    encoded = iter(encode_all(tokenizer.encode_batch, [one for some in split for one in some]))
    tokens, marks, wanted, cut = [], [], [], []
    for i, (example, some) in enumerate(zip(examples, split, strict=True)):
        parts = [[*next(encoded), special.sep] for _ in some]
        kept = _fitting(parts, room)
        if sum(map(len, kept)) < sum(map(len, parts)):
            cut.append(i)
        learned = () if example.target is None else _oracle(example)
        sizes, numbers = [1, *map(len, kept)], range(-1, len(kept))  # [CLS], the sentences
        tokens.append(np.concatenate([[special.cls], *kept]))
        marks.append(np.repeat(numbers, sizes))
        wanted.append(np.repeat([number in learned for number in numbers], sizes))
    rows = ragged(tokens)
    return Rows(
        rows,
        rows.lengths().astype(np.int32),
        np.arange(len(examples), dtype=np.int32),
        {},
        {'sentence': ragged(marks), 'wanted': ragged(wanted)},
        fill=-1,
        cut=cut,
    )


def _fitting(parts: list[list[int]], room: int) -> list[list[int]]:
    """The first sentences that fit; of one that is too long alone, its beginning and [SEP]."""
    ends = np.cumsum([len(part) for part in parts])
    return parts[: np.searchsorted(ends, room, 'right')] or [[*parts[0][: room - 1], parts[0][-1]]]


def loss(task: Task, outputs: kind.HeadOutputs, batch: kind.Batch) -> jax.Array:
    """Cross-entropy of a softmax over the sentences of a row with those that are wanted [B]."""
    log_probs_BS = jax.nn.log_softmax(_sentence_scores(outputs['logits'], batch['sentence']))
    wanted_BS = _by_sentence(batch['wanted'].astype(jnp.float32), batch['sentence'])
    share_BS = wanted_BS / jnp.maximum(jnp.sum(wanted_BS, axis=1, keepdims=True), 1e-9)
    return -jnp.sum(share_BS * log_probs_BS, axis=1)


def terms(batch: kind.Batch) -> jax.Array:
    """1 for each row that has a sentence to learn [B]."""
    return jnp.any(batch['wanted'] > 0, axis=1).astype(jnp.float32)


def _sentence_scores(logits_BLC: jax.Array, sentence_BL: jax.Array) -> jax.Array:
    """The mean logit of each sentence's tokens [B, S], the lowest where there is no sentence."""
    mean_BS = _by_sentence(logits_BLC[..., 0], sentence_BL)
    real_BS = _by_sentence(jnp.ones_like(logits_BLC[..., 0]), sentence_BL) > 0
    return jnp.where(real_BS, mean_BS, _LOWEST)


def _by_sentence(values_BL: jax.Array, sentence_BL: jax.Array) -> jax.Array:
    """The mean of each sentence's values [B, S], S being L; 0 where there is no sentence."""
    L = values_BL.shape[1]

    def mean(values_L: jax.Array, sentence_L: jax.Array) -> jax.Array:
        # What is in no sentence goes to a segment of its own, which is left out.
        segment_L = jnp.where(sentence_L >= 0, sentence_L, L)
        total_S, count_S = (
            jax.ops.segment_sum(x_L, segment_L, num_segments=L + 1)[:L]
            for x_L in (values_L, jnp.ones_like(values_L))
        )
        return total_S / jnp.maximum(count_S, 1)

    return jax.vmap(mean)(values_BL, sentence_BL)


# ---------------------------------------------------------------------------------------------
# Answers and their scores


def answers(
    task: Task, examples: Sequence[WrittenExample], rows: Rows, outputs: kind.RowOutputs
) -> list[Extract]:
    """The best sentences of each text, in their order."""
    found = []
    for row, (example, output) in enumerate(zip(examples, outputs, strict=True)):
        numbers = rows.marks['sentence'][row]
        logits = output['logits'][: len(numbers), 0].astype(np.float64)
        means = [logits[numbers == number].mean() for number in range(numbers.max() + 1)]
        best = np.argsort(-np.array(means), kind='stable')[: task.sentences or 1]
        chosen = tuple(sorted(best.tolist()))
        probs = kind.softmax(np.array(means))
        found.append(Extract(_text(example.source, chosen), chosen, tuple(probs.tolist())))
    return found


def _text(source: str, chosen: Sequence[int]) -> str:
    split = sentences.split(source)
    return ' '.join(split[number] for number in chosen)


def score(predictions: Predictions) -> Scores:
    """ROUGE, with that of the first sentences and of the best ones in the notes."""
    scores = seq2seq.score(predictions)
    pairs = tuple((example.source, str(example.target)) for example in predictions.examples)
    return Scores(
        scores.values, (*scores.notes, *_compared(pairs, predictions.task.sentences or 1))
    )


@functools.lru_cache(maxsize=8)  # the same after each epoch
def _compared(pairs: tuple[tuple[str, str], ...], count: int) -> tuple[str, ...]:
    """What the first sentences of texts reach, and those that come nearest to the summaries."""
    gold = [summary for _, summary in pairs]
    first = [_text(text, range(min(count, len(sentences.split(text))))) for text, _ in pairs]
    nearest = [_text(text, sentences.oracle(text, summary)) for text, summary in pairs]
    lines = []
    for name, texts in ((f'the first {count} (lead)', first), ('the nearest (oracle)', nearest)):
        values, _ = seq2seq.METRICS['rouge1'](gold, texts)
        scores = {key: metric_table.score(f'finetune/TASK/{key}', values[key]) for key in values}
        listed = '  '.join(f'{key} {score}' for key, score in scores.items())
        lines.append(f'sentences, {name}: {listed}')
    return tuple(lines)


def _many(count: int) -> str:
    return 'sentence' if count == 1 else f'{count:,} sentences'


def trivial(
    task: Task, known: Sequence[WrittenExample], examples: Sequence[WrittenExample]
) -> dict[str, list[Extract]]:
    """The first sentences, and the last ones."""
    count, found = task.sentences or 1, {}
    for name, part in (('first', slice(count)), ('last', slice(-count, None))):
        chosen = [tuple(range(len(sentences.split(e.source)))[part]) for e in examples]
        found[f'the {name} {_many(count)} of each text'] = [
            Extract(_text(example.source, numbers), numbers, ())
            for example, numbers in zip(examples, chosen, strict=True)
        ]
    return found


# ---------------------------------------------------------------------------------------------
# What is written


def to_json(predictions: Predictions) -> Iterator[dict[str, Any]]:
    """The sentences that were chosen, their numbers, and how likely each sentence is."""
    for example, answer in zip(predictions.examples, predictions.values, strict=True):
        yield {
            **seq2seq.text_fields(example, answer.text),
            'sentences': list(answer.chosen),
            'probabilities': [kind.json_number(value) for value in answer.scores],
        }


EXTRACTIVE = seq2seq.SEQ2SEQ._replace(
    own_task='extractive',
    own_spec=TaskSpec(
        TaskFiles(columns=Columns(source='document', target='summary')),
        ('rouge1', 'rouge2', 'rougeL'),
        row_length=512,
    ),
    styles=('reference', 'huggingface', 'modernbert'),
    read=read,
    head=lambda task: task.head_shape('token', 1),
    quick=None,  # nothing is searched for
    start=lambda task, params: kind.FRESH,
    features=features,
    terms=terms,
    loss=loss,
    answers=answers,
    score=score,
    trivial=trivial,
    to_json=to_json,
)
