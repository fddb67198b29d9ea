"""What proposes the replaced tokens: the generator's side of every objective."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.settings import Config, ModelConfig
from electra_jax.core.batch import Batch
from electra_jax.model.bind import Key, Model, Params
from electra_jax.objectives.definition import Metrics, Vocabulary
from electra_jax.objectives.inputs import Inputs, Step
from electra_jax.objectives.masks import table as masks
from electra_jax.ops import corrupt, vocab_head
from electra_jax.ops.vocab_softmax import Prediction, SoftmaxInputs
from electra_jax.optim.networks import network_table
from electra_jax.optim.schedules import RAMPS
from electra_jax.tokenizers.api import SpecialIds


class Proposal(NamedTuple):
    """What the generator predicts for a batch, and what it learns from."""

    prediction: Prediction  # at the masked positions
    softmax: SoftmaxInputs  # at the masked positions
    loss: jax.Array  # float32 scalar
    # Metrics from which the mask rule learns (`masks.rule`); part of those of the loss.
    observed: Metrics
    everywhere: SoftmaxInputs | None = None  # a generator that predicts at every position
    normalizer_BL: jax.Array | None = None  # of `everywhere`, float32


# params, inputs, dropout_key (None: no dropout), step (None: evaluation) -> proposal
Propose = Callable[[Params, Inputs, Key, Step | None], Proposal]
# params, inputs, dropout_key -> the distribution at the masked positions, or at all positions if
# `GeneratorRow.everywhere`
Generate = Callable[[Params, Inputs, Key], SoftmaxInputs]


def make_propose(config: Config, model: Model, vocabulary: Vocabulary) -> Propose:
    """The function that runs the config's generator."""
    settings, chunks = config.objective, config.model.vocab_chunks
    row = GENERATORS[config.model.generator]
    generate = row.make(model, vocabulary)
    observe = masks.build(config, vocabulary).observe

    def propose(params: Params, inputs: Inputs, dropout_key: Key, step: Step | None) -> Proposal:
        # A frozen generator has no backward pass (shared embeddings are refused with it), and no
        # share in the norm that is clipped; `electra.joint` leaves its loss out of the total.
        if settings.freeze_generator:
            params = without_gradient(config.model, params, 'generator')
        softmax = generate(params, inputs, dropout_key)
        everywhere = cloze_loss_BL = normalizer_BL = None
        if row.everywhere:  # L stands for P in what is predicted
            tokens_BL, everywhere = inputs.batch['tokens'], softmax
            cloze_loss_BL, _, _, normalizer_BL = vocab_head.predict(
                everywhere, tokens_BL, (), 1.0, vocabulary.size, chunks=chunks
            )
            softmax = everywhere.at(inputs.draws.masked.positions_BP)
        # The loss, and the sample that `draws.noise` draws (`vocab_softmax.sample`, or in chunks of
        # the vocabulary `vocab_chunks`). Only the loss has a gradient.
        prediction = vocab_head.predict(
            softmax,
            inputs.targets_BP,
            inputs.draws.noise,
            temperature(config, step),
            vocabulary.size,
            settings.disallow_correct,
            chunks,
        )
        observed = observe(inputs, prediction)
        if cloze_loss_BL is None:  # ELECTRA equation 1
            loss = jnp.sum(inputs.masked_share_BP * prediction.loss_BP)
        else:
            loss = jnp.sum(inputs.maskable_share_BL * cloze_loss_BL)
        return Proposal(prediction, softmax, loss, observed, everywhere, normalizer_BL)

    return propose


def temperature(config: Config, step: Step | None) -> jax.Array | float:
    """Of the samples at `step`, and 1 in evaluation; the loss is always at temperature 1."""
    settings = config.objective
    if step is None:
        return 1.0
    if settings.temperature_end is None:
        return settings.temperature
    ramp = RAMPS[settings.temperature_shape]
    steps = settings.temperature_decay * config.total_steps
    return ramp(settings.temperature, settings.temperature_end, steps)(step)


def networks(model: ModelConfig) -> tuple[str, ...]:
    """The networks that the generator is made of."""
    return GENERATORS[model.generator].networks


def without_gradient(model: ModelConfig, params: Params, network: str) -> Params:
    """The parameters; no gradient reaches those that belong to `network` alone."""
    return jax.tree.map(
        lambda x, owner: jax.lax.stop_gradient(x) if owner == network else x,
        params,
        network_table(params, model.embedding_sharing),
    )


def masked_batch(inputs: Inputs, special: SpecialIds) -> Batch:
    """What the masked language model reads: [MASK] at the drawn positions, but for those kept.

    None of them gets a random token, unlike in BERT.
    """
    tokens_BL, draws = inputs.batch['tokens'], inputs.draws
    masked_BL = corrupt.mask_tokens(tokens_BL, draws.masked, draws.keep_BP, special.mask)
    return {**inputs.batch, 'tokens': masked_BL}


def _masked(model: Model, vocabulary: Vocabulary) -> Generate:
    """A masked language model."""
    return lambda params, inputs, dropout_key: model.generate(
        params,
        masked_batch(inputs, vocabulary.special),
        inputs.draws.masked.positions_BP,
        dropout_key,
    )


def _two_towers(model: Model, vocabulary: Vocabulary) -> Generate:
    """Two causal encoders, which learn from every token that might be masked."""
    return lambda params, inputs, key: model.generate(params, inputs.batch, None, key)


def _uniform(model: Model, vocabulary: Vocabulary) -> Generate:
    """The same chance for every token of the vocabulary, special ones included."""
    return _constant(np.zeros(model.vocab_rows, np.float32))


def _unigram(model: Model, vocabulary: Vocabulary) -> Generate:
    """Tokens by their frequency in the training text."""
    assert vocabulary.log_unigram_V is not None
    return _constant(vocabulary.log_unigram_V)


def _constant(logits_V: np.ndarray) -> Generate:
    """The same distribution at every position: features of zero leave only the bias."""

    def generate(params: Params, inputs: Inputs, dropout_key: Key) -> SoftmaxInputs:
        features_BPE = jnp.zeros((*inputs.draws.masked.positions_BP.shape, 1))
        return SoftmaxInputs(features_BPE, jnp.zeros((logits_V.size, 1)), jnp.asarray(logits_V))

    return generate


class GeneratorRow(NamedTuple):
    """A generator, and what is known of it before a run."""

    make: Callable[[Model, Vocabulary], Generate]
    everywhere: bool = False  # predicts, and learns, at every position of the original text
    networks: tuple[str, ...] = ('generator',)


GENERATORS: dict[str, GeneratorRow] = {
    'separate': GeneratorRow(_masked),
    'tied': GeneratorRow(_masked),
    'two_tower': GeneratorRow(_two_towers, everywhere=True),
    'uniform': GeneratorRow(_uniform, networks=()),
    'unigram': GeneratorRow(_unigram, networks=()),
}
