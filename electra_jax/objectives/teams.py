"""TEAMS: ELECTRA, and the discriminator also picks the original word out of a few.

Shen et al. 2021, "Training ELECTRA Augmented with Multi-word Selection". At each masked position
the discriminator, reading the corrupted text, chooses between the original token and
num_candidates - 1 others that the generator proposed. The two tasks share all layers but the last.
TEAMS also shares the generator's lowest layers with the discriminator; here they are separate.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.settings import Config, ModelConfig
from electra_jax.model import bind
from electra_jax.objectives import electra, generators
from electra_jax.objectives.definition import Definition, Vocabulary
from electra_jax.objectives.electra import Corruption
from electra_jax.objectives.generators import Proposal
from electra_jax.objectives.inputs import Inputs
from electra_jax.ops import losses, vocab_head


def loss(
    config: Config,
    vocabulary: Vocabulary,
    params: bind.Params,
    inputs: Inputs,
    dropout_key: jax.Array | None,
    step: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """ELECTRA's loss + selection_weight * selection; see `electra.loss` for the arguments."""
    at_temperature = generators.temperature(config, step)
    proposal, corruption, selected_BPC = both_tasks(
        config, vocabulary, params, inputs, dropout_key, at_temperature
    )
    disc_BL = losses.sigmoid_cross_entropy(corruption.logits_BL, corruption.is_fake_BL)
    disc_loss = jnp.sum(inputs.token_share_BL * disc_BL)
    selection_loss = jnp.sum(inputs.masked_share_BP * selection(selected_BPC))
    total, metrics = electra.joint(config, inputs, proposal, disc_loss, corruption.is_fake_BL)
    total += config.objective.selection_weight * selection_loss
    return total, {**metrics, 'loss': total, 'selection_loss': selection_loss}


def selection(selected_BPC: jax.Array) -> jax.Array:
    """-log p(the first candidate), which is the original, float32 [B, P]."""
    return -jax.nn.log_softmax(selected_BPC)[..., 0]


def both_tasks(
    config: Config,
    vocabulary: Vocabulary,
    params: bind.Params,
    inputs: Inputs,
    dropout_key: jax.Array | None,
    at_temperature: jax.Array | float,
) -> tuple[Proposal, Corruption, jax.Array]:
    """Both networks; the last result are the candidates' logits [B, P, C], the original first."""
    keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
    proposal = generators.propose(config, vocabulary, params, inputs, at_temperature, keys[0])
    batch, written_BL = electra.corrupted_batch(inputs, proposal)
    others_BPC = vocab_head.sample_others(
        *proposal.softmax,
        inputs.targets_BP,
        inputs.draws.candidate_noise[0],
        config.objective.num_candidates - 1,
        vocabulary.size,
    )
    logits_BL, selected_BPC = bind.detect_and_select(
        config.model,
        vocabulary.size,
        params,
        batch,
        inputs.draws.masked_BP,
        jnp.concatenate([inputs.targets_BP[..., None], others_BPC], axis=-1),
        keys[1],
    )
    is_fake_BL = batch['tokens'] != inputs.batch['tokens']
    return proposal, Corruption(batch['tokens'], is_fake_BL, written_BL, logits_BL), selected_BPC


def _detection(*arguments) -> tuple[Proposal, Corruption]:
    return both_tasks(*arguments)[:2]


def totals(
    config: Config, vocabulary: Vocabulary, params: bind.Params, inputs: Inputs
) -> dict[str, jax.Array]:
    """ELECTRA's counts and those of the selection, without dropout, at temperature 1."""
    *_, selected_BPC = both_tasks(config, vocabulary, params, inputs, None, 1.0)
    w_BP = inputs.draws.weights_BP
    return {
        **electra.totals(config, vocabulary, params, inputs, _detection),
        'selection_loss': jnp.sum(w_BP * selection(selected_BPC)),
        'selection_hits': jnp.sum(w_BP * (jnp.argmax(selected_BPC, axis=-1) == 0)),
    }


def summary(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Evaluation metrics from `totals` added over batches."""
    positions = max(float(sums['masked']), 1.0)
    return {
        **electra.summary(sums),
        'selection_loss': float(sums['selection_loss']) / positions,
        'selection_accuracy': float(sums['selection_hits']) / positions,
    }


def example(
    config: Config, vocabulary: Vocabulary, params: bind.Params, inputs: Inputs
) -> tuple[jax.Array, jax.Array]:
    """As ELECTRA's."""
    return electra.example(config, vocabulary, params, inputs, _detection)


def parts(model: ModelConfig) -> tuple[str, ...]:
    """The generator, and the discriminator with both heads."""
    return (*generators.parts(model), 'selection')


TEAMS = Definition(parts, loss, totals, summary, example, signs=electra.signs)
