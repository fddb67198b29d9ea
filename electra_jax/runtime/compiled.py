"""Compiled programs that outlast a process, so that the next one need not compile them again.

JAX keeps them: a program is found again by a hash of itself, of the versions of JAX and XLA and of
their flags (docs.jax.dev/en/latest/persistent_compilation_cache.html). What is added here is a
folder that every user has, a bound for its size, and that a cache that cannot be used costs no more
than compiling does.
"""

import contextlib
import hashlib
import os
import pathlib
import platform
import re
import warnings
from collections.abc import Callable
from typing import Any

import jax

from electra_jax.core import files
from electra_jax.runtime import terminal

OFF = 'off'
_config: Any = jax.config  # whose values have no types
MOST_BYTES = 1_000_000_000
# Small programs take less time to compile than to be found again.
_LEAST_SECONDS = 0.3
_SUFFIX = '-cache'  # of a program's file
_PROBLEM = re.compile(r"Error (reading|writing) persistent compilation cache entry for '([^']*)'")


def keep(place: str | None = None, most_bytes: int = MOST_BYTES) -> None:
    """Keeps the programs that this process compiles from now on, and uses those that are kept.

    Args:
        place: a folder, of this machine or ``gs://``; 'off': programs are not kept. None: what the
            environment variable JAX_COMPILATION_CACHE_DIR names, used as JAX alone would; or else
            `usual_folder()`. Several processes need a place that all reach: the first one alone
            writes, and the others would compile while it waits for them. So they have no usual one.
        most_bytes: above it the programs of `place` that were not used for the longest time are
            deleted, now. Buckets have rules of their own for that.
    """
    if not _config.jax_enable_compilation_cache:  # JAX_ENABLE_COMPILATION_CACHE=0
        return
    if place == OFF:
        _config.update('jax_enable_compilation_cache', False)
        return
    if place is None and (_config.jax_compilation_cache_dir or jax.distributed.is_initialized()):
        return
    folder = f'{files.absolute(place) if place else usual_folder()}/{machine()}'
    if folder.startswith('~'):  # a container without a home
        return
    if '://' not in folder and not _opened(pathlib.Path(folder), most_bytes):
        return
    _config.update('jax_compilation_cache_dir', folder)
    _config.update('jax_persistent_cache_min_compile_time_secs', _LEAST_SECONDS)
    # A cache of XLA's own, for GPUs, which cannot write to buckets.
    _config.update('jax_persistent_cache_enable_xla_caches', 'none')
    warnings.showwarning = _reporting(folder, warnings.showwarning)


def usual_folder() -> pathlib.Path:
    """Where this user's compiled programs are."""
    caches = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return pathlib.Path(caches) / 'electra_jax' / 'compiled'


def machine(cpuinfo: str = '/proc/cpuinfo') -> str:
    """A name for processors that can run each other's programs.

    Compiled code uses the instructions of the processor that it was compiled on, and is divided
    among as many threads as there are cores.
    """
    try:
        text = pathlib.Path(cpuinfo).read_text()
    except OSError:
        text = platform.processor()  # not Linux
    found = re.search(r'^(flags|Features)\s*:(.*)$', text, re.MULTILINE)
    able = ' '.join(sorted(found[2].split())) if found else text
    count = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    digest = hashlib.sha256(able.encode()).hexdigest()[:12]
    return f'{platform.machine()}-{count}-{digest}'


def _opened(folder: pathlib.Path, most_bytes: int) -> bool:
    """Makes the folder where there is none, and room in it; returns whether it can be used."""
    try:
        # What lies there is run: nobody else may write it.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_room(folder, most_bytes)
    except OSError as error:
        terminal.ERR.print(
            f'{folder} cannot hold compiled programs ({error.strerror or error}): they are '
            'compiled again at each start'
        )
        return False
    return True


def _make_room(folder: pathlib.Path, most_bytes: int) -> None:
    """Deletes the programs that were not used for the longest time, where all are too large."""
    found = []
    for entry in os.scandir(folder):
        if entry.name.endswith(_SUFFIX):
            with contextlib.suppress(FileNotFoundError):  # another process makes room, too
                stat = entry.stat()
                found.append((max(stat.st_atime, stat.st_mtime), stat.st_size, entry.path))
    size = sum(each[1] for each in found)
    for _, bytes_, path in sorted(found):
        if size <= most_bytes:
            return
        pathlib.Path(path).unlink(missing_ok=True)
        size -= bytes_


def _reporting(folder: str, otherwise: Callable[..., Any]) -> Callable[..., None]:
    """What shows Python's warnings: JAX's about the cache become one line, which is printed once.

    A program that cannot be read is deleted, for JAX never writes over one.
    """
    reported: list[str] = []

    def show(message: Warning | str, *arguments: Any, **more: Any) -> None:
        found = _PROBLEM.match(str(message))
        if found is None:
            otherwise(message, *arguments, **more)
            return
        if found[1] == 'reading' and '://' not in folder:
            for path in pathlib.Path(folder).glob(f'{found[2]}-*{_SUFFIX}'):
                with contextlib.suppress(OSError):
                    path.unlink()
        if not reported:
            reported.append(found[0])
            why = str(message)[found.end() :].lstrip(': ').partition('\n')[0]
            terminal.ERR.print(
                f'{found[1]} compiled programs in {folder} failed ({why:.200}): they are compiled '
                'again'
            )

    return show
