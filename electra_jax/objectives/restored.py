"""Replace MLM and All-Tokens MLM: name the original tokens of a corrupted text.

The paper's ablations between BERT and ELECTRA (section 3.4). The generator is trained and writes
its samples as in ELECTRA; the discriminator's encoder, with a softmax of its own, predicts the
original tokens: at the masked positions only (Replace MLM), or everywhere, with a gate that decides
how much of a token is copied (All-Tokens MLM). The paper does not give the weights of the two
losses: objective.discriminator_weight is that of the main network.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.settings import Config
from electra_jax.model.bind import Key, Model, Params, two_keys
from electra_jax.objectives import electra, generators, masked
from electra_jax.objectives.definition import LossAndMetrics, Metrics, Objective, Vocabulary
from electra_jax.objectives.draws import make_draw
from electra_jax.objectives.generators import Proposal
from electra_jax.objectives.inputs import Inputs, Step
from electra_jax.ops import vocab_head


class Restoration(NamedTuple):
    """The main network's side of a batch."""

    tokens_BL: jax.Array  # int32, the corrupted text
    is_fake_BL: jax.Array  # bool, where it is not the original
    loss: jax.Array  # float32 scalar, -log p(original), over the tokens that count
    loss_BP: jax.Array  # float32, the softmax's at the masked positions, without the gate
    best_BP: jax.Array  # int32, the softmax's best there


def restoring(config: Config, model: Model, vocabulary: Vocabulary, everywhere: bool) -> Objective:
    """All-Tokens MLM, which predicts `everywhere` through a copy gate; or Replace MLM."""
    forward = make_forward(config, model, vocabulary, everywhere)

    def loss(params: Params, inputs: Inputs, dropout_key: Key, step: jax.Array) -> LossAndMetrics:
        proposal, restored = forward(params, inputs, dropout_key, step)
        total, metrics = electra.joint(config, inputs, proposal, restored.loss, restored.is_fake_BL)
        metrics['restored_loss'] = metrics.pop('disc_loss')
        return total, metrics

    def totals(params: Params, inputs: Inputs) -> Metrics:
        proposal, restored = forward(params, inputs, None, None)
        w_BP = inputs.draws.masked.weights_BP
        real_BL = inputs.batch['documents'] > 0
        return {
            **masked.totals(vocabulary, inputs, proposal.prediction),
            'tokens': jnp.sum(real_BL),
            'fake': jnp.sum(real_BL & restored.is_fake_BL),
            'restored_loss': jnp.sum(w_BP * restored.loss_BP),
            'restored_hits': jnp.sum(w_BP * (restored.best_BP == inputs.targets_BP)),
        }

    def example(params: Params, inputs: Inputs) -> tuple[jax.Array, jax.Array]:
        # The corrupted text, and 1 - p(original) by the softmax at the masked positions.
        _, restored = forward(params, inputs, None, None)
        return restored.tokens_BL, masked.doubt(inputs, restored.loss_BP)

    head = 'gated_language' if everywhere else 'language'
    return Objective(
        networks=(*generators.networks(config.model), head),
        draw=make_draw(config, vocabulary, model.vocab_rows),
        loss=loss,
        totals=totals,
        summary=summary,
        example=example,
        warning_signs=masked.warning_signs,
    )


def make_forward(
    config: Config, model: Model, vocabulary: Vocabulary, everywhere: bool
) -> Callable[[Params, Inputs, Key, Step | None], tuple[Proposal, Restoration]]:
    """The function that runs both networks."""
    propose = generators.make_propose(config, model, vocabulary)
    chunks = config.model.vocab_chunks

    def forward(
        params: Params, inputs: Inputs, dropout_key: Key, step: Step | None
    ) -> tuple[Proposal, Restoration]:
        keys = two_keys(dropout_key)
        proposal = propose(params, inputs, keys[0], step)
        tokens_BL, is_fake_BL, _ = electra.corrupted(inputs, proposal)
        batch = {**inputs.batch, 'tokens': tokens_BL}
        where_BP = None if everywhere else inputs.draws.masked.positions_BP
        softmax, gate_BL = model.restore(params, batch, where_BP, everywhere, keys[1])
        targets = inputs.batch['tokens'] if everywhere else inputs.targets_BP
        prediction = vocab_head.predict(softmax, targets, (), 1.0, vocabulary.size, chunks=chunks)
        loss_BP, best_BP = prediction.loss_BP, prediction.best_BP
        if gate_BL is not None:
            copied_BL = copy_mixture(gate_BL, ~is_fake_BL, loss_BP)
            total = -jnp.sum(inputs.token_share_BL * copied_BL)
            loss_BP, best_BP = inputs.at_masked(loss_BP), inputs.at_masked(best_BP)
        else:
            total = jnp.sum(inputs.masked_share_BP * loss_BP)
        return proposal, Restoration(tokens_BL, is_fake_BL, total, loss_BP, best_BP)

    return forward


def copy_mixture(
    gate_BL: jax.Array, is_original_BL: jax.Array, softmax_loss_BL: jax.Array
) -> jax.Array:
    """log(D 1[input is the original] + (1 - D) p(original)), D = sigmoid(gate), float32 [B, L].

    >>> round(float(copy_mixture(jnp.zeros(()), jnp.array(True), -jnp.log(0.5))), 4)
    -0.2877
    """
    copy_BL = jnp.where(is_original_BL, jax.nn.log_sigmoid(gate_BL), -jnp.inf)
    return jnp.logaddexp(copy_BL, jax.nn.log_sigmoid(-gate_BL) - softmax_loss_BL)


def summary(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Evaluation metrics; `restored_*` are the main network's softmax at the masked positions."""
    positions = max(float(sums['masked']), 1.0)
    return {
        **masked.summary(sums),
        'restored_loss': float(sums['restored_loss']) / positions,
        'restored_accuracy': float(sums['restored_hits']) / positions,
        'fake_rate': float(sums['fake']) / max(float(sums['tokens']), 1.0),
    }
