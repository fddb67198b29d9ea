"""Electric: an energy of every token in its context, trained by noise contrast.

Electric (Clark et al. 2020, "Pre-Training Transformers as Energy-Based Cloze Models") learns
E(x)_t with p(x_t | the rest) proportional to exp(-E(x)_t). The noise is a two-tower cloze model
q, which is trained at the same time by cross-entropy on all tokens. A token was written by q or is
original; the odds of the former are p q(x_t | the rest) / ((1 - p) exp(-E(x)_t)), with p the
share of tokens that are written over (section 2.2, equation 4). So the logit of "written" is
E(x)_t + log q(x_t | the rest) + log(p / (1 - p)), and the label is whether a token was written,
also where the sample was the original token.
"""

import jax
import jax.numpy as jnp

from electra_jax.config.settings import Config
from electra_jax.core.batch import Batch
from electra_jax.model.bind import Key, Model, Params
from electra_jax.objectives.definition import Objective, Vocabulary
from electra_jax.objectives.draws import mask_rate
from electra_jax.objectives.electra import Forward, Results, detection, make_forward
from electra_jax.objectives.inputs import Inputs, Step, maskable
from electra_jax.ops import vocab_softmax


def electric(config: Config, model: Model, vocabulary: Vocabulary) -> Objective:
    """Cloze cross-entropy of the noise model, and noise contrast."""
    return detection(config, model, vocabulary, make_contrast(config, model, vocabulary))


def make_contrast(config: Config, model: Model, vocabulary: Vocabulary) -> Forward:
    """The function that runs both networks; `is_fake_BL` is where a sample was written."""
    run_both = make_forward(config, model, vocabulary)

    def contrast(params: Params, inputs: Inputs, dropout_key: Key, step: Step | None) -> Results:
        rate = mask_rate(config, step)
        results = run_both(params, inputs, dropout_key, step)
        proposal, corruption, *_ = results
        assert proposal.everywhere is not None and proposal.normalizer_BL is not None
        log_q_BL = vocab_softmax.token_logits(proposal.everywhere, corruption.tokens_BL)
        log_q_BL = jax.lax.stop_gradient(log_q_BL - proposal.normalizer_BL)
        logits_BL = results.logits_BL + log_q_BL + jnp.log(rate / (1 - rate))
        corruption = corruption._replace(is_fake_BL=corruption.written_BL)
        return results._replace(corruption=corruption, logits_BL=logits_BL)

    return contrast


def token_scores(model: Model, vocabulary: Vocabulary, params: Params, batch: Batch) -> jax.Array:
    """log p(x_t | the rest) up to the model's error in normalizing, float32 [B, L]; one pass.

    -E(x)_t, taken as normalized (Electric, section 2.3); 0 at special tokens and padding.
    """
    energies_BL = model.discriminate(params, batch, None)
    return jnp.where(maskable(batch, vocabulary.special), -energies_BL, 0.0)
