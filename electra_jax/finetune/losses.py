"""What fine-tuning minimizes, for each kind of task: sums over rows of weighted terms."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.config.settings import ModelConfig
from electra_jax.model import bind
from electra_jax.model.task_heads import HeadShape
from electra_jax.ops.losses import sigmoid_cross_entropy

Batch = Mapping[str, jax.Array]


def draw(
    kind: str, sum_loss: bool, batch: Batch, keys: Mapping[str, jax.Array], step: jax.Array
) -> dict[str, jax.Array]:
    """The batch, ready for its loss: nothing in it is random, or changes with the step."""
    del keys, step
    return shared(kind, sum_loss, batch)


def shared(kind: str, sum_loss: bool, batch: Batch) -> dict[str, jax.Array]:
    """The batch with each row's 'share' of the loss [B].

    Shares are 1 over the number of rows, or of tagged words, of the whole batch, so that its parts
    add up; with `sum_loss` they are 1, as in the reference (run_finetuning.py), whose gradients
    then grow with the batch. Rows of weight 0 have none.
    """
    weight_B = batch['weight']
    if sum_loss:
        return {**batch, 'share': weight_B}
    terms_B = weight_B
    if kind == 'tagging':
        terms_B = weight_B * jnp.sum(batch['labels'] >= 0, axis=1)
    return {**batch, 'share': weight_B / jnp.maximum(jnp.sum(terms_B), 1.0)}


def loss(
    model: ModelConfig,
    vocab_size: int,
    head: HeadShape,
    answerable_weight: float,
    params: bind.Params,
    inputs: Batch,
    dropout_key: jax.Array | None,
    step: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss of (part of) a batch and its metrics, each a sum over rows of shared terms.

    Args:
        model: resolved.
        vocab_size: tokens of the tokenizer, unpadded.
        head: of the task.
        answerable_weight: of "is there an answer" in the reference's span loss.
        params: of model and head.
        inputs: from `draw`.
        dropout_key: None switches dropout off.
        step: not used; every objective is handed it.
    """
    del step
    outputs = bind.task_outputs(model, vocab_size, head, params, inputs, dropout_key)
    loss_B = ROW_LOSSES[head.kind](outputs, inputs, answerable_weight)
    total = jnp.sum(inputs['share'] * loss_B)
    return total, {'loss': total}


def classification(outputs: Mapping, inputs: Batch, _: Any) -> jax.Array:
    """Cross-entropy [B]."""
    return _cross_entropy(outputs['logits'], inputs['label'])


def regression(outputs: Mapping, inputs: Batch, _: Any) -> jax.Array:
    """Squared distance [B] from the score as a share of its range (STS: score / 5)."""
    return jnp.square(outputs['logits'][:, 0] - inputs['target'])


def tagging(outputs: Mapping, inputs: Batch, _: Any) -> jax.Array:
    """Cross-entropy added over the tagged words of each row [B]."""
    tagged_BL = inputs['labels'] >= 0
    loss_BL = _cross_entropy(outputs['logits'], jnp.maximum(inputs['labels'], 0))
    return jnp.sum(jnp.where(tagged_BL, loss_BL, 0.0), axis=1)


def spans(outputs: Mapping, inputs: Batch, answerable_weight: float) -> jax.Array:
    """The mean of the cross-entropies of start and end [B]; rows without an answer mean place 0.

    Where the head says whether there is an answer, `answerable_weight` times that loss is added
    (electra, qa_tasks.py).
    """
    ends = ((outputs['start'], inputs['start']), (outputs['end'], inputs['end']))
    loss_B = sum(_cross_entropy(logits_BL, place_B) for logits_BL, place_B in ends) / 2
    if 'impossible' in outputs:
        missing_B = sigmoid_cross_entropy(outputs['impossible'], inputs['impossible'])
        loss_B += answerable_weight * missing_B
    return loss_B


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log softmax(logits)[label] over the last dimension."""
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.take_along_axis(log_probs, labels[..., None], axis=-1)[..., 0]


ROW_LOSSES: dict[str, Callable[[Mapping, Batch, float], jax.Array]] = {
    'classification': classification,
    'regression': regression,
    'tagging': tagging,
    'spans': spans,
}
