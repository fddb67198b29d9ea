"""Programs measured in turns, each in its own process (`bench/worker.py` is their side)."""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NamedTuple, Self

from electra_jax.core.errors import UserError
from electra_jax.runtime import malloc

Answer = dict[str, Any]


class Entry(NamedTuple):
    """A program to be measured.

    Attributes:
        name: in tables.
        module: run with `python -m`.
        settings: its only argument, as JSON.
        environment: variables of its process, in addition to those of this one.
    """

    name: str
    module: str
    settings: Mapping[str, Any]
    environment: Mapping[str, str] = {}


class Plan(NamedTuple):
    """How long to measure.

    Attributes:
        turns: of each program.
        amount: of work in a turn: steps, or passes over a split.
        warmup: steps before.
    """

    turns: int
    amount: int
    warmup: int


class Measured(NamedTuple):
    """What a program answered: after its warm-up, in each turn, and at its end."""

    name: str
    ready: Answer
    turns: list[Answer]
    report: Answer

    def all(self, key: str) -> list[float]:
        """The numbers of every turn under `key`, in order; none where it does not measure that."""
        return [value for turn in self.turns for value in turn.get(key, ())]

    @property
    def peak_memory_bytes(self) -> int:
        """On an accelerator the allocator's peak, else the process's since its warm-up."""
        return int(self.report.get('peak_device_bytes') or self.report['peak_host_bytes'])


class Contestant:
    """A program that has warmed up and waits for its turns."""

    def __init__(self, entry: Entry, process: subprocess.Popen[str], errors: IO[bytes]):
        """Waits for the warm-up.

        Raises:
            UserError: the program failed.
        """
        self.name, self._process, self._errors = entry.name, process, errors
        self._turns: list[Answer] = []
        assert process.stdin and process.stdout
        self._requests, self._answers = process.stdin, process.stdout
        self.ready = self._read()

    def turn(self, amount: int) -> None:
        """Lets it do `amount` of work."""
        with contextlib.suppress(BrokenPipeError):  # `_read` reports what went wrong
            self._requests.write(f'{amount}\n')
            self._requests.flush()
        self._turns.append(self._read())

    def end(self) -> Measured:
        """Ends it."""
        self._requests.close()
        report = self._read()
        self._process.wait()
        return Measured(self.name, self.ready, self._turns, report)

    def _read(self) -> Answer:
        line = self._answers.readline()
        if line:
            answer: Answer = json.loads(line)
            return answer
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode('utf-8', 'replace').strip().splitlines()
        raise UserError(
            f'{self.name} could not be measured (exit status {status}):\n' + '\n'.join(lines[-15:])
        )


class Arena(contextlib.ExitStack):
    """Starts programs, and ends all of them when it is left, also by SIGTERM."""

    def __enter__(self) -> Self:
        before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        self.callback(signal.signal, signal.SIGTERM, before)
        return super().__enter__()

    def enter(self, entry: Entry) -> Contestant:
        """Starts a program and waits until it has warmed up; start one after another.

        Raises:
            UserError: it failed.
        """
        errors = self.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, '-m', entry.module, json.dumps(entry.settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**malloc.with_large_pages(os.environ), **entry.environment},
        )  # fmt: skip
        self.callback(_kill, process)
        return Contestant(entry, process, errors)

    def enter_any(
        self, entries: Sequence[Entry], report: Callable[[str], None]
    ) -> list[Contestant]:
        """Starts those of some programs that can be run here.

        Raises:
            UserError: none of them can.
        """
        entered, failed = [], []
        for entry in entries:
            report(f'{entry.name}: warming up')
            try:
                entered.append(self.enter(entry))
            except UserError as error:
                failed.append(error)
                report(f'left out: {error}')
        if failed and not entered:
            raise failed[0]
        return entered


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):
            if pipe:
                pipe.close()


def measure(
    ours: Entry,
    peers_of: Callable[[Answer], Sequence[Entry]],
    plan: Plan,
    unit: str,
    report: Callable[[str], None],
) -> tuple[Measured, list[Measured]]:
    """Measures a program, alone or in turns with others.

    Args:
        ours: the program.
        peers_of: what ours answers after its warm-up -> the others; empty to measure ours alone.
        plan: how long.
        unit: of work, in words.
        report: called with a line about what happens.

    Returns:
        Ours, and those of the others that run here.

    Raises:
        UserError: ours cannot be run, or none of the others can.
    """
    with Arena() as arena:
        report(f'{ours.name}: compiling and warming up')
        first = arena.enter(ours)
        others = arena.enter_any(peers_of(first.ready), report)
        report(f'{plan.turns} turns of {plan.amount} {unit} each')
        done = (f'turn {number} of {plan.turns}' for number in range(1, plan.turns + 1))
        one, *rest = compete([first, *others], plan.turns, plan.amount, lambda: report(next(done)))
    return one, rest


def compete(
    contestants: Sequence[Contestant], turns: int, amount: int, after: Callable[[], None]
) -> list[Measured]:
    """Lets each do `amount` in each turn, one after another, then ends all.

    Args:
        contestants: in order.
        turns: of each.
        amount: of work in a turn, in the programs' own unit.
        after: called after each turn of all.
    """
    for _ in range(turns):
        for contestant in contestants:
            contestant.turn(amount)
        after()
    return [contestant.end() for contestant in contestants]


def summary(measured: Measured, key: str, tokens: int) -> dict[str, Any]:
    """What a record has of every program.

    Args:
        measured: the program.
        key: of the seconds of a unit of work: 'step_seconds' or 'pass_seconds'.
        tokens: in a unit of work.
    """
    seconds = measured.all(key)
    return {
        'name': measured.name,
        'tokens_per_second': tokens / statistics.median(seconds),
        key: percentiles(seconds),
        'peak_memory_bytes': measured.peak_memory_bytes,
        'ready': measured.ready,
    }


def compare(
    ours: Measured, theirs: Sequence[Measured], key: str, tokens: Sequence[int]
) -> tuple[dict[str, Any], int]:
    """Ratios of time per token, theirs to ours, in the same turns; the fastest peer counts.

    Args:
        ours: the program.
        theirs: those that it is compared with.
        key: of the seconds of a unit of work.
        tokens: in a unit of work, of ours and then of each of theirs.

    Returns:
        The record's part about the fastest peer, and the position of that peer in `theirs`.
    """
    ratios = [
        ratio(ours, one, key) * tokens[0] / count
        for one, count in zip(theirs, tokens[1:], strict=True)
    ]
    best = ratios.index(min(ratios))
    peer = theirs[best]
    # Other programs disturb processor time less; on an accelerator it says nothing.
    of_processor = None
    if ours.ready['platform'] == 'cpu':
        of_processor = ratio(ours, peer, 'cpu_seconds') * tokens[0] / tokens[best + 1]
    return {
        'peer': peer.name,
        'peer_tokens_per_second': tokens[best + 1] / statistics.median(peer.all(key)),
        'peer_memory_bytes': peer.peak_memory_bytes,
        'ratio': ratios[best],
        'ratio_of_processor_time': of_processor,
        'ratios': dict(zip((one.name for one in theirs), ratios, strict=True)),
    }, best


def ratio(ours: Measured, theirs: Measured, key: str) -> float:
    """How many times as long theirs takes: the median over turns of the ratio within a turn.

    >>> half, whole = ({'seconds': [x, x]} for x in (0.5, 1.0))
    >>> ratio(Measured('a', {}, [half], {}), Measured('b', {}, [whole], {}), 'seconds')
    2.0
    """
    pairs = zip(ours.turns, theirs.turns, strict=True)
    ratios = [statistics.median(b[key]) / statistics.median(a[key]) for a, b in pairs]
    return float(statistics.median(ratios))


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """How long units of work took, from fast to slow.

    >>> percentiles([4.0, 1.0, 2.0, 3.0])
    {'p10': 1.3, 'p50': 2.5, 'p90': 3.7, 'max': 4.0}
    """
    if len(seconds) == 1:
        return dict.fromkeys(('p10', 'p50', 'p90', 'max'), seconds[0])
    tenths = statistics.quantiles(seconds, n=10, method='inclusive')
    values = {'p10': tenths[0], 'p50': tenths[4], 'p90': tenths[8], 'max': max(seconds)}
    return {name: round(value, 9) for name, value in values.items()}
