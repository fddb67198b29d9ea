"""Processes of the main job, some at a time: started, watched, asked to stop, written down."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import results
from rich.console import Console
from rich.progress import Progress

LOG, MARKER, LOCK = 'log.txt', 'sweep.json', 'sweep.lock'  # in each run's workdir
POLL_SECONDS = 0.3
console = Console(soft_wrap=True, highlight=False, markup=False)


class Run(NamedTuple):
    """One run: a recipe with settings of its own, in a folder of its own."""

    name: str
    recipe: str
    settings: dict[str, str]  # all of them, as typed
    varied: dict[str, str]  # those that are not the same for every run
    folder: pathlib.Path

    @property
    def command(self) -> list[str]:
        """What trains it, for the first time and every time after."""
        words = [sys.executable, '-m', 'electra_jax.main', f'--config={self.recipe}']
        words.append(f'--workdir={self.folder}')
        return [*words, *(f'--config.{key}={value}' for key, value in self.settings.items())]

    @property
    def identity(self) -> dict[str, Any]:
        """What a finished run must have been, to be skipped."""
        text = pathlib.Path(self.recipe).read_bytes()
        return {'command': self.command[1:], 'recipe': hashlib.sha256(text).hexdigest()}


def run_all(runs: Sequence[Run], slots: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Trains what is not finished, as many at once as there are slots.

    Args:
        runs: in order.
        slots: environment variables of each run that may go at the same time.

    Returns:
        Run name -> 'done', 'failed', 'stopped' (it saved first) or 'waiting' (never begun).
    """
    outcomes = {run.name: 'done' for run in runs if is_done(run)}
    waiting = [run for run in runs if run.name not in outcomes]
    console.print(f'{len(runs)} runs, {len(outcomes)} of them finished before')
    active: dict[int, Started] = {}
    held = False
    with stop_signals() as stop, Progress(console=console, disable=not console.is_terminal) as bars:
        total = bars.add_task('runs', total=len(runs), completed=len(outcomes))
        while active or (waiting and not stop.asked):
            # A corpus may still have to be built, by one process: the next run waits for that.
            free = [slot for slot in range(len(slots)) if slot not in active]
            if free and not stop.asked and all(map(text_is_there, active.values())):
                begun = start_one(waiting, slots[free[0]], bars)
                if begun:
                    active[free[0]] = begun
                    waiting.remove(begun.run)
                elif waiting and not active and not held:
                    held = True
                    console.print(f'waiting: other processes are at {waiting[0].folder}')
            for slot, started in list(active.items()):
                started.forward(stop.asked)
                show_step(started, bars)
                if started.process.poll() is not None:
                    outcomes[started.run.name] = finish(started, bars)
                    bars.advance(total)
                    del active[slot]
            time.sleep(POLL_SECONDS)
    return {**{run.name: 'waiting' for run in waiting}, **outcomes}


class Started:
    """A run under way."""

    def __init__(self, run: Run, process: subprocess.Popen, log_start: int, task: Any):
        self.run, self.process, self.log_start, self.task = run, process, log_start, task
        self.told = 0

    def forward(self, asked: int) -> None:
        """The first request to stop asks the run to save; the second one ends it."""
        if asked > self.told:
            self.told = asked
            self.process.send_signal(signal.SIGTERM if asked == 1 else signal.SIGKILL)


def start_one(
    waiting: Sequence[Run], environment: Mapping[str, str], bars: Progress
) -> Started | None:
    """Starts the first run that can be; None where there is none at this moment."""
    return next(filter(None, (start(run, environment, bars) for run in waiting)), None)


def start(run: Run, environment: Mapping[str, str], bars: Progress) -> Started | None:
    """Starts a run; None while another process, left over from a killed sweep, is at it."""
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / LOCK).open('w') as lock, (run.folder / LOG).open('a') as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        log.write(f'$ {shlex.join(run.command)}\n')
        log.flush()
        # The run itself holds the lock from here on, whatever becomes of the sweep. A session of
        # its own keeps the terminal's Ctrl-C from it: the sweep asks it to stop.
        process = subprocess.Popen(
            run.command,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONUNBUFFERED': '1', **environment},
            pass_fds=[lock.fileno()], start_new_session=True,
        )  # fmt: skip
        console.print(f'started {run.name}: {run.folder / LOG}')
        return Started(run, process, log.tell(), bars.add_task(run.name, total=None))


def finish(started: Started, bars: Progress) -> str:
    """Says how a run ended, and writes it down."""
    run, status = started.run, started.process.returncode
    bars.remove_task(started.task)
    with (run.folder / LOG).open('rb') as file:
        file.seek(started.log_start)
        said = file.read().decode('utf-8', 'replace').splitlines()
    stopped = any(line.startswith('stopped by ') for line in said)
    # Before its first step a run has nothing to save: the signal just ends it.
    ended = 'stopped' if started.told else 'failed'
    outcome = ended if status else 'stopped' if stopped else 'done'
    if outcome == 'failed':
        console.print(f'failed {run.name} (exit status {status}); the end of {run.folder / LOG}:')
        console.print('\n'.join(f'    {line}' for line in said[-15:]))
    else:
        console.print(f'{outcome} {run.name}')
    content = {**run.identity, 'outcome': outcome, 'status': status}
    (run.folder / MARKER).write_text(json.dumps(content, indent=2) + '\n')
    return outcome


def is_done(run: Run) -> bool:
    """Whether this very command, with this very recipe, has reached its end."""
    try:
        marker = json.loads((run.folder / MARKER).read_text())
    except (OSError, ValueError):
        return False
    return marker == {**run.identity, 'outcome': 'done', 'status': 0}


def text_is_there(started: Started) -> bool:
    """Whether a run has got past building its corpus."""
    return (started.run.folder / 'config.json').exists()


def show_step(started: Started, bars: Progress) -> None:
    """Moves the bar of a run."""
    if bars.disable:
        return
    config = results.read_about(started.run.folder).get('config', {})
    end = min(config.get('total_steps') or 0, config.get('stop_at') or sys.maxsize)
    end *= config.get('trials', 1)  # of fine-tuning, each as long
    step = results.last_step(started.run.folder)
    bars.update(started.task, completed=step, total=end or None)


class Stop:
    """How often SIGTERM or Ctrl-C has come."""

    asked = 0


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """Counts requests to stop instead of dying of them."""
    stop = Stop()

    def ask(number: int, frame: Any) -> None:
        del number, frame
        stop.asked += 1

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
