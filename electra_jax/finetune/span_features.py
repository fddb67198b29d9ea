"""Questions about texts into token rows, with the way back from tokens to characters."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from electra_jax.core.errors import ConfigError
from electra_jax.finetune.examples import SpanExample
from electra_jax.finetune.token_rows import Rows, ragged
from electra_jax.tokenizers.api import Tokenizer

_CONTEXTS_AT_ONCE = 2000


def span_rows(
    tokenizer: Tokenizer,
    examples: Sequence[SpanExample],
    row_length: int,
    question_length: int,
    stride: int,
) -> Rows:
    """[CLS] question [SEP] part of the text [SEP], types 0 and 1 (BERT's run_squad.py).

    A text too long for a row becomes several, `stride` tokens apart. 'start' and 'end' are the
    places of the first reference answer in the row, inclusive, or 0 where the row does not hold
    all of it; 'impossible' says that the question has no answer. Marks of the text's tokens:
    'begin' and 'stop', the characters each was made of, and 'best', 1 in the row where the token
    has the most text around it.

    Raises:
        ConfigError: a row has no room for a text beside the question.
    """
    if row_length - question_length - 3 < 1:
        raise ConfigError(
            f'config.data.row_length is {row_length} and config.task.question_length is '
            f'{question_length}: a row must hold the question, three special tokens and some text'
        )
    contexts = _encode_contexts(tokenizer, [example.context for example in examples])
    questions = tokenizer.encode_batch([example.question for example in examples])
    builder = _Builder(tokenizer, row_length, stride)
    for i, example in enumerate(examples):
        ids, spans = contexts[example.context]
        builder.add(i, example, questions[i][:question_length], ids, spans)
    cut = [i for i, question in enumerate(questions) if len(question) > question_length]
    return dataclasses.replace(builder.rows(), cut=cut)


def _encode_contexts(
    tokenizer: Tokenizer, contexts: Sequence[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each different text once: several questions share one."""
    different = list(dict.fromkeys(contexts))
    found = {}
    for at in range(0, len(different), _CONTEXTS_AT_ONCE):
        part = different[at : at + _CONTEXTS_AT_ONCE]
        found.update(zip(part, tokenizer.encode_spans(part), strict=True))
    return found


def windows(length: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Parts of a text, (begin, end), each of at most `room` tokens.

    >>> windows(10, 6, 3)
    [(0, 6), (3, 9), (6, 10)]
    """
    parts, begin = [], 0
    while True:
        end = min(begin + room, length)
        parts.append((begin, end))
        if end == length:
            return parts
        begin += min(room, stride)


def best_window(parts: Sequence[tuple[int, int]], length: int) -> np.ndarray:
    """For each token of a text, the part in which it has the most context.

    The lesser of the tokens to its left and to its right, plus a hundredth of the part's length
    (run_squad.py); the first such part wins.

    >>> best_window([(0, 6), (3, 9)], 9).tolist()
    [0, 0, 0, 0, 0, 1, 1, 1, 1]
    """
    begin, end = np.array(parts).T[:, :, None]
    place = np.arange(length)
    score = np.minimum(place - begin, end - 1 - place) + 0.01 * (end - begin)
    inside = (place >= begin) & (place < end)
    return np.argmax(np.where(inside, score, -np.inf), axis=0)


def answer_tokens(spans: np.ndarray, start: int, stop: int) -> tuple[int, int] | None:
    """First and last token that share a character with text[start:stop]; None: none does."""
    touching = np.flatnonzero((spans[:, 1] > start) & (spans[:, 0] < stop))
    return (int(touching[0]), int(touching[-1])) if len(touching) else None


class _Builder:
    """Collects rows."""

    def __init__(self, tokenizer: Tokenizer, row_length: int, stride: int):
        self._special, self._row_length, self._stride = tokenizer.special, row_length, stride
        self._tokens, self._second, self._example = [], [], []
        self._marks = {'begin': [], 'stop': [], 'best': []}
        self._numbers = {'start': [], 'end': [], 'impossible': []}

    def add(
        self, i: int, example: SpanExample, question: np.ndarray, ids: np.ndarray, spans: np.ndarray
    ) -> None:
        """All rows of an example."""
        parts = windows(len(ids), self._row_length - len(question) - 3, self._stride)
        best = best_window(parts, len(ids))
        answer = None
        if example.answers:
            first = example.answers[0]
            answer = answer_tokens(spans, first.start, first.start + len(first.text))
        head = np.concatenate([[self._special.cls], question, [self._special.sep]])
        for number, (begin, end) in enumerate(parts):
            row = np.concatenate([head, ids[begin:end], [self._special.sep]]).astype(np.int32)
            self._tokens.append(row)
            self._second.append(len(head))
            self._example.append(i)
            inside = slice(len(head), len(head) + end - begin)
            for name, values in (
                ('begin', spans[begin:end, 0]),
                ('stop', spans[begin:end, 1]),
                ('best', best[begin:end] == number),
            ):
                mark = np.zeros(len(row), np.int32)
                mark[inside] = values
                self._marks[name].append(mark)
            held = answer is not None and begin <= answer[0] and answer[1] < end
            shift = len(head) - begin
            self._numbers['start'].append(answer[0] + shift if held else 0)
            self._numbers['end'].append(answer[1] + shift if held else 0)
            self._numbers['impossible'].append(example.impossible)

    def rows(self) -> Rows:
        """What has been collected."""
        return Rows(
            ragged(self._tokens),
            np.array(self._second, np.int32),
            np.array(self._example, np.int32),
            {name: np.array(values, np.int32) for name, values in self._numbers.items()},
            {name: ragged(lists) for name, lists in self._marks.items()},
        )
