"""A train step compiled for devices that are not here, and what the compiler says of it."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from electra_jax.aot import hlo, traffic
from electra_jax.parallel import mesh
from electra_jax.parallel.chips import Chip
from electra_jax.train.state import TrainState

_SHOWN = 40  # of the largest buffers and movements


class Compiled(NamedTuple):
    """A step as XLA made it for one device of the mesh, or refused to."""

    seconds: float  # tracing and compiling
    hbm_bytes: int  # what a device needs at the fullest moment: state, batch, temporaries
    temp_bytes: int | None  # of that, temporaries; None where it was refused
    text: str | None  # the optimized program; None where it was refused, or XLA cannot print it

    def fits(self, limit: float) -> bool:
        """Whether it was made, and needs no more than `limit` bytes of a device."""
        return self.temp_bytes is not None and self.hbm_bytes <= limit


def compile_step(
    step: Callable, state: TrainState, batch: Mapping[str, jax.ShapeDtypeStruct]
) -> Compiled:
    """Compiles `step` for the devices of its arguments' shardings; nothing is run.

    A program that needs more memory than there is is not an error but an answer.
    """
    began = time.perf_counter()
    lowered = step.lower(state, batch)
    try:
        compiled = lowered.compile()
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
    """How much the compiler says a program needs that does not fit; None: it says something else.

    >>> refused_bytes('E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory '
    ...               'required for HLO temporaries (384.00G) exceeds available HBM (30.75G).')
    412316860416
    """
    if 'RESOURCE_EXHAUSTED' not in message and 'HbmOom' not in message:
        return None
    found = re.search(r'\(([\d.]+)([KMGT]?)\) exceeds available HBM', message)
    found = found or re.search(r'Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm', message)
    return int(float(found.group(1)) * _SUFFIXES[found.group(2)]) if found else None


def account(
    compiled: Compiled,
    chip: Chip,
    devices: Mesh,
    tokens: int,
    flops_per_token: Mapping[str, float],
) -> dict[str, Any]:
    """What is to be known of a compiled step, as one JSON object.

    Args:
        compiled: from `compile_step`.
        chip: what each device can do.
        devices: the mesh it was compiled for.
        tokens: of the global batch.
        flops_per_token: from `model.flops`, by convention.

    Returns:
        fits, hbm_bytes_per_chip, hbm_limit_bytes, flops_per_token and compile_seconds;
        temp_bytes_per_chip, None where the program was refused; and, None too where its text is
        not to be had: bytes_per_token (main memory, read and written), bytes_by_source,
        largest_buffers, collectives, intensity (FLOPs a byte; chip_intensity is where a chip
        turns from memory-bound to compute-bound) and roofline.
    """
    record: dict[str, Any] = {
        'fits': compiled.fits(chip.hbm_bytes),
        'hbm_bytes_per_chip': compiled.hbm_bytes,
        'hbm_limit_bytes': int(chip.hbm_bytes),
        'temp_bytes_per_chip': compiled.temp_bytes,
        'flops_per_token': dict(flops_per_token),
        'chip_intensity': chip.flops / chip.hbm_bandwidth,
        'compile_seconds': compiled.seconds,
    }
    unknown = ('bytes_per_token', 'bytes_by_source', 'largest_buffers', 'collectives', 'intensity')
    if compiled.text is None:
        return {**record, **dict.fromkeys((*unknown, 'roofline'))}
    module = hlo.parse(compiled.text)
    moves = traffic.movements(module)
    own_tokens = tokens / devices.size
    per_token = sum(move.bytes for move in moves) / own_tokens
    slices = [mesh.slice_of(device) for device in devices.devices.flat]
    collectives = traffic.collectives(module, slices)
    return {
        **record,
        'bytes_per_token': per_token,
        'bytes_by_source': [
            {**move._asdict(), 'bytes': move.bytes / own_tokens} for move in moves[:_SHOWN]
        ],
        'largest_buffers': [buffer._asdict() for buffer in traffic.buffers(module)[:_SHOWN]],
        'collectives': [one._asdict() for one in collectives],
        'intensity': flops_per_token['mfu'] / per_token,
        'roofline': roofline(chip, flops_per_token['mfu'], per_token, own_tokens, collectives),
    }


ASSUMPTIONS = (
    "matrix products run at the chip's dense bfloat16 peak; what remat computes again is not "
    'counted',
    'main memory is read and written at the full bandwidth of the data sheet; the bytes are those '
    'of the optimized program, each loop counted as often as it turns, arrays in on-chip memory '
    'not counted',
    'collectives are rings over all links of a chip at once, at the full bandwidth of the data '
    'sheet, without latency; those that span slices use the data-centre network alone',
    '"seconds" is the largest of the three, as if they overlapped wholly; "seconds_in_turn" is '
    'their sum',
)


def roofline(
    chip: Chip,
    flops_per_token: float,
    bytes_per_token: float,
    tokens: float,
    collectives: list[traffic.Collective],
) -> dict[str, Any]:
    """The least time that a step can take on one chip, and what bounds it.

    Args:
        chip: what it can do.
        flops_per_token, bytes_per_token: of the step.
        tokens: of one chip.
        collectives: of the step.
    """
    wire = {True: 0.0, False: 0.0}  # by whether it crosses slices
    for one in collectives:
        wire[one.crosses_slices] += one.bytes * _RING_TRIPS[one.kind] * (1 - 1 / one.devices)
    times = {
        'compute': flops_per_token * tokens / chip.flops,
        'memory': bytes_per_token * tokens / chip.hbm_bandwidth,
        'ici': wire[False] / chip.ici_bandwidth,
    }
    notes = list(ASSUMPTIONS)
    if chip.dcn_bandwidth:
        times['dcn'] = wire[True] / chip.dcn_bandwidth
    elif wire[True]:
        notes.append("the data-centre network's bandwidth is not known: its time is left out")
    bound = max(times, key=times.get)
    in_turn = sum(times.values())
    return {
        'seconds': times[bound],
        'seconds_in_turn': in_turn,
        'seconds_by': times,
        'bound_by': bound,
        'mfu': times['compute'] / times[bound],
        'mfu_in_turn': times['compute'] / in_turn,
        'tokens_per_second_per_chip': tokens / times[bound],
        'assumptions': notes,
    }


# How often a ring carries what one device puts in (all-gather: gets out) past each device.
_RING_TRIPS = {
    'all-reduce': 2.0, 'all-gather': 1.0, 'reduce-scatter': 1.0, 'all-to-all': 1.0,
    'ragged-all-to-all': 1.0, 'collective-permute': 2.0, 'collective-broadcast': 1.0,
}  # fmt: skip
