"""The door to trained models: ``python -m electra_jax.predict --checkpoint=FOLDER --input=FILE``.

A fine-tuned model says its labels with their probabilities, its scores, its tags or its answers; a
pre-trained one says of each token how likely it was replaced. Input are tables (.csv, .tsv), JSON
lines (.jsonl), CoNLL files (.conll) or plain lines, from a file or standard input; output are JSON
lines. Nothing but the checkpoint's folder is read beside the input.
"""

import contextlib
import json
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import rich.console
import rich.progress
from absl import flags as absl_flags
from etils import epath

from electra_jax.config.fields import Settings
from electra_jax.config.recipe import recipe
from electra_jax.core import files
from electra_jax.core.errors import CheckpointError, ConfigError, DataError, UserError
from electra_jax.finetune import predict
from electra_jax.finetune.bad_rows import BadRows
from electra_jax.finetune.detect import open_detector
from electra_jax.finetune.files import predict_input
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.predict import Tuned
from electra_jax.runtime import cli
from electra_jax.train import checkpoint

CHECKPOINT = absl_flags.DEFINE_string(
    'checkpoint', None, 'a workdir of fine-tuning (its best trial), one trial, or a workdir'
)
INPUT = absl_flags.DEFINE_string('input', '-', 'the file to read; -: standard input')
OUTPUT = absl_flags.DEFINE_string('output', '-', 'the file to write; -: standard output')
FORMAT = absl_flags.DEFINE_enum(
    'format',
    'auto',
    ['auto', *predict_input.FORMATS],
    'of the input; auto: by its name or beginning',
)
COLUMNS = absl_flags.DEFINE_string(
    'columns', None, 'columns that are not called as in training: text_a=body,id=key'
)
BATCH_SIZE = absl_flags.DEFINE_integer('batch_size', 32, 'rows of a batch', lower_bound=1)

_AT_ONCE = 1024  # examples that are tokenized together
_STDIN = 'standard input'  # what the file is called that it is kept in


class _NamedBadRows(BadRows):
    """Rows that cannot be used are left out, and each is named at once."""

    refused = 0

    def refuse(self, kind: str, where: str, problem: str) -> None:
        """Leaves one out, and says so."""
        del kind
        self.refused += 1
        say(f'{where}: {problem}')


def main() -> None:
    """Reads everything, then answers row by row."""
    if CHECKPOINT.value is None:
        raise ConfigError('no model given: type --checkpoint=WORKDIR --input=FILE')
    columns = predict_input.parse_columns(COLUMNS.value)
    folder = epath.Path(CHECKPOINT.value)
    if not folder.exists():
        raise CheckpointError(f'--checkpoint is {folder}, but there is no such folder')
    with input_path(INPUT.value) as path:
        answer_file(folder, path, columns)


def answer_file(folder: epath.Path, path: pathlib.Path, columns: Columns) -> None:
    """Answers what is in a file by the best model of a folder."""
    where = predict.best_folder(folder)
    params, about = checkpoint.read_params(where)
    # No cache: what is predicted once is not read again.
    settings = recipe({'job': 'evaluate', 'batch_size': BATCH_SIZE.value, 'task': {'cache': None}})
    model = open_model(where, params, about, settings)
    bad = _NamedBadRows(skip=True)
    with output_file(OUTPUT.value) as out:
        form = FORMAT.value
        if form == 'auto':
            form = predict_input.format_of(path, model.task)
        asked = predict_input.Asked(path, form, columns)
        examples = predict_input.read(model.task, asked, bad)
        count = 0
        for row in progress(answers(model, examples, bad), len(examples)):
            out.write(json.dumps(row, ensure_ascii=False) + '\n')
            count += 1
    for line in bad.lines():
        say(line)
    left_out = f', {bad.refused:,} bad rows named above' if bad.refused else ''
    say(f'{count:,} rows ({form}) answered by {where}{left_out}')


def say(text: str) -> None:
    """A line that is no answer."""
    print(named(text), file=sys.stderr)


def named(text: str) -> str:
    """The text, in which the file that holds standard input goes by that name."""
    return re.sub(rf'\S*/{_STDIN}', _STDIN, text)


def open_model(where: epath.Path, params: Any, about: Any, settings: Settings) -> Tuned:
    """A fine-tuned model, or a pre-trained one that finds replaced tokens."""
    open_one = predict.open_tuned if 'task' in about else open_detector
    return open_one(where, params, about, settings)


def answers(model: Tuned, examples: list, bad: BadRows) -> Iterator[dict[str, Any]]:
    """A JSON object for each example, in their order."""
    for at in range(0, len(examples), _AT_ONCE):
        yield from model.answer(examples[at : at + _AT_ONCE], bad)


@contextlib.contextmanager
def input_path(name: str) -> Iterator[pathlib.Path]:
    """A file to read: the one named, or standard input, kept in one for the time being."""
    if name != '-':
        path = pathlib.Path(name)
        if not path.is_file():
            raise DataError(f'--input is {name!r}, but there is no such file')
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / _STDIN
        path.write_bytes(sys.stdin.buffer.read())
        try:
            yield path
        except UserError as error:
            raise type(error)(named(str(error))) from error


@contextlib.contextmanager
def output_file(name: str) -> Iterator[IO[str]]:
    """Standard output, or a file that is there only when it is complete."""
    if name == '-':
        yield sys.stdout
        return
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.placed(path) as fresh, fresh.open('w', encoding='utf-8') as file:
        yield file


def progress(rows: Iterable, total: int) -> Iterable:
    """A bar on a terminal, if the answers do not go there themselves."""
    console = rich.console.Console(stderr=True)
    if not console.is_terminal or (OUTPUT.value == '-' and sys.stdout.isatty()):
        return rows
    return rich.progress.track(rows, 'predicting', total=total, console=console)


if __name__ == '__main__':
    cli.run_without_recipe(main)
