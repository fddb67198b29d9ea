"""Masked language modelling alone: BERT without next sentences, the paper's baseline.

The one network is the encoder that ELECTRA calls its discriminator, with the generator's softmax
on it (`model.generator` is 'tied'): what is fine-tuned has one name whatever it was trained on.
"""

import jax
import jax.numpy as jnp

from electra_jax.config.settings import Config
from electra_jax.model.bind import Model, Params
from electra_jax.objectives import generators, masked
from electra_jax.objectives.definition import Metrics, Objective, Vocabulary
from electra_jax.objectives.inputs import Inputs, make_draw
from electra_jax.ops import corrupt


def mlm(config: Config, model: Model, text: Vocabulary) -> Objective:
    """Cross-entropy at the masked positions."""
    propose = generators.make_propose(config, model, text)

    def loss(
        params: Params, inputs: Inputs, dropout_key: jax.Array | None, step: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        proposal = propose(params, inputs, 1.0, dropout_key)
        return proposal.loss, {'loss': proposal.loss, 'mlm_loss': proposal.loss}

    def totals(params: Params, inputs: Inputs) -> Metrics:
        return masked.totals(text, inputs, propose(params, inputs, 1.0, None).prediction)

    def example(params: Params, inputs: Inputs) -> tuple[jax.Array, jax.Array]:
        # The best guess at each masked position, and 1 - p(original) there (0 elsewhere).
        prediction = propose(params, inputs, 1.0, None).prediction
        tokens_BL = inputs.batch['tokens']
        where = (inputs.draws.masked_BP, inputs.draws.weights_BP)
        guessed_BL = corrupt.write_tokens(tokens_BL, *where, prediction.best_BP)
        doubt_BP = 1.0 - jnp.exp(-prediction.loss_BP)
        doubt_BL = corrupt.write_tokens(jnp.zeros(tokens_BL.shape), *where, doubt_BP)
        return guessed_BL, doubt_BL

    return Objective(
        networks=generators.networks(config.model),
        draw=make_draw(config, text.special, model.vocab_rows),
        loss=loss,
        totals=totals,
        summary=masked.summary,
        example=example,
        signs=masked.signs,
    )
