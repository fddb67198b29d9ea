"""What proposes the replaced tokens: the generator's side of every objective."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from electra_jax.config.settings import Config, ModelConfig
from electra_jax.model.bind import Model, Params
from electra_jax.objectives.definition import Vocabulary
from electra_jax.objectives.inputs import Inputs, masked_batch
from electra_jax.ops import vocab_head
from electra_jax.optim.networks import network_table
from electra_jax.optim.schedules import RAMPS

Temperature = jax.Array | float


class Softmax(NamedTuple):
    """A distribution over the vocabulary at some positions, not multiplied out."""

    features_BPE: jax.Array  # compute dtype
    table_VE: jax.Array  # compute dtype
    bias_V: jax.Array  # float32

    def at(self, positions_BP: jax.Array) -> 'Softmax':
        """The same at some of the positions."""
        features_BPE = jnp.take_along_axis(self.features_BPE, positions_BP[..., None], axis=1)
        return self._replace(features_BPE=features_BPE)


class Proposal(NamedTuple):
    """What the generator predicts for a batch, and what it learns from."""

    prediction: vocab_head.Prediction  # at the masked positions
    softmax: Softmax  # at the masked positions
    loss: jax.Array  # float32 scalar
    everywhere: Softmax | None = None  # two towers: at every position of the original text
    normalizer_BL: jax.Array | None = None  # of `everywhere`, float32


# params, inputs, temperature of the samples, dropout_key (None: no dropout) -> proposal
Propose = Callable[[Params, Inputs, Temperature, jax.Array | None], Proposal]


def make_propose(config: Config, model: Model, text: Vocabulary) -> Propose:
    """The function that runs the config's generator."""
    propose = GENERATORS[config.model.generator](config, model, text)
    if not config.objective.freeze_generator:
        return propose

    def frozen(
        params: Params, inputs: Inputs, temperature: Temperature, dropout_key: jax.Array | None
    ) -> Proposal:
        held = without_gradient(config.model, params, 'generator')
        return propose(held, inputs, temperature, dropout_key)

    return frozen


def temperature(config: Config, step: jax.Array) -> Temperature:
    """Of the generator's samples at `step`; its loss is always at temperature 1."""
    settings = config.objective
    if settings.temperature_end is None:
        return settings.temperature
    ramp = RAMPS[settings.temperature_shape]
    steps = settings.temperature_decay * config.total_steps
    return ramp(settings.temperature, settings.temperature_end, steps)(step)


def networks(model: ModelConfig) -> tuple[str, ...]:
    """The networks that the generator is made of."""
    return () if model.generator in ('uniform', 'unigram') else ('generator',)


def without_gradient(model: ModelConfig, params: Params, network: str) -> Params:
    """The parameters, those that only `network` has cut off from the gradient."""
    return jax.tree.map(
        lambda x, owner: jax.lax.stop_gradient(x) if owner == network else x,
        params,
        network_table(params, model.embedding_sharing),
    )


def weight(config: Config) -> float:
    """Of the generator's loss in the total."""
    return 0.0 if config.objective.freeze_generator else config.objective.generator_weight


def _masked(config: Config, model: Model, text: Vocabulary) -> Propose:
    """A masked language model: cross-entropy at the masked positions (ELECTRA equation 1)."""
    predict = _make_predict(config, text)

    def propose(
        params: Params, inputs: Inputs, temperature: Temperature, dropout_key: jax.Array | None
    ) -> Proposal:
        batch = masked_batch(inputs, text.special)
        softmax = _softmax(*model.generate(params, batch, inputs.draws.masked_BP, dropout_key))
        prediction = predict(softmax, inputs, temperature)
        return Proposal(prediction, softmax, jnp.sum(inputs.masked_share_BP * prediction.loss_BP))

    return propose


def _two_towers(config: Config, model: Model, text: Vocabulary) -> Propose:
    """Two causal encoders: cross-entropy at every token that might be masked."""
    predict = _make_predict(config, text)

    def propose(
        params: Params, inputs: Inputs, temperature: Temperature, dropout_key: jax.Array | None
    ) -> Proposal:
        everywhere = _softmax(*model.generate(params, inputs.batch, None, dropout_key))
        cloze = vocab_head.predict(
            *everywhere,
            inputs.batch['tokens'],
            (),
            1.0,
            text.size,
            chunks=config.model.vocab_chunks,
        )
        softmax = everywhere.at(inputs.draws.masked_BP)
        prediction = predict(softmax, inputs, temperature)
        loss = jnp.sum(inputs.candidate_share_BL * cloze.loss_BP)
        return Proposal(prediction, softmax, loss, everywhere, cloze.normalizer_BP)

    return propose


def _uniform(config: Config, model: Model, text: Vocabulary) -> Propose:
    """The same chance for every token of the vocabulary, special ones included."""
    return _constant(config, text, lambda: jnp.zeros(model.vocab_rows))


def _unigram(config: Config, model: Model, text: Vocabulary) -> Propose:
    """Tokens by their frequency in the training text."""
    return _constant(config, text, lambda: jnp.asarray(text.log_unigram_V))


GENERATORS: dict[str, Callable[[Config, Model, Vocabulary], Propose]] = {
    'separate': _masked,
    'tied': _masked,
    'two_tower': _two_towers,
    'uniform': _uniform,
    'unigram': _unigram,
}


def _softmax(features_BPE: jax.Array, table_VE: jax.Array, bias_V: jax.Array) -> Softmax:
    return Softmax(features_BPE, table_VE.astype(features_BPE.dtype), bias_V)


def _constant(config: Config, text: Vocabulary, logits: Callable[[], jax.Array]) -> Propose:
    """The same distribution at every position: features of zero leave only the bias."""
    predict = _make_predict(config, text)

    def propose(
        params: Params, inputs: Inputs, temperature: Temperature, dropout_key: jax.Array | None
    ) -> Proposal:
        logits_V = logits()
        features_BPE = jnp.zeros((*inputs.draws.masked_BP.shape, 1))
        softmax = Softmax(features_BPE, jnp.zeros((logits_V.size, 1)), logits_V)
        prediction = predict(softmax, inputs, temperature)
        return Proposal(prediction, softmax, jnp.sum(inputs.masked_share_BP * prediction.loss_BP))

    return propose


def _make_predict(
    config: Config, text: Vocabulary
) -> Callable[[Softmax, Inputs, Temperature], vocab_head.Prediction]:
    """The function for losses and samples at the masked positions."""

    def predict(
        softmax: Softmax, inputs: Inputs, temperature: Temperature
    ) -> vocab_head.Prediction:
        return vocab_head.predict(
            *softmax,
            inputs.targets_BP,
            inputs.draws.noise,
            temperature,
            text.size,
            config.objective.disallow_correct,
            config.model.vocab_chunks,
        )

    return predict
