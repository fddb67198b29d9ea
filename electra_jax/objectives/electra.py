"""Replaced-token detection: the paper's objective (ELECTRA section 2).

A row's path: `inputs.draw` picks positions -> the generator reads the text with [MASK] there and
proposes tokens -> `ops.corrupt` writes them into the text -> the discriminator says of every real
token whether it is the original. Loss: generator_weight * mlm + discriminator_weight * disc. No
gradient flows from the discriminator through the sampled ids into the generator.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.schema import Config
from electra_jax.model import api
from electra_jax.objectives import masked
from electra_jax.objectives.inputs import Inputs
from electra_jax.ops import corrupt, losses, vocab_head
from electra_jax.optim.schedules import linear

NETWORKS = ('generator', 'discriminator')


def temperature(config: Config, step: jax.Array) -> jax.Array | float:
    """Of the generator's samples at `step`; its loss is always at temperature 1."""
    start, end = config.objective.temperature, config.objective.temperature_end
    if end is None:
        return start
    return linear(start, end, config.objective.temperature_decay * config.total_steps)(step)


def loss(
    config: Config,
    vocabulary: masked.Vocabulary,
    params: api.Params,
    inputs: Inputs,
    dropout_key: jax.Array | None,
    step: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The joint loss of (part of) a batch, and its parts.

    Args:
        config: resolved.
        vocabulary: of the tokenizer.
        params: of both networks.
        inputs: from `inputs.draw` or `inputs.from_draws`.
        dropout_key: None switches dropout off.
        step: int32, for the temperature.

    Returns:
        The loss in float32, and metrics; all are sums over rows of terms whose weights sum to one
        over the global batch, so that parts of a batch add up.
    """
    at = temperature(config, step)
    prediction, corruption = forward(config, vocabulary, params, inputs, dropout_key, at)
    mlm_loss = jnp.sum(inputs.masked_share_BP * prediction.loss_BP)
    disc_BL = losses.sigmoid_cross_entropy(corruption.logits_BL, corruption.is_fake_BL)
    disc_loss = jnp.sum(inputs.token_share_BL * disc_BL)
    weights = config.objective
    total = weights.generator_weight * mlm_loss + weights.discriminator_weight * disc_loss
    return total, {
        'loss': total,
        'mlm_loss': mlm_loss,
        'disc_loss': disc_loss,
        'fake_rate': jnp.sum(inputs.token_share_BL * corruption.is_fake_BL),
    }


class Corruption(NamedTuple):
    """The discriminator's side of a batch, [B, L] each."""

    tokens_BL: jax.Array  # int32, the text with the generator's samples in it
    is_fake_BL: jax.Array  # bool, the labels
    logits_BL: jax.Array  # float32, the discriminator's answer


def forward(
    config: Config,
    vocabulary: masked.Vocabulary,
    params: api.Params,
    inputs: Inputs,
    dropout_key: jax.Array | None,
    at_temperature: jax.Array | float,
) -> tuple[vocab_head.Prediction, Corruption]:
    """Both networks: what the generator says, and the discriminator of its samples."""
    keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
    prediction = masked.predict_masked(
        config.model, vocabulary, params, inputs, at_temperature, keys[0]
    )
    corrupted_BL, is_fake_BL = corrupt.corrupt(
        inputs.batch['tokens'], inputs.masked_BP, inputs.weights_BP, prediction.sampled_BP
    )
    batch = {**inputs.batch, 'tokens': corrupted_BL}
    logits_BL = api.discriminate(config.model, vocabulary.size, params, batch, keys[1])
    return prediction, Corruption(corrupted_BL, is_fake_BL, logits_BL)


def totals(
    config: Config,
    vocabulary: masked.Vocabulary,
    params: api.Params,
    inputs: Inputs,
    log_unigram_V: jax.Array,
) -> dict[str, jax.Array]:
    """Additive counts behind the evaluation metrics, without dropout, at temperature 1."""
    prediction, (_, is_fake_BL, logits_BL) = forward(config, vocabulary, params, inputs, None, 1.0)
    real_BL = (inputs.batch['documents'] > 0).astype(jnp.float32)
    guess_BL = logits_BL > 0
    return {
        **masked.totals(inputs, prediction, log_unigram_V),
        'tokens': jnp.sum(real_BL),
        'disc_loss': jnp.sum(real_BL * losses.sigmoid_cross_entropy(logits_BL, is_fake_BL)),
        'fake': jnp.sum(real_BL * is_fake_BL),
        'guessed': jnp.sum(real_BL * guess_BL),
        'caught': jnp.sum(real_BL * guess_BL * is_fake_BL),
        'fake_scores': losses.score_histogram(logits_BL, real_BL * is_fake_BL),
        'real_scores': losses.score_histogram(logits_BL, real_BL * ~is_fake_BL),
    }


def summary(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Evaluation metrics from `totals` added over batches. Padding counts nowhere.

    Precision and recall are of calling a token replaced at probability 1/2; precision is 0 where
    no token was called so.
    """
    tokens = max(float(sums['tokens']), 1.0)
    return {
        **masked.summary(sums),
        'disc_loss': float(sums['disc_loss']) / tokens,
        'disc_auc': losses.area_under_curve(sums['fake_scores'], sums['real_scores']),
        'disc_precision': float(sums['caught']) / max(float(sums['guessed']), 1.0),
        'disc_recall': float(sums['caught']) / max(float(sums['fake']), 1.0),
        'fake_rate': float(sums['fake']) / tokens,
    }


def example(
    config: Config, vocabulary: masked.Vocabulary, params: api.Params, inputs: Inputs
) -> tuple[jax.Array, jax.Array]:
    """For people to look at: the corrupted text [B, L], and p(replaced) of each token [B, L]."""
    _, corruption = forward(config, vocabulary, params, inputs, None, 1.0)
    return corruption.tokens_BL, jax.nn.sigmoid(corruption.logits_BL)
