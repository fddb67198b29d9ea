"""Progress on a terminal and in a file, and Markdown tables."""

import io
import time

import pytest
from rich.console import Console

from electra_jax.runtime import terminal
from tests.support.clocks import FakeClock


def console(is_terminal=False):
    return Console(
        file=io.StringIO(),
        force_terminal=is_terminal,
        soft_wrap=True,
        highlight=False,
        markup=False,
        width=120,
    )


def test_lines_where_there_is_no_terminal_show_amounts_speed_and_time_left():
    clock, lines = FakeClock(0.0), console()
    with terminal.Progress(
        'building', 1200.0, 200.0, 'MB', console=lines, line_seconds=15.0, clock=clock
    ) as progress:
        clock.now = 10.0
        progress.advance(100.0)  # too soon for a line
        clock.now = 20.0
        progress.advance(100.0)
        progress.print('a message [not markup]')
        progress.print('step 4/12', left=80.0)
    assert lines.file.getvalue().splitlines() == [
        'building: 400/1,200 MB, 10.0 MB/s, ETA 1m20s',
        'a message [not markup]',
        'step 4/12  ETA 1m20s',
    ]


def test_the_time_before_the_first_work_is_no_part_of_the_speed_where_it_skips():
    clock, lines = FakeClock(0.0), console()
    with terminal.Progress('building', 400.0, unit='MB', console=lines, clock=clock) as progress:
        clock.now = 50.0
        progress.skip(200.0)  # finished before, which took so long to see
        clock.now = 60.0
        progress.advance(50.0)
        clock.now = 70.0
        progress.skip(50.0)
    assert lines.file.getvalue().splitlines() == [
        'building: 200/400 MB',
        'building: 300/400 MB, 2.5 MB/s, ETA 40s',
    ]


def test_where_the_total_is_unknown_no_time_left_is_printed():
    clock, lines = FakeClock(0.0), console()
    with terminal.Progress('reading', 0.0, unit='MB', console=lines, clock=clock) as progress:
        progress.print('begun')
        clock.now = 20.0
        progress.advance(10.0)
    assert lines.file.getvalue().splitlines() == ['begun', 'reading: 10 MB, 0.5 MB/s']


def test_a_bar_on_a_terminal_and_messages_above_it():
    screen = console(is_terminal=True)
    with terminal.Progress('training', 10, unit='steps', console=screen) as progress:
        progress.advance(10)
        progress.print('step 10', left=1.0)
    shown = screen.file.getvalue()
    assert 'training' in shown and '10/10 steps' in shown
    assert 'step 10' in shown and 'ETA' not in shown  # the bar shows the time that is left


def test_a_quiet_process_prints_nothing():
    screen = console(is_terminal=True)
    with terminal.Progress('training', 10, console=screen, quiet=True) as progress:
        progress.advance(10)
        progress.print('step 10')
    assert not screen.file.getvalue()


def test_the_time_left_follows_the_work_in_items_and_not_their_number():
    clock, lines, done = FakeClock(0.0), [], []
    for item in terminal.track(
        [1, 1, 2, 4], 'dev', float, report=lines.append, line_seconds=10.0, clock=clock
    ):
        done.append(item)
        clock.now += 6.0 * item
    assert done == [1, 1, 2, 4]
    assert [line.partition('ETA ')[2] for line in lines] == ['36s', '24s']


def test_compiling_does_not_count_in_the_time_left():
    clock, screen = FakeClock(0.0), console(is_terminal=False)
    with terminal.Progress('work', 10, console=screen, compiles=True, clock=clock) as progress:
        clock.now += 100.0
        progress.advance(2)
        assert progress.seconds_left() is None
        clock.now += 4.0
        progress.advance(4)
        assert progress.seconds_left() == 4.0


def test_speed_and_time_left_need_the_least_work_of_this_process():
    clock, lines, under_way = FakeClock(0.0), [], ['one at step 3']
    with terminal.Progress(
        'sweep', 4, 1.5, 'runs', report=lines.append, clock=clock, decimals=1, least=0.5,
        detail=lambda: ', '.join(under_way),
    ) as progress:  # fmt: skip
        for amount in (0.25, 0.25):
            clock.now += 20.0
            progress.advance(amount)
        under_way.clear()
        clock.now += 20.0
        progress.skip(0.5)  # no work
    assert lines == [
        'sweep: 1.7/4 runs; one at step 3',
        'sweep: 2.0/4 runs, 1m20s each, ETA 2m40s; one at step 3',
        'sweep: 2.5/4 runs, 2m00s each, ETA 3m00s',
    ]


def test_a_bar_has_no_time_left_before_it_can_be_known():
    clock, screen = FakeClock(0.0), console(is_terminal=True)
    with terminal.Progress(
        'sweep', 4, 2.0, 'runs', console=screen, clock=clock, least=0.5, detail=lambda: 'at 3'
    ) as progress:
        clock.now += 20.0
        progress.advance(0.25)
        assert 'left' not in screen.file.getvalue() and 'each' not in screen.file.getvalue()
        clock.now += 20.0
        progress.advance(0.25)
    shown = screen.file.getvalue()
    assert '2m00s left' in shown and '1m20s each' in shown and 'at 3' in shown


def test_a_cell_may_hold_a_vertical_bar():
    table = terminal.markdown(['a', 'b'], [['x|y', '1'], ['z', '2']])
    assert table == '| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n| z | 2 |\n'


def test_a_line_has_news_and_unfinished_work_does_not_count():
    clock, lines = FakeClock(0.0), []
    with terminal.Progress('sweep', 4, unit='runs', report=lines.append, clock=clock) as progress:
        for _ in range(6):
            clock.now += 20.0
            progress.advance(0.3)
    assert lines == ['sweep: 1/4 runs, 1m07s each, ETA 3m07s']


def test_a_part_of_long_work_is_news_where_decimals_are_shown():
    clock, lines = FakeClock(0.0), []
    with terminal.Progress(
        'sweep', 4, unit='runs', report=lines.append, clock=clock, decimals=1
    ) as progress:
        for _ in range(2):
            clock.now += 20.0
            progress.advance(0.3)
    assert lines == [
        'sweep: 0.3/4 runs, 1m07s each, ETA 4m07s',
        'sweep: 0.6/4 runs, 1m07s each, ETA 3m47s',
    ]


@pytest.mark.parametrize('counts', [False, True])
def test_work_that_prints_nothing_shows_that_it_goes_on(counts, monkeypatch):
    monkeypatch.setattr(terminal, 'LINE_SECONDS', 0.02)
    lines = console()
    work = terminal.Progress('compiling', console=lines, total=9) if counts else None
    with work or terminal.alive('compiling', lines):
        time.sleep(0.2)
    text = lines.file.getvalue()
    assert text.startswith('compiling: 0s so far\n')
    assert counts or text.endswith('compiling: took 0s\n')
    time.sleep(0.1)
    assert lines.file.getvalue() == text  # it has ended


def test_work_on_a_terminal_shows_its_time_in_place():
    screen = console(is_terminal=True)
    with terminal.alive('compiling', screen):
        time.sleep(0.2)
    assert 'compiling' in screen.file.getvalue()
    assert '0:00:00' in screen.file.getvalue()
    assert screen.file.getvalue().count('\n') <= 1
