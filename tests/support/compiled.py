"""Networks and objectives whose functions are compiled whole: called as they are, each operation of
a model would be compiled on its own, which takes most of a test's time."""

import functools

import jax

from electra_jax.config.settings import Config, ModelConfig
from electra_jax.model import bind
from electra_jax.model.task_heads import HeadShape
from electra_jax.objectives import table
from electra_jax.objectives.definition import Objective
from tests.support.configs import VOCABULARY


@functools.cache
def networks(model: ModelConfig, vocab_size: int = VOCABULARY.size) -> bind.Model:
    """`bind`, compiled; networks that are initialized are named in a tuple."""
    bound = bind.bind(model, vocab_size)
    return bound._replace(
        init=jax.jit(bound.init, static_argnums=1),
        generate=jax.jit(bound.generate),
        encode=jax.jit(bound.encode),
        discriminate=jax.jit(bound.discriminate),
        restore=jax.jit(bound.restore, static_argnums=3),
        detect_and_select=jax.jit(bound.detect_and_select),
    )


@functools.cache
def head(model: ModelConfig, shape: HeadShape) -> bind.Head:
    """The head of a kind of task, compiled."""
    return bind.Head(*map(jax.jit, bind.bind(model, VOCABULARY.size).head(shape)))


@functools.cache
def objective(config: Config) -> Objective:
    """The objective of a config, compiled."""
    bound = table.build(config, VOCABULARY)
    return bound._replace(
        draw=jax.jit(bound.draw),
        loss=jax.jit(bound.loss),
        totals=jax.jit(bound.totals),
        example=jax.jit(bound.example),
    )


@functools.cache
def gradient(config: Config):
    """params, inputs, dropout_key, step -> ((loss, metrics), gradients) of a config's objective."""
    return jax.jit(jax.value_and_grad(table.build(config, VOCABULARY).loss, has_aux=True))


def part(make, config: Config, *settings):
    """What a factory of a part of an objective makes for a config, compiled."""
    return jax.jit(make(config, bind.bind(config.model, VOCABULARY.size), VOCABULARY, *settings))
