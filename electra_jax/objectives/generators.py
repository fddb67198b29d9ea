"""What proposes the replaced tokens: the generator's side of every objective."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from electra_jax.config.settings import Config, ModelConfig
from electra_jax.model import bind
from electra_jax.objectives.definition import Vocabulary
from electra_jax.objectives.inputs import Inputs, masked_batch
from electra_jax.ops import vocab_head
from electra_jax.optim.networks import network_table
from electra_jax.optim.schedules import RAMPS


class Softmax(NamedTuple):
    """A distribution over the vocabulary at some positions, not multiplied out."""

    features_BPE: jax.Array  # compute dtype
    table_VE: jax.Array  # compute dtype
    bias_V: jax.Array  # float32

    def at(self, places_BP: jax.Array) -> 'Softmax':
        """The same at some of the positions."""
        features_BPE = jnp.take_along_axis(self.features_BPE, places_BP[..., None], axis=1)
        return self._replace(features_BPE=features_BPE)


class Proposal(NamedTuple):
    """What the generator says of a batch."""

    prediction: vocab_head.Prediction  # at the masked positions
    softmax: Softmax  # there
    loss: jax.Array  # float32 scalar, what the generator learns from
    everywhere: Softmax | None = None  # two towers: at every position of the original text
    normalizer_BL: jax.Array | None = None  # of `everywhere`, float32


def temperature(config: Config, step: jax.Array) -> jax.Array | float:
    """Of the generator's samples at `step`; its loss is always at temperature 1."""
    settings = config.objective
    if settings.temperature_end is None:
        return settings.temperature
    ramp = RAMPS[settings.temperature_shape]
    steps = settings.temperature_decay * config.total_steps
    return ramp(settings.temperature, settings.temperature_end, steps)(step)


def propose(
    config: Config,
    vocabulary: Vocabulary,
    params: bind.Params,
    inputs: Inputs,
    at_temperature: jax.Array | float,
    dropout_key: jax.Array | None,
) -> Proposal:
    """Runs the config's generator.

    Args:
        config: resolved.
        vocabulary: of the tokenizer.
        params: of both networks.
        inputs: from `inputs.draw` or `inputs.from_draws`.
        at_temperature: of the samples.
        dropout_key: None switches dropout off.
    """
    if config.objective.freeze_generator:
        params = without_gradient(config.model, params, 'generator')
    run = GENERATORS[config.model.generator]
    return run(config, vocabulary, params, inputs, at_temperature, dropout_key)


def parts(model: ModelConfig) -> tuple[str, ...]:
    """The parts of the model that the generator is made of."""
    return () if model.generator in ('uniform', 'unigram') else ('generator',)


def without_gradient(model: ModelConfig, params: bind.Params, network: str) -> bind.Params:
    """The parameters, those that are `network`'s alone cut off from the gradient."""
    return jax.tree.map(
        lambda x, owner: jax.lax.stop_gradient(x) if owner == network else x,
        params,
        network_table(params, model.embedding_sharing),
    )


def weight(config: Config) -> float:
    """Of the generator's loss in the total."""
    return 0.0 if config.objective.freeze_generator else config.objective.generator_weight


def _masked(config, vocabulary, params, inputs, at_temperature, dropout_key):
    """A masked language model: cross-entropy at the masked positions (ELECTRA equation 1)."""
    batch = masked_batch(inputs, vocabulary.special)
    softmax = run_network(config, vocabulary, params, batch, inputs.draws.masked_BP, dropout_key)
    prediction = _predict(config, vocabulary, softmax, inputs, at_temperature)
    return Proposal(prediction, softmax, jnp.sum(inputs.masked_share_BP * prediction.loss_BP))


def _two_towers(config, vocabulary, params, inputs, at_temperature, dropout_key):
    """Two causal encoders: cross-entropy at every token that might be masked."""
    batch = inputs.batch
    everywhere = run_network(config, vocabulary, params, batch, None, dropout_key)
    cloze = vocab_head.predict(
        *everywhere,
        batch['tokens'],
        (),
        1.0,
        vocabulary.size,
        chunks=config.model.vocab_chunks,
    )
    softmax = everywhere.at(inputs.draws.masked_BP)
    prediction = _predict(config, vocabulary, softmax, inputs, at_temperature)
    loss = jnp.sum(inputs.candidate_share_BL * cloze.loss_BP)
    return Proposal(prediction, softmax, loss, everywhere, cloze.normalizer_BP)


def _uniform(config, vocabulary, params, inputs, at_temperature, dropout_key):
    """The same chance for every token of the vocabulary, special ones included."""
    del params, dropout_key
    rows = bind.vocab_rows(config.model, vocabulary.size)
    return _constant(config, vocabulary, inputs, at_temperature, jnp.zeros(rows))


def _unigram(config, vocabulary, params, inputs, at_temperature, dropout_key):
    """Tokens by their frequency in the training text."""
    del params, dropout_key
    log_unigram_V = jnp.asarray(vocabulary.log_unigram_V)
    return _constant(config, vocabulary, inputs, at_temperature, log_unigram_V)


GENERATORS: dict[str, Callable[..., Proposal]] = {
    'separate': _masked,
    'tied': _masked,
    'two_tower': _two_towers,
    'uniform': _uniform,
    'unigram': _unigram,
}


def run_network(config, vocabulary, params, batch, masked_BP, dropout_key) -> Softmax:
    """The generator's network, up to its softmax; `masked_BP` None means everywhere."""
    features_BPE, table_VE, bias_V = bind.generate(
        config.model, vocabulary.size, params, batch, masked_BP, dropout_key
    )
    return Softmax(features_BPE, table_VE.astype(features_BPE.dtype), bias_V)


def _constant(config, vocabulary, inputs, at_temperature, logits_V):
    """The same distribution at every position: features of zero leave the bias alone."""
    features_BPE = jnp.zeros((*inputs.draws.masked_BP.shape, 1))
    softmax = Softmax(features_BPE, jnp.zeros((logits_V.size, 1)), logits_V)
    prediction = _predict(config, vocabulary, softmax, inputs, at_temperature)
    return Proposal(prediction, softmax, jnp.sum(inputs.masked_share_BP * prediction.loss_BP))


def _predict(config, vocabulary, softmax, inputs, at_temperature):
    return vocab_head.predict(
        *softmax,
        inputs.targets_BP,
        inputs.draws.noise,
        at_temperature,
        vocabulary.size,
        config.objective.disallow_correct,
        config.model.vocab_chunks,
    )
