"""What is fuzzed: a target makes one input after another and judges how each ends."""

import pathlib
import random
import re
import shutil
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from electra_jax.core.errors import UserError

# How an input may end: all is right; what is not is counted or noted; it is refused; it is wrong.
SUCCESS, REPORTED, REFUSAL, FAILURE = ENDS = ('right', 'reported', 'refused', 'WRONG')

Run = Callable[[random.Random], str | None]  # gives REPORTED, or None where all is right


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
    """Tries one input; a refusal must name what is wrong, and all that is raised is a failure."""
    try:
        ended = run(rng)
    except UserError as error:
        if re.search(target.names, str(error)):
            return Outcome(REFUSAL, str(error))
        return Outcome(FAILURE, f'names neither file nor field: {error}')
    except LostError as error:
        return Outcome(FAILURE, str(error))
    except Exception:
        return Outcome(FAILURE, traceback.format_exc())
    return Outcome(ended or SUCCESS, '')


def check(holds: bool, problem: str) -> None:
    """Raises `LostError` unless it holds."""
    if not holds:
        raise LostError(problem)


def known(
    wanted: Any,
    read: Callable[[], Any],
    sure: bool,
    reported: Callable[[], int],
    missed: int = 0,
) -> str | None:
    """Reads an input of which it is known what must come out; raises `LostError` if it does not.

    Args:
      wanted: what must come out.
      read: gives what does come out.
      sure: whether there is no reason to give anything else, nor to refuse what has no bad parts.
      reported: how many complaints there are about what was left out or changed.
      missed: how many bad parts the input has, none of which is in `wanted`.

    Returns:
      None if all is as it should be; REPORTED if there is a difference, or a bad part.
    """
    try:
        found = read()
    except UserError as error:
        check(not sure or missed > 0, f'a good input is refused: {error}')
        raise
    if found == wanted:
        # Where a file is torn, one complaint may cover several bad parts.
        least = missed if sure else min(missed, 1)
        check(reported() >= least, f'of {missed} bad parts {reported()} are reported')
        return REPORTED if missed else None
    difference = _difference(wanted, found)
    check(not sure, f'a good input is not read as it was written: {difference}')
    check(bool(reported()), f'no complaint, and {difference}')
    return REPORTED


def _difference(wanted: Any, found: Any) -> str:
    if isinstance(wanted, list) and isinstance(found, list):
        pairs = zip(wanted, found, strict=False)
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(wanted), len(found)))
        lengths = f'{len(found)} of {len(wanted)} were found; number {at}: '
        return f'{lengths}{wanted[at : at + 1]!r:.300} is {found[at : at + 1]!r:.300}'
    return f'{wanted!r:.300} is {found!r:.300}'


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
