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

from electra_jax.config.settings import Config
from electra_jax.core.batch import Batch
from electra_jax.core.trees import Tree
from electra_jax.model.bind import Key, Model, Params, two_keys
from electra_jax.objectives import electra, generators
from electra_jax.objectives.definition import LossAndMetrics, Metrics, Objective, Vocabulary
from electra_jax.objectives.draws import make_draw, uniforms
from electra_jax.objectives.electra import Forward, Results
from electra_jax.objectives.inputs import Inputs, Step
from electra_jax.ops import vocab_softmax


def teams(config: Config, model: Model, vocabulary: Vocabulary) -> Objective:
    """ELECTRA's loss + selection_weight * selection."""
    both_tasks = make_both_tasks(config, model, vocabulary)
    draw_plain = make_draw(config, vocabulary, model.vocab_rows)

    def draw(
        batch: Batch, keys: Mapping[str, jax.Array], step: Step | None, memory: Tree = None
    ) -> Inputs:
        inputs = draw_plain(batch, keys, step, memory)
        shape = (*inputs.draws.masked.positions_BP.shape, model.vocab_rows)
        own_noise = uniforms(keys['candidates'], (shape,))
        return inputs._replace(draws=inputs.draws._replace(own_noise=own_noise))

    def loss(params: Params, inputs: Inputs, dropout_key: Key, step: jax.Array) -> LossAndMetrics:
        results = both_tasks(params, inputs, dropout_key, step)
        selection_loss = jnp.sum(inputs.masked_share_BP * selection(results))
        total, metrics = electra.detection_loss(config, inputs, results)
        total += config.objective.selection_weight * selection_loss
        return total, {**metrics, 'loss': total, 'selection_loss': selection_loss}

    def totals(params: Params, inputs: Inputs) -> Metrics:
        results = both_tasks(params, inputs, None, None)
        w_BP = inputs.draws.masked.weights_BP
        assert results.selected_BPA is not None
        is_hit_BP = jnp.argmax(results.selected_BPA, axis=-1) == 0
        return {
            **electra.count(vocabulary, inputs, results),
            'selection_loss': jnp.sum(w_BP * selection(results)),
            'selection_hits': jnp.sum(w_BP * is_hit_BP),
        }

    return electra.detection(config, model, vocabulary, both_tasks)._replace(
        networks=(*generators.networks(config.model), 'selection'),
        draw=draw,
        loss=loss,
        totals=totals,
        summary=summary,
    )


def make_both_tasks(config: Config, model: Model, vocabulary: Vocabulary) -> Forward:
    """The function that runs both networks, the discriminator with both heads."""
    propose = generators.make_propose(config, model, vocabulary)

    def both_tasks(params: Params, inputs: Inputs, dropout_key: Key, step: Step | None) -> Results:
        keys = two_keys(dropout_key)
        proposal = propose(params, inputs, keys[0], step)
        corruption = electra.corrupted(inputs, proposal)
        others_BPA = vocab_softmax.sample_others(
            proposal.softmax,
            inputs.targets_BP,
            inputs.draws.own_noise[0],
            config.objective.num_candidates - 1,
            vocabulary.size,
        )
        # The original is the first candidate.
        candidates_BPA = jnp.concatenate([inputs.targets_BP[..., None], others_BPA], axis=-1)
        batch = {**inputs.batch, 'tokens': corruption.tokens_BL}
        positions_BP = inputs.draws.masked.positions_BP
        logits = model.detect_and_select(params, batch, positions_BP, candidates_BPA, keys[1])
        return Results(proposal, corruption, *logits)

    return both_tasks


def selection(results: Results) -> jax.Array:
    """-log p(the first candidate), which is the original, float32 [B, P]."""
    assert results.selected_BPA is not None
    return -jax.nn.log_softmax(results.selected_BPA)[..., 0]


def summary(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Evaluation metrics from `totals` added over batches."""
    positions = max(float(sums['masked']), 1.0)
    return {
        **electra.summary(sums),
        'selection_loss': float(sums['selection_loss']) / positions,
        'selection_accuracy': float(sums['selection_hits']) / positions,
    }
