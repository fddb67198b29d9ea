"""Which processes ask for large pages; freed memory is given back."""

import ctypes
import os
import pathlib
import platform

import pytest

from electra_jax.runtime import malloc

MADVISE = 'always [madvise] never'


def test_large_pages_are_added_once_to_what_is_set():
    large = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'}
    assert malloc.with_large_pages({}, MADVISE) == large
    assert malloc.with_large_pages(large, MADVISE) == large
    other = malloc.with_large_pages({'GLIBC_TUNABLES': 'glibc.malloc.arena_max=2'}, MADVISE)
    assert other['GLIBC_TUNABLES'] == 'glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1'


def test_nothing_is_added_where_it_makes_no_difference_or_was_refused():
    off = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=0', 'A': 'b'}
    assert malloc.with_large_pages(off, MADVISE) == off
    for kernel in ('[always] madvise never', ''):
        assert malloc.with_large_pages({'A': 'b'}, kernel) == {'A': 'b'}


def test_a_command_starts_again_once_and_another_program_never(monkeypatch):
    started = []
    monkeypatch.setattr(malloc, '_read', lambda path: MADVISE)
    monkeypatch.setattr(malloc.os, 'execve', lambda *arguments: started.append(arguments))
    monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
    monkeypatch.setattr(malloc.sys, 'orig_argv', ['python', '-m', 'pytest'])
    malloc.restart_with_large_pages()
    assert started == []
    monkeypatch.setattr(malloc.sys, 'orig_argv', ['python', '-m', 'electra_jax.main', '--x=1'])
    malloc.restart_with_large_pages()
    ((program, words, environment),) = started
    assert words == [program, '-m', 'electra_jax.main', '--x=1']
    assert environment['GLIBC_TUNABLES'] == 'glibc.malloc.hugetlb=1'
    monkeypatch.setenv('GLIBC_TUNABLES', environment['GLIBC_TUNABLES'])
    malloc.restart_with_large_pages()
    assert len(started) == 1


def resident() -> int:
    """Bytes that this process holds in memory."""
    pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE')


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another C library than glibc')
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
