"""What the generator finds hard more often: the weight of a token is (its loss) ** mask_power.

The loss is a running mean over the times that the token was masked, of which about the last twenty
count. It starts as the loss of a model that knows frequencies alone, so that a token that was not
masked yet is not taken for an easy one. After Edman and Fraser 2025, "Mask and You Shall Receive".
"""

import jax
import jax.numpy as jnp

from electra_jax.config.settings import Config
from electra_jax.core.batch import Batch
from electra_jax.core.trees import Tree
from electra_jax.objectives.definition import Metrics, Vocabulary
from electra_jax.objectives.inputs import Inputs
from electra_jax.objectives.masks.rule import MaskRule, by_weight
from electra_jax.ops.vocab_softmax import Prediction

_POWER = 1.0
_KEPT = 0.95  # of a running mean, each time that its token is masked
_LEAST = 0.01  # nats: a token that is always right is still masked now and then


def running_loss(config: Config, vocabulary: Vocabulary) -> MaskRule:
    """Draws in proportion to the generator's running loss by token."""
    assert vocabulary.log_unigram_V is not None
    log_unigram_V, power = vocabulary.log_unigram_V, config.objective.mask_power
    power = _POWER if power is None else power

    def scores(noise_BL: jax.Array, batch: Batch, memory: Tree) -> jax.Array:
        losses_BL = jnp.maximum(memory['token_loss'][batch['tokens']], _LEAST)
        return by_weight(noise_BL, power * jnp.log(losses_BL))

    def observe(inputs: Inputs, prediction: Prediction) -> Metrics:
        w_BP, zeros_V = inputs.draws.masked.weights_BP, jnp.zeros(log_unigram_V.shape)
        loss_BP = jax.lax.stop_gradient(prediction.loss_BP)
        return {
            'token_losses': zeros_V.at[inputs.targets_BP].add(w_BP * loss_BP),
            'token_counts': zeros_V.at[inputs.targets_BP].add(w_BP),
        }

    def remember(memory: Tree, observed: Metrics) -> Tree:
        counts_V, old_V = observed['token_counts'], memory['token_loss']
        mean_V = observed['token_losses'] / jnp.maximum(counts_V, 1e-6)
        kept_V = _KEPT**counts_V
        return {'token_loss': kept_V * old_V + (1 - kept_V) * mean_V}

    return MaskRule(
        scores,
        lambda: {'token_loss': -jnp.asarray(log_unigram_V)},
        observe,
        ('token_losses', 'token_counts'),
        remember,
    )
