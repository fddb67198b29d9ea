"""The reference implementation's pre-training in float64 NumPy, derivatives by hand.

An independent second opinion: written from the specification of google-research/electra, it
shares no line and no import with the package it is compared to. What is random (positions, keep
draws, sampling noise) is given, dropout is off. To read: `settings`, `masking`, `blocks`,
`networks`, this file, `optimizer`; `run` at the end is the whole thing.

A step of ELECTRA: `mask` the text; the generator proposes tokens for the masked positions; they
are written into the text; the discriminator predicts of each token whether it was replaced. Loss:
gen_weight * generator loss + disc_weight * discriminator loss, in variables shared as
`settings.generator` names.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from tests.reference import optimizer
from tests.reference.blocks import (
    Variables,
    binary_cross_entropy,
    log_softmax,
    token_cross_entropy,
)
from tests.reference.masking import (
    Batch,
    Draws,
    FakeData,
    Masked,
    candidates,
    fake_data,
    mask,
    sample,
)
from tests.reference.networks import binary_head, gather, token_head, transformer
from tests.reference.settings import Settings, variable_shapes

LossPull = Callable[[Variables, float], None]  # adds d_loss times a loss's gradient


@dataclasses.dataclass(frozen=True)
class Generator:
    """What the generator predicts."""

    logits_BPV: np.ndarray  # at the masked slots
    loss: float
    pull: LossPull
    log_probs_BLV: np.ndarray | None = None  # of every position; two towers only


def masked_generator(
    settings: Settings, variables: Variables, batch: Batch, masked: Masked
) -> Generator:
    """One network over the masked text, its loss at the used slots."""
    tables = settings.embeddings_scope
    hidden_BLD, pull_hidden = transformer(
        settings, variables, settings.generator_scope, tables, batch, masked.input_ids_BL
    )
    hidden_BPD, pull_gather = gather(hidden_BLD, masked.positions_BP)
    logits_BPV, pull_head = token_head(variables, 'generator_predictions', tables, hidden_BPD)
    loss, pull_loss = token_cross_entropy(logits_BPV, masked.targets_BP, masked.weights_BP)

    def pull(gradients: Variables, d_loss: float) -> None:
        d_hidden_BPD = pull_head(gradients, pull_loss(d_loss))
        pull_hidden(gradients, pull_gather(d_hidden_BPD))

    return Generator(logits_BPV, loss, pull)


def uniform_generator(
    settings: Settings, variables: Variables, batch: Batch, masked: Masked
) -> Generator:
    """All tokens alike, special ones included; it has no variables."""
    del variables, batch
    logits_BPV = np.zeros((*masked.positions_BP.shape, settings.vocab_size))
    loss, _ = token_cross_entropy(logits_BPV, masked.targets_BP, masked.weights_BP)
    return Generator(logits_BPV, loss, lambda gradients, d_loss: None)


def two_tower_generator(
    settings: Settings, variables: Variables, batch: Batch, masked: Masked
) -> Generator:
    """Two causal networks over the UNMASKED text; position t joins what one has read up to t - 1
    and the other down to t + 1. The loss is that of every candidate, drawn or not.
    """
    states, pulls = [], []
    for direction, shift in (('ltr', 1), ('rtl', -1)):
        hidden_BLD, pull_hidden = transformer(
            settings, variables, f'generator_{direction}', settings.embeddings_scope,
            batch, batch['input_ids'], direction,
        )  # fmt: skip
        states.append(np.roll(hidden_BLD, shift, axis=1))
        pulls.append((pull_hidden, -shift))
    logits_BLV, pull_head = token_head(
        variables, 'cloze_predictions', settings.embeddings_scope, np.concatenate(states, axis=-1)
    )
    weights_BL = candidates(settings, batch).astype(np.float64)
    loss, pull_loss = token_cross_entropy(logits_BLV, batch['input_ids'], weights_BL)

    def pull(gradients: Variables, d_loss: float) -> None:
        d_states = np.split(pull_head(gradients, pull_loss(d_loss)), 2, axis=-1)
        for d_hidden_BLD, (pull_hidden, shift) in zip(d_states, pulls, strict=True):
            pull_hidden(gradients, np.roll(d_hidden_BLD, shift, axis=1))

    logits_BPV, _ = gather(logits_BLV, masked.positions_BP)
    return Generator(logits_BPV, loss, pull, log_softmax(logits_BLV))


GENERATORS = {
    'itself': masked_generator,
    'tied': masked_generator,
    'separate': masked_generator,
    'uniform': uniform_generator,
    'two_tower': two_tower_generator,
}


@dataclasses.dataclass(frozen=True)
class Stopped:
    """What the discriminator takes over from the generator; no gradient flows through it."""

    fake: FakeData
    log_q_BL: np.ndarray | float  # Electric: log q(token) of the corrupted text; otherwise 0
    margin_BP: np.ndarray  # how far each sample was ahead of the second best


def stopped(
    settings: Settings, batch: Batch, masked: Masked, generator: Generator, draws: Draws
) -> Stopped:
    """Samples, writes them, and looks up how probable each token of the result was."""
    sampled_BP, margin_BP = sample(
        settings, generator.logits_BPV, masked.targets_BP, draws.uniforms_BPV
    )
    fake = fake_data(settings, batch, masked, sampled_BP)
    log_q_BL = 0.0
    if settings.electric_objective:
        ids_BL1 = fake.input_ids_BL[..., None]
        log_q_BL = np.take_along_axis(generator.log_probs_BLV, ids_BL1, axis=-1)[..., 0]
    return Stopped(fake, log_q_BL, margin_BP)


def discriminator(
    settings: Settings, variables: Variables, batch: Batch, given: Stopped
) -> tuple[np.ndarray, float, LossPull]:
    """Logits [B, L] and the loss over every real token, [CLS] and [SEP] included.

    Electric's network is an energy: against noise of density q that is drawn with probability p,
    the logit is the network's output + log q + log(p / (1 - p)).
    """
    hidden_BLD, pull_hidden = transformer(
        settings, variables, 'electra', 'electra', batch, given.fake.input_ids_BL
    )
    logits_BL, pull_head = binary_head(variables, hidden_BLD)
    if settings.electric_objective:
        p = settings.mask_prob
        logits_BL = logits_BL + given.log_q_BL + math.log(p / (1 - p))
    labels_BL = given.fake.labels_BL.astype(np.float64)
    weights_BL = batch['input_mask'].astype(np.float64)
    loss, pull_loss = binary_cross_entropy(logits_BL, labels_BL, weights_BL)

    def pull(gradients: Variables, d_loss: float) -> None:
        pull_hidden(gradients, pull_head(gradients, pull_loss(d_loss)))

    return logits_BL, loss, pull


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Everything of one forward pass that is worth looking at, and its gradient on demand."""

    masked: Masked
    generator: Generator
    given: Stopped | None  # None without a discriminator
    disc_logits_BL: np.ndarray | None
    metrics: dict[str, float]  # 'loss', 'gen_loss' and 'disc_loss'
    gradients: Callable[[], Variables]


def forward(
    settings: Settings,
    variables: Variables,
    batch: Batch,
    draws: Draws,
    given: Stopped | None = None,
) -> Outcome:
    """The loss of a batch (or of one replica's rows of it).

    Args:
        settings: of the run.
        variables: as `variable_shapes` lists them.
        batch: integers [B, L]: 'input_ids', 'input_mask', 'segment_ids'.
        draws: of this step.
        given: from another pass; holds fixed what no gradient flows through, so that the loss is
            a smooth function whose derivative is the reference's gradient.
    """
    masked = mask(settings, batch, draws)
    generator = GENERATORS[settings.generator](settings, variables, batch, masked)
    metrics = {'gen_loss': generator.loss, 'loss': settings.gen_weight * generator.loss}
    disc_logits_BL, pull_discriminator = None, None
    if settings.generator != 'itself':
        given = given or stopped(settings, batch, masked, generator, draws)
        disc_logits_BL, disc_loss, pull_discriminator = discriminator(
            settings, variables, batch, given
        )
        metrics['disc_loss'] = disc_loss
        metrics['loss'] += settings.disc_weight * disc_loss

    def gradients() -> Variables:
        result = {name: np.zeros(shape) for name, shape in variable_shapes(settings).items()}
        generator.pull(result, settings.gen_weight)
        if pull_discriminator:
            pull_discriminator(result, settings.disc_weight)
        return result

    return Outcome(masked, generator, given, disc_logits_BL, metrics, gradients)


def clipped_gradients(
    settings: Settings, variables: Variables, batch: Batch, draws: Draws
) -> tuple[Variables, dict[str, float]]:
    """The sum over replicas of each one's clipped gradient, and the mean of their metrics."""
    rows = len(batch['input_ids']) // settings.replicas
    total, records = {}, []
    for number in range(settings.replicas):
        own_rows = slice(number * rows, (number + 1) * rows)
        own = {name: array[own_rows] for name, array in batch.items()}
        outcome = forward(settings, variables, own, draws.rows(own_rows))
        clipped, norm = optimizer.clip_by_global_norm(outcome.gradients(), 1.0)
        total = {name: total.get(name, 0.0) + g for name, g in clipped.items()}
        used_BP = outcome.masked.weights_BP > 0
        margin = outcome.given.margin_BP[used_BP].min() if outcome.given else np.inf
        records.append({**outcome.metrics, 'grad_norm': norm, 'sample_margin': margin})
    metrics = {name: float(np.mean([r[name] for r in records])) for name in records[0]}
    metrics['sample_margin'] = float(min(r['sample_margin'] for r in records))
    return total, metrics


@dataclasses.dataclass(frozen=True)
class Step:
    """What stands after a step."""

    variables: Variables
    slots: Variables  # '<variable>/adam_m' and '<variable>/adam_v'
    metrics: dict[str, float]  # of the batch, before the update, and the learning rate


def run(
    variables: Variables,
    batches: Sequence[Batch],
    draws: Sequence[Draws],
    settings: Settings,
    steps: int,
) -> list[Step]:
    """Trains from `variables` for `steps` steps; step t takes batches[t] and draws[t]."""
    slots, history = optimizer.zero_slots(variables), []
    for number in range(steps):
        gradients, metrics = clipped_gradients(settings, variables, batches[number], draws[number])
        rate = optimizer.learning_rate(settings, number)
        variables, slots = optimizer.adam_weight_decay(
            variables, slots, gradients, rate, settings.weight_decay_rate
        )
        history.append(Step(variables, slots, {**metrics, 'learning_rate': rate}))
    return history
