"""Two settings of glibc's memory allocator, which arrays on a CPU come from.

Large pages give up to 30 % more tokens a second (benchmarks/RESULTS.md): the arrays of each step
are allocated and freed again, and the kernel hands that memory out in pages of 4 KiB. glibc can ask
for pages of 2 MiB instead, but only by an environment variable that is set before a process starts.
So a command that trains replaces itself by the same process with that variable.

Giving back: the memory of a long run grows where freed blocks lie between used ones, in the heaps
of many threads. glibc returns it to the kernel when asked.
"""

import ctypes
import functools
import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence

_VARIABLE = 'GLIBC_TUNABLES'
_TUNABLE = 'glibc.malloc.hugetlb'
_KERNEL = '/sys/kernel/mm/transparent_hugepage/enabled'


def ask_for_large_pages() -> None:
    """Replaces this process by itself with large pages, where that makes a difference."""
    words = sys.orig_argv
    tunables = wanted(os.environ, words, _read(_KERNEL))
    if tunables is not None and sys.executable:
        environment = {**os.environ, _VARIABLE: tunables}
        os.execve(sys.executable, [sys.executable, *words[1:]], environment)


def wanted(environment: Mapping[str, str], words: Sequence[str], kernel: str) -> str | None:
    """The value of GLIBC_TUNABLES to start again with; None: no new start is needed.

    Args:
        environment: of the process. If it sets the tunable, to 0 or 1, that is kept.
        words: the command line of the process.
        kernel: its setting for large pages: on request ('madvise'), 'always' or 'never'.

    >>> wanted({}, ['python', '-m', 'electra_jax.main'], 'always [madvise] never')
    'glibc.malloc.hugetlb=1'
    >>> wanted({}, ['python', 'mine.py'], 'always [madvise] never')
    """
    is_command = any(
        option == '-m' and name.startswith('electra_jax.')
        for option, name in itertools.pairwise(words)
    )
    given = environment.get(_VARIABLE, '')
    if not is_command or _TUNABLE in given or '[madvise]' not in kernel:
        return None
    return ':'.join(filter(None, [given, f'{_TUNABLE}=1']))


def give_back() -> None:
    """Returns unused memory to the kernel; does nothing without glibc."""
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
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
