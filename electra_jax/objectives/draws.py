"""How a batch's random draws are made: masked tokens, those that are kept, noise of the sampler."""

from collections.abc import Mapping, Sequence

import jax

from electra_jax.config.resolve import highest_mask_rate
from electra_jax.config.settings import Config, ObjectiveConfig
from electra_jax.core.batch import Batch
from electra_jax.core.trees import Tree
from electra_jax.objectives.definition import Vocabulary
from electra_jax.objectives.inputs import (
    Draw,
    Draws,
    Inputs,
    Step,
    from_draws,
    maskable,
)
from electra_jax.objectives.masks import table as masks
from electra_jax.objectives.masks.uniform import uniform
from electra_jax.ops import corrupt, vocab_softmax
from electra_jax.optim.schedules import linear


def mask_rate(config: Config, step: Step | None) -> jax.Array | float:
    """Share of real tokens that is masked at `step`; None (evaluation): that of the first step."""
    settings = config.objective
    if settings.mask_rate_end is None or step is None:
        return settings.mask_rate
    steps = settings.mask_rate_decay * config.total_steps
    return linear(settings.mask_rate, settings.mask_rate_end, steps)(step)


def max_masked(settings: ObjectiveConfig, row_length: int) -> int:
    """P, for the highest rate of the run."""
    return corrupt.POSITION_RULES[settings.positions].slots(highest_mask_rate(settings), row_length)


def make_draw(config: Config, vocabulary: Vocabulary, vocab_rows: int) -> Draw:
    """The function that makes a batch's draws from three keys of `core.rng.step_keys`.

    'positions' draws what is masked, 'keep' what keeps its token, 'sample' the sampler's noise.

    The draws depend on the keys and on the index of a row in the global batch, not on the mesh. In
    evaluation every token is as likely to be masked, so that numbers can be compared between ways
    to choose masks.

    Raises:
        ConfigError: the way to choose masks does not exist, or does not fit the vocabulary.
    """
    settings = config.objective
    train_rule, eval_rule = masks.build(config, vocabulary), uniform(config, vocabulary)
    positions = corrupt.POSITION_RULES[settings.positions]

    def draw(
        batch: Batch, keys: Mapping[str, jax.Array], step: Step | None, memory: Tree = None
    ) -> Inputs:
        B, L = batch['tokens'].shape
        P = max_masked(settings, L)
        uniform_noise = jax.random.uniform(keys['positions'], positions.noise_shape(B, L, P))
        rule = eval_rule if step is None else train_rule
        masked = positions.choose(
            rule.scores(uniform_noise, batch, memory),
            maskable(batch, vocabulary.special),
            batch['documents'],
            mask_rate(config, step),
            P,
        )
        keep_BP = jax.random.uniform(keys['keep'], (B, P)) < settings.keep_rate
        shapes = vocab_softmax.noise_shapes(B, P, vocab_rows, settings.sampler)
        noise = uniforms(keys['sample'], shapes)
        return from_draws(vocabulary.special, batch, Draws(masked, keep_BP, noise))

    return draw


def uniforms(key: jax.Array, shapes: Sequence[tuple[int, ...]]) -> tuple[jax.Array, ...]:
    """Uniform numbers in [0, 1) of each shape."""
    return tuple(
        jax.random.uniform(jax.random.fold_in(key, i), shape) for i, shape in enumerate(shapes)
    )
