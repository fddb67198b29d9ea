"""Questions about a text: SQuAD files, the MRQA shared task's, and table rows with one each.

Formats: https://rajpurkar.github.io/SQuAD-explorer and https://github.com/mrqa/MRQA-Shared-Task-2019.
"""

import contextlib
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError
from electra_jax.finetune.examples import Answer, SpanExample
from electra_jax.finetune.files import answer_starts, lines, tables, unread
from electra_jax.finetune.files.answer_starts import Given
from electra_jax.finetune.files.lines import Refusing, UnusableError
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.texts import composed, plain_label

_READ = ('is_impossible', 'qas', 'header', 'context')  # fields that have no other name
_MARKS = {'true': True, 'false': False, '1': True, '0': False, '1.0': True, '0.0': False}


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


def read(source: Source, unanswerable: bool) -> Iterator[SpanExample]:
    """Questions of a SQuAD file (.json), of MRQA's JSON lines, or of rows with one each.

    `unanswerable` is whether the task has questions without an answer (SQuAD 2.0).
    """
    path = source.path
    questions: Iterable[_Question] = _row_questions(source)
    if path is not None and source.ending == '.json' and not tables.is_list(path):
        questions = _squad_questions(path, source.complaints)
    unit = answer_starts.CHARACTERS
    if source.labelled:
        questions = list(questions)
        unit = _find_unit(questions, source)
    seen: dict[str, str] = {}
    for question in questions:
        if source.labelled is None:
            question = _Question(*question[:4])
        with Refusing(source.complaints, question.where):
            one = _example(question, source, unanswerable, unit)
            if one.id in seen and source.split == 'train':
                source.complaints.count('double_id', f'{one.where}, also {seen[one.id]}')
                # A share of these questions may be scored, by their ids.
                one = one._replace(id=f'{one.id}#{len(seen)}')
            if one.id in seen:
                raise DataError(
                    f'{one.where}: the id {one.id!r} is also that of {seen[one.id]}; predictions '
                    'are filed by id, so give each question its own'
                )
            seen[one.id] = one.where
            yield one


# ---------------------------------------------------------------------------------------------
# Where answers begin


def _find_unit(questions: Iterable[_Question], source: Source) -> str:
    """What the file's starts of answers count; what cannot be used is refused later."""
    given = []
    for one in questions:
        with contextlib.suppress(UnusableError):
            given += [Given(one.context, *pair) for pair in _pairs(one.answers)]
    usable = (x for x in given if isinstance(x.context, str) and isinstance(x.text, str))
    unit, note = answer_starts.find_unit(x for x in usable if type(x.start) is int)
    source.complaints.note(note and f'{source.where}: {note}')
    return unit


# ---------------------------------------------------------------------------------------------
# One question


def _example(question: _Question, source: Source, unanswerable: bool, unit: str) -> SpanExample:
    """The question, checked; raises UnusableError. Starts of its answers count a `unit`."""
    name, labelled = question.id, bool(source.labelled)
    context = lines.usable_text(question.context, 'the context')
    text = lines.usable_text(question.question, 'the question').strip()
    given = [
        (x, answer_starts.in_characters(context, at, unit)) for x, at in _pairs(question.answers)
    ]
    pairs = [*given, *_detected(question.detected, context)]
    answers = tuple(_answer(*pair, context, question.where, source.complaints) for pair in pairs)
    impossible = _mark(question.impossible)
    if impossible is None:  # rows of SQuAD 2.0 mark it by an empty list alone
        listed = (question.answers, question.detected) != (None, None)
        impossible = unanswerable and labelled and listed and not answers
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
    problem = lines.text_problem(text)
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
        if composed(bare) in composed(context):
            around = '; it does in another of the forms of Unicode, NFC and NFD: write both in one'
        raise UnusableError(
            'bad_answer',
            f'the answer {text!r:.60} does not occur in the text{around if start >= 0 else ""}',
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
        problem = f'detected_answers cannot be read ({error!r:.60})'
        raise UnusableError('bad_answer', problem) from error


def _references(texts: Any) -> tuple[str, ...]:
    """Texts that count as right, of which MRQA lists some that its context does not hold."""
    if not isinstance(texts, list | None):
        raise UnusableError('bad_answer', f'answers must be a list of texts, found {texts!r:.60}')
    references = tuple(text for text in texts or () if isinstance(text, str))
    problem = lines.half_character(''.join(references))
    if problem:
        raise UnusableError('bad_answer', f'in an answer: {problem}')
    return references


# ---------------------------------------------------------------------------------------------
# Formats


def _squad_questions(path: pathlib.Path, complaints: Complaints) -> Iterator[_Question]:
    for i, article in enumerate(_list_in(lines.json_value(path, complaints), 'data', str(path))):
        for j, paragraph in enumerate(_list_in(article, 'paragraphs', f'{path}: data[{i}]')):
            where = f'{path}: data[{i}].paragraphs[{j}]'
            for k, entry in enumerate(_list_in(paragraph, 'qas', where)):
                with Refusing(complaints, f'{where}.qas[{k}]'):
                    name = _id(entry, 'id')
                    yield _Question(
                        f'{path}: question {name}',
                        name,
                        paragraph.get('context'),
                        entry.get('question'),
                        entry.get('answers'),
                        False if (mark := entry.get('is_impossible')) is None else mark,
                    )


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
    return lines.usable_id(given[0])


def _row_questions(source: Source) -> Iterator[_Question]:
    rows, complaints = source.rows(), source.complaints
    # Rows may be without an id, but not without one that the user named.
    named_id = [] if source.columns.id in (None, 'id') else ['id']
    needed = rows.need_all(
        ['context', 'question', *(['answers'] if source.labelled else []), *named_id]
    )
    asked = {field: needed[field] for field in ('context', 'question')}
    id_key, answers_key = (needed.get(field) or rows.find(field) for field in ('id', 'answers'))
    used = {*needed.values(), id_key, answers_key, *_READ}
    for row in unread.noted(source, rows, used):
        if 'qas' in row.values:
            for entry in _list_in(row.values, 'qas', row.where):
                with Refusing(complaints, row.where):
                    yield _Question(
                        row.where,
                        _id(entry, 'qid', 'id'),
                        row.values.get('context'),
                        entry.get('question'),
                        detected=entry.get('detected_answers'),
                        references=entry.get('answers'),
                    )
        elif list(row.values) != ['header']:  # the first line of MRQA's files describes the file
            with Refusing(complaints, row.where):
                row.check(asked)
                context = row.values[asked['context']]
                yield _Question(
                    row.where,
                    question=row.values[asked['question']],
                    id=row.id(id_key),
                    context=context,
                    answers=_bare_answers(
                        row.values.get(answers_key or 'answers'), context, row.where, complaints
                    ),
                    impossible=row.values.get('is_impossible'),
                )


def _bare_answers(answers: Any, context: Any, where: str, complaints: Complaints) -> Any:
    """Answers in SQuAD's form, where a cell holds the text of an answer alone."""
    if not isinstance(answers, str) or not isinstance(context, str):
        return answers
    bare = answers.strip()
    if bare and context.count(bare) > 1:
        complaints.count('first_answer', f'{where}: {bare!r:.60}')
    return [{'text': bare, 'answer_start': context.find(bare)}] if bare else []


def _mark(value: Any) -> bool | None:
    mark = plain_label(value)
    if mark is None:
        return None
    if mark.lower() not in _MARKS:
        problem = f'is_impossible is {value!r:.40}, allowed: {", ".join(_MARKS)}'
        raise UnusableError('bad_question', problem)
    return _MARKS[mark.lower()]
