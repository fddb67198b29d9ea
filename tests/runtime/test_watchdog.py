"""When a process of a run is silent, reports a failure, or cannot be reached."""

import threading
import time
import types

import jax
import pytest

from electra_jax.runtime import watchdog
from electra_jax.runtime.watchdog import LOST_SECONDS, Watch, Watchdog


def judged(watch, messages, now):
    watch.heard(messages, now)
    return watch.judge(now)


def test_silence_is_counted_from_the_last_new_message():
    watch = Watch(0, 'a:1')
    assert judged(watch, {0: 'alive a 1', 1: 'alive b 1'}, 100.0) is None
    assert judged(watch, {0: 'alive a 1', 1: 'alive b 1'}, 100.0 + LOST_SECONDS) is None
    for second in range(int(LOST_SECONDS) + 1):
        assert judged(watch, {0: 'alive a 1', 1: 'alive b 2'}, 131.0 + second) is None
    lost = judged(watch, {0: 'alive a 1', 1: 'alive b 2'}, 132.0 + LOST_SECONDS)
    assert 'process 1 on b' in lost and f'{LOST_SECONDS + 1:.0f} s' in lost


def test_no_process_is_blamed_for_a_store_that_did_not_answer_for_a_while():
    watch, away = Watch(1, 'a:1'), LOST_SECONDS - 1
    for now in (0.0, 5.0, 5.0 + away):
        assert judged(watch, {2: 'alive b 1'}, now) is None
    assert judged(watch, {2: 'alive b 2'}, 10.0 + away) is None


def test_all_processes_are_judged_by_messages_of_one_moment():
    watch, verdicts = Watch(0, 'a:1'), []

    class Arriving(dict):
        def items(self):
            for pair in super().items():
                verdicts.append(watch.judge(now))
                yield pair

    for now, beat in ((0.0, 1), (5.0, 1), (4.0 + LOST_SECONDS, 2)):
        watch.heard(Arriving({1: f'alive b {beat}', 2: f'alive c {beat}'}), now)
    assert verdicts == [None] * 6


def test_a_finished_process_may_be_silent_and_one_that_has_not_begun_is_not_judged():
    watch = Watch(1, 'a:1')
    for now in (0.0, 1e6):
        assert judged(watch, {0: 'done', 1: 'alive b 1'}, now) is None
    assert watch.all_done(2) and not watch.all_done(3)


def test_a_failure_is_reported_with_its_reason():
    words = {0: 'alive a 1', 2: 'failed shard train-00007 is damaged'}
    reason = judged(Watch(0, 'a:1'), words, 0.0)
    assert reason == 'process 2 has stopped: shard train-00007 is damaged'


def test_a_store_that_does_not_answer_is_named_and_not_the_processes_it_knows_about():
    watch = Watch(2, '10.0.0.1:7654')
    assert watch.judge(LOST_SECONDS) is None  # it may take a while to answer for the first time
    assert judged(watch, {0: 'alive one 1', 1: 'alive other 1'}, 60.0) is None
    assert watch.judge(60.0 + LOST_SECONDS) is None
    lost = watch.judge(61.0 + LOST_SECONDS)
    assert 'process 0 on one' in lost and '10.0.0.1:7654' in lost and 'other' not in lost


def test_two_processes_that_live_and_do_not_reach_each_other_are_both_named():
    watch = Watch(1, 'a:1')
    messages = {0: 'alive one 10.0.0.1 1', 2: 'alive other 10.0.0.3 1', 3: 'done'}
    assert judged(watch, messages, 0.0) is None
    assert watch.addresses() == ['10.0.0.1', '10.0.0.3', '']
    assert watch.judge(1.0, {'10.0.0.3': LOST_SECONDS}) is None
    lost = watch.judge(1.0, {'10.0.0.3': LOST_SECONDS + 1})
    assert 'process 2 on other (10.0.0.3)' in lost and f'{LOST_SECONDS + 1:.0f} s' in lost


class Store:
    """JAX's client of the coordination service, as far as it is used; it hangs on demand."""

    def __init__(self, others=()):
        self.entries = dict(others)
        self.hangs = threading.Event()
        self._never = threading.Event()
        self.written = []

    def key_value_set(self, key, message, allow_overwrite):
        assert allow_overwrite
        self._answer()
        self.entries[key] = message
        self.written.append(message)

    def key_value_dir_get(self, folder):
        self._answer()
        return list(self.entries.items())

    def _answer(self):
        if self.hangs.is_set():
            self._never.wait(20)
            raise jax.errors.JaxRuntimeError('DEADLINE_EXCEEDED')


@pytest.fixture
def start(monkeypatch):
    """Starts a watchdog of two processes whose seconds are short; returns it and how it ended."""

    def begin(me, store, lost=0.4):
        state = types.SimpleNamespace(
            client=store, process_id=me, num_processes=2, coordinator_address='one:7654'
        )
        monkeypatch.setattr(watchdog.coordination, 'global_state', state)
        monkeypatch.setattr(watchdog, 'LOST_SECONDS', lost)
        monkeypatch.setattr(watchdog, '_TICK_SECONDS', 0.02)
        ended, messages = threading.Event(), []

        def end(message):
            messages.append(message)
            ended.set()

        return Watchdog(end, beat_seconds=0.02), ended, messages

    return begin


def key(process):
    return f'{watchdog._FOLDER}/{process}'


def test_it_ends_a_process_whose_call_to_the_store_hangs(start):
    store = Store()
    store.entries[key(0)] = 'done'
    _, ended, messages = start(1, store)
    time.sleep(0.1)
    assert not ended.is_set()
    store.hangs.set()
    assert ended.wait(5) and 'process 0' in messages[0] and 'one:7654' in messages[0]
    assert 'type the same command again' in messages[0]


def test_the_first_process_leaves_the_others_time_to_read_why_it_ends(start):
    store = Store({key(1): 'alive two 1'})
    _, ended, messages = start(0, store)
    assert ended.wait(5) and 'process 1 on two' in messages[0]
    assert store.written[-1].startswith('failed process 1 on two has been silent')


def test_a_process_that_is_done_waits_for_the_others_and_still_watches_them(start):
    store = Store({key(1): 'alive two 1'})
    dog, ended, messages = start(0, store, lost=60.0)
    leaving = threading.Thread(target=dog.leave, daemon=True)
    leaving.start()
    time.sleep(0.1)
    assert leaving.is_alive() and store.written[-1] == 'done'
    store.entries[key(1)] = 'done'
    leaving.join(5)
    assert not leaving.is_alive() and not messages and not ended.is_set()


def test_a_failure_is_announced_and_does_not_wait_for_a_store_that_hangs(start):
    store = Store({key(0): 'done'})
    dog, _, _ = start(1, store)
    dog.leave('a shard is damaged')
    assert store.written[-1] == 'failed a shard is damaged'
    hanging = Store({key(0): 'done'})
    dog, _, _ = start(1, hanging)
    hanging.hangs.set()
    began = time.monotonic()
    dog.leave('a shard is damaged')
    assert time.monotonic() - began < 5


def test_a_process_that_was_stopped_for_a_while_does_not_blame_the_others(start, monkeypatch):
    store = Store({key(0): 'done'})
    now = [0.0]
    monkeypatch.setattr(watchdog.time, 'monotonic', lambda: now[0])
    dog, ended, _ = start(1, store)
    store.hangs.set()
    now[0] = 1e6  # as after SIGSTOP and SIGCONT
    assert not ended.wait(0.15)
    assert dog._seconds <= 2 * watchdog._TICK_SECONDS
