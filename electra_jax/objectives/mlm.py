"""Masked language modelling alone: BERT without next sentences, the paper's baseline.

The one network is the generator at the model's full size (`presets.resolve` sees to that).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.schema import Config
from electra_jax.model import api
from electra_jax.objectives import masked
from electra_jax.objectives.inputs import Inputs
from electra_jax.ops import corrupt

NETWORKS = ('generator',)


def loss(
    config: Config,
    vocabulary: masked.Vocabulary,
    params: api.Params,
    inputs: Inputs,
    dropout_key: jax.Array | None,
    step: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy at the masked positions; see `electra.loss` for the arguments."""
    del step
    prediction = masked.predict_masked(config.model, vocabulary, params, inputs, 1.0, dropout_key)
    mlm_loss = jnp.sum(inputs.masked_share_BP * prediction.loss_BP)
    return mlm_loss, {'loss': mlm_loss, 'mlm_loss': mlm_loss}


def totals(
    config: Config,
    vocabulary: masked.Vocabulary,
    params: api.Params,
    inputs: Inputs,
    log_unigram_V: jax.Array,
) -> dict[str, jax.Array]:
    """Additive counts behind the evaluation metrics, without dropout."""
    prediction = masked.predict_masked(config.model, vocabulary, params, inputs, 1.0, None)
    return masked.totals(inputs, prediction, log_unigram_V)


def summary(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Evaluation metrics from `totals` added over batches."""
    return masked.summary(sums)


def example(
    config: Config, vocabulary: masked.Vocabulary, params: api.Params, inputs: Inputs
) -> tuple[jax.Array, jax.Array]:
    """For people to look at: the text with the best guess at each masked position [B, L], and
    1 - p(original) there (0 elsewhere) [B, L].
    """
    prediction = masked.predict_masked(config.model, vocabulary, params, inputs, 1.0, None)
    tokens_BL = inputs.batch['tokens']
    where = (inputs.masked_BP, inputs.weights_BP)
    guessed_BL = corrupt.write_tokens(tokens_BL, *where, prediction.best_BP)
    doubt_BP = 1.0 - jnp.exp(-prediction.loss_BP)
    doubt_BL = corrupt.write_tokens(jnp.zeros(tokens_BL.shape), *where, doubt_BP)
    return guessed_BL, doubt_BL
