"""Tasks that answer a question with a part of a text, or find that the text holds no answer.

As in the reference (electra, finetune/qa/qa_tasks.py) and BERT's run_squad.py, which it follows.
"""

# S: starts of a beam search; T: ends of each.

import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from electra_jax.core.errors import ConfigError
from electra_jax.finetune import plots, sentences
from electra_jax.finetune.examples import SpanExample
from electra_jax.finetune.features import Ragged, Rows, encode_all, ragged
from electra_jax.finetune.files import squad
from electra_jax.finetune.files.lines import UnusableError
from electra_jax.finetune.files.locate import TaskFiles
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import TABLES, Columns
from electra_jax.finetune.kinds import kind, span_answers, squad_metrics
from electra_jax.finetune.kinds.kind import Kind, Predictions, Scores, Task, TaskSpec
from electra_jax.finetune.kinds.span_answers import Candidate, Found, SpanAnswer, Window
from electra_jax.finetune.written import write_json
from electra_jax.ops import losses
from electra_jax.tokenizers.api import Tokenizer

_CONTEXTS_AT_ONCE = 2000

# ---------------------------------------------------------------------------------------------
# Files


def read(task: Task, source: Source) -> tuple[list[SpanExample], Task]:
    """Questions with their texts and answers."""
    return list(squad.read(source, task.unanswerable)), task


def from_line(task: Task, name: str, line: str, where: str) -> SpanExample:
    """A question, a tab and a text."""
    question, _, context = line.partition('\t')
    if not question.strip() or not context.strip():
        raise UnusableError('bad_width', 'a question, a tab and a text are expected on a line')
    return SpanExample(name, context, question.strip(), (), False, where)


# ---------------------------------------------------------------------------------------------
# Token rows and loss


def features(tokenizer: Tokenizer, examples: Sequence[SpanExample], task: Task) -> Rows:
    """[CLS] question [SEP] part of the text [SEP], types 0 and 1 (BERT's run_squad.py).

    A text too long for a row becomes several, `task.stride` tokens apart. 'start' and 'end' are
    the positions of the first reference answer in the row, inclusive, or 0 where the row does not
    hold all of it; 'impossible' is 1 where the question has no answer. Marks of the text's tokens:
    'begin' and 'stop', the characters each was made of, and 'best', 1 in the row where the token
    has the most text around it.

    Raises:
        ConfigError: a row has no room for a text after the question.
    """
    if task.row_length - task.question_length - 3 < 1:
        raise ConfigError(
            f'config.data.row_length is {task.row_length} and config.task.question_length is '
            f'{task.question_length}: a row must hold the question, three special tokens and some '
            'text'
        )
    # Each different text once: several questions share one.
    contexts = list(dict.fromkeys(example.context for example in examples))
    encoded = encode_all(tokenizer.encode_spans, contexts, _CONTEXTS_AT_ONCE)
    texts = dict(zip(contexts, encoded, strict=True))
    questions = tokenizer.encode_batch([example.question for example in examples])
    rows: list[dict[str, Any]] = []
    for i, (example, question) in enumerate(zip(examples, questions, strict=True)):
        question, text = question[: task.question_length], texts[example.context]
        rows += (
            {'example': i, **row} for row in _rows_of(tokenizer, task, example, question, text)
        )

    def numbers(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows], np.int32)

    def lists(name: str) -> Ragged:
        return ragged([row[name] for row in rows])

    return Rows(
        lists('tokens'),
        numbers('second'),
        numbers('example'),
        {name: numbers(name) for name in ('start', 'end', 'impossible')},
        {name: lists(name) for name in ('begin', 'stop', 'best')},
        cut=[i for i, one in enumerate(questions) if len(one) > task.question_length],
        cut_as='cut_question',
    )


def parts_of_text(length: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Parts of a text, (begin, end), each of at most `room` tokens.

    >>> parts_of_text(10, 6, 3)
    [(0, 6), (3, 9), (6, 10)]
    """
    step = min(room, stride)
    begins = range(0, max(length - room, 0) + step, step)
    return [(begin, min(begin + room, length)) for begin in begins]


def best_window(ranges: Sequence[tuple[int, int]], length: int) -> np.ndarray:
    """For each token of a text, the window in which it has the most context.

    The lesser of the tokens to its left and to its right, plus a hundredth of the window's length
    (run_squad.py); the first such window wins.

    >>> best_window([(0, 6), (3, 9)], 9).tolist()
    [0, 0, 0, 0, 0, 1, 1, 1, 1]
    """
    begin, end = np.array(ranges).T[:, :, None]
    token = np.arange(length)
    score = np.minimum(token - begin, end - 1 - token) + 0.01 * (end - begin)
    inside = (token >= begin) & (token < end)
    return np.argmax(np.where(inside, score, -np.inf), axis=0)


def answer_tokens(characters: np.ndarray, start: int, stop: int) -> tuple[int, int] | None:
    """First and last token that share a character with text[start:stop]; None: none does."""
    touching = np.flatnonzero((characters[:, 1] > start) & (characters[:, 0] < stop))
    return (int(touching[0]), int(touching[-1])) if len(touching) else None


def _rows_of(
    tokenizer: Tokenizer,
    task: Task,
    example: SpanExample,
    question: np.ndarray,
    text: tuple[np.ndarray, np.ndarray],
) -> Iterator[dict[str, Any]]:
    """Each row of an example: its tokens, where the text begins, numbers and marks.

    `text`: its ids, and the characters [tokens, 2] that each token is made of.
    """
    ids, characters = text
    ranges = parts_of_text(len(ids), task.row_length - len(question) - 3, task.stride)
    best = best_window(ranges, len(ids))
    answer = None
    if example.answers:
        first = example.answers[0]
        answer = answer_tokens(characters, first.start, first.start + len(first.text))
    special = tokenizer.special
    head = np.concatenate([[special.cls], question, [special.sep]])

    def mark(values: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros(len(head), np.int32), values, [0]])

    for number, (begin, end) in enumerate(ranges):
        start_end = (0, 0)
        if answer is not None and begin <= answer[0] and answer[1] < end:
            shift = len(head) - begin
            start_end = (answer[0] + shift, answer[1] + shift)
        yield {
            'tokens': np.concatenate([head, ids[begin:end], [special.sep]]),
            'second': len(head),
            'start': start_end[0],
            'end': start_end[1],
            'impossible': example.impossible,
            'begin': mark(characters[begin:end, 0]),
            'stop': mark(characters[begin:end, 1]),
            'best': mark(best[begin:end] == number),
        }


def loss(task: Task, outputs: kind.HeadOutputs, batch: kind.Batch) -> jax.Array:
    """The mean of the cross-entropies of start and end [B]; position 0 means no answer in the row.

    Where the head has a logit for "there is no answer", `task.answerable_weight` times its loss is
    added (electra, qa_tasks.py).
    """
    cross_entropy = losses.softmax_cross_entropy
    start_B, end_B = (cross_entropy(outputs[name], batch[name]) for name in ('start', 'end'))
    loss_B = (start_B + end_B) / 2
    if 'impossible' in outputs:
        missing_B = losses.sigmoid_cross_entropy(outputs['impossible'], batch['impossible'])
        loss_B += task.answerable_weight * missing_B
    return loss_B


# ---------------------------------------------------------------------------------------------
# Answers and their scores


def answers(
    task: Task, examples: Sequence[SpanExample], rows: Rows, outputs: kind.RowOutputs
) -> list[SpanAnswer]:
    """The answers to each question, best first, over all of its rows."""
    windows = (_window(task, rows, row, output) for row, output in enumerate(outputs))
    relative = task.style != 'reference'
    return span_answers.answers(examples, windows, task.n_best, relative)


def _window(
    task: Task, rows: Rows, row: int, output: Mapping[str, np.ndarray]
) -> tuple[int, list[Candidate], float]:
    begin_L, stop_L = rows.marks['begin'][row], rows.marks['stop'][row]
    best_L = rows.marks['best'][row] > 0
    window = Window(begin_L, stop_L, stop_L > 0, best_L)
    if 'start' in output:
        start_L, end_L = output['start'][: len(stop_L)], output['end'][: len(stop_L)]
        none = float(start_L[0]) + float(end_L[0])
        pairs = span_answers.from_logits(start_L, end_L, task.answer_length)
    else:
        # A short row has fewer positions than beams: the beams that are too many are padding.
        start_S = np.minimum(output['start_index'], len(stop_L) - 1)
        end_ST = np.minimum(output['end_index'], len(stop_L) - 1)
        scores_S, scores_ST = output['start_log_prob'], output['end_log_prob']
        none = float(output['impossible'])
        pairs = span_answers.from_beams(start_S, scores_S, end_ST, scores_ST)
    best = span_answers.best_pairs(pairs, window, task.n_best, task.answer_length)
    return int(rows.example[row]), best, none


def score(predictions: Predictions) -> Scores:
    """Metrics of answers by the official rules."""
    task, examples, found = predictions
    texts = [answer.best for answer in found]
    if not task.unanswerable:
        return squad_metrics.score(examples, texts)
    none = [answer.none_score for answer in found]
    return squad_metrics.score_with_none(examples, texts, none, task.null_threshold)


def final_texts(predictions: Predictions) -> dict[str, str]:
    """Id of a question -> the answer, '' for none."""
    threshold = predictions.task.null_threshold if predictions.task.unanswerable else math.inf
    return {answer.id: answer.final(threshold) for answer in predictions.values}


def trivial(
    task: Task, known: Sequence[SpanExample], examples: Sequence[SpanExample]
) -> dict[str, list[SpanAnswer]]:
    """The first sentence of the text; or no answer, where questions may have none."""
    threshold = task.null_threshold
    pairs = [(example, sentences.split(example.context)[0]) for example in examples]
    some = {
        'the first sentence for every question': [
            SpanAnswer(e.id, threshold - 1, (Found(text, e.context.find(text), 0.0, 1.0),))
            for e, text in pairs
        ]
    }
    if task.unanswerable:
        some['no answer to every question'] = [
            SpanAnswer(e.id, threshold + 1, ()) for e in examples
        ]
    return some


# ---------------------------------------------------------------------------------------------
# What is written


def to_json(predictions: Predictions) -> Iterator[dict[str, Any]]:
    """The answer to each question."""
    texts = final_texts(predictions)
    for example, answer in zip(predictions.examples, predictions.values, strict=True):
        row: dict[str, Any] = {'id': example.id, 'question': example.question}
        if has_label(example):
            row['references'] = list(dict.fromkeys(example.references))
        row['prediction'] = texts[example.id]
        if answer.n_best and texts[example.id]:
            row['start'] = answer.n_best[0].start
            row['probability'] = kind.json_number(answer.n_best[0].probability)
        row['none_score'] = kind.json_number(answer.none_score)
        yield row


def write(folder: pathlib.Path, split: str, predictions: Predictions) -> None:
    """Writes the files that the official scripts of SQuAD and MRQA read, in SPLIT_squad/.

    'predictions.json' ({id: answer}) and 'n_best.json'. Where questions may have no answer also,
    for SQuAD 2.0, 'null_odds.json' (the no-answer scores), 'na_prob.json' (the same between 0 and
    1) and 'best_texts.json' (answers whatever the threshold): evaluate-v2.0.py finds the best
    threshold of `best_texts.json` with `--na-prob-file na_prob.json`.
    """
    folder = folder / f'{split}_squad'
    listed = {a.id: [one._asdict() for one in a.n_best] for a in predictions.values}
    write_json(folder / 'n_best.json', listed)
    write_json(folder / 'predictions.json', final_texts(predictions))
    if predictions.task.unanswerable:
        none = {answer.id: answer.none_score for answer in predictions.values}
        write_json(folder / 'best_texts.json', {a.id: a.best for a in predictions.values})
        write_json(folder / 'null_odds.json', none)
        write_json(folder / 'na_prob.json', {k: _sigmoid(v) for k, v in none.items()})


def _sigmoid(value: float) -> float:
    """Between 0 and 1, also where exp would overflow."""
    power = math.exp(-abs(value))
    return 1 / (1 + power) if value >= 0 else power / (1 + power)


def draw(folder: pathlib.Path, split: str, predictions: Predictions) -> None:
    """How probable right and wrong answers are, and how no-answer scores are distributed."""
    groups: dict[str, list[float]] = {'right': [], 'wrong': []}
    for example, answer in zip(predictions.examples, predictions.values, strict=True):
        if answer.n_best:
            is_right = any(squad_metrics.exact(answer.best, r) for r in example.references)
            groups['right' if is_right else 'wrong'].append(answer.n_best[0].probability)
    title = f'{predictions.task.name}, {split}'
    path = folder / f'{split}_answers.png'
    plots.distribution(path, groups, title, 'probability of the best answer')
    if predictions.task.unanswerable:
        groups = {'with an answer': [], 'without': []}
        for example, answer in zip(predictions.examples, predictions.values, strict=True):
            name = 'with an answer' if example.references else 'without'
            groups[name].append(answer.none_score)
        path, threshold = folder / f'{split}_no_answer.png', predictions.task.null_threshold
        plots.distribution(path, groups, title, 'no-answer score', threshold)


def has_label(example: SpanExample) -> bool:
    """Whether a question has an answer, or is known to have none."""
    return bool(example.references) or example.impossible


_QUESTIONS = Columns(id='id', context='context', question='question', answers='answers')

SPANS = Kind(
    own_task='spans',
    own_spec=TaskSpec(
        TaskFiles(columns=_QUESTIONS, endings=('.json', *TABLES)),
        ('f1', 'exact_match'),
        epochs=2,
        row_length=512,
    ),
    styles=('reference', 'huggingface', 'modernbert'),
    read=read,
    inputs=('context', 'question'),
    from_line=from_line,
    content=lambda example: example.context,
    means=('f1', 'exact_match'),
    head=lambda task: task.head_shape('span', 2),
    features=features,
    loss=loss,
    answers=answers,
    has_label=has_label,
    score=score,
    trivial=trivial,
    to_json=to_json,
    write=write,
    draw=draw,
    unrecorded=(
        'it is not recorded whether questions may have no answer: each is given one, and '
        'none_score in the output is the score of no answer less that of the best one',
    ),
)
