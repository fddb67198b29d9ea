"""What processes ask of glibc; freed memory is kept from step to step, and given back."""

import ctypes
import os
import pathlib
import platform
import subprocess
import sys
import types

import jax
import pytest

from electra_jax import main
from electra_jax.config import recipe
from electra_jax.core.errors import UserError
from electra_jax.runtime import malloc, watchdog

MADVISE = 'always [madvise] never'


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(malloc.os, 'cpu_count', lambda: 2)


def settings_of(environment: dict[str, str]) -> dict[str, str]:
    pairs = (one.partition('=') for one in environment['GLIBC_TUNABLES'].split(':'))
    return {name.removeprefix('glibc.malloc.'): value for name, _, value in pairs}


def test_settings_are_added_once_to_what_is_set():
    made = malloc.with_settings({'A': 'b'}, MADVISE)
    assert made['A'] == 'b'
    found = settings_of(made)
    assert found.keys() == {'mmap_threshold', 'trim_threshold', 'hugetlb'}
    assert malloc.with_settings(made, MADVISE) == made
    typed = {'GLIBC_TUNABLES': 'glibc.malloc.trim_threshold=2:glibc.malloc.hugetlb=0'}
    assert settings_of(malloc.with_settings(typed, MADVISE)) == {
        **found, 'trim_threshold': '2', 'hugetlb': '0',
    }  # fmt: skip


def test_many_cores_keep_no_memory(monkeypatch):
    monkeypatch.setattr(malloc.os, 'cpu_count', lambda: 96)
    assert settings_of(malloc.with_settings({}, MADVISE)) == {'hugetlb': '1'}
    assert malloc.with_settings({'A': 'b'}, '[always]') == {'A': 'b'}


def test_large_pages_are_asked_for_where_the_kernel_gives_them_on_request_alone():
    for kernel in ('[always] madvise never', 'always madvise [never]', ''):
        assert 'hugetlb' not in settings_of(malloc.with_settings({}, kernel))


def test_other_systems_have_no_such_settings(monkeypatch):
    monkeypatch.setattr(malloc.sys, 'platform', 'darwin')
    assert malloc.with_settings({'A': 'b'}, MADVISE) == {'A': 'b'}


_STEPS = """
import ctypes, resource
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
SIZE = 20_000_000

def step():
    blocks = [libc.malloc(SIZE) for _ in range(4)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    for block in blocks:
        libc.free(block)

for _ in range(2):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another C library than glibc')
def test_what_a_step_frees_serves_the_next_one_without_a_page_fault():
    environment = {k: v for k, v in os.environ.items() if k != 'GLIBC_TUNABLES'}
    environment = malloc.with_settings(environment, '[never]')
    command = [sys.executable, '-c', _STEPS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100  # 20,000 for each step without


_PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
from electra_jax.runtime import malloc
if sys.argv[1] == 'main thread':
    malloc.compute_in_main_thread()

@jax.jit
def step(x):  # makes a product of 100 MB in memory of its own
    return x + (jnp.outer(x, x) @ jnp.eye(5000, 8)) @ jnp.ones(8) * 1e-9

x = jnp.ones(5000)
for _ in range(4):
    x = step(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    x = step(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another C library than glibc')
@pytest.mark.skipif((os.cpu_count() or 1) > 8, reason='memory is kept on few cores')
@pytest.mark.skipif('[always]' in malloc._read(malloc._KERNEL), reason='few faults in large pages')
def test_the_memory_of_a_program_is_kept_where_the_main_thread_runs_it():
    left_out = ('GLIBC_TUNABLES', 'XLA_FLAGS', 'JAX_CPU_ENABLE_ASYNC_DISPATCH')
    environment = {k: v for k, v in os.environ.items() if k not in left_out}
    environment = malloc.with_settings(environment, '[never]')

    def faults(where: str) -> int:
        command = [sys.executable, '-c', _PROGRAM, where]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert 4 * faults('main thread') < faults('another')


@pytest.fixture
def asynchronous():
    """JAX's setting, on as in a new process."""
    name = 'jax_cpu_enable_async_dispatch'
    before = jax.config.read(name)
    jax.config.update(name, True)
    yield lambda: jax.config.read(name)
    jax.config.update(name, before)


def test_the_setting_is_for_linux_with_few_cores_and_no_wish(asynchronous, monkeypatch):
    monkeypatch.delenv('JAX_CPU_ENABLE_ASYNC_DISPATCH', raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(malloc.os, 'cpu_count', lambda: 96)
        malloc.compute_in_main_thread()
        assert asynchronous()
    with monkeypatch.context() as patch:
        patch.setattr(malloc.sys, 'platform', 'darwin')
        malloc.compute_in_main_thread()
        assert asynchronous()
    with monkeypatch.context() as patch:
        patch.setenv('JAX_CPU_ENABLE_ASYNC_DISPATCH', 'True')
        malloc.compute_in_main_thread()
        assert asynchronous() and not malloc.computes_in_main_thread()
        patch.setenv('JAX_CPU_ENABLE_ASYNC_DISPATCH', 'False')
        malloc.compute_in_main_thread()
        assert not asynchronous()
    jax.config.update('jax_cpu_enable_async_dispatch', True)
    malloc.compute_in_main_thread()
    assert not asynchronous()
    with monkeypatch.context() as patch:
        patch.setattr(jax, 'local_device_count', lambda: 1)
        assert malloc.computes_in_main_thread()
        patch.setattr(jax, 'local_device_count', lambda: 8)
        assert not malloc.computes_in_main_thread()
    with monkeypatch.context() as patch:
        patch.setattr(jax, 'default_backend', lambda: 'gpu')
        assert not malloc.computes_in_main_thread()


def test_main_sets_it_before_it_looks_for_devices(asynchronous, monkeypatch):
    monkeypatch.delenv('JAX_CPU_ENABLE_ASYNC_DISPATCH', raising=False)
    found = []

    def looks_for_devices():
        found.append(asynchronous())
        raise UserError('enough')

    monkeypatch.setattr(watchdog, 'together', looks_for_devices)
    monkeypatch.setattr(main, 'WORKDIR', types.SimpleNamespace(value='runs/none'))
    monkeypatch.setattr(main.cli, 'typed_settings', lambda flag: ())
    with pytest.raises(UserError, match='enough'):
        main.main(recipe.recipe({'log': {'trackers': ''}}))
    assert found == [False]


def test_a_command_starts_again_once_and_another_program_never(monkeypatch):
    started = []
    monkeypatch.setattr(malloc, '_read', lambda path: MADVISE)
    monkeypatch.setattr(malloc.os, 'execve', lambda *arguments: started.append(arguments))
    monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
    monkeypatch.setattr(malloc.sys, 'orig_argv', ['python', '-m', 'pytest'])
    malloc.restart_with_settings()
    assert started == []
    monkeypatch.setattr(malloc.sys, 'orig_argv', ['python', '-m', 'electra_jax.main', '--x=1'])
    malloc.restart_with_settings()
    ((program, words, environment),) = started
    assert words == [program, '-m', 'electra_jax.main', '--x=1']
    assert environment['GLIBC_TUNABLES'].endswith('glibc.malloc.hugetlb=1')
    monkeypatch.setenv('GLIBC_TUNABLES', environment['GLIBC_TUNABLES'])
    malloc.restart_with_settings()
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
