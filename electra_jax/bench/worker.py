"""The side of a measured program: it warms up, then works whenever it is told to.

Whoever compares programs starts each in a process of its own and lets them work in turns, A B A B,
so that a machine that slows down slows all of them (`bench/contest.py`). Standard input holds
one number a line, how much to do in a turn; each line of standard output is one JSON object: ready,
then a turn each, with the processor time of all its threads, then, at the end of the input, the
report. Free of any framework, because ours and the peer's programs both use it.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

Said = dict[str, Any]


class Served(NamedTuple):
    """A program that has warmed up.

    Attributes:
      ready: what there is to say of it.
      turn: so much work -> what was measured.
      end: what there is to say at last; 'peak_host_bytes' since the warm-up is added.
    """

    ready: Said
    turn: Callable[[int], Said]
    end: Callable[[], Said]


def serve(begin: Callable[[], Served]) -> None:
    """Begins, which compiles and does whatever must not be timed, and answers until the input ends.

    Whatever else prints meanwhile goes to standard error: the pipe holds answers alone.
    """
    with os.fdopen(os.dup(1), 'w') as answers:
        os.dup2(2, 1)

        def say(what: Said) -> None:
            answers.write(json.dumps(what) + '\n')
            answers.flush()

        served = begin()
        forget_peak()
        say(served.ready)
        for line in sys.stdin:
            began = time.process_time()
            found = served.turn(int(line))
            say({**found, 'cpu_seconds': [time.process_time() - began]})
        say({**served.end(), 'peak_host_bytes': peak_bytes()})


def forget_peak() -> None:
    """Starts anew to note how much memory the process holds at most, where Linux allows it."""
    try:
        with open('/proc/self/clear_refs', 'w') as file:
            file.write('5')
    except OSError:
        return  # then the peak is that of the whole process, compilation included


def peak_bytes() -> int:
    """The most main memory that the process has held since `forget_peak`."""
    try:
        with open('/proc/self/status') as file:
            found = [line.split()[1] for line in file if line.startswith('VmHWM')]
        return int(found[0]) * 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
