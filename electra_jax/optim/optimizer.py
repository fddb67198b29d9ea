"""The reference's AdamW as optax transformations (electra, optimization.py)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from electra_jax.config.schema import OptimizerConfig
from electra_jax.core.trees import Tree, match_rules
from electra_jax.optim.schedules import Schedule

# Which parameters decay, by path; first match wins. As the reference: everything but LayerNorms
# and biases, so embeddings and the position table decay too.
DECAY_RULES: tuple[tuple[str, bool], ...] = (
    (r'.*norm/(scale|bias)', False),
    (r'.*bias', False),
    (r'.*kernel', True),
    (r'embeddings/(word|position|type)', True),
)


class AdamState(NamedTuple):
    """First and second moments, shaped like the parameters, float32."""

    count: jax.Array
    mu: Tree
    nu: Tree


def scale_by_adam(
    b1: float, b2: float, epsilon: float, bias_correction: bool
) -> optax.GradientTransformation:
    """m / (sqrt(v) + epsilon), by default without Adam's bias correction, as the reference.

    Without the correction the first updates are (1 - b1) / sqrt(1 - b2) times Adam's, 3.2 with the
    defaults, and stay larger for some 1 / (1 - b2) steps: it takes a warm-up.
    """

    def init(params: Tree) -> AdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdamState(jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.copy, zeros))

    def update(grads: Tree, state: AdamState, params: Tree = None) -> tuple[Tree, AdamState]:
        del params
        count = state.count + 1
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, grads)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, grads)
        m_scale = 1 / (1 - b1**count) if bias_correction else 1.0
        v_scale = 1 / (1 - b2**count) if bias_correction else 1.0
        updates = jax.tree.map(lambda m, v: m_scale * m / (jnp.sqrt(v_scale * v) + epsilon), mu, nu)
        return updates, AdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def decay_table(params: Tree) -> Tree:
    """Whether each parameter decays.

    Raises:
        ConfigError: a parameter that `DECAY_RULES` does not cover.
    """
    return match_rules(DECAY_RULES, params, 'weight decay')


def adamw(
    settings: OptimizerConfig, learning_rate: Schedule, params: Tree
) -> optax.GradientTransformation:
    """Clip by global norm, Adam, decoupled decay, learning rate.

    Args:
        settings: `config.optimizer`.
        learning_rate: step -> rate.
        params: the parameters or their shapes, for the table of what decays.

    Raises:
        ConfigError: a parameter that `DECAY_RULES` does not cover.
    """
    decays = decay_table(params)
    return optax.chain(
        optax.clip_by_global_norm(settings.clip_norm),
        scale_by_adam(settings.b1, settings.b2, settings.epsilon, settings.bias_correction),
        optax.add_decayed_weights(settings.weight_decay, decays),
        optax.scale_by_schedule(lambda step: -learning_rate(step)),
    )
