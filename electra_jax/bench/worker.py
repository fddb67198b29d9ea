"""The side of a measured program: it warms up, then works on request.

`bench/contest.py` starts each program in its own process and lets them work in turns, A B A B, so
that a machine that slows down slows all of them. Each line of standard input is a number, how much
to do in a turn. Each line of standard output is one JSON object: one when it is ready, one for each
turn, with the processor time of all threads, and, at the end of the input, the report. It imports
no framework, because our programs and the peer's use it.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from electra_jax.core.errors import UserError
from electra_jax.runtime import malloc

Answer = dict[str, Any]


class Served(NamedTuple):
    """A program that has warmed up."""

    ready: Answer  # facts about it
    turn: Callable[[int], Answer]  # amount of work -> what was measured
    end: Callable[[], Answer]  # facts at its end; 'peak_host_bytes' since the warm-up is added


def serve(begin: Callable[[Answer], Served]) -> None:
    """Warms a program up and lets it work until the input ends.

    `begin`, given the settings, compiles and does everything else that must not be timed. Other
    output goes to standard error: the pipe holds answers alone.
    """
    with os.fdopen(os.dup(1), 'w') as answers:
        os.dup2(2, 1)

        def write(answer: Answer) -> None:
            answers.write(json.dumps(answer) + '\n')
            answers.flush()

        try:
            served = begin(json.loads(sys.argv[1]))
        except UserError as error:
            sys.exit(f'error: {error}')
        forget_peak()
        write(served.ready)
        for line in sys.stdin:
            began = time.process_time()
            measured = served.turn(int(line))
            write({**measured, 'cpu_seconds': [time.process_time() - began]})
        write({**served.end(), 'peak_host_bytes': peak_bytes()})


def time_steps(steps: int, start: Callable[[], Callable[[], float]]) -> list[float]:
    """Seconds of each step, from the end of the step before, with one step in flight.

    `start` begins a step and returns a function that waits for its end and gives the time of it.
    """
    seconds = []
    wait: Callable[[], float] | None = None
    began = time.perf_counter()
    for number in range(steps + 1):
        following = start() if number < steps else None
        if wait is not None:
            ended = wait()
            seconds.append(ended - began)
            began = ended
        wait = following
    return seconds


def forget_peak() -> None:
    """Makes Linux, where it allows that, forget how much memory the process has held at most."""
    malloc.give_back()  # what was freed is not held
    try:
        with open('/proc/self/clear_refs', 'w') as file:
            file.write('5')
    except OSError:
        return  # then the peak is that of the whole process, compilation included


def peak_bytes() -> int:
    """The most main memory that the process has held since `forget_peak`."""
    try:
        with open('/proc/self/status') as file:
            peaks = [line.split()[1] for line in file if line.startswith('VmHWM')]
        return int(peaks[0]) * 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
