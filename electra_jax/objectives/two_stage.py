"""Two-stage training: first the generator alone, then the discriminator alone.

ELECTRA section 3.2: the generator is trained for n steps; the discriminator starts from its
weights, so they are of one size; then the discriminator is trained while the generator is kept
frozen. Each stage has a warm-up and a decay of its own (`optim.schedules`), and only the network of
the stage is updated (`optim.optimizer`).
"""

import jax
import jax.numpy as jnp

from electra_jax.config.fields import Settings
from electra_jax.config.resolve import first_stage
from electra_jax.config.settings import Config
from electra_jax.config.shapes import (
    discriminator_shape,
    generator_embedding_size,
    generator_shape,
)
from electra_jax.core.errors import ConfigError
from electra_jax.model.bind import Key, Model, Params, two_keys
from electra_jax.objectives import electra, generators, masked
from electra_jax.objectives.definition import LossAndMetrics, Objective, Vocabulary
from electra_jax.objectives.inputs import Inputs

# The discriminator's parameters and the generator's that they start from; its head starts fresh.
_COPIES = {'discriminator': 'generator', 'embeddings': 'generator_embeddings'}


def two_stage(config: Config, model: Model, vocabulary: Vocabulary) -> Objective:
    """The loss of the stage that a step is in.

    `loss` in the metrics is the stage's. In the first stage the discriminator does not run, and
    `disc_loss` is 0.
    """
    propose = generators.make_propose(config, model, vocabulary)
    plain = electra.electra(config, model, vocabulary)
    boundary = first_stage(config)

    def loss(params: Params, inputs: Inputs, dropout_key: Key, step: jax.Array) -> LossAndMetrics:
        def generator_stage() -> LossAndMetrics:
            proposal = propose(params, inputs, two_keys(dropout_key)[0], step)
            is_fake_BL = electra.corrupted(inputs, proposal).is_fake_BL
            return electra.joint(config, inputs, proposal, jnp.zeros(()), is_fake_BL)

        def discriminator_stage() -> LossAndMetrics:
            held = generators.without_gradient(config.model, params, 'generator')
            _, metrics = plain.loss(held, inputs, dropout_key, step)
            total = config.objective.discriminator_weight * metrics['disc_loss']
            return total, {**metrics, 'loss': total}

        return jax.lax.cond(step < boundary, generator_stage, discriminator_stage)

    def prepare(params: Params, step: jax.Array) -> Params:
        # At the first step of the second stage, the discriminator becomes the generator.
        copied = {**params, **{ours: params[theirs] for ours, theirs in _COPIES.items()}}
        return jax.lax.cond(step == boundary, lambda: copied, lambda: params)

    # In the first stage the discriminator is meant to give the same answer for every token.
    return plain._replace(
        loss=loss,
        prepare=prepare,
        warning_signs=masked.warning_signs,
        metrics_after={'disc_loss': boundary},
        other_losses={
            'the second stage begins: from here on the discriminator is trained, and the generator '
            f'stays as it is; loss is now {config.objective.discriminator_weight:g} times '
            'disc_loss, which cannot be compared with the loss until here': boundary
        },
    )


def check(settings: Settings) -> None:
    """Checks that the discriminator can start from the generator, and that each stage has steps."""
    model, steps = settings.model, settings.objective.generator_steps
    one_size = (
        generator_shape(model) == discriminator_shape(model)
        and model.embedding_sharing == 'untied'
        and generator_embedding_size(model) == model.embedding_size
    )
    if not one_size:
        raise ConfigError(
            'config.objective.name is two_stage, whose discriminator starts from the generator: '
            'they must be of one size, each with its own embeddings. Type '
            '--config.model.generator_width=1 --config.model.generator_layers=1 '
            '--config.model.embedding_sharing=untied '
            f'--config.model.generator_embedding_size={model.embedding_size}'
        )
    if steps is not None and steps >= settings.total_steps:
        raise ConfigError(
            f'config.objective.generator_steps is {steps}, allowed: less than '
            f'config.total_steps, {settings.total_steps}'
        )
