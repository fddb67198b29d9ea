"""Processes of the main job: started some at a time, watched, asked to stop, and recorded."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from electra_jax.core.complaints import counted
from electra_jax.runtime import early, interrupt, terminal
from electra_jax.sweep.plan import Planned
from electra_jax.train import metric_lines, runs

_LEAST_SHARE = 0.25  # of a run, from which on the time of the others is reckoned
LOG, MARKER, LOCK = 'log.txt', 'sweep.json', 'sweep.lock'  # in each run's workdir


@dataclasses.dataclass
class Started:
    """A run whose process is alive, or was until a moment ago."""

    run: Planned
    process: subprocess.Popen[bytes]
    log_start: int  # where its own text begins in the log, bytes
    requests: int = 0  # to stop, that it was sent
    shown: int = 0  # bytes of its text that were printed
    trains: bool = False  # it has got past what is printed

    def forward(self, requests: int) -> None:
        """The first request to stop asks the run to save; the second one ends it."""
        if requests > self.requests:
            self.requests = requests
            self.process.send_signal(signal.SIGTERM if requests == 1 else signal.SIGKILL)

    def text(self, at: int = 0, most: int = -1) -> bytes:
        """Its own text in the log, from a position of it; nothing where the folder was deleted."""
        with contextlib.suppress(FileNotFoundError), (self.run.folder / LOG).open('rb') as file:
            file.seek(self.log_start + at)
            return file.read(most)
        return b''

    def show_beginning(self, report: Callable[[str], None]) -> None:
        """Prints what it has written since, until it trains: a corpus may take long to build."""
        if self.trains:
            return
        whole, end, _ = self.text(self.shown, 1_000_000).rpartition(b'\n')
        self.trains = self.has_corpus  # asked after what was read
        if self.trains or self.process.poll() is not None:
            return
        self.shown += len(whole + end)
        for line in whole.decode('utf-8', 'replace').splitlines():
            if line != early.LOADING:
                report(f'{self.run.name}: {line}')

    @property
    def has_corpus(self) -> bool:
        """Whether the run has got past building its corpus."""
        return (self.run.folder / 'config.json').exists()

    @property
    def at(self) -> str:
        """The step and what the process does, as its own files have it."""
        beat, (step, end) = runs.beat(self.run.folder), steps(self.run.folder)
        phase = beat.get('phase')
        if beat.get('pid') != self.process.pid:  # of an earlier start
            beat, phase = {}, 'starting'
        step = max(step, beat.get('step') or 0)
        words = [f'step {step:,} of {end:,}'] if step and end else []
        words += [str(phase)] if phase != 'training' or not words else []
        return f'{self.run.name}: {", ".join(words)}'


def steps(folder: pathlib.Path) -> tuple[int, int]:
    """The newest step of a run, and how many it has; 0: not known."""
    config = runs.about(folder).get('config', {})
    end = min(config.get('total_steps') or 0, config.get('stop_at') or sys.maxsize)
    end *= config.get('trials', 1)  # each trial of fine-tuning has as many steps
    with contextlib.suppress(FileNotFoundError):  # the folder was deleted a moment ago
        return metric_lines.last_step(folder), end
    return 0, end


def share(folder: pathlib.Path) -> float:
    """How much of a run is done, 0 to 1."""
    step, end = steps(folder)
    return min(step / end, 1.0) if end else 0.0


def run_all(
    runs: Sequence[Planned], slots: Sequence[Mapping[str, str]], poll_seconds: float = 0.3
) -> dict[str, str]:
    """Trains what is not finished, as many runs at once as there are slots.

    Args:
        runs: in order.
        slots: environment variables of each run that may be under way at the same time.
        poll_seconds: between two looks at the processes.

    Returns:
        Run name -> 'done', 'failed', 'stopped' (after saving) or 'waiting' (never begun).
    """
    outcomes = {run.name: 'done' for run in runs if is_done(run)}
    waiting = [run for run in runs if run.name not in outcomes]
    terminal.OUT.print(f'{counted(len(runs), "runs")}, {len(outcomes)} of them finished before')
    active: dict[int, Started] = {}
    has_reported_wait = False
    shares = {run.name: 1.0 if run.name in outcomes else share(run.folder) for run in runs}
    with (
        stop_signals() as asked,
        terminal.Progress(
            'sweep', len(runs), sum(shares.values()), 'runs', decimals=1, least=_LEAST_SHARE,
            detail=lambda: '; '.join(one.at for one in list(active.values())),
        ) as progress,
    ):  # fmt: skip
        while active or (waiting and not asked):
            # The corpus may still have to be built, by one process: the next run waits for that.
            free = [slot for slot in range(len(slots)) if slot not in active]
            if free and not asked and all(one.has_corpus for one in active.values()):
                attempts = (start(run, slots[free[0]], progress.print) for run in waiting)
                started = next(filter(None, attempts), None)
                if started:
                    active[free[0]] = started
                    waiting.remove(started.run)
                elif waiting and not active and not has_reported_wait:
                    has_reported_wait = True
                    progress.print(f'waiting: other processes are at {waiting[0].folder}')
            for slot, started in list(active.items()):
                started.forward(len(asked))
                started.show_beginning(progress.print)
                name, now = started.run.name, share(started.run.folder)
                if started.process.poll() is not None:
                    outcomes[name] = finish(started, progress.print)
                    del active[slot]
                    now = 1.0 if outcomes[name] == 'done' else now
                # A run that goes on from its checkpoint does some steps again.
                progress.advance(max(now - shares[name], 0.0))
                shares[name] = max(now, shares[name])
                if outcomes.get(name) == 'failed':
                    progress.skip(1.0 - shares[name])
            time.sleep(poll_seconds)
    return {**{run.name: 'waiting' for run in waiting}, **outcomes}


def start(
    run: Planned, environment: Mapping[str, str], report: Callable[[str], None]
) -> Started | None:
    """Starts a run; None while another process, left over from a killed sweep, trains it."""
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / LOCK).open('w') as lock, (run.folder / LOG).open('a') as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        log.write(f'$ {shlex.join(run.command)}\n')
        log.flush()
        # The run itself holds the lock from here on, even if the sweep is killed. Its own session
        # keeps the terminal's Ctrl-C from it: the sweep asks it to stop.
        process = subprocess.Popen(
            run.command,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONUNBUFFERED': '1', **environment},
            pass_fds=[lock.fileno()], start_new_session=True,
        )  # fmt: skip
        report(f'started {run.name}: {run.folder / LOG}')
        return Started(run, process, log.tell())


def finish(started: Started, report: Callable[[str], None]) -> str:
    """Prints how a run ended, and records it in its workdir."""
    run, status = started.run, started.process.returncode
    if not (run.folder / LOG).exists():
        report(
            f'failed {run.name} (exit status {status}): {run.folder} was deleted while it ran; '
            'type the same command again to begin it again'
        )
        return 'failed'
    lines = started.text().decode('utf-8', 'replace').splitlines()
    if status in (0, interrupt.STATUS) and any(x.startswith('stopped by ') for x in lines):
        outcome = 'stopped'
    elif status:
        # Before its first step a run has nothing to save: the signal just ends it.
        outcome = 'stopped' if started.requests else 'failed'
    else:
        outcome = 'done'
    if outcome == 'failed':
        report(f'failed {run.name} (exit status {status}); the end of {run.folder / LOG}:')
        report('\n'.join(f'    {line}' for line in lines[-15:]))
    else:
        report(f'{outcome} {run.name}')
    content = {**run.identity, 'outcome': outcome, 'status': status}
    (run.folder / MARKER).write_text(json.dumps(content, indent=2) + '\n')
    return outcome


def is_done(run: Planned) -> bool:
    """Whether this same command, with this same recipe, has reached its end."""
    try:
        marker = json.loads((run.folder / MARKER).read_text())
    except (OSError, ValueError):
        return False
    return bool(marker == {**run.identity, 'outcome': 'done', 'status': 0})


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list of the signals that have asked to stop, which do not end this process.

    Where Ctrl-C is ignored already, as in a script's background job, it stays ignored.
    """
    requests: list[int] = []
    numbers = [n for n in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(n) != signal.SIG_IGN]
    before = {n: signal.signal(n, lambda number, frame: requests.append(number)) for n in numbers}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if signal.SIGINT in requests:
            interrupt.ended_by('SIGINT')
