"""Evaluation on held-out batches: totals added up on the host, then made into metrics."""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from electra_jax.core.trees import Tree

Totals = Callable[..., Mapping[str, jax.Array]]  # params, batch, number
Summary = Callable[[Mapping[str, np.ndarray]], dict[str, float]]


def evaluate(
    totals: Totals,
    summary: Summary,
    params: Tree,
    batches: Sequence[Mapping[str, jax.Array]],
) -> dict[str, float]:
    """Metrics over all batches.

    Args:
        totals: compiled (`train.step.compile_totals`); replicated, so every host sees them all.
        summary: of the objective.
        params: of the model.
        batches: on the mesh, [B, L] each.

    Returns:
        Metric name -> value.
    """
    sums: dict[str, np.ndarray] = {}
    for number, batch in enumerate(batches):
        for name, value in jax.device_get(totals(params, batch, np.int32(number))).items():
            # float64: counts of a large evaluation outgrow float32's integers.
            sums[name] = sums.get(name, 0.0) + np.asarray(value, np.float64)
    return summary(sums)
