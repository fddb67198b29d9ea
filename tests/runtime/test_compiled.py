"""Compiled programs are kept for the next start, and a cache that cannot be used does no harm."""

import dataclasses
import os
import pathlib

import jax
import numpy as np
import pytest
from etils import epath
from jax.experimental.compilation_cache import compilation_cache

import electra_jax
from electra_jax.config.length import with_total_steps
from electra_jax.inference import files
from electra_jax.pretrain import length
from electra_jax.pretrain import program as pretraining
from electra_jax.runtime import compiled
from electra_jax.train import parameters
from tests.support import trained
from tests.support.configs import VOCABULARY, tiny_config

_CHANGED = (
    'jax_enable_compilation_cache',
    'jax_compilation_cache_dir',
    'jax_persistent_cache_min_compile_time_secs',
    'jax_persistent_cache_enable_xla_caches',
)


@pytest.fixture(autouse=True)
def enabled(monkeypatch):
    """The cache as users have it; small programs are kept, too."""
    before = {name: getattr(jax.config, name) for name in _CHANGED}
    jax.config.update('jax_enable_compilation_cache', True)
    monkeypatch.setattr(compiled, '_LEAST_SECONDS', 0.0)
    monkeypatch.setattr(compiled.warnings, 'showwarning', compiled.warnings.showwarning)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def events_of(work) -> list[str]:
    """Compiles the programs of some work as a new process would; the events of JAX's cache."""
    events: list[str] = []

    def listen(name: str, **more: object) -> None:
        events.append(name)

    jax.monitoring.register_event_listener(listen)
    jax.clear_caches()
    try:
        work()
    finally:
        jax.monitoring.unregister_event_listener(listen)
    return [name.rpartition('/')[2] for name in events if 'compilation_cache' in name]


def compute() -> list[str]:
    """The events of a program that is compiled and run."""

    def work():
        assert int(jax.jit(lambda x: x * 3)(np.int32(2))) == 6

    return events_of(work)


def programs(place: pathlib.Path) -> list[pathlib.Path]:
    return sorted((place / compiled.machine()).glob('*-cache'))


def test_a_program_is_found_again(tmp_path):
    compiled.keep(str(tmp_path / 'kept'))
    assert 'cache_misses' in compute()
    assert len(programs(tmp_path / 'kept')) == 1
    assert 'cache_hits' in compute()


def test_the_second_command_that_opens_a_model_finds_the_programs_of_the_first(
    tmp_path, monkeypatch
):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'caches'))
    found, folder = trained.found(), tmp_path / 'run'
    parameters.write_params(epath.Path(folder), found.params, found.about)
    first = events_of(lambda: files.open_model(str(folder), 8).detect(['the film']))
    assert 'cache_misses' in first
    second = events_of(lambda: electra_jax.load(folder, 8).detect(['the film']))
    assert 'cache_hits' in second and 'cache_misses' not in second


def run_once(config, vocabulary):
    """Compiles what a run compiles, and runs it once."""
    program = pretraining.build_program(config, vocabulary)
    batch = length._random_batch(program)
    state, _ = pretraining.StepOfAnyLength(program)(program.fresh_state(), batch)
    program.totals(state.params, batch, np.int32(0))


def test_runs_of_other_lengths_seeds_and_texts_share_every_program(tmp_path):
    compiled.keep(str(tmp_path))
    small = {'model': {'num_layers': 1}, 'objective': {'name': 'mlm'}}
    config = tiny_config(total_steps=10, **small)
    assert 'cache_misses' in events_of(lambda: run_once(config, VOCABULARY))
    longer = dataclasses.replace(with_total_steps(config, 700), seed=4294967295)
    other = VOCABULARY._replace(log_unigram_V=VOCABULARY.log_unigram_V[::-1].copy())
    events = events_of(lambda: run_once(longer, other))
    assert 'cache_hits' in events and 'cache_misses' not in events


def test_a_damaged_program_is_compiled_again_and_replaced(tmp_path, capfd):
    compiled.keep(str(tmp_path))
    compute()
    (path,) = programs(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    # pytest collects warnings; a process shows them.
    with pytest.warns(UserWarning) as collected:
        assert 'cache_hits' not in compute()
    for one in [*collected, *collected]:
        compiled.warnings.showwarning(one.message, one.category, one.filename, one.lineno)
    assert capfd.readouterr().err.count(str(tmp_path)) == 1
    compute()
    assert 'cache_hits' in compute()


def test_a_place_that_cannot_hold_programs_is_reported(tmp_path, capfd):
    (tmp_path / 'file').write_text('')
    compiled.keep(str(tmp_path / 'file'))
    assert str(tmp_path / 'file') in capfd.readouterr().err
    assert jax.config.jax_compilation_cache_dir is None
    compute()


def test_nothing_is_kept_where_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    compiled.keep('off')
    compute()
    assert not list(tmp_path.iterdir())


def test_the_usual_folder_and_that_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    compiled.keep()
    folder = tmp_path / 'electra_jax' / 'compiled' / compiled.machine()
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    jax.config.update('jax_compilation_cache_dir', 'gs://bucket/x')  # as its variable does
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir == 'gs://bucket/x'
    compiled.keep(str(tmp_path))
    assert jax.config.jax_compilation_cache_dir == f'{tmp_path}/{compiled.machine()}'
    monkeypatch.setenv('HOME', str(tmp_path))
    compiled.keep('~/mine')  # a shell leaves it so after an equals sign
    assert jax.config.jax_compilation_cache_dir == f'{tmp_path}/mine/{compiled.machine()}'


def test_several_processes_and_a_user_without_a_home_have_no_usual_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, 'usual_folder', lambda: pathlib.Path('~/nowhere'))
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir is None
    monkeypatch.setattr(compiled, 'usual_folder', lambda: tmp_path)
    monkeypatch.setattr(jax.distributed, 'is_initialized', lambda: True)
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir is None
    compiled.keep(str(tmp_path))  # which all processes reach
    assert jax.config.jax_compilation_cache_dir.startswith(str(tmp_path))


def test_room_is_made_by_deleting_what_was_not_used_for_longest(tmp_path):
    folder = tmp_path / compiled.machine()
    folder.mkdir()
    for age, name in enumerate(['new', 'old', 'oldest']):
        path = folder / f'{name}-cache'
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    (folder / 'other').write_bytes(bytes(900))
    compiled.keep(str(tmp_path), most_bytes=250)
    assert {path.name for path in folder.iterdir()} == {'new-cache', 'old-cache', 'other'}


def test_processors_with_other_instructions_share_no_programs(tmp_path):
    for number, flags in enumerate(['sse avx2', 'avx2 sse', 'sse avx512f']):
        (tmp_path / str(number)).write_text(f'model name : x\nflags\t\t: {flags}\n')
    first, same, other = (compiled.machine(str(tmp_path / str(n))) for n in range(3))
    assert first == same != other
    assert compiled.machine(str(tmp_path / 'none'))  # not Linux
