"""Ctrl-C ends a command whatever it is doing."""

import signal
import subprocess
import sys
import time

import pytest

BUSY = """
import hashlib, signal, sys
from electra_jax.runtime import interrupt
interrupt.SECONDS = 0.2
interrupt.watch()
signal.signal(signal.SIGINT, {handler})
may_end = {may_end}
end = lambda name: interrupt.end_now()
with interrupt.ends_by(lambda: end if may_end else None):
    print('ready', flush=True)
    {work}
print('went on', flush=True)
"""
# Python runs no handler until it is over, which takes minutes.
COMPILED = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
SHORT = "hashlib.pbkdf2_hmac('sha256', b'', b'', 15 * 10**5)"


def run(times: int, **parts) -> tuple[int, str, str]:
    parts = {'handler': 'interrupt._raise', 'may_end': True, 'work': COMPILED, **parts}
    process = subprocess.Popen(
        [sys.executable, '-c', BUSY.format(**parts)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == 'ready\n'
    for _ in range(times):
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    return process.returncode, out, error


@pytest.mark.parametrize(('may_end', 'times'), [(True, 1), (False, 2)])
def test_compiled_code_does_not_keep_it_alive(may_end, times):
    code, out, error = run(times, may_end=may_end)
    assert (code, out) == (130, '') and 'type the same command again' in error


def test_where_something_would_be_lost_the_first_waits_for_its_handler():
    handler = 'lambda *_: (interrupt.handled(), print("handled", flush=True))'
    code, out, _ = run(1, may_end=False, work=SHORT, handler=handler)
    assert (code, out) == (0, 'handled\nwent on\n')


def test_no_handler_that_has_run_is_waited_for():
    handler = 'lambda *_: interrupt.handled()'
    many = '[signal.raise_signal(signal.SIGINT) for _ in range(5000)]; import time; time.sleep(1)'
    code, out, error = run(0, work=many, handler=handler)
    assert (code, out) == (0, 'went on\n'), error


def test_imports_end_in_one_line():
    program = (
        'import time; from electra_jax.runtime import interrupt; interrupt.while_importing(); '
        'print(1, flush=True); time.sleep(60)'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert 'Traceback' not in (error := process.communicate(timeout=30)[1]) and 'stopped' in error
    assert process.returncode == 130
