"""Two-stage training: first the generator alone, then the discriminator alone.

ELECTRA section 3.2: the generator is trained for n steps; the discriminator starts from its
weights, so they are of one size; then the discriminator is trained while the generator is kept
frozen. Each stage has a warm-up and a decay of its own (`optim.schedules`), and only
the network of the stage is updated (`optim.optimizer`).
"""

import jax
import jax.numpy as jnp

from electra_jax.config.resolve import first_stage
from electra_jax.config.settings import Config
from electra_jax.model import bind
from electra_jax.objectives import electra, generators, masked
from electra_jax.objectives.definition import Vocabulary
from electra_jax.objectives.inputs import Inputs

# The discriminator's parts and the generator's that they start from; its head starts afresh.
_COPIES = {'discriminator': 'generator', 'embeddings': 'generator_embeddings'}


def loss(
    config: Config,
    vocabulary: Vocabulary,
    params: bind.Params,
    inputs: Inputs,
    dropout_key: jax.Array | None,
    step: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss of the stage that `step` is in; see `electra.loss` for the arguments.

    `loss` in the metrics is the stage's. In the first stage the discriminator does not run, and
    `disc_loss` is 0.
    """

    def generator_stage() -> tuple[jax.Array, dict[str, jax.Array]]:
        key = None if dropout_key is None else jax.random.split(dropout_key)[0]
        at_temperature = generators.temperature(config, step)
        proposal = generators.propose(config, vocabulary, params, inputs, at_temperature, key)
        batch, _ = electra.corrupted_batch(inputs, proposal)
        is_fake_BL = batch['tokens'] != inputs.batch['tokens']
        return electra.joint(config, inputs, proposal, jnp.zeros(()), is_fake_BL)

    def discriminator_stage() -> tuple[jax.Array, dict[str, jax.Array]]:
        held = generators.without_gradient(config.model, params, 'generator')
        _, metrics = electra.loss(config, vocabulary, held, inputs, dropout_key, step)
        total = config.objective.discriminator_weight * metrics['disc_loss']
        return total, {**metrics, 'loss': total}

    return jax.lax.cond(step < first_stage(config), generator_stage, discriminator_stage)


def prepare(config: Config, params: bind.Params, step: jax.Array) -> bind.Params:
    """At the first step of the second stage, the discriminator becomes the generator."""
    copied = {**params, **{ours: params[theirs] for ours, theirs in _COPIES.items()}}
    return jax.lax.cond(step == first_stage(config), lambda: copied, lambda: params)


# In the first stage the discriminator is meant to say the same of every token.
TWO_STAGE = electra.ELECTRA._replace(loss=loss, prepare=prepare, signs=masked.signs)
