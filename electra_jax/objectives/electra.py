"""Replaced-token detection: the paper's objective (ELECTRA section 2).

A row's path: `draws` picks positions, and makes `Inputs`: the batch, its draws, and the share of
each token in the losses -> `generators` puts [MASK] there and samples tokens -> `ops.corrupt`
writes them into the text -> the discriminator decides for every real token whether it is the
original. Loss: generator_weight * mlm + discriminator_weight * disc.

No gradient flows through the sampled ids into the generator: `ops.vocab_head` gives them none. Both
networks' gradients meet in the embeddings (and with `model.generator='tied'` in the encoder, which
is one for both), by `model.embedding_sharing`:

- 'shared': one block gets both; its word table is also the matrix of the generator's softmax.
- 'untied': each network has a block, which gets the gradient of that network only.
- 'disentangled': the block gets the generator's; the discriminator's reaches only what it adds.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.settings import Config
from electra_jax.model.bind import Key, Model, Params, two_keys
from electra_jax.objectives import generators, masked
from electra_jax.objectives.definition import LossAndMetrics, Metrics, Objective, Vocabulary
from electra_jax.objectives.draws import make_draw
from electra_jax.objectives.generators import Proposal
from electra_jax.objectives.inputs import Inputs, Step
from electra_jax.ops import corrupt, losses


class Corruption(NamedTuple):
    """What the discriminator reads."""

    tokens_BL: jax.Array  # int32, the text with the generator's samples in it
    is_fake_BL: jax.Array  # bool, the labels: a sample that hits the original is not fake
    written_BL: jax.Array  # bool, where a sample was written, right or wrong


class Results(NamedTuple):
    """Both networks' results for a batch."""

    proposal: Proposal
    corruption: Corruption
    logits_BL: jax.Array  # float32, the discriminator's answer
    selected_BPA: jax.Array | None = None  # float32, its logits of a few words (TEAMS)


# params, inputs, dropout_key, step (None: evaluation) -> results
Forward = Callable[[Params, Inputs, Key, Step | None], Results]


def electra(
    config: Config, model: Model, vocabulary: Vocabulary, masked_only: bool = False
) -> Objective:
    """Replaced-token detection; `masked_only`: learned from the masked positions (section 3.4)."""
    forward = make_forward(config, model, vocabulary)
    return detection(config, model, vocabulary, forward, masked_only)


def make_forward(config: Config, model: Model, vocabulary: Vocabulary) -> Forward:
    """The function that runs both networks: the generator, then the discriminator."""
    propose = generators.make_propose(config, model, vocabulary)

    def forward(params: Params, inputs: Inputs, dropout_key: Key, step: Step | None) -> Results:
        keys = two_keys(dropout_key)
        proposal = propose(params, inputs, keys[0], step)
        corruption = corrupted(inputs, proposal)
        batch = {**inputs.batch, 'tokens': corruption.tokens_BL}
        return Results(proposal, corruption, model.discriminate(params, batch, keys[1]))

    return forward


def corrupted(inputs: Inputs, proposal: Proposal) -> Corruption:
    """The text with the generator's samples in it."""
    original_BL, sampled_BP = inputs.batch['tokens'], proposal.prediction.sampled_BP
    # No stop_gradient is needed: the backward pass of `vocab_head.predict` ignores its samples.
    tokens_BL, written_BL = corrupt.corrupt(original_BL, inputs.draws.masked, sampled_BP)
    return Corruption(tokens_BL, tokens_BL != original_BL, written_BL)


def detection(
    config: Config,
    model: Model,
    vocabulary: Vocabulary,
    forward: Forward,
    masked_only: bool = False,
) -> Objective:
    """An objective whose discriminator detects tokens."""

    def loss(params: Params, inputs: Inputs, dropout_key: Key, step: jax.Array) -> LossAndMetrics:
        results = forward(params, inputs, dropout_key, step)
        return detection_loss(config, inputs, results, masked_only)

    def totals(params: Params, inputs: Inputs) -> Metrics:
        return count(vocabulary, inputs, forward(params, inputs, None, None))

    def example(params: Params, inputs: Inputs) -> tuple[jax.Array, jax.Array]:
        results = forward(params, inputs, None, None)
        return results.corruption.tokens_BL, jax.nn.sigmoid(results.logits_BL)

    return Objective(
        networks=(*generators.networks(config.model), 'discriminator'),
        draw=make_draw(config, vocabulary, model.vocab_rows),
        loss=loss,
        totals=totals,
        summary=summary,
        example=example,
        warning_signs=warning_signs,
    )


def detection_loss(
    config: Config, inputs: Inputs, results: Results, masked_only: bool = False
) -> LossAndMetrics:
    """Both networks' loss."""
    is_fake_BL = results.corruption.is_fake_BL
    disc_BL = losses.sigmoid_cross_entropy(results.logits_BL, is_fake_BL)
    if masked_only:
        disc_loss = jnp.sum(inputs.masked_share_BP * inputs.at_masked(disc_BL))
    else:
        disc_loss = jnp.sum(inputs.token_share_BL * disc_BL)
    return joint(config, inputs, results.proposal, disc_loss, is_fake_BL)


def joint(
    config: Config, inputs: Inputs, proposal: Proposal, disc_loss: jax.Array, is_fake_BL: jax.Array
) -> LossAndMetrics:
    """generator_weight * mlm_loss + discriminator_weight * disc_loss, and the metrics."""
    settings = config.objective
    generator_weight = 0.0 if settings.freeze_generator else settings.generator_weight
    total = generator_weight * proposal.loss + settings.discriminator_weight * disc_loss
    return total, {
        'loss': total,
        'mlm_loss': proposal.loss,
        'disc_loss': disc_loss,
        'fake_rate': jnp.sum(inputs.token_share_BL * is_fake_BL),
        **proposal.observed,
    }


def count(vocabulary: Vocabulary, inputs: Inputs, results: Results) -> Metrics:
    """Additive counts behind the evaluation metrics."""
    is_fake_BL, logits_BL = results.corruption.is_fake_BL, results.logits_BL
    real_BL = (inputs.batch['documents'] > 0).astype(jnp.float32)
    guess_BL = logits_BL > 0
    return {
        **masked.totals(vocabulary, inputs, results.proposal.prediction),
        'tokens': jnp.sum(real_BL),
        'disc_loss': jnp.sum(real_BL * losses.sigmoid_cross_entropy(logits_BL, is_fake_BL)),
        'fake': jnp.sum(real_BL * is_fake_BL),
        'guessed': jnp.sum(real_BL * guess_BL),
        'caught': jnp.sum(real_BL * guess_BL * is_fake_BL),
        'fake_scores': losses.score_histogram(logits_BL, real_BL * is_fake_BL),
        'original_scores': losses.score_histogram(logits_BL, real_BL * ~is_fake_BL),
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
        'disc_auc': losses.area_under_curve(sums['fake_scores'], sums['original_scores']),
        'disc_precision': float(sums['caught']) / max(float(sums['guessed']), 1.0),
        'disc_recall': float(sums['caught']) / max(float(sums['fake']), 1.0),
        'disc_fake_share': float(sums['guessed']) / tokens,
        'fake_rate': float(sums['fake']) / tokens,
    }


def warning_signs(evaluation: Mapping[str, float]) -> dict[str, str]:
    """Whether the generator has collapsed, or the discriminator answers the same everywhere."""
    problems = masked.warning_signs(evaluation)
    guessed, fake = evaluation.get('disc_fake_share'), evaluation.get('fake_rate', 0.0)
    if guessed is not None and _RARE < fake < 1 - _RARE and not _NEVER < guessed < 1 - _NEVER:
        problems['one_class_discriminator'] = (
            f'the discriminator calls {guessed:.2%} of all tokens replaced, and {fake:.1%} are: '
            'it gives the same answer for every token'
        )
    return problems


_RARE = 0.01  # share of replaced tokens below which "none" is a good answer
_NEVER = 1e-4
