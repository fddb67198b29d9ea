"""Questions about a text: SQuAD files, the MRQA shared task's, and rows of one's own.

Formats: https://rajpurkar.github.io/SQuAD-explorer and https://github.com/mrqa/MRQA-Shared-Task-2019.
"""

import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.core import errors
from electra_jax.finetune.bad_rows import BadRows
from electra_jax.finetune.examples import Answer, SpanExample
from electra_jax.finetune.files import tables as rows_of
from electra_jax.finetune.files.columns import Columns, column_value, resolve, row_id, usable_id
from electra_jax.finetune.files.tables import (
    Row,
    Rows,
    half_character,
    kind_of,
    text_problem,
    whole_json,
)
from electra_jax.finetune.labels import plain_label


class _RefusedError(Exception):
    """A question that cannot be used; the arguments are the kind and what is wrong."""


class _Question(NamedTuple):
    """A question as it stands in any of the formats, nothing checked yet."""

    where: str
    id: str
    context: Any
    question: Any
    answers: Any = None
    title: Any = ''
    impossible: Any = None
    detected: Any = None  # answers as MRQA has them
    references: Any = None


def read(
    path: pathlib.Path,
    columns: Columns,
    bad: BadRows,
    unanswerable: bool,
    labelled: bool | None,
    ending: str | None = None,
) -> Iterator[SpanExample]:
    """Questions of SQuAD's object in a .json file, of MRQA's JSON lines, or of a row each.

    Args:
      path: the file, perhaps compressed.
      columns: those of rows with a question each.
      bad: questions that cannot be used are refused or counted here.
      unanswerable: whether the task knows questions without an answer (SQuAD 2.0).
      labelled: whether answers must be given; None: they are not looked at.
      ending: to go by instead of the name's.

    Yields:
      One for each usable question.

    Raises:
      errors.DataError: the file is not such a file, or two questions have one id.
    """
    if (ending or kind_of(path)) == '.json' and not rows_of.is_json_list(path, bad):
        found = _squad_questions(path, bad)
    else:
        header = columns.header is not False
        rows = rows_of.read(path, bad, header, columns.separator, ending=ending)
        found = _row_questions(rows, columns, bad, labelled)
    return _usable(found, bad, unanswerable, labelled)


def from_rows(
    rows: Rows, columns: Columns, bad: BadRows, unanswerable: bool, labelled: bool | None
) -> Iterator[SpanExample]:
    """As `read`, from rows that are a question each, such as those of a TensorFlow dataset."""
    found = _row_questions(rows, columns, bad, labelled)
    return _usable(found, bad, unanswerable, labelled)


def _usable(
    found: Iterator[_Question],
    bad: BadRows,
    unanswerable: bool,
    labelled: bool | None,
) -> Iterator[SpanExample]:
    seen: dict[str, str] = {}
    for question in found:
        where = question.where
        if labelled is None:
            question = _Question(*question[:4], title=question.title)
        try:
            example = _example(question, bad, unanswerable, labelled)
        except _RefusedError as refused:
            bad.refuse(refused.args[0], where, refused.args[1])
            continue
        if example.id in seen:
            raise errors.DataError(
                f'{where}: the id {example.id!r} is also that of {seen[example.id]}; predictions '
                'are filed by id, so give each question its own'
            )
        seen[example.id] = where
        yield example


# ---------------------------------------------------------------------------------------------
# One question


def _example(
    found: _Question, bad: BadRows, unanswerable: bool, labelled: bool | None
) -> SpanExample:
    name, context, question = found.id, found.context, found.question
    for part, text in (('context', context), ('question', question)):
        problem = text_problem(text)
        if problem:
            blank = isinstance(text, str) and not text.strip()
            raise _RefusedError('empty_text' if blank else 'not_text', f'in the {part}: {problem}')
    pairs = [*_pairs(found.answers), *_detected(found.detected, context)]
    answers = tuple(_answers(pairs, context, found.where, bad))
    impossible = found.impossible
    if impossible is None:  # rows of SQuAD 2.0 say so with an empty list alone
        given = (found.answers, found.detected) != (None, None)
        impossible = unanswerable and labelled and given and not answers
    if impossible and not unanswerable:
        raise _RefusedError(
            'bad_question',
            f'question {name!r} is marked as impossible, and this task has an answer to each; '
            'type --config.task.name=squad2, or --config.task.unanswerable=True',
        )
    if impossible and answers:
        raise _RefusedError(
            'bad_question', f'question {name!r} is marked as impossible and has an answer'
        )
    if labelled and not impossible and not answers:
        raise _RefusedError(
            'bad_question', f'question {name!r} has no answer and is not marked as impossible'
        )
    references = _references(found.references) or tuple(answer.text for answer in answers)
    title = found.title if isinstance(found.title, str) else ''
    return SpanExample(
        name,
        title,
        context,
        question.strip(),
        answers,
        bool(impossible),
        found.where,
        references,
    )


def _answers(
    pairs: Iterable[tuple[Any, Any]], context: str, where: str, bad: BadRows
) -> Iterator[Answer]:
    for text, start in pairs:
        problem = text_problem(text)
        if problem:
            raise _RefusedError('bad_answer', f'in an answer: {problem}')
        if isinstance(start, bool) or not isinstance(start, int):
            raise _RefusedError('bad_answer', f'answer {text!r:.60} has no start ({start!r:.20})')
        place = _place(text, start, context)
        if place is None:
            around = f'; at its start, {start}, stands {context[start : start + len(text)]!r:.60}'
            raise _RefusedError(
                'bad_answer',
                f'the answer {text!r:.60} is nowhere in the text{around if start >= 0 else ""}',
            )
        if place.start != start or place.text != text:
            bad.count('moved_answer', f'{where}, {text!r:.60} at {start}, found at {place.start}')
        yield place


def _pairs(found: Any) -> list[tuple[Any, Any]]:
    """Texts and starts of a list of objects, or of an object of two lists."""
    if found is None:
        return []
    if isinstance(found, Mapping):
        texts, starts = found.get('text', []), found.get('answer_start', [])
        if isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts):
            return list(zip(texts, starts, strict=True))
    elif isinstance(found, list) and all(isinstance(item, Mapping) for item in found):
        return [(item.get('text'), item.get('answer_start')) for item in found]
    raise _RefusedError(
        'bad_answer',
        f"answers must be a list of {{'text': ..., 'answer_start': ...}}, found {found!r:.60}",
    )


def _detected(found: Any, context: str) -> list[tuple[str, int]]:
    """Texts and starts of MRQA's answers: the text is what its characters say."""
    try:
        spans = [span for answer in found or () for span in answer['char_spans']]
        # The last character is part of the answer.
        return [(context[first : last + 1], first) for first, last in spans]
    except (KeyError, TypeError, ValueError) as error:
        raise _RefusedError(
            'bad_answer', f'detected_answers cannot be read ({error!r:.60})'
        ) from error


def _references(found: Any) -> tuple[str, ...]:
    """Texts that count as right, of which MRQA lists some that its context does not hold."""
    if not isinstance(found, list | None):
        raise _RefusedError('bad_answer', f'answers must be a list of texts, found {found!r:.60}')
    texts = tuple(text for text in found or () if isinstance(text, str))
    problem = half_character(''.join(texts))
    if problem:
        raise _RefusedError('bad_answer', f'in an answer: {problem}')
    return texts


def _place(text: str, start: int, context: str) -> Answer | None:
    """The answer where it is said to be, or where it stands nearest to there."""
    if start >= 0 and context.startswith(text, start):
        return Answer(text, start)
    text = text.strip()
    places, place = [], context.find(text)
    while place >= 0:
        places.append(place)
        place = context.find(text, place + 1)
    if not places:
        return None
    return Answer(text, min(places, key=lambda place: abs(place - start)))


# ---------------------------------------------------------------------------------------------
# Formats


def _squad_questions(path: pathlib.Path, bad: BadRows) -> Iterator[_Question]:
    articles = _part(whole_json(path, bad), 'data', str(path))
    for i, article in enumerate(articles):
        for j, paragraph in enumerate(_part(article, 'paragraphs', f'{path}: data[{i}]')):
            where = f'{path}: data[{i}].paragraphs[{j}]'
            for k, entry in enumerate(_part(paragraph, 'qas', where)):
                name = _id(entry, ('id',), f'{where}.qas[{k}]', bad)
                if name is None:
                    continue
                yield _Question(
                    f'{path}: question {name}',
                    name,
                    paragraph.get('context'),
                    entry.get('question'),
                    entry.get('answers'),
                    article.get('title', ''),
                    entry.get('is_impossible', False),
                )


def _id(entry: Any, keys: Sequence[str], where: str, bad: BadRows) -> str | None:
    """The id of a question in a list; None: it has none that can be used."""
    given = [entry.get(key) for key in keys] if isinstance(entry, dict) else []
    given = [value for value in given if value not in (None, '')]
    if not given:
        bad.refuse('bad_question', where, f'no {keys[0]} in {entry!r:.80}')
        return None
    return usable_id(given[0], where, bad)


def _part(found: Any, key: str, where: str) -> Sequence[Any]:
    part = found.get(key) if isinstance(found, dict) else None
    if not isinstance(part, list):
        has = ', '.join(sorted(found)[:10]) if isinstance(found, dict) else type(found).__name__
        raise errors.DataError(
            f'{where}: a SQuAD file holds a list {key!r} here, found {has}; files with a question '
            'a line must end in .jsonl'
        )
    return part


def _row_questions(
    rows: Rows, columns: Columns, bad: BadRows, labelled: bool | None
) -> Iterator[_Question]:
    # Rows may be without an id, but not without one that somebody named.
    needed = {
        'id': columns.id not in (None, 'id'),
        'context': True,
        'question': True,
        'answers': bool(labelled),
    }
    keys = {
        part: resolve(rows, getattr(columns, part) or part, part, is_needed)
        for part, is_needed in needed.items()
    }
    for row in rows.rows:
        if 'qas' in row.values:
            yield from _mrqa_questions(row, bad)
        elif list(row.values) != ['header']:  # MRQA's first line is about the file
            yield from _row_question(row, keys, bad)


def _row_question(row: Row, keys: Mapping[str, str | None], bad: BadRows) -> Iterator[_Question]:
    texts = []
    for part in ('context', 'question'):
        found, problem = column_value(row, keys[part])
        if problem:
            bad.refuse('missing_field', row.where, f'{problem} (for {part})')
            return
        texts.append(found)
    context, question = texts
    name = row_id(row, keys['id'], bad)
    if name is None:
        return
    answers = row.values.get(keys['answers'])
    if isinstance(answers, str) and isinstance(context, str):
        answers = _answer_alone(answers.strip(), context)
    mark = plain_label(row.values.get('is_impossible'))
    yield _Question(
        row.where,
        name,
        context,
        question,
        answers,
        row.values.get('title', ''),
        None if mark is None else mark.lower() in ('true', '1'),
    )


def _answer_alone(text: str, context: str) -> list[dict[str, Any]]:
    """In SQuAD's form an answer of which the text is all that is given, as in a cell."""
    return [{'text': text, 'answer_start': context.find(text)}] if text else []


def _mrqa_questions(row: Row, bad: BadRows) -> Iterator[_Question]:
    context = row.values.get('context')
    for entry in _part(row.values, 'qas', row.where):
        name = _id(entry, ('qid', 'id'), row.where, bad)
        if name is None:
            continue
        yield _Question(
            row.where,
            name,
            context,
            entry.get('question'),
            detected=entry.get('detected_answers'),
            references=entry.get('answers'),
        )
