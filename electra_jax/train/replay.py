"""Repeats a bad step from the checkpoint before it, and shows where it goes wrong."""

import io
import traceback
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.core.complaints import counted
from electra_jax.core.errors import DataError, first_line
from electra_jax.core.files import parse_object
from electra_jax.data.pipeline import RECORDS, DeviceBatches
from electra_jax.train.state import TrainState
from electra_jax.train.step import Examination

_GROUPS = ('parameters', 'gradients', 'updates')  # in the order of their computation


class Dump(NamedTuple):
    """What `health` has written about a bad step."""

    step: int
    about: dict[str, Any]  # the run's config, the step's metrics
    batch: dict[str, np.ndarray]  # this host's rows, and where they are in the corpora


def read_dump(path: epath.Path) -> Dump:
    """Reads a dump; DataError: the file is none, or damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        return Dump(int(arrays.pop('step')), parse_object(str(arrays.pop('about'))), arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f'config.replay is {str(path)!r}, which is no dump of a bad step ({error}); they are '
            'in bad_steps/ of a workdir'
        ) from error


def replay(
    dump: Dump,
    step: Callable[[TrainState, Mapping], tuple[TrainState, Mapping]],
    examine: Callable[[TrainState, Mapping], Examination],
    batches: DeviceBatches,
    state: TrainState,
) -> Iterator[str]:
    """Trains up to the bad step and examines that one; yields lines for the terminal.

    `step` and `examine` are compiled. `batches` is at the position that belongs to `state`, which
    is that of any step before the bad one, and donated.
    """
    first = int(state.step)
    steps = counted(dump.step - 1 - first, 'steps')
    yield f'from step {first}, {steps} to the one before step {dump.step}'
    for _ in range(first, dump.step - 1):
        state, _ = step(state, next(batches))
    batch = next(batches)
    host_batch = batches.host_batch or {}
    if all(np.array_equal(host_batch[name], x) for name, x in dump.batch.items()):
        yield 'its batch is the one in the dump'
    else:
        yield 'its batch is NOT the one in the dump: another seed, text or number of processes?'
    rows = host_batch[RECORDS]
    for corpus in np.unique(rows[:, 0]):
        listed = ' '.join(map(str, rows[rows[:, 0] == corpus, 1]))
        yield f'  rows of corpus {corpus}: {listed}'
    yield from lines(jax.device_get(examine(state, batch)))
    yield first_operation(examine, state, batch)
    _, metrics = step(state, batch)
    now = {name: float(value) for name, value in metrics.items()}
    before = dump.about['metrics']
    equal = now.keys() == before.keys() and all(
        np.array_equal(now[name], before[name], equal_nan=True) for name in now
    )
    yield 'all metrics are as they were' if equal else f'the metrics were {before}, now {now}'


def lines(examination: Examination) -> Iterator[str]:
    """An examination in words: the terms, the norms, and the first array that is not finite."""
    yield 'terms:'
    for name, value in examination.metrics.items():
        yield f'  {name} {float(value):.6g}'
    yield 'gradient norms, largest first:'
    norms = examination.norms['gradients']
    # NaN is larger than anything.
    order = sorted(norms, key=lambda n: np.nan_to_num(norms[n], nan=np.inf), reverse=True)
    for name in order:
        yield f'  {float(norms[name]):12.5g}  {name}'
    for group in _GROUPS:
        bad = {name: int(count) for name, count in examination.bad[group].items() if count}
        if bad:
            name, count = next(iter(bad.items()))
            yield (
                f'first array that is not finite: {name} among the {group}, {count} elements of '
                f'it; {len(bad)} of {len(examination.bad[group])} {group} are not'
            )
            return
    yield 'every parameter, gradient and update is finite: a norm or a term has overflowed'


def first_operation(examine: Callable, state: TrainState, batch: Mapping) -> str:
    """Names the first operation that gives a NaN, or else an infinity, by running one at a time."""
    for checked in (jax.debug_nans, jax.debug_infs):
        try:
            with checked(True):
                jax.block_until_ready(examine(state, batch))
        except FloatingPointError as error:
            frames = traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in frames if 'electra_jax' in frame.filename]
            where = f' at {ours[-1].filename}:{ours[-1].lineno}: {ours[-1].line}' if ours else ''
            return f'first operation that is not finite: {first_line(error)}{where}'
    return 'no operation gives a NaN or an infinity by itself'
