"""Questions about a text: SQuAD files, the MRQA shared task's, and table rows with one each.

Formats: https://rajpurkar.github.io/SQuAD-explorer and https://github.com/mrqa/MRQA-Shared-Task-2019.
"""

import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError
from electra_jax.finetune.examples import Answer, SpanExample
from electra_jax.finetune.files import tables
from electra_jax.finetune.files.tables import Columns, Row, Rows, UnusableError
from electra_jax.finetune.files.texts import plain_label


class _Question(NamedTuple):
    """A question as one of the formats gives it, not checked yet."""

    where: str
    id: str
    context: Any
    question: Any
    answers: Any = None
    impossible: Any = None
    detected: Any = None  # answers in MRQA's form
    references: Any = None


def read(
    path: pathlib.Path,
    columns: Columns,
    complaints: Complaints,
    unanswerable: bool,
    labelled: bool | None,
    ending: str | None = None,
) -> Iterator[SpanExample]:
    """Questions of a SQuAD file (.json), of MRQA's JSON lines, or of a table with one a row.

    Args:
        path: the file, perhaps compressed.
        columns: those of rows with a question each.
        complaints: questions that cannot be used are refused or counted here.
        unanswerable: whether the task has questions without an answer (SQuAD 2.0).
        labelled: whether answers must be given; None: they are not looked at.
        ending: stands in for the name's own.

    Yields:
        One example for each usable question.

    Raises:
        DataError: the file is not such a file, or two questions have one id.
    """
    if (ending or tables.ending_of(path)) != '.json':
        rows = tables.read(path, complaints, columns, ending=ending)
        return from_rows(rows, columns, complaints, unanswerable, labelled)
    questions = _squad_questions(path, complaints)
    return _examples(questions, complaints, unanswerable, labelled)


def from_rows(
    rows: Rows, columns: Columns, complaints: Complaints, unanswerable: bool, labelled: bool | None
) -> Iterator[SpanExample]:
    """Questions of rows with one each, such as those of a TensorFlow dataset; as `read`."""
    questions = _row_questions(rows, columns, complaints, labelled)
    return _examples(questions, complaints, unanswerable, labelled)


def _examples(
    questions: Iterator[_Question],
    complaints: Complaints,
    unanswerable: bool,
    labelled: bool | None,
) -> Iterator[SpanExample]:
    def example(question: _Question) -> SpanExample:
        if labelled is None:
            question = _Question(*question[:4])
        return _example(question, complaints, unanswerable, bool(labelled))

    seen: dict[str, str] = {}
    for one in tables.usable(questions, example, lambda question: question.where, complaints):
        if one.id in seen:
            raise DataError(
                f'{one.where}: the id {one.id!r} is also that of {seen[one.id]}; predictions are '
                'filed by id, so give each question its own'
            )
        seen[one.id] = one.where
        yield one


# ---------------------------------------------------------------------------------------------
# One question


def _example(
    question: _Question, complaints: Complaints, unanswerable: bool, labelled: bool
) -> SpanExample:
    """The question, checked; raises UnusableError."""
    name = question.id
    context = tables.usable_text(question.context, 'the context')
    text = tables.usable_text(question.question, 'the question').strip()
    pairs = [*_pairs(question.answers), *_detected(question.detected, context)]
    answers = tuple(_answer(*pair, context, question.where, complaints) for pair in pairs)
    impossible = question.impossible
    if impossible is None:  # rows of SQuAD 2.0 mark it by an empty list alone
        given = (question.answers, question.detected) != (None, None)
        impossible = unanswerable and labelled and given and not answers
    problem = None
    if impossible and not unanswerable:
        problem = (
            'is marked as impossible, and this task has an answer to each; type '
            '--config.task.name=squad2, or --config.task.unanswerable=True'
        )
    elif impossible and answers:
        problem = 'is marked as impossible and has an answer'
    elif labelled and not impossible and not answers:
        problem = 'has no answer and is not marked as impossible'
    if problem:
        raise UnusableError('bad_question', f'question {name!r} {problem}')
    references = _references(question.references) or tuple(answer.text for answer in answers)
    return SpanExample(name, context, text, answers, bool(impossible), question.where, references)


def _answer(text: Any, start: Any, context: str, where: str, complaints: Complaints) -> Answer:
    """The answer at its start, or where the text holds it nearest to there."""
    problem = tables.text_problem(text)
    if problem:
        raise UnusableError('bad_answer', f'in an answer: {problem}')
    if isinstance(start, bool) or not isinstance(start, int):
        raise UnusableError('bad_answer', f'answer {text!r:.60} has no start ({start!r:.20})')
    if start >= 0 and context.startswith(text, start):
        return Answer(text, start)
    bare = text.strip()
    starts = [match.start() for match in re.finditer(f'(?={re.escape(bare)})', context)]
    if not starts:
        around = f'; at its start, {start}, stands {context[start : start + len(text)]!r:.60}'
        raise UnusableError(
            'bad_answer',
            f'the answer {text!r:.60} is nowhere in the text{around if start >= 0 else ""}',
        )
    nearest = min(starts, key=lambda one: abs(one - start))
    complaints.count('moved_answer', f'{where}, {text!r:.60} at {start}, found at {nearest}')
    return Answer(bare, nearest)


def _pairs(answers: Any) -> list[tuple[Any, Any]]:
    """Texts and starts of a list of objects, or of an object of two lists."""
    if answers is None:
        return []
    if isinstance(answers, Mapping):
        texts, starts = answers.get('text', []), answers.get('answer_start', [])
        if isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts):
            return list(zip(texts, starts, strict=True))
    elif isinstance(answers, list) and all(isinstance(item, Mapping) for item in answers):
        return [(item.get('text'), item.get('answer_start')) for item in answers]
    raise UnusableError(
        'bad_answer',
        f"answers must be a list of {{'text': ..., 'answer_start': ...}}, found {answers!r:.60}",
    )


def _detected(answers: Any, context: str) -> list[tuple[str, int]]:
    """Texts and starts of MRQA's answers, whose text is the characters of their spans."""
    try:
        spans = [span for answer in answers or () for span in answer['char_spans']]
        # The last character is part of the answer.
        return [(context[first : last + 1], first) for first, last in spans]
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableError(
            'bad_answer', f'detected_answers cannot be read ({error!r:.60})'
        ) from error


def _references(texts: Any) -> tuple[str, ...]:
    """Texts that count as right, of which MRQA lists some that its context does not hold."""
    if not isinstance(texts, list | None):
        raise UnusableError('bad_answer', f'answers must be a list of texts, found {texts!r:.60}')
    references = tuple(text for text in texts or () if isinstance(text, str))
    problem = tables.half_character(''.join(references))
    if problem:
        raise UnusableError('bad_answer', f'in an answer: {problem}')
    return references


# ---------------------------------------------------------------------------------------------
# Formats


def _squad_questions(path: pathlib.Path, complaints: Complaints) -> Iterator[_Question]:
    def question(located: tuple[str, Any, Any]) -> _Question:
        _, context, entry = located
        name = _id(entry, 'id')
        impossible = entry.get('is_impossible', False)
        text, answers = entry.get('question'), entry.get('answers')
        where = f'{path}: question {name}'
        return _Question(where, name, context, text, answers, impossible)

    entries = _squad_entries(path, complaints)
    return tables.usable(entries, question, lambda located: located[0], complaints)


def _squad_entries(path: pathlib.Path, complaints: Complaints) -> Iterator[tuple[str, Any, Any]]:
    """For each question: where it is, its context, and its own object."""
    for i, article in enumerate(_list_in(_parsed(path, complaints), 'data', str(path))):
        for j, paragraph in enumerate(_list_in(article, 'paragraphs', f'{path}: data[{i}]')):
            where = f'{path}: data[{i}].paragraphs[{j}]'
            for k, entry in enumerate(_list_in(paragraph, 'qas', where)):
                yield f'{where}.qas[{k}]', paragraph.get('context'), entry


def _parsed(path: pathlib.Path, complaints: Complaints) -> Any:
    """The value of a JSON file; raises DataError with the line that is not JSON."""
    data = tables.content(path, complaints)
    try:
        return json.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b'\n') + 1
        raise DataError(
            f'{path}:{line}: byte {error.start} of the file is not UTF-8; if it is Latin-1, type: '
            f'iconv -f LATIN1 -t UTF-8 {path} > NEW'
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f'{path}:{error.lineno}: not JSON ({error.msg} at character {error.colno} of the '
            'line); the file may be torn, or be JSON lines, whose name must end in .jsonl'
        ) from error
    # A number of thousands of digits is a ValueError.
    except (RecursionError, ValueError) as error:
        raise DataError(f'{path}: not JSON that can be used ({error})') from error


def _list_in(value: Any, key: str, where: str) -> Sequence[Any]:
    items = value.get(key) if isinstance(value, dict) else None
    if not isinstance(items, list):
        has = ', '.join(sorted(value)[:10]) if isinstance(value, dict) else type(value).__name__
        raise DataError(
            f'{where}: a SQuAD file holds a list {key!r} here, found {has}; a file with a '
            'JSON object for each question must have one a line, and a name that ends in .jsonl'
        )
    return items


def _id(entry: Any, *keys: str) -> str:
    """The id of a question under the first of these keys; raises UnusableError."""
    given = [entry.get(key) for key in keys] if isinstance(entry, dict) else []
    given = [value for value in given if value not in (None, '')]
    if not given:
        raise UnusableError('bad_question', f'no {keys[0]} in {entry!r:.80}')
    return tables.usable_id(given[0])


def _row_questions(
    rows: Rows, columns: Columns, complaints: Complaints, labelled: bool | None
) -> Iterator[_Question]:
    # Rows may be without an id, but not without one that the user named.
    needed = {
        'id': columns.id not in (None, 'id'),
        'context': True,
        'question': True,
        'answers': bool(labelled),
    }
    keys: dict[str, str | None] = {}
    for field, is_needed in needed.items():
        column = getattr(columns, field) or field
        key = tables.find_column(rows, column)
        keys[field] = tables.need_column(rows, column, field) if is_needed else key

    def question(row: Row) -> _Question:
        context, text = (
            tables.find_value(row, keys[field] or field) for field in ('context', 'question')
        )
        answers = row.values.get(keys['answers'] or 'answers')
        if isinstance(answers, str) and isinstance(context, str):
            # A cell holds the answer's text alone.
            bare = answers.strip()
            answers = [{'text': bare, 'answer_start': context.find(bare)}] if bare else []
        mark = plain_label(row.values.get('is_impossible'))
        return _Question(
            row.where,
            tables.row_id(row, keys['id']),
            context,
            text,
            answers,
            None if mark is None else mark.lower() in ('true', '1'),
        )

    for row in rows.rows:
        if 'qas' in row.values:
            yield from _mrqa_questions(row, complaints)
        elif list(row.values) != ['header']:  # the first line of MRQA's files describes the file
            yield from tables.usable([row], question, lambda row: row.where, complaints)


def _mrqa_questions(row: Row, complaints: Complaints) -> Iterator[_Question]:
    def question(entry: Any) -> _Question:
        return _Question(
            row.where,
            _id(entry, 'qid', 'id'),
            row.values.get('context'),
            entry.get('question'),
            detected=entry.get('detected_answers'),
            references=entry.get('answers'),
        )

    entries = _list_in(row.values, 'qas', row.where)
    return tables.usable(entries, question, lambda _: row.where, complaints)
