"""The least time that a step can take on a chip."""

from collections.abc import Sequence
from typing import Any

from electra_jax.aot import traffic
from electra_jax.core.errors import ConfigError
from electra_jax.parallel.chips import Chip

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
    collectives: Sequence[traffic.Collective],
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
