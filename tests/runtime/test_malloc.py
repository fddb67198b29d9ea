"""Which processes start again with large pages; freed memory is given back."""

import ctypes
import os
import pathlib
import sys

import pytest

from electra_jax.runtime import malloc

MADVISE = 'always [madvise] never'
COMMAND = ['python', '-X', 'dev', '-m', 'electra_jax.main', '--config=c.py']


def test_commands_ask_once_and_keep_what_was_set():
    first = malloc.wanted({}, COMMAND, MADVISE)
    assert first == 'glibc.malloc.hugetlb=1'
    assert malloc.wanted({'GLIBC_TUNABLES': first}, COMMAND, MADVISE) is None
    other = {'GLIBC_TUNABLES': 'glibc.malloc.arena_max=2'}
    assert malloc.wanted(other, COMMAND, MADVISE) == (
        'glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1'
    )


def test_other_processes_do_not_ask():
    off = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=0'}
    assert malloc.wanted(off, COMMAND, MADVISE) is None
    assert malloc.wanted({}, COMMAND, '[always] madvise never') is None
    assert malloc.wanted({}, COMMAND, '') is None
    assert malloc.wanted({}, ['python', '-m', 'pytest'], MADVISE) is None


def test_a_command_is_the_same_process_with_the_setting(monkeypatch):
    monkeypatch.setattr(malloc, '_read', lambda path: MADVISE)
    monkeypatch.setattr(sys, 'orig_argv', COMMAND)
    monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
    started = []
    monkeypatch.setattr(os, 'execve', lambda *words: started.append(words))
    malloc.ask_for_large_pages()
    ((path, words, environment),) = started
    assert path == words[0] == sys.executable and words[1:] == COMMAND[1:]
    assert environment['GLIBC_TUNABLES'] == 'glibc.malloc.hugetlb=1'


def resident() -> int:
    """Bytes that this process holds in memory."""
    pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE')


@pytest.mark.skipif(malloc._trim() is None, reason='another C library than glibc')
def test_memory_freed_between_used_blocks_is_given_back():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    size, count = 60_000, 3000  # below what glibc takes from the kernel block by block
    blocks = [libc.malloc(size) for _ in range(count)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks[:-1]:
        libc.free(block)
    held = resident()
    malloc.give_back()
    assert held - resident() > 0.8 * size * count
    libc.free(blocks[-1])
