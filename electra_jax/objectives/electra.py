"""Replaced-token detection: the paper's objective (ELECTRA section 2).

A row's path: `inputs.draw` picks positions -> the generator reads the text with [MASK] there and
proposes tokens -> `ops.corrupt` writes them into the text -> the discriminator says of every real
token whether it is the original. Loss: generator_weight * mlm + discriminator_weight * disc. No
gradient flows from the discriminator through the sampled ids into the generator.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.settings import Config, ModelConfig
from electra_jax.model import bind
from electra_jax.objectives import generators, masked
from electra_jax.objectives.definition import Definition, Vocabulary
from electra_jax.objectives.generators import Proposal
from electra_jax.objectives.inputs import Inputs
from electra_jax.ops import corrupt, losses


class Corruption(NamedTuple):
    """The discriminator's side of a batch, [B, L] each."""

    tokens_BL: jax.Array  # int32, the text with the generator's samples in it
    is_fake_BL: jax.Array  # bool, the labels: a sample that hits the original is not fake
    written_BL: jax.Array  # bool, where there was a sample, right or wrong
    logits_BL: jax.Array  # float32, the discriminator's answer


def loss(
    config: Config,
    vocabulary: Vocabulary,
    params: bind.Params,
    inputs: Inputs,
    dropout_key: jax.Array | None,
    step: jax.Array,
    masked_only: bool = False,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The joint loss of (part of) a batch, and its parts.

    Args:
        config: resolved.
        vocabulary: of the tokenizer.
        params: of both networks.
        inputs: from `inputs.draw` or `inputs.from_draws`.
        dropout_key: None switches dropout off.
        step: int32, for the temperature.
        masked_only: whether the discriminator learns from the masked positions alone
            (section 3.4, ELECTRA 15%).

    Returns:
        The loss in float32, and metrics; all are sums over rows of terms whose weights sum to one
        over the global batch, so that parts of a batch add up.
    """
    at_temperature = generators.temperature(config, step)
    proposal, corruption = forward(config, vocabulary, params, inputs, dropout_key, at_temperature)
    disc_BL = losses.sigmoid_cross_entropy(corruption.logits_BL, corruption.is_fake_BL)
    if masked_only:
        disc_BP = jnp.take_along_axis(disc_BL, inputs.draws.masked_BP, axis=1)
        disc_loss = jnp.sum(inputs.masked_share_BP * disc_BP)
    else:
        disc_loss = jnp.sum(inputs.token_share_BL * disc_BL)
    return joint(config, inputs, proposal, disc_loss, corruption.is_fake_BL)


def joint(
    config: Config,
    inputs: Inputs,
    proposal: Proposal,
    disc_loss: jax.Array,
    is_fake_BL: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """generator_weight * mlm_loss + discriminator_weight * disc_loss, and the metrics."""
    weights = config.objective
    total = generators.weight(config) * proposal.loss + weights.discriminator_weight * disc_loss
    return total, {
        'loss': total,
        'mlm_loss': proposal.loss,
        'disc_loss': disc_loss,
        'fake_rate': jnp.sum(inputs.token_share_BL * is_fake_BL),
    }


def forward(
    config: Config,
    vocabulary: Vocabulary,
    params: bind.Params,
    inputs: Inputs,
    dropout_key: jax.Array | None,
    at_temperature: jax.Array | float,
) -> tuple[Proposal, Corruption]:
    """Both networks: what the generator says, and the discriminator of its samples."""
    keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
    proposal = generators.propose(config, vocabulary, params, inputs, at_temperature, keys[0])
    batch, written_BL = corrupted_batch(inputs, proposal)
    logits_BL = bind.discriminate(config.model, vocabulary.size, params, batch, keys[1])
    is_fake_BL = batch['tokens'] != inputs.batch['tokens']
    return proposal, Corruption(batch['tokens'], is_fake_BL, written_BL, logits_BL)


def corrupted_batch(inputs: Inputs, proposal: Proposal) -> tuple[dict, jax.Array]:
    """The discriminator's input, and where a sample was written, bool [B, L]."""
    draws = inputs.draws
    corrupted_BL, written_BL = corrupt.corrupt(
        inputs.batch['tokens'], draws.masked_BP, draws.weights_BP, proposal.prediction.sampled_BP
    )
    return {**inputs.batch, 'tokens': corrupted_BL}, written_BL


def totals(
    config: Config,
    vocabulary: Vocabulary,
    params: bind.Params,
    inputs: Inputs,
    run: Callable[..., tuple[Proposal, Corruption]] = forward,
) -> dict[str, jax.Array]:
    """Additive counts behind the evaluation metrics, without dropout, at temperature 1.

    `run` takes what `forward` takes: an objective with another discriminator brings its own.
    """
    proposal, corruption = run(config, vocabulary, params, inputs, None, 1.0)
    _, is_fake_BL, _, logits_BL = corruption
    real_BL = (inputs.batch['documents'] > 0).astype(jnp.float32)
    guess_BL = logits_BL > 0
    return {
        **masked.totals(vocabulary, inputs, proposal.prediction),
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
        'disc_fake_share': float(sums['guessed']) / tokens,
        'fake_rate': float(sums['fake']) / tokens,
    }


def signs(evaluation: Mapping[str, float]) -> dict[str, str]:
    """Whether the generator has collapsed, or the discriminator says the same of every token."""
    found = masked.signs(evaluation)
    said, fake = evaluation.get('disc_fake_share'), evaluation.get('fake_rate', 0.0)
    if said is not None and _RARE < fake < 1 - _RARE and not _NEVER < said < 1 - _NEVER:
        found['one_class_discriminator'] = (
            f'the discriminator calls {said:.2%} of all tokens replaced, and {fake:.1%} are: it '
            'says the same of every token'
        )
    return found


_RARE = 0.01  # share of replaced tokens below which "none" is a good answer
_NEVER = 1e-4


def example(
    config: Config,
    vocabulary: Vocabulary,
    params: bind.Params,
    inputs: Inputs,
    run: Callable[..., tuple[Proposal, Corruption]] = forward,
) -> tuple[jax.Array, jax.Array]:
    """For people to look at: the corrupted text [B, L], and p(replaced) of each token [B, L]."""
    _, corruption = run(config, vocabulary, params, inputs, None, 1.0)
    return corruption.tokens_BL, jax.nn.sigmoid(corruption.logits_BL)


def parts(model: ModelConfig) -> tuple[str, ...]:
    """The generator and the discriminator."""
    return (*generators.parts(model), 'discriminator')


ELECTRA = Definition(parts, loss, totals, summary, example, signs=signs)
ELECTRA_MASKED = ELECTRA._replace(loss=functools.partial(loss, masked_only=True))
