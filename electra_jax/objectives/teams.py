"""TEAMS: ELECTRA, and the discriminator also picks the original word out of a few.

Shen et al. 2021, "Training ELECTRA Augmented with Multi-word Selection". At each masked position
the discriminator, reading the corrupted text, chooses between the original token and
num_candidates - 1 others that the generator proposed. The two tasks share all layers but the last.
TEAMS also shares the generator's lowest layers with the discriminator; here they are separate.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.settings import Config
from electra_jax.model.bind import Model, Params
from electra_jax.objectives import electra, generators
from electra_jax.objectives.definition import Metrics, Objective, Vocabulary
from electra_jax.objectives.electra import Corruption
from electra_jax.objectives.generators import Proposal, Temperature
from electra_jax.objectives.inputs import Batch, Inputs, make_draw, uniforms
from electra_jax.ops import losses, vocab_head

# params, inputs, dropout_key, temperature -> ..., and the candidates' logits [B, P, A]; the
# original is the first candidate
Tasks = Callable[
    [Params, Inputs, jax.Array | None, Temperature], tuple[Proposal, Corruption, jax.Array]
]


def teams(config: Config, model: Model, text: Vocabulary) -> Objective:
    """ELECTRA's loss + selection_weight * selection."""
    both_tasks = make_both_tasks(config, model, text)
    draw_plain = make_draw(config, text.special, model.vocab_rows)

    def draw(batch: Batch, keys: Mapping[str, jax.Array], step: jax.Array | int) -> Inputs:
        inputs = draw_plain(batch, keys, step)
        shape = (*inputs.draws.masked_BP.shape, model.vocab_rows)
        own_noise = uniforms(keys['candidates'], (shape,))
        return inputs._replace(draws=inputs.draws._replace(own_noise=own_noise))

    def loss(
        params: Params, inputs: Inputs, dropout_key: jax.Array | None, step: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        temperature = generators.temperature(config, step)
        tasks = both_tasks(params, inputs, dropout_key, temperature)
        proposal, corruption, selected_BPA = tasks
        disc_BL = losses.sigmoid_cross_entropy(corruption.logits_BL, corruption.is_fake_BL)
        disc_loss = jnp.sum(inputs.token_share_BL * disc_BL)
        selection_loss = jnp.sum(inputs.masked_share_BP * selection(selected_BPA))
        total, metrics = electra.joint(config, inputs, proposal, disc_loss, corruption.is_fake_BL)
        total += config.objective.selection_weight * selection_loss
        return total, {**metrics, 'loss': total, 'selection_loss': selection_loss}

    def totals(params: Params, inputs: Inputs) -> Metrics:
        proposal, corruption, selected_BPA = both_tasks(params, inputs, None, 1.0)
        w_BP = inputs.draws.weights_BP
        return {
            **electra.count(text, inputs, proposal, corruption),
            'selection_loss': jnp.sum(w_BP * selection(selected_BPA)),
            'selection_hits': jnp.sum(w_BP * (jnp.argmax(selected_BPA, axis=-1) == 0)),
        }

    def detect(
        params: Params, inputs: Inputs, dropout_key: jax.Array | None, temperature: Temperature
    ) -> tuple[Proposal, Corruption]:
        proposal, corruption, _ = both_tasks(params, inputs, dropout_key, temperature)
        return proposal, corruption

    return electra.detection(config, model, text, loss, detect)._replace(
        networks=(*generators.networks(config.model), 'selection'),
        draw=draw,
        totals=totals,
        summary=summary,
    )


def make_both_tasks(config: Config, model: Model, text: Vocabulary) -> Tasks:
    """The function that runs both networks, the discriminator with both heads."""
    propose = generators.make_propose(config, model, text)

    def both_tasks(
        params: Params, inputs: Inputs, dropout_key: jax.Array | None, temperature: Temperature
    ) -> tuple[Proposal, Corruption, jax.Array]:
        keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
        proposal = propose(params, inputs, temperature, keys[0])
        batch, written_BL = electra.corrupted_batch(inputs, proposal)
        others_BPA = vocab_head.sample_others(
            *proposal.softmax,
            inputs.targets_BP,
            inputs.draws.own_noise[0],
            config.objective.num_candidates - 1,
            text.size,
        )
        candidates_BPA = jnp.concatenate([inputs.targets_BP[..., None], others_BPA], axis=-1)
        logits_BL, selected_BPA = model.detect_and_select(
            params, batch, inputs.draws.masked_BP, candidates_BPA, keys[1]
        )
        is_fake_BL = batch['tokens'] != inputs.batch['tokens']
        corruption = Corruption(batch['tokens'], is_fake_BL, written_BL, logits_BL)
        return proposal, corruption, selected_BPA

    return both_tasks


def selection(selected_BPA: jax.Array) -> jax.Array:
    """-log p(the first candidate), which is the original, float32 [B, P]."""
    return -jax.nn.log_softmax(selected_BPA)[..., 0]


def summary(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Evaluation metrics from `totals` added over batches."""
    positions = max(float(sums['masked']), 1.0)
    return {
        **electra.summary(sums),
        'selection_loss': float(sums['selection_loss']) / positions,
        'selection_accuracy': float(sums['selection_hits']) / positions,
    }
