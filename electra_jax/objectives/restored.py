"""Replace MLM and All-Tokens MLM: name the original tokens of a corrupted text.

The paper's ablations between BERT and ELECTRA (section 3.4). The generator is trained and writes
its samples as in ELECTRA; the discriminator's encoder, with a softmax of its own, predicts the
original tokens: at the masked positions only (Replace MLM), or everywhere, with a gate that says
how surely a token is to be copied (All-Tokens MLM).
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.settings import Config, ModelConfig
from electra_jax.model import bind as api
from electra_jax.objectives import electra, generators, masked
from electra_jax.objectives.definition import Definition, Vocabulary
from electra_jax.objectives.generators import Proposal
from electra_jax.objectives.inputs import Inputs
from electra_jax.ops import corrupt, vocab_head


class Restoration(NamedTuple):
    """The main network's side of a batch."""

    tokens_BL: jax.Array  # int32, the corrupted text
    loss: jax.Array  # float32 scalar, -log p(original), over the tokens that count
    loss_BP: jax.Array  # float32, the softmax's at the masked positions, the gate aside
    best_BP: jax.Array  # int32, the softmax's best there


def loss(
    config: Config,
    vocabulary: Vocabulary,
    params: api.Params,
    inputs: Inputs,
    dropout_key: jax.Array | None,
    step: jax.Array,
    everywhere: bool,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Generator's and main network's loss; see `electra.loss` for the arguments.

    `everywhere`: All-Tokens MLM. The paper does not say how its two losses are weighed:
    objective.discriminator_weight is the main one's.
    """
    at_temperature = generators.temperature(config, step)
    proposal, restored = forward(
        config, vocabulary, params, inputs, dropout_key, at_temperature, everywhere
    )
    is_fake_BL = restored.tokens_BL != inputs.batch['tokens']
    total, metrics = electra.joint(config, inputs, proposal, restored.loss, is_fake_BL)
    metrics['restored_loss'] = metrics.pop('disc_loss')
    return total, metrics


def forward(
    config: Config,
    vocabulary: Vocabulary,
    params: api.Params,
    inputs: Inputs,
    dropout_key: jax.Array | None,
    at_temperature: jax.Array | float,
    everywhere: bool,
) -> tuple[Proposal, Restoration]:
    """Both networks."""
    keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
    proposal = generators.propose(config, vocabulary, params, inputs, at_temperature, keys[0])
    batch, _ = electra.corrupted_batch(inputs, proposal)
    masked_BP, targets_BL = inputs.draws.masked_BP, inputs.batch['tokens']
    features_BPE, table_VE, bias_V, gate_BL = api.restore(
        config.model,
        vocabulary.size,
        params,
        batch,
        masked_BP=None if everywhere else masked_BP,
        gated=everywhere,
        dropout_key=keys[1],
    )
    table_VE = table_VE.astype(features_BPE.dtype)
    targets = targets_BL if everywhere else inputs.targets_BP
    prediction = vocab_head.predict(
        features_BPE,
        table_VE,
        bias_V,
        targets,
        (),
        1.0,
        vocabulary.size,
        chunks=config.model.vocab_chunks,
    )
    loss_BP, best_BP = prediction.loss_BP, prediction.best_BP
    if not everywhere:
        total = jnp.sum(inputs.masked_share_BP * loss_BP)
        return proposal, Restoration(batch['tokens'], total, loss_BP, best_BP)
    copied_BL = copy_mixture(gate_BL, batch['tokens'] == targets_BL, loss_BP)
    total = -jnp.sum(inputs.token_share_BL * copied_BL)
    at_masked = (jnp.take_along_axis(x, masked_BP, axis=1) for x in (loss_BP, best_BP))
    return proposal, Restoration(batch['tokens'], total, *at_masked)


def copy_mixture(gate_BL: jax.Array, is_original_BL: jax.Array, softmax_loss_BL: jax.Array):
    """log(D 1[input is the original] + (1 - D) p(original)), D = sigmoid(gate), float32 [B, L].

    >>> round(float(copy_mixture(jnp.zeros(()), jnp.array(True), -jnp.log(0.5))), 4)
    -0.2877
    """
    copy_BL = jnp.where(is_original_BL, jax.nn.log_sigmoid(gate_BL), -jnp.inf)
    return jnp.logaddexp(copy_BL, jax.nn.log_sigmoid(-gate_BL) - softmax_loss_BL)


def totals(
    config: Config, vocabulary: Vocabulary, params: api.Params, inputs: Inputs, everywhere: bool
) -> dict[str, jax.Array]:
    """Additive counts behind the evaluation metrics, without dropout, at temperature 1."""
    proposal, restored = forward(config, vocabulary, params, inputs, None, 1.0, everywhere)
    w_BP = inputs.draws.weights_BP
    real_BL = inputs.batch['documents'] > 0
    return {
        **masked.totals(vocabulary, inputs, proposal.prediction),
        'tokens': jnp.sum(real_BL),
        'fake': jnp.sum(real_BL & (restored.tokens_BL != inputs.batch['tokens'])),
        'restored_loss': jnp.sum(w_BP * restored.loss_BP),
        'restored_hits': jnp.sum(w_BP * (restored.best_BP == inputs.targets_BP)),
    }


def summary(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Evaluation metrics; `restored_*` are the main network's softmax at the masked positions."""
    positions = max(float(sums['masked']), 1.0)
    return {
        **masked.summary(sums),
        'restored_loss': float(sums['restored_loss']) / positions,
        'restored_accuracy': float(sums['restored_hits']) / positions,
        'fake_rate': float(sums['fake']) / max(float(sums['tokens']), 1.0),
    }


def example(
    config: Config, vocabulary: Vocabulary, params: api.Params, inputs: Inputs, everywhere: bool
) -> tuple[jax.Array, jax.Array]:
    """For people to look at: the corrupted text [B, L], and 1 - p(original) by the softmax at the
    masked positions (0 elsewhere) [B, L].
    """
    _, restored = forward(config, vocabulary, params, inputs, None, 1.0, everywhere)
    doubt_BP = 1.0 - jnp.exp(-restored.loss_BP)
    where = (inputs.draws.masked_BP, inputs.draws.weights_BP)
    zeros_BL = jnp.zeros(restored.tokens_BL.shape)
    return restored.tokens_BL, corrupt.write_tokens(zeros_BL, *where, doubt_BP)


def _definition(everywhere: bool) -> Definition:
    head = 'gated_language' if everywhere else 'language'

    def parts(model: ModelConfig) -> tuple[str, ...]:
        return (*generators.parts(model), head)

    bind = functools.partial(functools.partial, everywhere=everywhere)
    return Definition(parts, bind(loss), bind(totals), summary, bind(example), signs=masked.signs)


REPLACED_MLM = _definition(everywhere=False)
ALL_TOKENS_MLM = _definition(everywhere=True)
