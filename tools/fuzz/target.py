"""What is fuzzed: a target makes one input after another and judges how each ends."""

import pathlib
import random
import re
import shutil
import traceback
from collections.abc import Callable
from typing import NamedTuple

from electra_jax.core.errors import UserError

SUCCESS, REFUSAL, FAILURE = 'success', 'refusal', 'failure'

Run = Callable[[random.Random], None]


class LostError(Exception):
    """The program did not complain, but something good is missing or wrong in what it gave."""


class Target(NamedTuple):
    """A reader of files or words that others wrote.

    Attributes:
      name: of the target.
      make: a folder to work in -> what makes and tries one input, all drawn from a generator.
      names: pattern of what a refusal must hold: the file, the field or the option at fault.
    """

    name: str
    make: Callable[[pathlib.Path], Run]
    names: str


class Outcome(NamedTuple):
    """How one input ended, with the message of a refusal or the traceback of a failure."""

    kind: str
    message: str


def generator(seed: int, name: str, number: int) -> random.Random:
    """The draws of one input: the same wherever and in whatever order inputs are tried."""
    return random.Random(f'{seed}:{name}:{number}')


def judge(target: Target, run: Run, rng: random.Random) -> Outcome:
    """Tries one input: success, or a refusal that names what is wrong; all else is a failure."""
    try:
        run(rng)
    except UserError as error:
        if re.search(target.names, str(error)):
            return Outcome(REFUSAL, str(error))
        return Outcome(FAILURE, f'names neither file nor field: {error}')
    except Exception:
        return Outcome(FAILURE, traceback.format_exc())
    return Outcome(SUCCESS, '')


def check(holds: bool, problem: str) -> None:
    """Raises `LostError` unless it holds."""
    if not holds:
        raise LostError(problem)


def fresh(folder: pathlib.Path, template: pathlib.Path | None = None) -> pathlib.Path:
    """A new `folder`, empty or a copy of `template`, in place of one that exists."""
    if folder.exists():
        shutil.rmtree(folder)
    if template is None:
        folder.mkdir(parents=True)
    else:
        shutil.copytree(template, folder)
    return folder


def files_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """Every file below a folder, in an order that does not depend on the file system."""
    return sorted(path for path in folder.rglob('*') if path.is_file())
