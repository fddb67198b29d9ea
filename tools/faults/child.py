"""The main job in a process that reports its progress, and into which faults can be injected.

It runs what `python -m electra_jax.main` runs, after wrapping a few functions so that they write
marks: lines of `time name number` in a file which the harness follows.

A start takes most of the time of a round. So three things are left out that only people need:
source lines in compiled programs, early garbage collection, and the example printed at the end.

Faults that can be injected only from inside are chosen by the environment:
    FAULTS_READ_ERROR=K   reading batch K fails (EIO), as from a bad disk
    FAULTS_STEP_SECONDS=S each step takes S seconds longer
    FAULTS_CLOCK=FILE     `time.time` is off by the current number of seconds in FILE
    FAULTS_NO_CACHE=1     no compiled program is taken from the cache
    FAULTS_STAND_IN=1     the objective 'mlm' is that of stand_in.py
and at SIGUSR1 a thread of the loader ends at its next instruction.
"""

import ctypes
import errno
import functools
import gc
import hashlib
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from electra_jax import main
from electra_jax.config.settings import ModelConfig
from electra_jax.corpus import job
from electra_jax.data import pipeline
from electra_jax.model.bind import Model, bind
from electra_jax.objectives import table
from electra_jax.pretrain import job as pretraining
from electra_jax.pretrain import program as runs
from electra_jax.pretrain import report, text
from electra_jax.runtime import cli
from electra_jax.train import checkpoint, step
from tools.faults import stand_in

# Bytes of text in one piece of work: the corpus is small, and must have several pieces anyway.
_PIECE_BYTES = 100_000

gc.freeze()  # imported modules are never collected


def run(marks: str, log: str | None, environment: dict[str, str], words: list[str]) -> None:
    """Does the main job with `words` as its command line.

    Args:
        marks: file to write marks to.
        log: file for its output; None: the output of this process.
        environment: variables to add to those of this process.
        words: arguments of electra_jax.main.
    """
    if log is not None:
        os.setsid()
        _redirect_output(log)
    os.environ.update(environment)
    # A harness in the background ignores Ctrl-C, and so would what it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, _end_a_reading_thread)
    gc.set_threshold(200_000)
    jax.config.update('jax_traceback_in_locations_limit', 0)
    report.example = lambda *arguments: ''
    if 'FAULTS_NO_CACHE' in os.environ:
        jax.config.update('jax_enable_compilation_cache', False)
    if 'FAULTS_CLOCK' in os.environ:
        _offset_wall_clock(pathlib.Path(os.environ['FAULTS_CLOCK']))
    mark = _marker(marks)
    mark('started', os.getpid())
    _wrap(mark)
    sys.argv = [main.__file__, *words]
    cli.run(main.main, main.CONFIG)


def _redirect_output(log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _offset_wall_clock(file: pathlib.Path) -> None:
    correct = time.time

    def seconds() -> float:
        return correct() + float(file.read_text() or 0)

    time.time = seconds
    time.time_ns = lambda: int(seconds() * 1e9)


def _marker(path: str) -> Callable[..., None]:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    clock = time.monotonic  # bound now, before anything is patched

    def mark(name: str, *values: object) -> None:
        # One write: no line is ever torn.
        os.write(file, f'{clock():.4f} {name} {" ".join(map(str, values))}\n'.encode())

    return mark


def _wrap(mark: Callable[..., None]) -> None:
    def around(owner: Any, name: str, before: str, after: str, number: Callable) -> None:
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def outer(*args, **kwargs):
            mark(before, number(*args))
            result = inner(*args, **kwargs)
            mark(after, number(*args))
            return result

        setattr(owner, name, outer)

    job.build_corpus = functools.partial(job.build_corpus, piece_bytes=_PIECE_BYTES)
    around(job, 'build_corpus', 'preparing', 'prepared', lambda data: 0)
    around(checkpoint.Checkpoints, 'save', 'saving', 'copied', lambda self, step, *rest: step)
    around(checkpoint.Checkpoints, 'finish', 'finishing', 'saved', lambda self: 0)
    around(pretraining, 'evaluate', 'evaluating', 'evaluated', lambda *args: 0)
    compile_train_step = step.compile_train_step
    step.compile_train_step = lambda *args: _marked_step(compile_train_step(*args), mark)
    put_batch = text.put_batch
    text.put_batch = lambda mesh, size, batch: put_batch(mesh, size, _marked_batch(batch, mark))
    if 'FAULTS_STAND_IN' in os.environ:
        table.OBJECTIVES['mlm'] = table.ObjectiveRow(stand_in.stand_in, generators=('tied',))
        runs.bind = _stand_in_model
    pipeline.Rows.batch = _failing(pipeline.Rows.batch)


def _stand_in_model(config: ModelConfig, vocab_size: int) -> Model:
    model = bind(config, vocab_size)

    def init(key: jax.Array, networks: Sequence[str]) -> dict[str, Any]:
        return stand_in.init(model.vocab_rows, config.embedding_size, key)

    return model._replace(init=init)


def _marked_step(inner: Callable, mark: Callable[..., None]) -> Callable:
    began, pause = False, float(os.environ.get('FAULTS_STEP_SECONDS', '0'))

    def outer(*arguments):
        nonlocal began
        if not began:
            mark('compiling', 0)
            result = inner(*arguments)
            mark('compiled', 0)
            began = True
            return result
        mark('stepping', 0)
        time.sleep(pause)
        return inner(*arguments)

    return outer


def _marked_batch(batch: pipeline.HostBatch, mark: Callable[..., None]) -> pipeline.HostBatch:
    """Marks which rows this host reads, each as a hash, in order."""
    rows = [hashlib.sha256(row.tobytes()).hexdigest()[:12] for row in batch['tokens']]
    mark('rows', jax.process_index(), *rows)
    return batch


def _failing(batch: Callable) -> Callable:
    failing, count = int(os.environ.get('FAULTS_READ_ERROR', '0')), 0

    def outer(self, positions):
        nonlocal count
        count += 1
        if count == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO), 'a disk that is failing')
        return batch(self, positions)

    return outer


def _end_a_reading_thread(number: int, frame: Any) -> None:
    del number, frame
    others = [t for t in threading.enumerate() if 'ThreadPoolExecutor' in t.name]
    for thread in others or [t for t in threading.enumerate() if t.name != 'MainThread']:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
        )
        return


if __name__ == '__main__':
    run(sys.argv[1], None, {}, sys.argv[2:])
