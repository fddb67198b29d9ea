"""The numbers of measured programs, and their ratios."""

import statistics
from collections.abc import Sequence
from typing import Any

from electra_jax.bench.contest import Measured
from electra_jax.config.fields import Settings


def results(
    ours: Measured, config: Settings, theirs: Sequence[Measured], their_config: Settings
) -> dict[str, Any]:
    """The measured part of a record; ratios are per token, and per token that is not padding."""
    one, peers = summary(ours, config), [summary(other, their_config) for other in theirs]
    if not peers:
        none = dict.fromkeys(('peer', 'peer_tokens_per_second', 'ratio'))
        return {**one, **none, 'peers': []}
    tokens = one['tokens_per_step']
    ratios = [
        ratio(ours, measured, 'step_seconds') * tokens / peer['tokens_per_step']
        for measured, peer in zip(theirs, peers, strict=True)
    ]
    best = ratios.index(min(ratios))  # the fastest peer counts
    peer = peers[best]
    of_processor = None
    # Other programs disturb processor time less; on an accelerator it means nothing.
    if ours.ready['platform'] == 'cpu':
        of_processor = ratio(ours, theirs[best], 'cpu_seconds') * tokens / peer['tokens_per_step']
    return {
        **one,
        'peer': peer['name'],
        'peer_tokens_per_second': peer['tokens_per_second'],
        'peer_memory_bytes': peer['peak_memory_bytes'],
        'ratio': ratios[best],
        'ratio_of_processor_time': of_processor,
        'ratios': dict(zip((one.name for one in theirs), ratios, strict=True)),
        'peer_real_tokens_per_second': peer['real_tokens_per_second'],
        'ratio_of_real_tokens': ratios[best] * one['real_token_share'] / peer['real_token_share'],
        'peers': peers,
    }


def summary(measured: Measured, config: Settings) -> dict[str, Any]:
    """One program's numbers."""
    seconds, waits = measured.all('step_seconds'), measured.all('input_seconds')
    tokens = config.batch_size * config.data.row_length
    rate, share = tokens / statistics.median(seconds), measured.report.get('real_share', 1.0)
    peak, flops = measured.ready.get('peak_flops'), measured.ready.get('flops_per_token')
    return {
        'name': measured.name,
        'tokens_per_second': rate,
        'step_seconds': percentiles(seconds),
        'peak_memory_bytes': measured.peak_memory_bytes,
        'ready': measured.ready,
        'tokens_per_step': tokens,
        'real_token_share': share,
        'real_tokens_per_second': rate * share,
        'steps': len(seconds),
        'input_share': sum(waits) / sum(seconds) if waits else None,
        'compile_seconds': measured.ready.get('compile_seconds'),
        'mfu': rate * flops['mfu'] / peak if flops and peak else None,
        'flops_per_token': flops,
        'loss': measured.turns[-1]['loss'],
    }


def ratio(ours: Measured, theirs: Measured, key: str) -> float:
    """How many times as long theirs takes: the median over turns of the ratio within a turn.

    >>> half, whole = ({'seconds': [x, x]} for x in (0.5, 1.0))
    >>> ratio(Measured('a', {}, [half], {}), Measured('b', {}, [whole], {}), 'seconds')
    2.0
    """
    pairs = zip(ours.turns, theirs.turns, strict=True)
    ratios = [statistics.median(b[key]) / statistics.median(a[key]) for a, b in pairs]
    return float(statistics.median(ratios))


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """How long units of work took, from fast to slow.

    >>> percentiles([4.0, 1.0, 2.0, 3.0])
    {'p10': 1.3, 'p50': 2.5, 'p90': 3.7, 'max': 4.0}
    """
    if len(seconds) == 1:
        return dict.fromkeys(('p10', 'p50', 'p90', 'max'), seconds[0])
    tenths = statistics.quantiles(seconds, n=10, method='inclusive')
    values = {'p10': tenths[0], 'p50': tenths[4], 'p90': tenths[8], 'max': max(seconds)}
    return {name: round(value, 9) for name, value in values.items()}
