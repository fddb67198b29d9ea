"""Settings of glibc's memory allocator, which arrays on a CPU come from.

The arrays of each step are allocated and freed again. Without settings glibc returns most of that
memory to the kernel at once, which clears each page before it is used again, in pages of 4 KiB.
Pages of 2 MiB give up to 30 % more tokens a second, and memory that is kept saves more
(docs/devices.md). Both are asked for by an environment variable that is set before a process
starts, so `electra_jax.main` starts itself once more under the same process number.

Giving back: what a long run keeps grows where freed blocks lie between used ones. glibc returns it
to the kernel when asked.
"""

import contextlib
import ctypes
import itertools
import os
import pathlib
import sys
from collections.abc import Mapping

VARIABLE = 'GLIBC_TUNABLES'
_LARGE_PAGES = 'glibc.malloc.hugetlb'
_NEVER = str(1 << 40)  # bytes: no block is so large
# The number of arenas stays: threads that multiply matrices take aligned memory for each block, and
# in one arena for all of them the search for it took two fifths of a small model's tokens a second.
_KEEPS = {'glibc.malloc.mmap_threshold': _NEVER, 'glibc.malloc.trim_threshold': _NEVER}
_FEW_CORES = 8  # what more threads keep was not measured
_ASYNCHRONOUS = 'jax_cpu_enable_async_dispatch'
_KERNEL = '/sys/kernel/mm/transparent_hugepage/enabled'


def with_settings(environment: Mapping[str, str], kernel: str | None = None) -> dict[str, str]:
    """The environment of a new process, in which glibc keeps memory, and asks for large pages.

    Freed memory is kept on a machine of few cores. What `environment` sets stays. `kernel` is the
    kernel's setting, in brackets: large pages on request ('madvise'), always or never; None: that
    of this system.

    >>> environment = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=0'}
    >>> 'hugetlb=1' in with_settings(environment, 'always [madvise] never')['GLIBC_TUNABLES']
    False
    """
    if sys.platform != 'linux':
        return dict(environment)
    kernel = _read(_KERNEL) if kernel is None else kernel
    value = environment.get(VARIABLE, '')
    wanted = dict(_KEEPS) if (os.cpu_count() or 1) <= _FEW_CORES else {}
    if '[madvise]' in kernel:
        wanted[_LARGE_PAGES] = '1'
    added = [f'{name}={text}' for name, text in wanted.items() if name not in value]
    if not added:
        return dict(environment)
    return {**environment, VARIABLE: ':'.join(filter(None, [value, *added]))}


def restart_with_settings() -> None:
    """Starts a ``python -m electra_jax.NAME`` again, under the same number, if it lacks them."""
    words = sys.orig_argv
    is_command = any(
        option == '-m' and name.startswith('electra_jax.')
        for option, name in itertools.pairwise(words)
    )
    environment = with_settings(os.environ)
    if is_command and sys.executable and environment != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *words[1:]], environment)


def compute_in_main_thread() -> None:
    """Makes the main thread of a CPU of few cores compute, so that its memory is kept.

    XLA takes the arrays of a whole step in one piece, and glibc keeps a piece so large for the main
    thread alone: in another one the kernel clears it for each step. JAX reads the setting when it
    looks for devices, so call this before. Programs of several devices stay in other threads, and
    so do all of them with ``JAX_CPU_ENABLE_ASYNC_DISPATCH=true``.
    """
    few = sys.platform == 'linux' and (os.cpu_count() or 1) <= _FEW_CORES
    asked = os.environ.get(_ASYNCHRONOUS.upper(), 'false').lower()
    if few and asked in ('', '0', 'n', 'no', 'f', 'false', 'off'):
        import jax  # not at the top: this module is imported before a process starts itself again

        with contextlib.suppress(AttributeError):  # a JAX that has no such setting
            jax.config.update(_ASYNCHRONOUS, False)


def computes_in_main_thread() -> bool:
    """Whether the call of a program returns when it is computed, on the devices of this process."""
    import jax

    if jax.default_backend() != 'cpu' or jax.local_device_count() > 1:
        return False
    with contextlib.suppress(AttributeError):
        return not jax.config.read(_ASYNCHRONOUS)
    return False


def give_back() -> None:
    """Returns unused memory to the kernel; does nothing without glibc."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ''  # not Linux, or a kernel without large pages
