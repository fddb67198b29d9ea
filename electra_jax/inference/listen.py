"""Lines answered as they come: a JSON object for each, in their order."""

import collections
import json
import os
import select
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from electra_jax.core.complaints import Complaints, counted
from electra_jax.core.errors import ConfigError, DataError, UserError, unknown
from electra_jax.finetune.files import lines, predict_input
from electra_jax.finetune.files.lines import UnusableError
from electra_jax.finetune.files.predict_input import Line
from electra_jax.finetune.files.tables import Columns
from electra_jax.inference.ability import Notes
from electra_jax.inference.work import Work, reports
from electra_jax.runtime import terminal
from electra_jax.tokenizers.unknown import Unknown

# 'auto': 'lines', of which those that look like another format are refused.
FORMATS = ('auto', 'lines', 'jsonl')
_CHUNK = 1 << 16  # bytes that a pipe holds
_KEPT_WORDS = 1000  # of those that the vocabulary lacks
_MARK = b'\xef\xbb\xbf'  # the byte order mark, which may begin the input


def checked_form(input_name: str, output: str, form: str) -> str:
    """The format of the lines that ``--listen`` answers.

    Raises:
        ConfigError: `predict` has a flag that does not fit.
    """
    for flag, value in (('input', input_name), ('output', output)):
        if value != '-':
            raise ConfigError(
                f'--{flag} is {value!r}, but --listen reads standard input and writes standard '
                'output: leave one of them out'
            )
    if form not in FORMATS:
        raise ConfigError(
            f'--format is {form!r}, but --listen answers each line alone, allowed: '
            f'{", ".join(FORMATS)}'
        )
    return form


class Listener:
    """Answers lines, any number at a time.

    Attributes:
        answered: lines that were.
        refused: lines that could not be used.
        notes: what was cut, and what the vocabulary lacks.
    """

    answered: int
    refused: int
    notes: Notes

    def __init__(self, work: Work, form: str = 'auto', columns: Columns | None = None):
        if work.at_once is None:
            raise ConfigError(
                f'{work.name} answers rows by what other rows hold, which lines that come one by '
                'one do not have: leave --listen out, and name all rows with --input'
            )
        if form not in FORMATS:
            raise unknown('form', form, FORMATS)
        self._work = work._replace(labelled=False, score=None)
        self._form, self._columns = form, columns or Columns()
        predict_input.check_columns(self._columns, self._work.inputs, f'{work.name} with --listen')
        self.answered = self.refused = 0
        self.notes = Notes(_BadLine(''), Unknown())

    @property
    def each(self) -> str:
        """What a line is."""
        return 'an object of JSON' if self._form == 'jsonl' else 'a text'

    def answer(self, given: Sequence[bytes | str]) -> list[dict[str, Any]]:
        """An object for each line: its answer, or its id and an error."""
        begin = self.answered + self.refused
        read = [self._read(begin + number, one) for number, one in enumerate(given)]
        answers = iter(self._answers([one for one in read if not isinstance(one, _Refused)]))
        found = [one if isinstance(one, _Refused) else next(answers) for one in read]
        refused = sum(isinstance(one, _Refused) for one in found)
        self.refused, self.answered = self.refused + refused, self.answered + len(found) - refused
        return [one._asdict() if isinstance(one, _Refused) else one for one in found]

    def _read(self, number: int, given: bytes | str) -> 'Any | _Refused':
        """The example that a line is, or why it is none."""
        task, line = self._work.task, Line(f'row {number}', number, '')
        try:
            line = line._replace(text=_decoded(given))
            if not line.text.strip():
                raise UnusableError('empty_text', 'the line is empty')
            example = predict_input.from_line(
                task, line, self._form, self._columns, self.notes.complaints
            )
            self._work.check(example)
        except (DataError, UnusableError) as error:
            problem = error.problem if isinstance(error, UnusableError) else str(error)
            name = predict_input.id_of(task, line, self._form, self._columns)
            return _Refused(name, predict_input.in_words_of_predict(problem))
        return example

    def _answers(self, examples: Sequence[Any]) -> 'list[dict[str, Any] | _Refused]':
        """The answers; where they cannot all be given, each line is asked for alone."""
        try:
            groups = list(self._work.answers(examples, self.notes)) if examples else []
        except UserError as error:
            if len(examples) == 1:
                return [_Refused(examples[0].id, str(error))]
            return [self._answers([one])[0] for one in examples]
        self._forget_rare_words()
        results = [result for some in groups for result in some]
        return [self._work.to_json(*pair) for pair in zip(examples, results, strict=True)]

    def _forget_rare_words(self) -> None:
        """Bounds what is kept of lines that never end."""
        words = self.notes.unknown.words
        if len(words) > 2 * _KEPT_WORDS:
            most = collections.Counter(words).most_common(_KEPT_WORDS)
            self.notes.unknown.words = dict(most)


class _Refused(NamedTuple):
    """A line that cannot be used, as it is written in place of an answer."""

    id: str
    error: str


class _BadLine(Complaints):
    """What cannot be used is an error, which becomes the answer."""

    def refuse(self, reason: str, where: str, problem: str) -> None:
        """Refuses it."""
        raise UnusableError(reason, problem)


def _decoded(given: bytes | str) -> str:
    if isinstance(given, str):
        return given.rstrip('\r\n')
    return lines.decoded(given.rstrip(b'\r\n'), lines.STANDARD_INPUT)


def arrived(descriptor: int, most: int) -> Iterator[list[bytes]]:
    """The lines of a pipe, file or terminal: those that are there by now, at most so many.

    It waits only where there is none. A last line may lack its end.
    """
    there: collections.deque[bytes] = collections.deque()
    begun: list[bytes] = []  # of a line whose end has not come

    def take() -> bool:
        """Reads what has come, waiting for something; False at the end of the input."""
        chunk = os.read(descriptor, _CHUNK)
        first, *others = chunk.split(b'\n')
        begun.append(first)
        for part in others:
            there.append(b''.join(begun))
            begun[:] = [part]
        if not chunk and (last := b''.join(begun)):
            there.append(last)
        return bool(chunk)

    going = True
    while going or there:
        while going and not there:
            going = take()
        while going and len(there) < most and select.select([descriptor], [], [], 0)[0]:
            going = take()
        if there:
            yield [there.popleft() for _ in range(min(most, len(there)))]


def run(listener: Listener, where: str, most: int) -> None:
    """Answers standard input line by line until it ends, or Ctrl-C is typed.

    `where` names the model; at most so many lines are answered together.
    """
    terminal.ERR.print(
        f'{where} listens: each line is {listener.each}, and answered by a line of JSON'
    )
    try:
        for number, group in enumerate(arrived(sys.stdin.fileno(), most)):
            if number == 0:
                group[0] = group[0].removeprefix(_MARK)
            for answer in listener.answer(group):
                sys.stdout.write(json.dumps(answer, ensure_ascii=False) + '\n')
            sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    refused = f', {listener.refused:,} refused' if listener.refused else ''
    summary = f'{counted(listener.answered, "lines")} answered by {where}{refused}'
    terminal.ERR.print('\n'.join([*reports(listener.notes, 'the input'), summary]))
