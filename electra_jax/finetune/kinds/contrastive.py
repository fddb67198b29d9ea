"""Pairs of texts that belong together: questions and paragraphs, paraphrases.

Each text becomes a vector, the mean of its tokens' states, and learns to be nearer to its partner
than to the other texts of the batch, over all devices (Henderson et al. 2017; Karpukhin et al.
2020). All texts of a row stand side by side, and none sees another, so that a text has the same
vector alone.
"""

# Q: texts of a row: the first, the second, and one that does not belong to the first
# R: the second texts of a batch, and those that do not belong

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.core.complaints import counted
from electra_jax.finetune import plots
from electra_jax.finetune.bm25 import BM25
from electra_jax.finetune.examples import Names, TextExample, answered
from electra_jax.finetune.features import Rows, encode_all, texts_apart
from electra_jax.finetune.files import lines, squad, tables, texts
from electra_jax.finetune.files.locate import TaskFiles
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds import kind
from electra_jax.finetune.kinds.kind import Kind, Predictions, Scores, Task, TaskSpec
from electra_jax.finetune.kinds.text import from_line
from electra_jax.tokenizers.api import Tokenizer

_PARTS = ('first', 'second', 'wrong')  # texts of a row, by their numbers in a split
_OF_SQUAD = Names('question', 'context')  # of its files
_RANKS = (1, 5, 20)  # of Recall@k
_AT_ONCE = 256  # texts that look for their partner together
_LOWEST = -1e9  # stands for a text that is no candidate


class Found(NamedTuple):
    """Where a text found its partner among all candidates."""

    rank: float  # of the partner, from 1; it shares the mean rank of those with equal scores
    score: float  # of the partner: the cosine, or what BM25 gives
    best: str  # the candidate with the highest score


# ---------------------------------------------------------------------------------------------
# Files


def read(task: Task, source: Source) -> tuple[list[TextExample], Task]:
    """Pairs, whose label is a text that does not belong to the first one, where there is one.

    A SQuAD file gives its questions and their paragraphs; those without an answer are left out.
    """
    path = source.path
    if path is not None and source.ending == '.json' and not tables.is_list(path):
        questions = list(squad.read(source, unanswerable=True))
        with_answer = [one for one in questions if not one.impossible]
        if len(with_answer) < len(questions):
            lacking = len(questions) - len(with_answer)
            left_out = counted(lacking, 'questions without an answer were left out')
            source.complaints.note(f'{path}: {left_out}')
        return [
            TextExample(one.id, one.question, one.context.strip(), None, one.where, _OF_SQUAD)
            for one in with_answer
        ], task
    columns = source.columns
    source = dataclasses.replace(
        source, columns=dataclasses.replace(columns, text_b=columns.text_b or 'text_b')
    )
    if source.labelled is not None:
        # A column that the user names must be there; that of the usual name may be.
        source = dataclasses.replace(source, labelled=task.columns.label is not None)
    return list(texts.read(source, _wrong)), task


def _wrong(value: Any) -> str | None:
    if value is None or value == '':
        return None
    return lines.usable_text(value, 'the text that does not belong').strip()


# ---------------------------------------------------------------------------------------------
# Token rows and loss


def features(tokenizer: Tokenizer, examples: Sequence[TextExample], task: Task) -> Rows:
    """Rows of the texts of each pair; numbers tell equal texts of a split from others."""
    numbers, room = numbered(examples), task.row_length - 2
    encoded = encode_all(tokenizer.encode_batch, list(numbers))
    ids = [one[:room] for one in encoded]
    long = [number for number, one in enumerate(encoded) if len(one) > room]
    chosen = [numbers.get(text or '', -1) for one in examples for text in _texts(one)]
    number_BQ = np.array(chosen, np.int32).reshape(-1, len(_PARTS))
    cut = np.flatnonzero(np.isin(number_BQ, long).any(axis=1)).tolist()
    whole = _rows(tokenizer, ids, number_BQ, np.arange(len(examples)), cut)
    # For answers each text stands where it comes first.
    first = np.unique(number_BQ, return_index=True)[1]
    once_BQ = np.full_like(number_BQ, -1)
    once_BQ.flat[first] = number_BQ.flat[first]
    filled = np.flatnonzero(once_BQ.max(axis=1) >= 0)
    lean = _rows(tokenizer, ids, once_BQ[filled], filled, cut)
    return dataclasses.replace(whole, once=lean)


def _texts(example: TextExample) -> tuple[str | None, ...]:
    return example.text_a, example.text_b, example.label


def numbered(examples: Sequence[TextExample]) -> dict[str, int]:
    """Each different text with a number, in the order of their first occurrence."""
    every = (text for one in examples for text in _texts(one) if text is not None)
    return {text: number for number, text in enumerate(dict.fromkeys(every))}


def _rows(
    tokenizer: Tokenizer,
    ids: Sequence[np.ndarray],
    number_BQ: np.ndarray,
    example_B: np.ndarray,
    cut: Sequence[int],
) -> Rows:
    """Rows of texts that are given by their numbers, -1: none."""
    given = [[ids[number] if number >= 0 else None for number in some] for some in number_BQ]
    tokens, marks = texts_apart(given, tokenizer.special)
    numbers = {name: number_BQ[:, i] for i, name in enumerate(_PARTS)}
    of_row = example_B.astype(np.int32)
    return Rows(tokens, tokens.lengths(), of_row, numbers, marks, cut=cut, texts=len(_PARTS))


def loss(task: Task, outputs: kind.HeadOutputs, batch: kind.Batch) -> jax.Array:
    """Cross-entropy of finding the partner among the texts of the batch [B].

    No other partner of an equal text is a candidate, nor is a text that is equal to the one that
    looks. If it is symmetric, it is the mean of both directions.
    """
    vectors_BQD, real_B = outputs['vectors'], batch['weight'] > 0
    first, second, wrong = (_Texts(batch[name], vectors_BQD[:, i]) for i, name in enumerate(_PARTS))
    others = _Texts(*(jnp.concatenate(pair) for pair in zip(second, wrong, strict=True)))
    real_R = jnp.concatenate([real_B, real_B & (wrong.number >= 0)])
    loss_B = _search(task, first, second, others, real_R)
    if task.symmetric:
        loss_B = (loss_B + _search(task, second, first, first, real_B)) / 2
    return loss_B


class _Texts(NamedTuple):
    """Texts of a batch."""

    number: jax.Array  # int32 [B]
    vector: jax.Array  # float32 [B, D]


def _search(
    task: Task, looking: _Texts, partner: _Texts, others: _Texts, real_R: jax.Array
) -> jax.Array:
    """Cross-entropy of texts that look for their partners, the first of the others, [B]."""
    logits_BR = jnp.einsum('BD,RD->BR', looking.vector, others.vector) / task.temperature
    B, R = logits_BR.shape
    own_BR = jnp.eye(B, R, dtype=bool)
    same_BB = (looking.number[:, None] == looking.number[None]) & real_R[None, :B]
    partner_BR = partner.number[:, None] == others.number[None]
    # Counts of pairs in the batch that join the two texts.
    joined_BR = same_BB.astype(jnp.float32) @ partner_BR.astype(jnp.float32) > 0
    wrong_BR = ~joined_BR & (looking.number[:, None] != others.number[None]) & real_R[None]
    logits_BR = jnp.where(own_BR | wrong_BR, logits_BR, _LOWEST)
    return jax.nn.logsumexp(logits_BR, axis=1) - jnp.sum(logits_BR * own_BR, axis=1)


# ---------------------------------------------------------------------------------------------
# Answers and their scores


def searched(examples: Sequence[TextExample], rows: Rows, outputs: kind.RowOutputs) -> list[Found]:
    """Where each text finds its partner, among the second texts of all."""
    vectors = _vectors(examples, rows, outputs)

    def scores(questions: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        of_questions, of_candidates = (
            np.stack([vectors[text] for text in some]) for some in (questions, candidates)
        )
        return of_questions @ of_candidates.T

    return found(examples, scores)


def cosines(examples: Sequence[TextExample], rows: Rows, outputs: kind.RowOutputs) -> list[float]:
    """Of the two texts of each pair."""
    vectors = _vectors(examples, rows, outputs)
    return [float(vectors[one.text_a] @ vectors[str(one.text_b)]) for one in examples]


def _vectors(
    examples: Sequence[TextExample], rows: Rows, outputs: kind.RowOutputs
) -> dict[str, np.ndarray]:
    """The vector of each text, float32 [D], of length 1."""
    texts, found = list(numbered(examples)), {}
    for i, name in enumerate(_PARTS):
        for number, output in zip(rows.numbers[name], outputs, strict=True):
            if number >= 0:
                found[texts[number]] = output['vectors'][i]
    return found


def found(
    examples: Sequence[TextExample],
    scores: Callable[[Sequence[str], Sequence[str]], np.ndarray],
) -> list[Found]:
    """Where each text finds its partner, by the scores of candidates [texts, candidates].

    Candidates are the second texts, and those that do not belong. No other partner of the same
    text counts against one, nor the text itself.
    """
    candidates = _candidates(examples)
    number = {text: i for i, text in enumerate(candidates)}
    partners: dict[str, list[int]] = {}
    for one in examples:
        partners.setdefault(one.text_a, []).append(number[str(one.text_b)])
    made: list[Found] = []
    for first in range(0, len(examples), _AT_ONCE):
        some = examples[first : first + _AT_ONCE]
        for one, score in zip(some, scores([x.text_a for x in some], candidates), strict=True):
            partner = number[str(one.text_b)]
            rank, nearest = _ranked(score, partner, partners[one.text_a], number.get(one.text_a))
            made.append(Found(rank, float(score[partner]), candidates[nearest]))
    return made


def _candidates(examples: Sequence[TextExample]) -> list[str]:
    every = (text for one in examples for text in _texts(one)[1:] if text is not None)
    return list(dict.fromkeys(every))


def _ranked(
    scores: np.ndarray, partner: int, partners: Sequence[int], itself: int | None
) -> tuple[float, int]:
    """The rank of a partner, and the number of the best candidate, which is not the text itself."""
    own, others = scores[partner], scores.astype(np.float64)
    if itself is not None and itself != partner:
        others[itself] = -np.inf
    best = int(np.argmax(others))
    others[list(partners)] = -np.inf
    return 1 + float(np.sum(others > own)) + float(np.sum(others == own)) / 2, best


def measure(answers: Sequence[Found]) -> dict[str, float]:
    """The mean reciprocal rank of the partner, and how often it is among the first k."""
    rank = np.array([one.rank for one in answers])
    recall = {f'recall_at_{k}': float(np.mean(rank <= k)) for k in _RANKS}
    return {'mrr': float(np.mean(1 / rank)), **recall}


def by_words(examples: Sequence[TextExample]) -> dict[str, list[Found]]:
    """What BM25 finds, and how, in words."""

    def scores(questions: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        return np.stack([index.scores(text) for text in questions])

    every = _candidates(examples)
    index = BM25(every)
    how = f'of {len(every):,} candidates the one with the same words, by BM25'
    return {how: found(examples, scores)}


# ---------------------------------------------------------------------------------------------
# What is written


def to_json(predictions: Predictions) -> Iterator[dict[str, Any]]:
    """Each pair with its cosine, the rank of the second text, and the candidate that is nearest."""
    return map(row_to_json, predictions.examples, predictions.values)


def row_to_json(example: TextExample, one: Found) -> dict[str, Any]:
    """A pair."""
    found = {'similarity': kind.json_number(one.score), 'rank': one.rank}
    return answered(example, {**found, 'prediction': one.best})


def draw(folder: pathlib.Path, split: str, predictions: Predictions) -> None:
    """How far down partners were found."""
    ranks = {'partners': [float(np.log10(one.rank)) for one in predictions.values]}
    title = f'{predictions.task.name}, {split}'
    plots.distribution(folder / f'{split}_ranks.png', ranks, title, 'rank, power of ten')


_METRICS = ('mrr', *(f'recall_at_{k}' for k in _RANKS))

CONTRASTIVE = Kind(
    own_task='retrieval',
    own_spec=TaskSpec(TaskFiles(columns=Columns('text_a', 'text_b', 'negative')), _METRICS),
    means=_METRICS,
    styles=('mean',),
    read=read,
    inputs=('text_a', 'text_b'),
    from_line=from_line,
    content=lambda example: example.text_b,  # all questions about a text are on one side
    head=lambda task: task.head_shape('vectors', len(_PARTS)),
    features=features,
    loss=loss,
    answers=lambda task, examples, rows, outputs: searched(examples, rows, outputs),
    has_label=lambda example: example.text_b is not None,
    score=lambda predictions: Scores(measure(predictions.values)),
    trivial=lambda task, known, examples: by_words(examples),
    to_json=to_json,
    draw=draw,
    least_rows=2,
    together=True,
)
