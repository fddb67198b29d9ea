"""Commands of the package as they are typed, many in the time that one takes to start."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent.parent

# Imports take seconds: they are done once, before the process is copied for each command.
_PROGRAM = """
import importlib, json, os, runpy, sys, tempfile, traceback
module, commands = sys.argv[1], json.loads(sys.argv[2])
importlib.import_module('electra_jax.pretrain.program')
importlib.import_module(module + '.job')
done = []
for words in commands:
    with tempfile.TemporaryFile('w+') as stderr:
        child = os.fork()
        if not child:
            os.dup2(stderr.fileno(), 2)
            sys.argv, status = [module, *words], 0
            try:
                runpy.run_module(module, run_name='__main__', alter_sys=True)
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(bool(end.code))
            except BaseException:
                traceback.print_exc()
                status = 1
            sys.stderr.flush()
            os._exit(status)
        _, status = os.waitpid(child, 0)
        stderr.seek(0)
        done.append((os.waitstatus_to_exitcode(status), stderr.read()))
print(json.dumps(done))
"""


class Done(NamedTuple):
    """How a command ended."""

    status: int
    stderr: str


def run_forked(module: str, commands: Sequence[Sequence[str]]) -> list[Done]:
    """Runs `python -m MODULE` with each of the arguments; for commands that use no device."""
    done = subprocess.run(
        [sys.executable, '-c', _PROGRAM, module, json.dumps(commands)],
        capture_output=True, text=True, cwd=ROOT, timeout=600,
        env={**os.environ, 'XLA_FLAGS': '', 'JAX_PLATFORMS': 'cpu'},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [Done(*one) for one in json.loads(done.stdout.splitlines()[-1])]
