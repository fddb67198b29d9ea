"""A train step compiled for devices that are not here."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from electra_jax.train.state import TrainState


class Compiled(NamedTuple):
    """A step as XLA compiled it for one device of the mesh, or refused to."""

    seconds: float  # of tracing and compiling
    hbm_bytes: int  # needed by a device at the fullest moment: state, batch, temporaries
    temp_bytes: int | None  # of that, temporaries; None where the program was refused
    text: str | None  # the optimized program; None: it was refused, or XLA cannot print it


def compile_step(
    step: Callable[..., Any],
    state: TrainState,
    batch: Mapping[str, jax.ShapeDtypeStruct],
    options: Mapping[str, Any] | None = None,
) -> Compiled:
    """Compiles `step` for the devices of its arguments' shardings; nothing is run.

    A program that needs more memory than there is counts as an answer, not an error. `options` are
    the compiler's.
    """
    began = time.perf_counter()
    lowered = step.lower(state, batch)  # type: ignore[attr-defined]  # it is jitted
    try:
        compiled = lowered.compile(compiler_options=dict(options or {}))
    except jax.errors.JaxRuntimeError as error:
        needed = refused_bytes(str(error))
        if needed is None:
            raise
        return Compiled(time.perf_counter() - began, needed, None, None)
    seconds = time.perf_counter() - began
    memory = compiled.memory_analysis()
    try:
        text = compiled.as_text()
    except jax.errors.JaxRuntimeError:  # of some programs with asynchronous collectives
        text = None
    return Compiled(seconds, memory.peak_memory_in_bytes, memory.temp_size_in_bytes, text)


_SUFFIXES = {'': 1, 'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}


def refused_bytes(message: str) -> int | None:
    """The memory that a program needs which does not fit, bytes; None for another message.

    >>> refused_bytes('E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory '
    ...               'required for HLO temporaries (384.00G) exceeds available HBM (30.75G).')
    412316860416
    """
    if 'RESOURCE_EXHAUSTED' not in message and 'HbmOom' not in message:
        return None
    match = re.search(r'\(([\d.]+)([KMGT]?)\) exceeds available HBM', message)
    match = match or re.search(r'Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm', message)
    return int(float(match.group(1)) * _SUFFIXES[match.group(2)]) if match else None
