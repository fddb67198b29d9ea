"""When a process of a run is silent for too long, or reports a failure."""

from electra_jax.runtime.watchdog import LOST_SECONDS, Watch


def test_silence_is_counted_from_the_last_new_message():
    watch = Watch(me=0)
    assert watch.judge({0: 'alive a 1', 1: 'alive b 1'}, 100.0) is None
    assert watch.judge({0: 'alive a 1', 1: 'alive b 1'}, 100.0 + LOST_SECONDS) is None
    assert watch.judge({0: 'alive a 1', 1: 'alive b 2'}, 101.0 + LOST_SECONDS) is None
    lost = watch.judge({0: 'alive a 1', 1: 'alive b 2'}, 102.0 + 2 * LOST_SECONDS)
    assert 'process 1 on b' in lost and f'{LOST_SECONDS + 1:.0f} s' in lost


def test_a_finished_process_may_be_silent_and_one_that_has_not_begun_is_not_judged():
    watch = Watch(me=1)
    for now in (0.0, 1e6):
        assert watch.judge({0: 'done', 1: 'alive b 1'}, now) is None


def test_a_failure_is_reported_with_its_reason():
    words = {0: 'alive a 1', 2: 'failed shard train-00007 is damaged'}
    assert Watch(me=0).judge(words, 0.0) == 'process 2 has stopped: shard train-00007 is damaged'
