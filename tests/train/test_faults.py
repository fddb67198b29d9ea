"""Faults that a run survives: damaged checkpoints, full disks, lost text, a clock that jumps."""

import functools
import itertools
import json
import shutil
import time

import jax
import numpy as np
import pytest

from electra_jax.core.errors import CheckpointError, DataError, NonFiniteError
from electra_jax.runtime import distributed, malloc
from electra_jax.train import checkpoint, metrics, seals
from tests.support import small_run


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def steps_of(workdir):
    return seals.steps(small_run.epath.Path(workdir) / 'checkpoints')


def names_of(workdir):
    return sorted(path.name for path in (workdir / 'checkpoints').iterdir())


def files_of(folder):
    return [path for path in sorted(folder.rglob('*')) if path.is_file()]


def largest(folder):
    return max(files_of(folder / 'params'), key=lambda path: path.stat().st_size)


def flip(folder):
    path = largest(folder)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def truncate(folder):
    path = largest(folder)
    path.write_bytes(path.read_bytes()[:-1])


def lose(folder):
    largest(folder).unlink()


def lose_checksums(folder):
    (folder / seals.SEAL).unlink()


def empty_about(folder):
    (folder / 'about' / 'metadata').write_text('')


DAMAGES = {
    'flipped': (flip, 'have changed'),
    'truncated': (truncate, 'have changed'),
    'missing': (lose, 'is missing'),
    'no checksums': (lose_checksums, 'checksums.json is missing'),
    'about': (empty_about, 'bytes of about/metadata have changed'),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_by_name_and_the_one_before_is_used(tmp_path, damage):
    expected = small_run.run(tmp_path / 'whole').state
    workdir, printed = tmp_path / 'run', []
    small_run.run(workdir, small_run.settings(stop_at=8))
    spoil, words = DAMAGES[damage]
    spoil(workdir / 'checkpoints' / '8')
    bytes_before = [path.read_bytes() for path in files_of(workdir / 'checkpoints' / '8')]
    outcome = small_run.run(workdir, printed=printed)
    aside = workdir / 'checkpoints' / '8.damaged-1'
    assert len(printed) == 1 and f'{workdir}/checkpoints/8 is damaged' in printed[0]
    assert words in printed[0] and '8.damaged-1' in printed[0]
    assert [path.read_bytes() for path in files_of(aside)] == bytes_before
    assert steps_of(workdir) == [4, 8, 12]
    assert_same(outcome.state, expected)
    checkpoints = small_run.open_checkpoints(workdir)
    assert_same(checkpoints.restore(12, small_run.abstract())[0], expected)


@pytest.mark.parametrize('name', ['_CHECKPOINT_METADATA', 'commit_success.txt'])
def test_orbax_own_records_of_a_checkpoint_are_not_needed_to_read_it(tmp_path, name):
    small_run.run(tmp_path, small_run.settings(stop_at=4))
    path = tmp_path / 'checkpoints' / '4' / name
    path.write_bytes(b'\xff{' + path.read_bytes()[7:])
    checkpoints = small_run.open_checkpoints(tmp_path)
    assert_same(checkpoints.restore(4, small_run.abstract())[0], small_run.after(4))


def test_where_no_checkpoint_is_whole_nothing_is_touched_and_each_is_named(tmp_path):
    small_run.run(tmp_path, small_run.settings(stop_at=8))
    for step in '48':
        flip(tmp_path / 'checkpoints' / step)
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r'(?s)/8: the bytes.*/4: the bytes'):
            small_run.open_checkpoints(tmp_path)
    assert names_of(tmp_path) == ['4', '8']


def test_a_reader_leaves_a_damaged_checkpoint_where_it_is(tmp_path):
    small_run.run(tmp_path, small_run.settings(stop_at=8))
    flip(tmp_path / 'checkpoints' / '8')
    (tmp_path / 'checkpoints' / '12.orbax-checkpoint-tmp').mkdir()
    folder, printed = small_run.epath.Path(tmp_path) / 'checkpoints', []
    reader = checkpoint.Checkpoints(
        folder, small_run.settings().checkpoint, printed.append, read_only=True
    )
    assert reader.latest() == 4 and len(printed) == 1
    assert names_of(tmp_path) == ['12.orbax-checkpoint-tmp', '4', '8']


def test_what_a_cut_off_save_left_is_deleted_and_reported(tmp_path):
    small_run.run(tmp_path, small_run.settings(stop_at=4))
    torn = tmp_path / 'checkpoints' / '8.orbax-checkpoint-tmp'
    torn.mkdir()
    (torn / 'half').write_text('x')
    printed = []
    small_run.open_checkpoints(tmp_path, printed=printed)
    assert names_of(tmp_path) == ['4'] and 'save of step 8 was cut off' in printed[0]


def test_old_checkpoints_are_deleted_only_when_a_newer_one_is_whole(tmp_path, monkeypatch):
    config = small_run.settings(20, checkpoint={'every_steps': 4, 'keep': 2})
    small_run.run(tmp_path, config)
    assert steps_of(tmp_path) == [16, 20]
    seen = []

    def sealing(folder):
        seen.append(steps_of(tmp_path))
        return seal(folder)

    seal = seals.seal
    monkeypatch.setattr(seals, 'seal', sealing)
    config = small_run.settings(32, checkpoint={'every_steps': 4, 'keep': 2})
    small_run.run(tmp_path, config)
    assert seen == [[16, 20], [20, 24], [24, 28]] and steps_of(tmp_path) == [28, 32]


class FullDisk:
    """Fails the saves with the given numbers (from 1), after their bytes are written."""

    def __init__(self, monkeypatch, failing):
        self._numbers, self._failing = itertools.count(1), failing
        self._seal = seals.seal
        monkeypatch.setattr(seals, 'seal', self)

    def __call__(self, folder):
        if next(self._numbers) in self._failing:
            raise OSError(28, 'No space left on device')
        self._seal(folder)


MARKS = {3: 100.0, 5: 200.0, 14: 1e6, 99: 2e6}


def test_checkpoints_at_words_are_never_deleted(tmp_path):
    def config(steps):
        return small_run.settings(steps, checkpoint={'every_steps': 4, 'keep': 1})

    small_run.run(tmp_path, config(9), marks=MARKS)
    assert steps_of(tmp_path) == [3, 5, 9]
    # The setting is not typed again, or names others: those that are there stay.
    small_run.run(tmp_path, config(13))
    small_run.run(tmp_path, config(20), marks={2: 1.0, 14: 1e6})
    assert steps_of(tmp_path) == [3, 5, 14, 20]
    checkpoints = small_run.open_checkpoints(tmp_path, keep=1)
    assert checkpoints.kept() == {3: 100.0, 5: 200.0, 14: 1e6}
    # They are whole: a run goes on from one of them where the later ones are gone.
    for step in (14, 20):
        shutil.rmtree(tmp_path / 'checkpoints' / str(step))
    outcome = small_run.run(tmp_path, config(20), marks=MARKS)
    assert_same(outcome.state, small_run.after(20))
    assert steps_of(tmp_path) == [3, 5, 14, 20]


def test_the_checkpoint_after_one_that_could_not_be_saved_is_kept_in_its_place(
    tmp_path, monkeypatch
):
    FullDisk(monkeypatch, {1})  # of step 3
    config = small_run.settings(16, checkpoint={'every_steps': 4, 'keep': 1})
    small_run.run(tmp_path, config, marks={3: 100.0, 9: 300.0})
    assert steps_of(tmp_path) == [4, 9, 16]
    checkpoints = small_run.open_checkpoints(tmp_path, keep=1)
    assert checkpoints.kept() == {4: 100.0, 9: 300.0}


def test_a_checkpoint_whose_record_is_damaged_is_not_deleted(tmp_path):
    config = small_run.settings(8, checkpoint={'every_steps': 4, 'keep': 1})
    small_run.run(tmp_path, config, marks={3: 100.0})
    empty_about(tmp_path / 'checkpoints' / '3')
    printed = []
    config = small_run.settings(12, checkpoint={'every_steps': 4, 'keep': 1})
    small_run.run(tmp_path, config, printed=printed)
    assert steps_of(tmp_path) == [3, 12]
    assert 'old checkpoint of step 3' in printed[0]


def test_on_a_full_disk_a_run_goes_on_and_saves_when_it_can_again(tmp_path, monkeypatch):
    FullDisk(monkeypatch, {2})
    printed = []
    outcome = small_run.run(tmp_path, printed=printed)
    assert steps_of(tmp_path) == [4, 12] and names_of(tmp_path) == ['12', '4']
    assert len(printed) == 1 and 'step 8 could not be saved' in printed[0]
    assert 'No space left' in printed[0] and 'that of step 4' in printed[0]
    assert_same(outcome.state, small_run.after(12))


def test_on_a_full_disk_a_run_stops_at_once_if_asked_and_keeps_the_last_good_checkpoint(
    tmp_path, monkeypatch
):
    FullDisk(monkeypatch, {2})
    changes = {'every_steps': 4, 'on_error': 'stop', 'keep': 1}
    config = small_run.settings(20, checkpoint=changes)
    with pytest.raises(CheckpointError, match=r'step 8 could not be saved.*step 4'):
        small_run.run(tmp_path, config)
    assert names_of(tmp_path) == ['4']
    assert_same(small_run.run(tmp_path, config).state, small_run.after(20))


def test_the_last_save_of_a_run_is_tried_again_before_it_is_an_error(tmp_path, monkeypatch):
    FullDisk(monkeypatch, {1, 2})
    printed = []
    small_run.run(tmp_path / 'a', small_run.settings(4), printed)
    assert steps_of(tmp_path / 'a') == [4]
    assert len(printed) == 2 and all('tried again in 0.01 s' in line for line in printed)
    FullDisk(monkeypatch, {1, 2, 3})
    with pytest.raises(CheckpointError, match='step 4 could not be saved') as caught:
        small_run.run(tmp_path / 'b', small_run.settings(4))
    # Without a checkpoint there is nothing to continue from.
    assert 'no whole one yet' in str(caught.value)
    assert 'from the beginning' in str(caught.value)
    assert names_of(tmp_path / 'b') == []


def test_the_last_save_makes_up_for_the_one_before(tmp_path, monkeypatch):
    FullDisk(monkeypatch, {1})
    printed = []
    checkpoints = small_run.open_checkpoints(tmp_path, printed=printed)
    for step in (4, 8):
        checkpoints.save(step, small_run.after(step), {}, small_run.ABOUT, last=step == 8)
    assert steps_of(tmp_path) == [8] and len(printed) == 1
    assert 'step 4 could not be saved' in printed[0] and 'saved now' in printed[0]


def test_no_checkpoint_is_ahead_of_metrics_that_could_not_be_written(tmp_path, monkeypatch):
    steps, flush = itertools.count(1), metrics.Metrics.flush

    def refuse(self):  # once for each line, and once more before a save
        return False if 6 <= next(steps) <= 12 else flush(self)

    monkeypatch.setattr(metrics.Metrics, 'flush', refuse)
    printed = []
    small_run.run(tmp_path, printed=printed)
    assert steps_of(tmp_path) == [4, 12]
    assert len(printed) == 1 and 'step 8 is not saved' in printed[0]
    found = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert [line['step'] for line in found if 'train/loss' in line] == list(range(1, 13))
    monkeypatch.setattr(metrics.Metrics, 'flush', lambda self: False)
    with pytest.raises(CheckpointError, match='so step 4 is not saved either'):
        small_run.run(tmp_path / 'full', small_run.settings(4))
    assert steps_of(tmp_path / 'full') == []


def test_metrics_that_cannot_be_written_stop_a_run_that_stops_where_it_cannot_save(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(metrics.Metrics, 'flush', lambda self: False)
    changes = {'every_steps': 4, 'on_error': 'stop'}
    with pytest.raises(CheckpointError, match='so step 4 is not saved either'):
        small_run.run(tmp_path, small_run.settings(checkpoint=changes))


def test_several_processes_end_where_metrics_cannot_be_written(tmp_path, monkeypatch):
    def refuse(self):  # the first process alone writes: the others are saving already
        monkeypatch.setattr(jax, 'process_count', lambda: 2)
        return False

    monkeypatch.setattr(distributed, 'told_to_stop', lambda step: False)
    monkeypatch.setattr(metrics.Metrics, 'flush', refuse)
    with pytest.raises(CheckpointError, match='so step 4 is not saved either'):
        small_run.run(tmp_path)


def test_a_continued_run_reports_the_same_health_as_an_undisturbed_one(tmp_path):
    def step(current, batch):
        after, values = small_run.step(current, batch)
        number = int(batch['tokens'][0, 0])
        values['loss'] = {3: np.nan, 11: np.nan, 15: 1e3}.get(number, 1 + 0.01 * (5 * number % 7))
        return after, values

    health = {'on_bad_step': 'skip', 'spike_window': 10}
    settings = functools.partial(small_run.settings, 18, health=health)
    small_run.run(tmp_path / 'whole', settings(), step=step)
    small_run.run(tmp_path / 'run', settings(stop_at=8), step=step)
    small_run.run(tmp_path / 'run', settings(), step=step)
    found, expected = ([
        {name: value for name, value in line.items() if name.startswith(('health/', 'step'))}
        for line in map(json.loads, (tmp_path / name / 'metrics.jsonl').read_text().splitlines())
        if 'train/loss' in line
    ] for name in ('run', 'whole'))  # fmt: skip
    assert found == expected and len(found) == 18
    seen = [line for line in found if len(line) > 1]
    assert [line['step'] for line in seen] == [3, 11, 15]
    assert seen[1]['health/skipped_steps'] == 2


class Torn(small_run.Batches):
    """Text that cannot be read from some batch on."""

    def __init__(self, number):
        super().__init__()
        self._number = number

    def __next__(self):
        if self.state['next'] == self._number:
            raise DataError('shard train-00007 is damaged')
        return super().__next__()


def test_text_that_cannot_be_read_stops_the_run_after_a_save(tmp_path):
    with pytest.raises(DataError, match='train-00007'):
        small_run.run(tmp_path, batches=Torn(7))
    assert steps_of(tmp_path) == [4, 6]
    assert_same(small_run.run(tmp_path).state, small_run.after(12))
    with pytest.raises(DataError):
        small_run.run(tmp_path / 'first', batches=Torn(1))


def test_an_old_checkpoint_that_cannot_be_deleted_costs_nothing(tmp_path, monkeypatch):
    config = small_run.settings(16, checkpoint={'every_steps': 4, 'keep': 1})
    delete, tries, printed = seals.delete, itertools.count(), []

    def busy_once(folder):  # another process reads it, over a network
        if next(tries) == 0:
            raise OSError(16, 'Device or resource busy')
        delete(folder)

    monkeypatch.setattr(seals, 'delete', busy_once)
    outcome = small_run.run(tmp_path, config, printed=printed)
    assert_same(outcome.state, small_run.after(16))
    assert len(printed) == 1 and 'old checkpoint of step 4' in printed[0] and 'busy' in printed[0]
    assert steps_of(tmp_path) == [16]  # tried again after the next save


def test_the_step_that_was_compiled_has_no_speed(tmp_path):
    small_run.run(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    speeds = {
        line['step']: 'speed/steps_per_second' in line for line in lines if 'train/loss' in line
    }
    assert [speeds[step] for step in (1, 2, 12)] == [False, True, True]


@pytest.mark.parametrize('jump', [-1e6, 1e6])
def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch, jump):
    calls, real = itertools.count(), time.time
    monkeypatch.setattr(time, 'time', lambda: real() + (jump if next(calls) > 40 else 0.0))
    outcome = small_run.run(tmp_path)
    assert next(calls) > 60  # it has jumped while something went on
    assert_same(outcome.state, small_run.after(12))
    # Orbax waits by that clock: a jump forward may cost the save that is under way, and no more.
    assert 12 in steps_of(tmp_path) and len(steps_of(tmp_path)) >= (2 if jump > 0 else 3)
    for line in (tmp_path / 'metrics.jsonl').read_text().splitlines():
        values = json.loads(line)
        assert 0 < values.get('speed/steps_per_second', 1) < 1e6
        assert 0 <= values.get('speed/goodput', 0) <= 1


@pytest.mark.parametrize(('is_computed', 'newest'), [(False, 7), (True, 6)])
def test_a_bad_step_is_found_while_the_next_is_computed_or_before(
    tmp_path, monkeypatch, is_computed, newest
):
    monkeypatch.setattr(malloc, 'computes_in_main_thread', lambda: is_computed)
    called = []

    def bad_step(current, batch):
        after, values = small_run.step(current, batch)
        called.append(int(batch['tokens'][0, 0]))
        return after, values | ({'grad_norm': np.nan} if called[-1] == 6 else {})

    with pytest.raises(NonFiniteError, match='step 6 gave grad_norm = nan'):
        config = small_run.settings(checkpoint={'every_steps': 100})
        small_run.run(tmp_path, config, step=bad_step)
    assert called[-1] == newest and steps_of(tmp_path) == []


def test_a_bad_step_is_never_saved(tmp_path):
    def bad_step(current, batch):
        after, values = small_run.step(current, batch)
        if int(batch['tokens'][0, 0]) == 6:
            values['grad_norm'] = np.nan
        return after, values

    config = small_run.settings(checkpoint={'every_steps': 1})
    with pytest.raises(NonFiniteError, match='step 6 gave grad_norm = nan'):
        small_run.run(tmp_path, config, step=bad_step)
    assert max(steps_of(tmp_path)) == 5
    with np.load(tmp_path / 'bad_steps' / 'step_6_host_0.npz') as dump:
        assert dump['records'].tolist() == [[0, 6], [0, 7]] and dump['tokens'][0, 0] == 6
        about = json.loads(str(dump['about']))
    assert about['step'] == 6 and about['checkpoint'] in (4, 5) and about['config']
