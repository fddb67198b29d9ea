"""The reference's AdamW as optax transformations (electra, optimization.py), or Muon next to it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from electra_jax.config.resolve import first_stage, has_two_stages
from electra_jax.config.settings import Config, OptimizerConfig
from electra_jax.core.trees import Tree, match_rules, named_leaves
from electra_jax.optim import muon
from electra_jax.optim.networks import network_table
from electra_jax.optim.schedules import from_config

# step -> what each network's updates are multiplied with
Scales = Callable[[jax.Array], dict[str, Any]]

# Which parameters decay, by path; first match wins. As the reference: everything but LayerNorms
# and biases, so embeddings and the position table decay too.
DECAY_RULES: tuple[tuple[str, bool], ...] = (
    (r'.*norm/(scale|bias)', False),
    (r'.*bias', False),
    (r'.*kernel', True),
    (r'(generator_)?embeddings/(word|position|type)|embedding_delta/(word|position|type)', True),
    (r'.*embedding(s|_delta)/(patch|image_row|image_column)', True),
)


def scale_by_adam(
    b1: float, b2: float, epsilon: float, bias_correction: bool
) -> optax.GradientTransformation:
    """m / (sqrt(v) + epsilon), by default without Adam's bias correction, as the reference.

    Without the correction the first updates are (1 - b1) / sqrt(1 - b2) times Adam's, 3.2 with the
    defaults, and stay larger for some 1 / (1 - b2) steps: it takes a warm-up.
    """

    def init(params: Tree) -> optax.ScaleByAdamState:
        mu, nu = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), mu, nu)

    def update(
        grads: Tree, state: optax.ScaleByAdamState, _params: Tree = None
    ) -> tuple[Tree, optax.ScaleByAdamState]:
        count = state.count + 1
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, grads)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, grads)
        m_scale = 1 / (1 - b1**count) if bias_correction else 1.0
        v_scale = 1 / (1 - b2**count) if bias_correction else 1.0
        updates = jax.tree.map(lambda m, v: m_scale * m / (jnp.sqrt(v_scale * v) + epsilon), mu, nu)
        return updates, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def decay_table(params: Tree) -> Tree:
    """Whether each parameter decays; ConfigError for one that no rule covers."""
    return match_rules(DECAY_RULES, params, 'weight decay')


def build(config: Config, params: Tree) -> optax.GradientTransformation:
    """The run's optimizer: clip, Adam or Muon, decay, learning rate, and what a recipe adds.

    Raises:
        ConfigError: one of `params` (or their shapes) that a table does not cover.
    """
    settings = config.optimizer
    networks = network_table(params, config.model.embedding_sharing)
    # In so many replicas, each one's gradient is clipped before they are added (`train.step`).
    parts = [] if settings.clip_replicas > 1 else [clip(settings, networks)]
    rate = from_config(config, settings.learning_rate)
    scale = scale_by_adam(settings.b1, settings.b2, settings.epsilon, settings.bias_correction)
    scales = network_scales(config)
    if settings.matrices == 'muon':
        scale = _muon_or(scale, settings.muon_momentum, scales, networks, params)
    parts += [
        scale,
        optax.add_decayed_weights(settings.weight_decay, decay_table(params)),
        optax.scale_by_schedule(lambda step: -rate(step)),
    ]
    if settings.layer_decay != 1.0:
        layers = layer_table(params)
        parts.append(scale_leaves(lambda step: layer_scales(settings, layers, params)))
    if scales is not None:
        parts.append(
            scale_leaves(lambda step: jax.tree.map(lambda name: scales(step)[name], networks))
        )
    return optax.chain(*parts)


def _muon_or(
    other: optax.GradientTransformation,
    momentum: float,
    scales: Scales | None,
    networks: Tree,
    params: Tree,
) -> optax.GradientTransformation:
    """Muon for the matrices of layers, `other` for the rest.

    A network whose `scales` are 0 at a step is left as it is then, because to make its matrices
    orthogonal would take a tenth of a small model's step (docs/results.md).
    """
    kinds = muon.optimizer_table(params)
    labels = jax.tree.map(lambda kind, name: name if kind == 'muon' else kind, kinds, networks)
    parts = {'adamw': other}
    for network in {*jax.tree.leaves(labels)} - {'adamw'}:
        parts[network] = muon.scale_by_muon(momentum)
        if scales is not None:
            parts[network] = optax.transforms.conditionally_mask(
                parts[network], functools.partial(_is_trained, scales, network)
            )
    return optax.partition(parts, labels)


def _is_trained(scales: Scales, network: str, step: jax.Array) -> jax.Array:
    return jnp.asarray(scales(step)[network] != 0)


def clip(settings: OptimizerConfig, networks: Tree) -> optax.GradientTransformation:
    """By the global norm of all gradients, or of each network's by itself (`separate`)."""
    if not settings.separate:
        return optax.clip_by_global_norm(settings.clip_norm)

    def update(updates: Tree, state: Any, _params: Tree = None) -> tuple[Tree, Any]:
        grads: dict[str, list[jax.Array]] = {}
        for name, grad in zip(jax.tree.leaves(networks), jax.tree.leaves(updates), strict=True):
            grads.setdefault(name, []).append(grad)
        scales = {
            name: jnp.minimum(1.0, settings.clip_norm / optax.tree.norm(own))
            for name, own in grads.items()
        }
        return jax.tree.map(lambda name, grad: grad * scales[name], networks, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def network_scales(config: Config) -> Scales | None:
    """What each network's updates are multiplied with at a step; None: nothing."""
    settings, first = config.optimizer, first_stage(config)
    both = {'generator': 1.0, 'discriminator': 1.0, 'shared': 1.0}
    if has_two_stages(config):
        return lambda step: {
            'generator': (step < first).astype(jnp.float32),
            'discriminator': (step >= first).astype(jnp.float32),
        }
    if config.objective.freeze_generator:
        return lambda step: {**both, 'generator': 0.0}
    if settings.generator_learning_rate is not None:
        ratio = settings.generator_learning_rate / settings.learning_rate
        return lambda step: {**both, 'generator': ratio}
    return None


# Which learning rate a parameter has with `layer_decay`, by path; first match wins.
LAYER_RULES: tuple[tuple[str, str], ...] = (
    (r'task_head/.*', 'head'),  # with all layers of a decoder
    (r'(.*_)?embeddings/.*|embedding_delta/.*|.*/project/.*', 'embeddings'),
    (r'detector/.*', 'head'),
    (r'.*/layers/.*', 'layers'),
    (r'(generator|discriminator)(_\w+)?/norm/.*', 'head'),  # pre-norm's last
    (r'(\w+_head|copy_gate)/.*', 'head'),
)


def layer_table(params: Tree) -> Tree:
    """'embeddings', 'layers' or 'head' for every parameter; ConfigError for one without a rule."""
    return match_rules(LAYER_RULES, params, 'layer-wise rate')


def layer_scales(settings: OptimizerConfig, layers: Tree, params: Tree) -> Tree:
    """What updates are multiplied with, the smaller the further from the output.

    Heads 1, layer i of N (from 0) layer_decay ** (N - i), embeddings and their projection
    layer_decay ** (N + 1). The reference counts a pooler that it no longer has, so everything
    but the heads has one power more there (electra, optimization.py; its author confirms it):
    `layer_decay_off_by_one`. `params`, or their shapes, have stacked layers that lead with N.
    """
    N = max(
        leaf.shape[0]
        for (_, leaf), place in zip(named_leaves(params), jax.tree.leaves(layers), strict=True)
        if place == 'layers'
    )
    extra = int(settings.layer_decay_off_by_one)

    def scale(place: str, leaf: Any) -> Any:
        if place == 'head':
            return 1.0
        if place == 'embeddings':
            return settings.layer_decay ** (N + 1 + extra)
        depths = leaf.shape[0] - jnp.arange(leaf.shape[0]) + extra
        return (settings.layer_decay**depths).reshape(-1, *[1] * (leaf.ndim - 1))

    return jax.tree.map(scale, layers, params)


def scale_leaves(scales: Callable[[jax.Array], Tree]) -> optax.GradientTransformation:
    """Multiplies each update with its entry of scales(step)."""

    def init(_params: Tree) -> optax.ScaleByScheduleState:
        return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))

    def update(updates: Tree, state: Any, _params: Tree = None) -> tuple[Tree, Any]:
        scaled = jax.tree.map(lambda u, scale: u * scale, updates, scales(state.count))
        return scaled, optax.ScaleByScheduleState(state.count + 1)

    return optax.GradientTransformation(init, update)
