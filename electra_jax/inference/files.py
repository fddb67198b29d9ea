"""Files of text in, files of answers out: what the command `predict` does."""

import contextlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

import numpy as np

from electra_jax.core import files
from electra_jax.core.complaints import Complaints, counted
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.finetune.files import lines, predict_input
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.inference import opened
from electra_jax.inference.ability import Notes, Options
from electra_jax.inference.loaded import LoadedModel
from electra_jax.inference.work import Work, reports
from electra_jax.runtime import terminal
from electra_jax.runtime.terminal import Progress
from electra_jax.tokenizers.unknown import Unknown

_SHOWN = 10  # names that a line lists
LEFT_OUT = 4  # exit status of a command that answered all rows but some that it could not use


class _ReportedRows(Complaints):
    """Rows that cannot be used are left out, and each is reported at once."""

    refused = 0

    def refuse(self, reason: str, where: str, problem: str) -> None:
        """Leaves a row out, and reports it."""
        self.refused += 1
        terminal.ERR.print(f'left out: {where}: {predict_input.in_words_of_predict(problem)}')


class Job(NamedTuple):
    """What `predict` was asked to do, checked before a checkpoint is read."""

    task: str  # one of `loaded.TASKS`
    options: Options
    path: pathlib.Path  # of the input, a file or a folder of them
    output: str  # a file, '-': standard output
    form: str  # one of `predict_input.FORMATS`, or 'auto': by the ending of the input's name
    columns: Columns  # those that are not called as usual


def job(
    task: str, options: Options, input_name: str, output: str, form: str, columns: Columns
) -> Job:
    """What to do; '-' names standard input.

    Raises:
        DataError: there is no such file.
        ConfigError: the output cannot hold such answers, or is a folder or the input.
    """
    path = lines.STANDARD_INPUT if input_name == '-' else pathlib.Path(input_name)
    if input_name != '-' and not path.exists():
        raise DataError(f'--input is {input_name!r}, but there is no such file')
    if output.endswith('.npy') and task != 'embed':
        raise ConfigError(
            f'--output is {output!r}, an array, which only --task=embed writes: type a name that '
            'ends in .jsonl'
        )
    if predict_input.format_of(pathlib.Path(output)) not in ('lines', 'json', 'jsonl'):
        raise ConfigError(
            f'--output is {output!r}, the name of a table, and answers are lines of JSON: type a '
            'name that ends in .jsonl'
        )
    if output != '-' and pathlib.Path(output).is_dir():
        raise ConfigError(f'--output is the folder {output!r}: name a file in it')
    if pathlib.Path(output).exists() and path.exists() and path.samefile(output):
        raise ConfigError(f'--output is {output!r}, which is --input too: name another file')
    return Job(task, options, path, output, form, columns)


def open_model(checkpoint: str, batch_size: int) -> LoadedModel:
    """The model that answers; what must be known of another project's files is printed."""
    found = opened.read(checkpoint, opened.settings_of(batch_size), '--checkpoint')
    for note in found.notes:
        terminal.ERR.print(f'{found.where}: {note}')
    return LoadedModel(found, batch_size)


def answer(model: LoadedModel, job: Job) -> int:
    """Writes an answer for each example of each file: lines of JSON, or rows of an .npy array.

    Returns how many rows could not be used, and were left out.
    """
    work = model.work(job.task, job.options)
    predict_input.check_columns(job.columns, work.inputs, work.name)
    if changes := _changes(job.output):
        terminal.ERR.print(changes)
    bad = _ReportedRows('data.on_bad_row', 'skip')
    notes = Notes(bad, Unknown())
    inputs = [_read(work, path, job, notes) for path in _paths(job.path)]
    total, several = sum(len(one.examples) for one in inputs), len(inputs) > 1
    measured: list[tuple[str, int, dict[str, float]]] = []
    labelled: dict[str, list[tuple[Any, Any]]] = {}
    # No bar where the answers go to the same terminal.
    quiet = job.output == '-' and sys.stdout.isatty()
    with (
        contextlib.ExitStack() as waiting,
        _writer(job.output, work) as write,
        Progress('predicting', total, console=terminal.ERR, quiet=quiet, compiles=True) as progress,
    ):
        if quiet:  # until the first answer
            waiting.enter_context(terminal.alive('compiling', terminal.ERR))
        for one in inputs:
            results: list[Any] = []
            examples = iter(one.examples)
            for some in work.answers(one.examples, notes):
                waiting.close()
                for result in some:
                    write(next(examples), result, {'file': one.path.name} if several else {})
                progress.advance(len(some))
                results += some if work.measure or one.labelled else []
            if work.measure and results and (values := work.measure(one.examples, results)):
                measured.append((one.path.stem, len(results), values))
            if one.labelled:
                found = dict(zip(map(predict_input.key_of, one.examples), results, strict=True))
                pairs = [(x, found[key]) for key, x in one.labelled.items() if key in found]
                labelled |= {one.path.name: pairs} if pairs else {}
    scores = _scores(work, labelled)
    _report(model, job, inputs, notes, measured, scores)
    return bad.refused


def _scores(work: Work, labelled: dict[str, list[tuple[Any, Any]]]) -> list[str]:
    """What the answers to rows with labels reach."""
    try:
        return work.score(labelled) if work.score else []
    except ModuleNotFoundError as error:
        return [
            f'the rows have labels, and are not scored, as {error.name} is missing: '
            "type pip install -e '.[finetune]'"
        ]


def _changes(output: str) -> str:
    """What writing a file does to what is there, apart from one file more; '': nothing."""
    path = pathlib.Path(output)
    if output == '-' or _is_stream(path):
        return ''
    if path.exists():
        return f'{path} is there already: its content is replaced once all is answered'
    return '' if path.parent.exists() else f'{path.parent} is not there: the folder is made'


class _Input(NamedTuple):
    """A file that was read."""

    path: pathlib.Path
    form: str
    examples: list[Any]
    labelled: dict[predict_input.Key, Any]  # those that have labels and can be scored


def _paths(path: pathlib.Path) -> list[pathlib.Path]:
    """The file, or those of a folder whose endings name a format, in their order.

    What else the folder holds is reported.
    """
    if not path.is_dir():
        return [path]
    inside = [one for one in sorted(path.iterdir()) if not one.name.startswith('.')]
    found = [one for one in inside if one.is_file() and predict_input.format_of(one) != 'lines']
    if not found:
        raise DataError(
            f'--input is the folder {path}, which holds no file whose name ends in .csv, .tsv or '
            '.jsonl: name one file'
        )
    others = [one.name for one in inside if one not in found]
    if others:
        listed = ', '.join(others[:_SHOWN]) + (', ...' if len(others) > _SHOWN else '')
        terminal.ERR.print(f'{path}: not read, as no ending names a format: {listed}')
    return found


def _read(work: Work, path: pathlib.Path, job: Job, notes: Notes) -> _Input:
    form = job.form
    if form == 'auto':
        form = predict_input.format_of(path)
        if form == 'lines':
            predict_input.check_lines(work.task, path, job.columns)
    labelled = predict_input.labelled(work.task, path, form, job.columns) if work.score else {}
    examples = predict_input.read(
        work.task, path, form, job.columns, notes.complaints, work.labelled
    )
    has_label = KINDS[work.task.kind].has_label
    predict_input.check_labels(path, job.columns, bool(labelled) or any(map(has_label, examples)))
    return _Input(path, form, _usable(work, examples, notes), labelled)


def _report(
    model: LoadedModel,
    job: Job,
    inputs: list[_Input],
    notes: Notes,
    measured: list[tuple[str, int, dict[str, float]]],
    scores: list[str],
) -> None:
    """Prints what was answered, what was left out, and what was measured, by file."""
    assert isinstance(notes.complaints, _ReportedRows)
    bad, number = notes.complaints.refused, sum(len(one.examples) for one in inputs)
    forms = ', '.join(dict.fromkeys(one.form for one in inputs))
    left_out = f', {counted(bad, "bad rows")} named above (exit status {LEFT_OUT})' if bad else ''
    answered = f'{counted(number, "rows")} ({forms}) answered by {model.where}{left_out}'
    if job.output != '-':
        answered += f'; written to {job.output}'
    printed = [*reports(notes, str(job.path)), answered, *scores]
    if measured:
        names = list(measured[0][2])
        means = {name: sum(m[name] for *_, m in measured) / len(measured) for name in names}
        total = ('mean of files', sum(count for _, count, _ in measured), means)
        cells = [
            [name, f'{count:,}', *(f'{values[one] * 100:.1f}' for one in names)]
            for name, count, values in [*measured, *([total] if len(measured) > 1 else [])]
        ]
        header = ['file', 'rows', *(f'{name}, %' for name in names)]
        printed += ['', terminal.markdown(header, cells)]
    terminal.ERR.print('\n'.join(printed))


def _usable(work: Work, examples: list[Any], notes: Notes) -> list[Any]:
    """The examples that can be answered; the others are reported."""
    kept = []
    for example in examples:
        with lines.Refusing(notes.complaints, example.where):
            work.check(example)
            kept.append(example)
    return kept


@contextlib.contextmanager
def _writer(name: str, work: Work) -> Iterator[Callable[[Any, Any, dict[str, Any]], None]]:
    """A function that writes an example, its result and further fields."""
    if name.endswith('.npy'):
        vectors: list[Any] = []
        yield lambda example, vector, more: vectors.append(vector)
        _write_array(pathlib.Path(name), np.stack(vectors))
        return
    with _output_file(name) as out:

        def write(example: Any, result: Any, more: dict[str, Any]) -> None:
            row = {**more, **work.to_json(example, result)}
            out.write(json.dumps(row, ensure_ascii=False) + '\n')

        yield write


def _write_array(path: pathlib.Path, vectors: np.ndarray) -> None:
    """Vectors in the order of the rows that could be used, float32 [rows, D]."""
    with _whole(path) as fresh, fresh.open('wb') as file:
        np.save(file, vectors)


@contextlib.contextmanager
def _output_file(name: str) -> Iterator[IO[str]]:
    """Standard output, or a file that is there only when it is complete."""
    if name == '-':
        yield sys.stdout
        return
    with _whole(pathlib.Path(name)) as fresh, fresh.open('w', encoding='utf-8') as file:
        yield file


@contextlib.contextmanager
def _whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The path to write to, of a file in `path` that is there only when it is complete."""
    if _is_stream(path):
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.placed(path) as fresh:
        yield fresh


def _is_stream(path: pathlib.Path) -> bool:
    """Whether it is a pipe or a device, which no file may replace."""
    return path.exists() and not path.is_file()
