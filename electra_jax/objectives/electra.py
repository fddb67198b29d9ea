"""Replaced-token detection: the paper's objective (ELECTRA section 2).

A row's path: `draw` picks positions -> the generator reads the text with [MASK] there and proposes
tokens -> `ops.corrupt` writes them into the text -> the discriminator decides for every real token
whether it is the original. Loss: generator_weight * mlm + discriminator_weight * disc. No gradient
flows from the discriminator through the sampled ids into the generator.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.settings import Config
from electra_jax.model.bind import Model, Params
from electra_jax.objectives import generators, masked
from electra_jax.objectives.definition import Metrics, Objective, Vocabulary
from electra_jax.objectives.generators import Proposal, Temperature
from electra_jax.objectives.inputs import Inputs, make_draw
from electra_jax.ops import corrupt, losses


class Corruption(NamedTuple):
    """The discriminator's side of a batch, [B, L] each."""

    tokens_BL: jax.Array  # int32, the text with the generator's samples in it
    is_fake_BL: jax.Array  # bool, the labels: a sample that hits the original is not fake
    written_BL: jax.Array  # bool, where there was a sample, right or wrong
    logits_BL: jax.Array  # float32, the discriminator's answer


# params, inputs, dropout_key (None: no dropout), temperature -> both networks' results
Forward = Callable[[Params, Inputs, jax.Array | None, Temperature], tuple[Proposal, Corruption]]


def electra(config: Config, model: Model, text: Vocabulary, masked_only: bool = False) -> Objective:
    """Replaced-token detection.

    Args:
        config: of the run.
        model: the networks.
        text: what is known of the tokenizer and the text.
        masked_only: whether the discriminator learns from the masked positions alone
            (section 3.4, ELECTRA 15%).
    """
    forward = make_forward(config, model, text)

    def loss(
        params: Params, inputs: Inputs, dropout_key: jax.Array | None, step: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        temperature = generators.temperature(config, step)
        proposal, corruption = forward(params, inputs, dropout_key, temperature)
        disc_BL = losses.sigmoid_cross_entropy(corruption.logits_BL, corruption.is_fake_BL)
        if masked_only:
            disc_BP = jnp.take_along_axis(disc_BL, inputs.draws.masked_BP, axis=1)
            disc_loss = jnp.sum(inputs.masked_share_BP * disc_BP)
        else:
            disc_loss = jnp.sum(inputs.token_share_BL * disc_BL)
        return joint(config, inputs, proposal, disc_loss, corruption.is_fake_BL)

    return detection(config, model, text, loss, forward)


def make_forward(config: Config, model: Model, text: Vocabulary) -> Forward:
    """The function that runs both networks: the generator, then the discriminator."""
    propose = generators.make_propose(config, model, text)

    def forward(
        params: Params, inputs: Inputs, dropout_key: jax.Array | None, temperature: Temperature
    ) -> tuple[Proposal, Corruption]:
        keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
        proposal = propose(params, inputs, temperature, keys[0])
        batch, written_BL = corrupted_batch(inputs, proposal)
        logits_BL = model.discriminate(params, batch, keys[1])
        is_fake_BL = batch['tokens'] != inputs.batch['tokens']
        return proposal, Corruption(batch['tokens'], is_fake_BL, written_BL, logits_BL)

    return forward


def corrupted_batch(inputs: Inputs, proposal: Proposal) -> tuple[dict[str, jax.Array], jax.Array]:
    """The discriminator's input, and where a sample was written, bool [B, L]."""
    draws = inputs.draws
    corrupted_BL, written_BL = corrupt.corrupt(
        inputs.batch['tokens'], draws.masked_BP, draws.weights_BP, proposal.prediction.sampled_BP
    )
    return {**inputs.batch, 'tokens': corrupted_BL}, written_BL


def joint(
    config: Config,
    inputs: Inputs,
    proposal: Proposal,
    disc_loss: jax.Array,
    is_fake_BL: jax.Array,
) -> tuple[jax.Array, Metrics]:
    """generator_weight * mlm_loss + discriminator_weight * disc_loss, and the metrics."""
    disc_weight = config.objective.discriminator_weight
    total = generators.weight(config) * proposal.loss + disc_weight * disc_loss
    return total, {
        'loss': total,
        'mlm_loss': proposal.loss,
        'disc_loss': disc_loss,
        'fake_rate': jnp.sum(inputs.token_share_BL * is_fake_BL),
    }


def detection(
    config: Config, model: Model, text: Vocabulary, loss: Callable, forward: Forward
) -> Objective:
    """An objective whose discriminator detects tokens, evaluated at temperature 1."""

    def totals(params: Params, inputs: Inputs) -> Metrics:
        return count(text, inputs, *forward(params, inputs, None, 1.0))

    def example(params: Params, inputs: Inputs) -> tuple[jax.Array, jax.Array]:
        _, corruption = forward(params, inputs, None, 1.0)
        return corruption.tokens_BL, jax.nn.sigmoid(corruption.logits_BL)

    return Objective(
        networks=(*generators.networks(config.model), 'discriminator'),
        draw=make_draw(config, text.special, model.vocab_rows),
        loss=loss,
        totals=totals,
        summary=summary,
        example=example,
        signs=signs,
    )


def count(text: Vocabulary, inputs: Inputs, proposal: Proposal, corruption: Corruption) -> Metrics:
    """Additive counts behind the evaluation metrics."""
    _, is_fake_BL, _, logits_BL = corruption
    real_BL = (inputs.batch['documents'] > 0).astype(jnp.float32)
    guess_BL = logits_BL > 0
    return {
        **masked.totals(text, inputs, proposal.prediction),
        'tokens': jnp.sum(real_BL),
        'disc_loss': jnp.sum(real_BL * losses.sigmoid_cross_entropy(logits_BL, is_fake_BL)),
        'fake': jnp.sum(real_BL * is_fake_BL),
        'guessed': jnp.sum(real_BL * guess_BL),
        'caught': jnp.sum(real_BL * guess_BL * is_fake_BL),
        'fake_scores': losses.score_histogram(logits_BL, real_BL * is_fake_BL),
        'real_scores': losses.score_histogram(logits_BL, real_BL * ~is_fake_BL),
    }


def summary(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Evaluation metrics from `count` added over batches. Padding counts nowhere.

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
    """Whether the generator has collapsed, or the discriminator answers the same everywhere."""
    problems = masked.signs(evaluation)
    guessed, fake = evaluation.get('disc_fake_share'), evaluation.get('fake_rate', 0.0)
    if guessed is not None and _RARE < fake < 1 - _RARE and not _NEVER < guessed < 1 - _NEVER:
        problems['one_class_discriminator'] = (
            f'the discriminator calls {guessed:.2%} of all tokens replaced, and {fake:.1%} are: '
            'it gives the same answer for every token'
        )
    return problems


_RARE = 0.01  # share of replaced tokens below which "none" is a good answer
_NEVER = 1e-4
