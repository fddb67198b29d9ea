"""Records of steps that are compiled for devices that are not here."""

import functools
import json
import os
import subprocess
import sys


@functools.cache
def report(config: str, topology: str, *words: str) -> dict:
    """The record that the command prints, from a process of its own."""
    command = [sys.executable, '-m', 'electra_jax.aot', '--json']
    command += [f'--config=configs/{config}.py', f'--topology={topology}', *words]
    environment = {k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def sizes(buffer: dict) -> tuple[str, list[int]]:
    """Element type and dimensions of one of the record's largest arrays."""
    dtype, _, dims = buffer['shape'].rstrip(']').partition('[')
    return dtype, [int(size) for size in dims.split(',') if size]
