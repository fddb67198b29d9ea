"""What a way to choose the masked tokens is: a record of pure functions."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.core.batch import Batch
from electra_jax.core.trees import Tree
from electra_jax.objectives.definition import Metrics
from electra_jax.objectives.inputs import Inputs
from electra_jax.ops.vocab_softmax import Prediction

_TINY = float(np.finfo(np.float32).tiny)


class MaskRule(NamedTuple):
    """Which tokens are masked; how many is decided elsewhere, and special ones never are."""

    # Uniforms in [0, 1) [B, L], batch, memory -> scores, float32 [B, L]: the tokens with the
    # largest of each row are masked. The reference's positions ([B, P]) allow 'uniform' alone.
    scores: Callable[[jax.Array, Batch, Tree], jax.Array]
    # What is kept from step to step, as it is at step 0; None: nothing.
    memory: Callable[[], Tree] = lambda: None
    # What the memory has to know of a batch: arrays that microbatches add up, by name.
    observe: Callable[[Inputs, Prediction], Metrics] = lambda inputs, prediction: {}
    observed: tuple[str, ...] = ()  # the names of what `observe` returns
    # Memory, what was observed in the step -> the memory of the next step.
    remember: Callable[[Tree, Metrics], Tree] = lambda memory, observed: memory


def by_weight(noise_BL: jax.Array, log_weights_BL: jax.Array) -> jax.Array:
    """Scores whose largest are draws without replacement, in proportion to weights.

    Each is log(weight) plus Gumbel noise (Efraimidis and Spirakis 2006; Kool et al. 2019).
    """
    noise_BL = jnp.maximum(noise_BL, _TINY)  # log(0) would lose every draw
    return log_weights_BL - jnp.log(-jnp.log(noise_BL))
