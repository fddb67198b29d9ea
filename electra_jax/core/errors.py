"""Errors meant for the person at the terminal.

The commands print everything derived from `UserError` as a plain message without a traceback, so
the text itself must name what was found, what is allowed and what to type.
"""

import difflib
import os
import sys
from collections.abc import Iterable
from typing import NoReturn


class UserError(Exception):
    """Something the user can fix; the message is the whole explanation."""


class ConfigError(UserError):
    """A setting is unknown, of the wrong type, out of range, or at odds with another."""


class DataError(UserError):
    """Text, shards or a tokenizer cannot be used as they are."""


class CheckpointError(UserError):
    """A checkpoint or workdir is missing, damaged, or belongs to another run."""


class NonFiniteError(UserError):
    """A step's loss, gradient or update, or an answer, was not finite or larger than allowed."""


def end_now(message: str, status: int = 1) -> NoReturn:
    """Prints an error and ends this process at once; may be called from any thread."""
    sys.stderr.write(f'\nerror: {message}\n')
    sys.stderr.flush()
    # A library's non-daemon thread must not keep a failed command alive.
    os._exit(status)


def first_line(error: BaseException) -> str:
    """The first line of another library's error message, at most 300 characters.

    >>> first_line(OSError()), first_line(ValueError('one\\ntwo'))
    ('OSError', 'one')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt `name`, or an empty string.

    >>> nearest('sede', ['seed', 'steps']), nearest('zzz', ['seed'])
    ("; did you mean 'seed'?", '')
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ''


def unknown(what: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a choice that does not exist; it lists those that do."""
    known = sorted(known)
    return ConfigError(f'{what} is {name!r}, allowed: {", ".join(known)}{nearest(name, known)}')
