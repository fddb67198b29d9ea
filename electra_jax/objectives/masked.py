"""Evaluation at the masked positions, shared by all objectives that predict tokens there."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.objectives.definition import Metrics, Summary, Vocabulary
from electra_jax.objectives.inputs import Inputs
from electra_jax.ops import corrupt
from electra_jax.ops.vocab_softmax import Prediction


def totals(vocabulary: Vocabulary, inputs: Inputs, prediction: Prediction) -> Metrics:
    """Additive counts behind the masked metrics."""
    w_BP, targets_BP = inputs.draws.masked.weights_BP, inputs.targets_BP
    sums = {
        'masked': jnp.sum(w_BP),
        'mlm_loss': jnp.sum(w_BP * prediction.loss_BP),
        'mlm_hits': jnp.sum(w_BP * (prediction.best_BP == targets_BP)),
        'sampled_hits': jnp.sum(w_BP * (prediction.sampled_BP == targets_BP)),
        'sampled': jnp.zeros(vocabulary.size).at[prediction.sampled_BP].add(w_BP),
    }
    if vocabulary.log_unigram_V is not None:
        # Counts alone: frequencies would be constants of a program, which texts could not share.
        sums['targets'] = jnp.zeros(vocabulary.size).at[targets_BP].add(w_BP)
    return sums


def doubt(inputs: Inputs, loss_BP: jax.Array) -> jax.Array:
    """1 - p(original) at the masked positions, 0 elsewhere, float32 [B, L]."""
    zeros_BL = jnp.zeros(inputs.batch['tokens'].shape)
    return corrupt.write_tokens(zeros_BL, inputs.draws.masked, 1.0 - jnp.exp(-loss_BP))


def summary(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Means from `totals`; losses in nats per masked token."""
    masked = max(float(sums['masked']), 1.0)
    return {
        'mlm_loss': float(sums['mlm_loss']) / masked,
        'mlm_accuracy': float(sums['mlm_hits']) / masked,
        'sampled_accuracy': float(sums['sampled_hits']) / masked,
        'sampled_top_share': float(np.max(sums['sampled'])) / masked,
    }


def with_frequencies(vocabulary: Vocabulary, summary: Summary) -> Summary:
    """A summary that also has `unigram_loss` after `mlm_loss`, where `totals` counted targets."""
    log_unigram_V = vocabulary.log_unigram_V

    def both(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        found = summary(sums)
        if log_unigram_V is None or 'targets' not in sums:
            return found
        total = float(np.dot(sums['targets'], log_unigram_V[: vocabulary.size].astype(np.float64)))
        loss = -total / max(float(sums['masked']), 1.0)
        return {'mlm_loss': found['mlm_loss'], 'unigram_loss': loss, **found}

    return both


def warning_signs(evaluation: Mapping[str, float]) -> dict[str, str]:
    """Whether the generator has collapsed onto one token."""
    share = evaluation.get('sampled_top_share', 0.0)
    if share < _COLLAPSED_SHARE:
        return {}
    return {
        'generator_collapse': f'the generator has collapsed: {share:.0%} of what it proposes for '
        'masked tokens is one and the same token'
    }


_COLLAPSED_SHARE = 0.5  # the most frequent token of a language is far from half of its tokens
