"""Masked language modelling alone: BERT without next sentences, the paper's baseline.

The one network is the encoder that ELECTRA calls its discriminator, with the generator's softmax
on it (`model.generator` is 'tied'): what people fine-tune has one name whatever it was trained on.
"""

import jax
import jax.numpy as jnp

from electra_jax.config.settings import Config
from electra_jax.model import bind
from electra_jax.objectives import generators, masked
from electra_jax.objectives.definition import Definition, Vocabulary
from electra_jax.objectives.inputs import Inputs
from electra_jax.ops import corrupt


def loss(
    config: Config,
    vocabulary: Vocabulary,
    params: bind.Params,
    inputs: Inputs,
    dropout_key: jax.Array | None,
    step: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy at the masked positions; see `electra.loss` for the arguments."""
    del step
    proposal = generators.propose(config, vocabulary, params, inputs, 1.0, dropout_key)
    return proposal.loss, {'loss': proposal.loss, 'mlm_loss': proposal.loss}


def totals(
    config: Config, vocabulary: Vocabulary, params: bind.Params, inputs: Inputs
) -> dict[str, jax.Array]:
    """Additive counts behind the evaluation metrics, without dropout."""
    proposal = generators.propose(config, vocabulary, params, inputs, 1.0, None)
    return masked.totals(vocabulary, inputs, proposal.prediction)


def example(
    config: Config, vocabulary: Vocabulary, params: bind.Params, inputs: Inputs
) -> tuple[jax.Array, jax.Array]:
    """For people to look at: the text with the best guess at each masked position [B, L], and
    1 - p(original) there (0 elsewhere) [B, L].
    """
    prediction = generators.propose(config, vocabulary, params, inputs, 1.0, None).prediction
    tokens_BL = inputs.batch['tokens']
    where = (inputs.draws.masked_BP, inputs.draws.weights_BP)
    guessed_BL = corrupt.write_tokens(tokens_BL, *where, prediction.best_BP)
    doubt_BP = 1.0 - jnp.exp(-prediction.loss_BP)
    doubt_BL = corrupt.write_tokens(jnp.zeros(tokens_BL.shape), *where, doubt_BP)
    return guessed_BL, doubt_BL


MLM = Definition(generators.parts, loss, totals, masked.summary, example, signs=masked.signs)
