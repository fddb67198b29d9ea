"""Which processes start again with large pages."""

import os
import sys

from electra_jax.core import huge_pages

MADVISE = 'always [madvise] never'
DOOR = ['python', '-X', 'dev', '-m', 'electra_jax.main', '--config=c.py']


def test_doors_ask_once_and_keep_what_was_set():
    first = huge_pages.wanted({}, DOOR, MADVISE)
    assert first == 'glibc.malloc.hugetlb=1'
    assert huge_pages.wanted({'GLIBC_TUNABLES': first}, DOOR, MADVISE) is None
    other = {'GLIBC_TUNABLES': 'glibc.malloc.arena_max=2'}
    assert huge_pages.wanted(other, DOOR, MADVISE) == (
        'glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1'
    )


def test_others_do_not():
    off = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=0'}
    assert huge_pages.wanted(off, DOOR, MADVISE) is None
    assert huge_pages.wanted({}, DOOR, '[always] madvise never') is None
    assert huge_pages.wanted({}, DOOR, '') is None
    assert huge_pages.wanted({}, ['python', '-m', 'pytest'], MADVISE) is None


def test_a_door_is_the_same_process_with_the_setting(monkeypatch):
    monkeypatch.setattr(huge_pages, '_read', lambda path: MADVISE)
    monkeypatch.setattr(sys, 'orig_argv', DOOR)
    monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
    started = []
    monkeypatch.setattr(os, 'execve', lambda *words: started.append(words))
    huge_pages.ask()
    ((path, words, environment),) = started
    assert path == words[0] == sys.executable and words[1:] == DOOR[1:]
    assert environment['GLIBC_TUNABLES'] == 'glibc.malloc.hugetlb=1'
