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

from electra_jax.config.settings import Config
from electra_jax.model.bind import Model, Params
from electra_jax.objectives.definition import Metrics, Objective, Vocabulary
from electra_jax.objectives.draws import make_draw
from electra_jax.objectives.inputs import Inputs


def init(vocab_size: int, width: int, key: jax.Array) -> dict[str, Any]:
    """Parameters: one table of words, [V, E]."""
    return {'embeddings': {'word': 0.1 * jax.random.normal(key, (vocab_size, width))}}


def stand_in(config: Config, model: Model, text: Vocabulary) -> Objective:
    """Cross-entropy of the next token given this one, through noise."""

    def loss(
        params: Params, inputs: Inputs, dropout_key: jax.Array | None, step: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        mean = _losses_BL(params, inputs, dropout_key).mean()
        return mean, {'loss': mean}

    def totals(params: Params, inputs: Inputs) -> Metrics:
        losses_BL = _losses_BL(params, inputs, None)
        return {'sum': losses_BL.sum(), 'count': jnp.float32(losses_BL.size)}

    draw = make_draw(config, text, model.vocab_rows)
    # The name of a network that there is: what is counted and printed of a run asks for one.
    return Objective(('generator',), draw, loss, totals, _summary, _example)


def _losses_BL(params: Params, inputs: Inputs, key: jax.Array | None) -> jax.Array:
    word_VE, tokens_BL = params['embeddings']['word'], inputs.batch['tokens']
    hidden_BLE = word_VE[tokens_BL[:, :-1]]
    if key is not None:
        hidden_BLE *= 1 + 0.1 * jax.random.normal(key, hidden_BLE.shape)
    logits_BLV = jnp.einsum('BLE,VE->BLV', hidden_BLE, word_VE)
    logs_BLV = jax.nn.log_softmax(logits_BLV)
    return -jnp.take_along_axis(logs_BLV, tokens_BL[:, 1:, None], axis=-1)[..., 0]


def _summary(added: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {'next_loss': float(added['sum'] / added['count'])}


def _example(params: Params, inputs: Inputs) -> tuple[jax.Array, jax.Array]:
    tokens_BL = inputs.batch['tokens']
    return tokens_BL, jnp.zeros(tokens_BL.shape)
