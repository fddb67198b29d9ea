"""The generator's side, shared by all objectives: predict the masked tokens."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.schema import ModelConfig
from electra_jax.model import api
from electra_jax.objectives.inputs import Inputs, masked_batch
from electra_jax.ops import vocab_head
from electra_jax.tokenizers.api import SpecialIds


class Vocabulary(NamedTuple):
    """What an objective has to know of the tokenizer."""

    size: int  # tokens, unpadded
    special: SpecialIds


def predict_masked(
    model: ModelConfig,
    vocabulary: Vocabulary,
    params: api.Params,
    inputs: Inputs,
    temperature: jax.Array | float,
    dropout_key: jax.Array | None,
) -> vocab_head.Prediction:
    """Loss, arg max and sample at each masked position (ELECTRA equation 1)."""
    batch = masked_batch(inputs, vocabulary.special)
    features_BPE, table_VE, bias_V = api.generate(
        model, vocabulary.size, params, batch, inputs.masked_BP, dropout_key
    )
    return vocab_head.predict(
        features_BPE,
        table_VE.astype(features_BPE.dtype),
        bias_V,
        inputs.targets_BP,
        inputs.noise,
        temperature,
        vocabulary.size,
    )


def totals(inputs: Inputs, prediction: vocab_head.Prediction, log_unigram_V: jax.Array) -> dict:
    """Additive counts behind the masked metrics; `log_unigram_V` is log p of single tokens."""
    w_BP, targets_BP = inputs.weights_BP, inputs.targets_BP
    return {
        'masked': jnp.sum(w_BP),
        'mlm_loss': jnp.sum(w_BP * prediction.loss_BP),
        'unigram_loss': -jnp.sum(w_BP * log_unigram_V[targets_BP]),
        'mlm_hits': jnp.sum(w_BP * (prediction.best_BP == targets_BP)),
        'sampled_hits': jnp.sum(w_BP * (prediction.sampled_BP == targets_BP)),
    }


def summary(sums: dict[str, np.ndarray]) -> dict[str, float]:
    """Means from `totals`; losses in nats per masked token."""
    masked = max(float(sums['masked']), 1.0)
    return {
        'mlm_loss': float(sums['mlm_loss']) / masked,
        'unigram_loss': float(sums['unigram_loss']) / masked,
        'mlm_accuracy': float(sums['mlm_hits']) / masked,
        'sampled_accuracy': float(sums['sampled_hits']) / masked,
    }
