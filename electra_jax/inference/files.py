"""Files of text in, files of answers out: what the command `predict` does."""

import contextlib
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np

from electra_jax.core import files
from electra_jax.core.complaints import Complaints, counted
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.finetune.files import lines, predict_input
from electra_jax.finetune.files.tables import Columns
from electra_jax.inference import loaded, opened
from electra_jax.inference.ability import Notes, Options
from electra_jax.inference.loaded import LoadedModel, Work
from electra_jax.runtime import terminal
from electra_jax.runtime.terminal import Progress
from electra_jax.tokenizers.unknown import Unknown


class _ReportedRows(Complaints):
    """Rows that cannot be used are left out, and each is reported at once."""

    refused = 0

    def refuse(self, reason: str, where: str, problem: str) -> None:
        """Leaves a row out, and reports it."""
        self.refused += 1
        terminal.ERR.print(f'{where}: {predict_input.in_words_of_predict(problem)}')


class Job(NamedTuple):
    """What `predict` was asked to do, checked before a checkpoint is read."""

    task: str  # one of `loaded.TASKS`
    options: Options
    path: pathlib.Path  # of the input
    output: str  # a file, '-': standard output
    form: str  # one of `predict_input.FORMATS`, or 'auto': by the ending of the input's name
    columns: Columns  # those that are not called as usual


def job(
    task: str, options: Options, input_name: str, output: str, form: str, columns: Columns
) -> Job:
    """What to do; '-' names standard input.

    Raises:
        DataError: there is no such file.
        ConfigError: the output cannot hold such answers.
    """
    path = lines.STANDARD_INPUT if input_name == '-' else pathlib.Path(input_name)
    if input_name != '-' and not path.is_file():
        raise DataError(f'--input is {input_name!r}, but there is no such file')
    if output.endswith('.npy') and task != 'embed':
        raise ConfigError(
            f'--output is {output!r}, an array, which only --task=embed writes: type a name that '
            'ends in .jsonl'
        )
    return Job(task, options, path, output, form, columns)


def open_model(checkpoint: str, batch_size: int) -> LoadedModel:
    """The model that answers; what must be known of another project's files is printed."""
    found = opened.read(checkpoint, opened.settings_of(batch_size), '--checkpoint')
    for note in found.notes:
        terminal.ERR.print(f'{found.where}: {note}')
    return LoadedModel(found, batch_size)


def answer(model: LoadedModel, job: Job) -> None:
    """Writes an answer for each example of a file: a line of JSON, or a row of an .npy array."""
    work, path, form = model.work(job.task, job.options), job.path, job.form
    if form == 'auto':
        form = predict_input.format_of(path)
        if form == 'lines':
            predict_input.check_lines(work.task, path, job.columns)
    complaints = _ReportedRows('data.on_bad_row', 'skip')
    notes = Notes(complaints, Unknown())
    examples = predict_input.read(work.task, path, form, job.columns, complaints)
    examples = _usable(work, examples, notes)
    if job.output.endswith('.npy'):
        _write_array(job.output, _answered(work, examples, notes, quiet=False))
    else:
        with _output_file(job.output) as out:
            # No bar where the answers go to the same terminal.
            same = out is sys.stdout and sys.stdout.isatty()
            for example, result in _answered(work, examples, notes, quiet=same):
                out.write(json.dumps(work.to_json(example, result), ensure_ascii=False) + '\n')
    bad = complaints.refused
    left_out = f', {counted(bad, "bad rows")} named above' if bad else ''
    answered = f'{counted(len(examples), "rows")} ({form}) answered by {model.where}{left_out}'
    terminal.ERR.print('\n'.join([*loaded.reports(notes, str(path)), answered]))


def _usable(work: Work, examples: list[Any], notes: Notes) -> list[Any]:
    """The examples that can be answered; the others are reported."""
    kept = []
    for example in examples:
        with lines.Refusing(notes.complaints, example.where):
            work.check(example)
            kept.append(example)
    return kept


def _answered(
    work: Work, examples: list[Any], notes: Notes, quiet: bool
) -> Iterator[tuple[Any, Any]]:
    """Each example with its result, and how far it has come."""
    with Progress('predicting', len(examples), console=terminal.ERR, quiet=quiet) as progress:
        for example, result in zip(examples, work.answer(examples, notes), strict=True):
            yield example, result
            progress.advance()


def _write_array(name: str, answered: Iterator[tuple[Any, Any]]) -> None:
    """Vectors in the order of the rows that could be used, float32 [rows, D]."""
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    vectors = np.stack([vector for _, vector in answered])
    with files.placed(path) as fresh, fresh.open('wb') as file:
        np.save(file, vectors)


@contextlib.contextmanager
def _output_file(name: str) -> Iterator[IO[str]]:
    """Standard output, or a file that is there only when it is complete."""
    if name == '-':
        yield sys.stdout
        return
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.placed(path) as fresh, fresh.open('w', encoding='utf-8') as file:
        yield file
