"""What the processes of a run print while they wait for one another to start.

JAX waits in silence, and where its time is over it aborts the process with a trace of its own code.
"""

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

# The address has no public name; see runtime/watchdog.py.
from jax._src import distributed as coordination

from electra_jax.core import errors

SECONDS = 300  # hosts of a cluster may start minutes apart
_REPORT_SECONDS = 15.0
_PROBE_SECONDS = 5.0


@contextlib.contextmanager
def reported(
    end: Callable[[str], None] = errors.end_now,
    every: float = _REPORT_SECONDS,
    seconds: float = SECONDS,
) -> Iterator[None]:
    """Prints every `every` seconds what is waited for; after `seconds` it ends this process."""
    over, began = threading.Event(), time.monotonic()

    def run() -> None:
        while not over.wait(every):
            why, waited = _missing(), time.monotonic() - began
            if over.is_set():
                return
            if waited > seconds:
                end(
                    f'after {waited:.0f} s, {why}. Nothing is lost: type the same command '
                    'again, on every host'
                )
                return
            sys.stderr.write(f'waiting for the other processes ({waited:.0f} s so far): {why}\n')
            sys.stderr.flush()

    thread = threading.Thread(target=run, name='joining', daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _missing() -> str:
    state, me = coordination.global_state, socket.gethostname()
    address = state.coordinator_address
    if address is None:  # JAX still asks the cluster for it
        return f'the cluster has not reported yet to {me} where they meet'
    not_all = (
        'not all of the processes that were announced have joined; the output of a missing one '
        'shows what it waits for'
    )
    if state.process_id == 0:
        return f'process 0 on {me} listens at {address}, and {not_all}'
    host, _, port = address.rpartition(':')
    try:
        socket.create_connection((host.strip('[]'), int(port)), _PROBE_SECONDS).close()
    except (OSError, ValueError) as error:
        return (
            f'process 0 cannot be reached at {address} from {me} ({error}); it must be started, '
            'and the network between both hosts must let this port through'
        )
    return f'process 0 answers {me} at {address}, but {not_all}'
