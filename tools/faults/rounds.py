"""One round: a run that gets a fault, is started again until it ends, and is compared."""

import pathlib
import random
import re
import shutil
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tools.faults import compare, setting
from tools.faults.namespaces import Network
from tools.faults.processes import Mark, Missed, Process

TRIES = 3  # of the same command after a fault


def step_reached(output: str) -> int:
    """The step of the checkpoint from which a run went on, by what it printed.

    >>> step_reached('continuing from step 25'), step_reached('step 1/30  loss 5.1')
    (25, 0)
    """
    went_on = re.search(r'continuing from step (\d+)', output)
    ended = re.search(r'this run has ended before.*?\ndone: (\d+) step', output, re.DOTALL)
    found = went_on or ended
    return int(found[1]) if found else 0


class Spans:
    """Durations on this machine, in seconds; the moments of faults are drawn from them."""

    def __init__(self) -> None:
        self._seconds = {
            'total': 20.0, 'preparing': 5.0, 'compiling': 5.0, 'stepping': 0.02,
            'evaluating': 0.05, 'saving': 0.3, 'training': 3.0,
        }  # fmt: skip

    def __getitem__(self, name: str) -> float:
        return self._seconds[name]

    def learn(self, process: Process) -> None:
        """Measures a process that ran to its end, so that durations follow the machine's load."""
        ends = {'preparing': 'prepared', 'compiling': 'compiled', 'evaluating': 'evaluated'}
        opened: dict[str, float] = {}
        steps: list[float] = []
        for mark in process.seen:
            opened[mark.name] = mark.at
            for begin, end in ends.items():
                if mark.name == end and begin in opened:
                    self._update(begin, mark.at - opened[begin])
            if mark.name == 'stepping':
                steps.append(mark.at)
            if mark.name == 'saved' and 'saving' in opened:
                self._update('saving', mark.at - opened['saving'])
        if len(steps) > 1:
            self._update('stepping', (steps[-1] - steps[0]) / len(steps))
            whole = setting.STEPS / len(steps)
            self._update('training', whole * (process.seen[-1].at - steps[0]))
            self._update('total', process.seen[-1].at - process.began)

    def _update(self, name: str, seconds: float) -> None:
        self._seconds[name] += (seconds - self._seconds[name]) / 2


class Round:
    """A run into which a fault is injected, and what was noticed about it."""

    def __init__(
        self,
        where: setting.Setting,
        folder: pathlib.Path,
        draw: random.Random,
        spans: Spans,
        references: Callable[[int], dict[str, Any]],
    ):
        """Makes the folder.

        Args:
            where: shared files.
            folder: of this round.
            draw: every random choice of the round.
            spans: for moments.
            references: number of hosts -> undisturbed run (`compare.record`).
        """
        folder.mkdir(parents=True)
        self.setting, self.folder, self.draw, self.spans = where, folder, draw, spans
        self.workdir = folder / 'run'
        self.words: list[str] = []
        self.hosts = 1
        self.network: Network | None = None  # of the hosts; None: all are this machine
        self._references = references
        self.kept = 0  # step of the newest checkpoint that must not be lost
        self.notes: list[str] = []
        self.complaints: list[str] = []
        self.lost: list[str] = []
        self.cleanup: list[Callable[[], object]] = []
        self.started: list[Process] = []

    @property
    def reference(self) -> dict[str, Any]:
        """The undisturbed run with the same number of processes."""
        return self._references(self.hosts)

    def start(
        self,
        environment: Mapping[str, str] | None = None,
        new_program: bool = False,
        before: Sequence[str] = (),
    ) -> Process:
        """Starts the command; the arguments are those of `Process`."""
        process = Process(
            self.folder,
            self.setting.command(self.workdir, *self.words),
            environment,
            new_program,
            before,
        )
        self.started.append(process)
        return process

    def start_hosts(self, environment: Mapping[str, str] | None = None) -> list[Process]:
        """Starts the command on every host, with `environment` added to that of this process."""
        more = dict(environment or {})
        if self.network is not None:
            return [
                self.start(
                    {**self.network.environment(host), **more},
                    new_program=True,
                    before=self.network.words_before(host),
                )
                for host in range(self.hosts)
            ]
        if self.hosts == 1:
            return [self.start(more)]
        environments = hosts_environment(self.hosts)
        return [self.start({**one, **more}, new_program=True) for one in environments]

    def moment(self, process: Process, name: str, span: str | None = None) -> str:
        """Waits for a random one of these marks and then for a random time; notes the moment.

        Raises:
            Missed: the process ended before.
        """
        nth = self.draw.randrange(_HOW_MANY.get(name, 1))
        for _ in range(nth + 1):
            mark = process.wait_for(lambda mark: mark.name == name)
        return self._sleep(process, span or name, f'{name} {" ".join(mark.values)}'.strip())

    def any_moment(self, process: Process) -> str:
        """Waits for a random moment between the start and the end of a run."""
        return self._sleep(process, 'total', 'started')

    def _sleep(self, process: Process, span: str, what: str) -> str:
        seconds = self.draw.uniform(0, self.spans[span])
        process.sleep(seconds)
        return f'{what} +{seconds:.3f} s'

    def send_and_wait(self, process: Process, when: str, *numbers: int, gap: float = 0.0) -> int:
        """Sends signals, some time apart, and waits for the end; returns the exit status."""
        for number in numbers:
            process.send(number)
            process_names = signal.Signals(number).name
            self.notes.append(f'{process_names} at {when}')
            if gap and number != numbers[-1]:
                try:
                    process.sleep(gap)
                except Missed:
                    break
        return process.wait()

    def note_checkpoints(self) -> list[int]:
        """Steps whose checkpoints are whole; from now on the newest one must never be lost."""
        whole = compare.whole_steps(self.workdir, self.reference)
        newest = max(whole, default=0)
        # An older one may have been caught while it was being deleted.
        wrong = [step for step in compare.finished_steps(self.workdir) if step > newest]
        if wrong:
            self.complaints.append(
                f'checkpoints with their final names that are not whole: {wrong}'
            )
        if newest < self.kept:
            self.lost.append(
                f'the checkpoint of step {self.kept} was whole, now {newest} is the newest'
            )
        self.kept = newest
        return whole

    def expect_clear_end(self, process: Process) -> None:
        """The output must be readable: a traceback is a complaint."""
        if 'Traceback (most recent' in process.output():
            self.complaints.append(f'a traceback in {process.log.name}')

    def finish(self) -> list[str]:
        """Repeats the command until the run ends; returns what differs from the undisturbed run."""
        for attempt in range(TRIES):
            hosts = self.start_hosts()
            statuses = [host.wait() for host in hosts]
            output = hosts[0].output()
            reached = step_reached(output)
            if attempt == 0:
                self.notes.append(f'continued from step {reached}')
            if reached < self.kept:
                self.lost.append(
                    f'step {self.kept} was whole, but the run continued from step {reached}'
                )
            if all(status == 0 for status in statuses) and 'done: ' in output:
                break
            last = (output.strip().splitlines() or ['nothing'])[-1][:200]
            self.complaints.append(
                f'repeated, the command ended with {statuses} and printed: {last}'
            )
            self.kept = reached
        self.learn(hosts[0])
        step = str(setting.STEPS)
        differences = compare.checkpoint_differs(self.workdir, int(step), self.reference)
        return differences + compare.metrics_differ(self.workdir, self.reference)

    def learn(self, process: Process) -> None:
        """Updates the durations from runs of one process: those of two take far longer."""
        if self.hosts == 1:
            self.spans.learn(process)

    def close(self, keep: bool) -> None:
        """Ends what still runs, unmounts file systems, deletes the folder."""
        for process in self.started:
            process.kill()
        if self.network is not None:
            self.network.close()
        for undo in reversed(self.cleanup):
            undo()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


_HOW_MANY = {
    'stepping': setting.STEPS - 1,
    'saving': setting.STEPS // setting.SAVE_EVERY,
    'evaluating': setting.STEPS // setting.EVALUATE_EVERY,
}


def hosts_environment(count: int) -> Sequence[dict[str, str]]:
    """The environment by which each of `count` processes finds the other ones on this machine."""
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = probe.getsockname()[1]
    return [
        {
            'JAX_COORDINATOR_ADDRESS': f'localhost:{port}',
            'JAX_NUM_PROCESSES': str(count),
            'JAX_PROCESS_ID': str(number),
        }
        for number in range(count)
    ]


def undisturbed(
    where: setting.Setting, folder: pathlib.Path, hosts: int, spans: Spans
) -> dict[str, Any]:
    """Trains without any fault, saving after every step."""
    run = Round(where, folder, random.Random(0), spans, lambda hosts: {})
    run.hosts = hosts
    run.words = ['--config.checkpoint.every_steps=1', f'--config.checkpoint.keep={setting.STEPS}']
    started = run.start_hosts()
    try:
        statuses = [process.wait() for process in started]
        run.learn(started[0])
        if any(statuses):
            raise SystemExit(f'the undisturbed run failed: {started[0].output()}')
        return compare.record(run.workdir)
    finally:
        run.close(keep=True)


def is_saving(step: int) -> Callable[[Mark], bool]:
    """Whether a mark is of a checkpoint of `step` or later."""
    return lambda mark: mark.name == 'saving' and int(mark.values[0]) >= step
