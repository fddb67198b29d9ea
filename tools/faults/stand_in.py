"""An objective with one matrix instead of networks, for a machine that has little time.

Tracing ELECTRA's networks is nearly all that a start of a tiny run costs, and no fault is about
what they compute. Everything else is the program's own: text, draws, optimizer, step, loop,
evaluation, checkpoints.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.objectives.definition import Definition

PARTS = ()  # of networks: none


def init(vocab_size: int, width: int, key: jax.Array) -> dict[str, Any]:
    """Parameters: one table of words, [V, E]."""
    return {'embeddings': {'word': 0.1 * jax.random.normal(key, (vocab_size, width))}}


def loss(config, vocabulary, params, inputs, dropout_key, step) -> tuple[jax.Array, dict]:
    """Cross-entropy of the next token given this one, through noise."""
    del config, vocabulary, step
    mean = _losses_BL(params, inputs, dropout_key).mean()
    return mean, {'loss': mean}


def _losses_BL(params, inputs, key: jax.Array | None) -> jax.Array:
    word_VE, tokens_BL = params['embeddings']['word'], inputs.batch['tokens']
    hidden_BLE = word_VE[tokens_BL[:, :-1]]
    if key is not None:
        hidden_BLE *= 1 + 0.1 * jax.random.normal(key, hidden_BLE.shape)
    logits_BLV = jnp.einsum('BLE,VE->BLV', hidden_BLE, word_VE)
    logs_BLV = jax.nn.log_softmax(logits_BLV)
    return -jnp.take_along_axis(logs_BLV, tokens_BL[:, 1:, None], axis=-1)[..., 0]


def totals(config, vocabulary, params, inputs) -> dict[str, jax.Array]:
    """Sum and count of the same."""
    del config, vocabulary
    losses_BL = _losses_BL(params, inputs, None)
    return {'sum': losses_BL.sum(), 'count': jnp.float32(losses_BL.size)}


def summary(added: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Their quotient."""
    return {'next_loss': float(added['sum'] / added['count'])}


def _example(*args: Any) -> None:
    raise NotImplementedError('not shown in rounds')


STAND_IN = Definition(lambda model: PARTS, loss, totals, summary, _example)
