"""How the C library hands out memory, which a CPU's arrays come from.

Large pages: up to 30 % more tokens a second (benchmarks/RESULTS.md). A step's arrays come from the
C library and go back to it, and the kernel hands each out anew, 4 KiB at a time. glibc can ask for
pages of 2 MiB instead, but only if it is told before a process starts: so a door that trains starts
itself again with the setting. The process keeps its number.

Giving back: a long run's memory grows where what is freed lies between what is kept, in many
threads' heaps; glibc returns it to the kernel when asked.
"""

import ctypes
import functools
import itertools
import os
import sys
from collections.abc import Mapping, Sequence

_VARIABLE = 'GLIBC_TUNABLES'
_TUNABLE = 'glibc.malloc.hugetlb'
_KERNEL = '/sys/kernel/mm/transparent_hugepage/enabled'


def ask_for_large_pages() -> None:
    """Starts this process again with large pages, where it makes a difference."""
    words = sys.orig_argv
    tunables = wanted(os.environ, words, _read(_KERNEL))
    if tunables is not None and sys.executable:
        environment = {**os.environ, _VARIABLE: tunables}
        os.execve(sys.executable, [sys.executable, *words[1:]], environment)


def wanted(environment: Mapping[str, str], words: Sequence[str], kernel: str) -> str | None:
    """The value of GLIBC_TUNABLES to start again with; None: go on as it is.

    Args:
        environment: of the process. A value for the tunable in it, 0 or 1, is left as it is.
        words: that the process was started with.
        kernel: its setting for large pages: asked for ('madvise'), 'always' or 'never'.

    >>> wanted({}, ['python', '-m', 'electra_jax.main'], 'always [madvise] never')
    'glibc.malloc.hugetlb=1'
    >>> wanted({}, ['python', 'mine.py'], 'always [madvise] never')
    """
    door = any(
        option == '-m' and name.startswith('electra_jax.')
        for option, name in itertools.pairwise(words)
    )
    given = environment.get(_VARIABLE, '')
    if not door or _TUNABLE in given or '[madvise]' not in kernel:
        return None
    return ':'.join(filter(None, [given, f'{_TUNABLE}=1']))


def give_back() -> None:
    """Returns what the C library holds and nobody uses; does nothing without glibc."""
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim():
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None  # another C library than glibc


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ''  # not Linux, or a kernel without large pages
