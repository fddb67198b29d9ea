"""Programs measured in turns, each in its own process (`bench/worker.py` is their side)."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.core.complaints import counted
from electra_jax.core.errors import UserError
from electra_jax.runtime import malloc, terminal

Answer = dict[str, Any]


class Entry(NamedTuple):
    """A program to be measured: ``python -m MODULE SETTINGS``, the settings as JSON."""

    name: str
    module: str
    settings: Mapping[str, Any]
    environment: Mapping[str, str] = {}  # in addition to the variables of this process


class Plan(NamedTuple):
    """How long to measure."""

    turns: int
    amount: int  # of steps in a turn
    warmup: int  # steps before


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

    def __init__(self, entry: Entry, stack: contextlib.ExitStack):
        """Starts the program, which `stack` ends, and waits for its warm-up."""
        self.name = entry.name
        self._errors = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, '-m', entry.module, json.dumps(entry.settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**malloc.with_settings(os.environ), **entry.environment},
        )  # fmt: skip
        stack.callback(_kill, process)
        assert process.stdin and process.stdout
        self._process, self._requests, self._answers = process, process.stdin, process.stdout
        self._turns: list[Answer] = []
        self.ready = self._read()

    def turn(self, amount: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # `_read` reports what went wrong
            self._requests.write(f'{amount}\n')
            self._requests.flush()
        self._turns.append(self._read())

    def end(self) -> Measured:
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
    report: Callable[[str], None],
) -> tuple[Measured, list[Measured]]:
    """Measures a program, alone or in turns with others.

    Args:
        ours: the program.
        peers_of: what ours answers after its warm-up -> the others; empty to measure ours alone.
        plan: how long.
        report: called with a line about what happens.

    Returns:
        Ours, and those of the others that run here: at least one of them, if there are any.
    """
    with _ended_by_sigterm() as stack:
        report(f'{ours.name}: compiling and warming up')
        with terminal.alive(ours.name, terminal.ERR):
            first = Contestant(ours, stack)
        contestants = [first, *_start_those_that_run(peers_of(first.ready), stack, report)]
        report(f'{counted(plan.turns, "turns")} of {counted(plan.amount, "steps")} each')
        for number in range(1, plan.turns + 1):
            for contestant in contestants:
                contestant.turn(plan.amount)
            report(f'turn {number} of {plan.turns}')
        one, *rest = [contestant.end() for contestant in contestants]
    return one, rest


def _start_those_that_run(
    entries: Sequence[Entry], stack: contextlib.ExitStack, report: Callable[[str], None]
) -> list[Contestant]:
    started, failed = [], []
    for entry in entries:
        report(f'{entry.name}: warming up')
        try:
            with terminal.alive(entry.name, terminal.ERR):
                started.append(Contestant(entry, stack))
        except UserError as error:
            failed.append(error)
            report(f'left out: {error}')
    if failed and not started:
        raise failed[0]
    return started


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[contextlib.ExitStack]:
    """A stack of programs that are ended when it is left, also by SIGTERM."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        with contextlib.ExitStack() as stack:
            yield stack
    finally:
        signal.signal(signal.SIGTERM, before)
