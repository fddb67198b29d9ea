"""Two settings of glibc's memory allocator, which arrays on a CPU come from.

Large pages give up to 30 % more tokens a second (benchmarks/RESULTS.md): the arrays of each step
are allocated and freed again, and the kernel hands that memory out in pages of 4 KiB. glibc can ask
for pages of 2 MiB instead, but only by an environment variable that is set before a process starts.
`launch/venv.sh` sets it; without it, `electra_jax.main` starts itself once more under the same
process number.

Giving back: the memory of a long run grows where freed blocks lie between used ones, in the heaps
of many threads. glibc returns it to the kernel when asked.
"""

import contextlib
import ctypes
import itertools
import os
import pathlib
import sys
from collections.abc import Mapping

VARIABLE = 'GLIBC_TUNABLES'
_TUNABLE = 'glibc.malloc.hugetlb'
_KERNEL = '/sys/kernel/mm/transparent_hugepage/enabled'


def with_large_pages(environment: Mapping[str, str], kernel: str | None = None) -> dict[str, str]:
    """The environment of a new process, in which glibc asks for large pages.

    Where `environment` sets the tunable, to 0 or 1, that is kept. `kernel` is the kernel's setting,
    in brackets: large pages on request ('madvise'), always or never; None: that of this system.

    >>> with_large_pages({}, 'always [madvise] never')
    {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'}
    >>> with_large_pages({}, '[always] madvise never')
    {}
    """
    kernel = _read(_KERNEL) if kernel is None else kernel
    value = environment.get(VARIABLE, '')
    if _TUNABLE in value or '[madvise]' not in kernel:
        return dict(environment)
    return {**environment, VARIABLE: ':'.join(filter(None, [value, f'{_TUNABLE}=1']))}


def restart_with_large_pages() -> None:
    """Starts a ``python -m electra_jax.NAME`` again, under the same number, if it lacks them."""
    words = sys.orig_argv
    is_command = any(
        option == '-m' and name.startswith('electra_jax.')
        for option, name in itertools.pairwise(words)
    )
    environment = with_large_pages(os.environ)
    if is_command and sys.executable and environment != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *words[1:]], environment)


def give_back() -> None:
    """Returns unused memory to the kernel; does nothing without glibc."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ''  # not Linux, or a kernel without large pages
