"""What is known of a compiled step, the least time that it can take on a chip included."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jax.sharding import Mesh

from electra_jax.aot import hlo, traffic
from electra_jax.aot.compile import Compiled
from electra_jax.core.errors import ConfigError
from electra_jax.parallel import mesh
from electra_jax.parallel.chips import Chip

_SHOWN = 40  # of the largest buffers and movements

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


def account(
    compiled: Compiled,
    chip: Chip,
    devices: Mesh,
    tokens: int,
    flops_per_token: Mapping[str, float],
) -> dict[str, Any]:
    """What is known of a compiled step, as one JSON object.

    Args:
        compiled: from `compile_step`.
        chip: what each device can do.
        devices: the mesh it was compiled for.
        tokens: of the global batch.
        flops_per_token: from `model.flops`, by convention.

    Returns:
        fits, hbm_bytes_per_chip, hbm_limit_bytes, flops_per_token and compile_seconds;
        temp_bytes_per_chip, None where the program was refused; and, None also where XLA cannot
        print the program: bytes_per_token (main memory, read and written), bytes_by_source,
        largest_buffers, collectives, intensity (FLOPs a byte; from chip_intensity on, a chip is
        compute-bound) and roofline.
    """
    if chip.hbm_bytes is None or chip.hbm_bandwidth is None:
        raise ConfigError('parallel/chips.py does not know the memory of this chip')
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
    buffers = traffic.buffers(module)[:_SHOWN]
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
        'largest_buffers': [dataclasses.asdict(buffer) for buffer in buffers],
        'collectives': [dataclasses.asdict(one) for one in collectives],
        'intensity': flops_per_token['mfu'] / per_token,
        'roofline': roofline(chip, flops_per_token['mfu'], per_token, own_tokens, collectives),
    }


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
    if chip.hbm_bandwidth is None or chip.ici_bandwidth is None:
        raise ConfigError('parallel/chips.py does not know the memory and links of this chip')
    notes = list(ASSUMPTIONS)
    wire = {True: 0.0, False: 0.0}  # by whether it crosses slices
    for one in collectives:
        wire[one.crosses_slices] += one.bytes * traffic.RING_TRIPS[one.kind] * (1 - 1 / one.devices)
    times = {
        'compute': flops_per_token * tokens / chip.flops,
        'memory': bytes_per_token * tokens / chip.hbm_bandwidth,
        'ici': wire[False] / chip.ici_bandwidth,
    }
    if chip.dcn_bandwidth:
        times['dcn'] = wire[True] / chip.dcn_bandwidth
    elif wire[True]:
        notes.append("the data-centre network's bandwidth is not known: its time is left out")
    bound = max(times, key=times.__getitem__)
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
