"""What a command does before its imports, which take seconds, and on a busy machine many."""

import sys
from collections.abc import Collection

from electra_jax.config import machine
from electra_jax.runtime import interrupt, malloc, usage

LOADING = 'loading the program...'


def begin(path: str, groups: Collection[str] = usage.ALL, trains: bool = False) -> None:
    """Answers ``--help`` for the command in the file `path`, or prints that it is loading.

    Ctrl-C ends its imports. `groups` are the fields of `Config` that the command uses. One that
    `trains` is started again with settings of the memory that make training faster.
    """
    usage.answer(path, groups)
    interrupt.while_importing()
    if trains:
        malloc.restart_with_settings()
    loading()


def loading() -> None:
    """Prints, on standard error, that the command was started and loads what it needs."""
    machine.look_for_no_tpu()
    sys.stderr.write(f'{LOADING}\n')
    sys.stderr.flush()
