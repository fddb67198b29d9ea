"""Masked language modelling alone: BERT without next sentences, the paper's baseline.

The one network is the encoder that ELECTRA calls its discriminator, with the generator's softmax
on it (`model.generator` is 'tied'): what is fine-tuned has one name whatever it was trained on.
"""

import jax

from electra_jax.config.settings import Config
from electra_jax.model.bind import Key, Model, Params
from electra_jax.objectives import generators, masked
from electra_jax.objectives.definition import LossAndMetrics, Metrics, Objective, Vocabulary
from electra_jax.objectives.draws import make_draw
from electra_jax.objectives.inputs import Inputs
from electra_jax.ops import corrupt


def mlm(config: Config, model: Model, vocabulary: Vocabulary) -> Objective:
    """Cross-entropy at the masked positions."""
    propose = generators.make_propose(config, model, vocabulary)

    def loss(params: Params, inputs: Inputs, dropout_key: Key, step: jax.Array) -> LossAndMetrics:
        proposal = propose(params, inputs, dropout_key, None)  # nothing is sampled
        return proposal.loss, {
            'loss': proposal.loss,
            'mlm_loss': proposal.loss,
            **proposal.observed,
        }

    def totals(params: Params, inputs: Inputs) -> Metrics:
        return masked.totals(vocabulary, inputs, propose(params, inputs, None, None).prediction)

    def example(params: Params, inputs: Inputs) -> tuple[jax.Array, jax.Array]:
        # The best guess at each masked position, and 1 - p(original) there (0 elsewhere).
        prediction = propose(params, inputs, None, None).prediction
        tokens_BL, drawn = inputs.batch['tokens'], inputs.draws.masked
        guessed_BL = corrupt.write_tokens(tokens_BL, drawn, prediction.best_BP)
        return guessed_BL, masked.doubt(inputs, prediction.loss_BP)

    return Objective(
        networks=generators.networks(config.model),
        draw=make_draw(config, vocabulary, model.vocab_rows),
        loss=loss,
        totals=totals,
        summary=masked.summary,
        example=example,
        warning_signs=masked.warning_signs,
    )
