"""Electric: an energy of every token in its context, trained by noise contrast.

Electric (Clark et al. 2020, "Pre-Training Transformers as Energy-Based Cloze Models") learns
E(x)_t with p(x_t | the rest) proportional to exp(-E(x)_t). The noise is a two-tower cloze model
q, which is trained beside it by cross-entropy on all tokens. A token was written by q or is
original; the odds of the former are p q(x_t | the rest) / ((1 - p) exp(-E(x)_t)), with p the
share of tokens that are written over (section 2.2, equation 4). So the logit of "written" is
E(x)_t + log q(x_t | the rest) + log(p / (1 - p)), and the label says whether a token was written,
also where the sample was the original token.
"""

import jax
import jax.numpy as jnp

from electra_jax.config.settings import Config
from electra_jax.model import bind
from electra_jax.objectives import electra, generators, inputs
from electra_jax.objectives.definition import Definition, Vocabulary
from electra_jax.objectives.electra import Corruption
from electra_jax.objectives.generators import Proposal
from electra_jax.objectives.inputs import Inputs
from electra_jax.ops import losses, vocab_head


def loss(
    config: Config,
    vocabulary: Vocabulary,
    params: bind.Params,
    given: Inputs,
    dropout_key: jax.Array | None,
    step: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cloze cross-entropy and noise contrast; see `electra.loss` for the arguments."""
    at_temperature = generators.temperature(config, step)
    rate = inputs.mask_rate(config, step)
    proposal, corruption = forward(
        config, vocabulary, params, given, dropout_key, at_temperature, rate
    )
    disc_BL = losses.sigmoid_cross_entropy(corruption.logits_BL, corruption.is_fake_BL)
    disc_loss = jnp.sum(given.token_share_BL * disc_BL)
    return electra.joint(config, given, proposal, disc_loss, corruption.is_fake_BL)


def forward(
    config: Config,
    vocabulary: Vocabulary,
    params: bind.Params,
    given: Inputs,
    dropout_key: jax.Array | None,
    at_temperature: jax.Array | float,
    rate: jax.Array | float | None = None,
) -> tuple[Proposal, Corruption]:
    """Both networks; `is_fake_BL` says where a sample was written. `rate` None: the first one."""
    rate = config.objective.mask_rate if rate is None else rate
    proposal, plain = electra.forward(
        config, vocabulary, params, given, dropout_key, at_temperature
    )
    log_q_BL = vocab_head.token_logits(*proposal.everywhere, plain.tokens_BL)
    log_q_BL = jax.lax.stop_gradient(log_q_BL - proposal.normalizer_BL)
    logits_BL = plain.logits_BL + log_q_BL + jnp.log(rate / (1 - rate))
    return proposal, plain._replace(is_fake_BL=plain.written_BL, logits_BL=logits_BL)


def totals(
    config: Config, vocabulary: Vocabulary, params: bind.Params, given: Inputs
) -> dict[str, jax.Array]:
    """As ELECTRA's, of telling written tokens from original ones."""
    return electra.totals(config, vocabulary, params, given, forward)


def example(
    config: Config, vocabulary: Vocabulary, params: bind.Params, given: Inputs
) -> tuple[jax.Array, jax.Array]:
    """As ELECTRA's."""
    return electra.example(config, vocabulary, params, given, forward)


def token_scores(
    config: Config, vocabulary: Vocabulary, params: bind.Params, batch: inputs.Batch
) -> jax.Array:
    """log p(x_t | the rest) up to the model's error in normalizing, float32 [B, L]; one pass.

    -E(x)_t, taken as normalized (Electric, section 2.3); 0 at special tokens and padding.
    """
    energies_BL = bind.discriminate(config.model, vocabulary.size, params, batch, None)
    return jnp.where(inputs.candidates(batch, vocabulary.special), -energies_BL, 0.0)


def pseudo_log_likelihood(
    config: Config, vocabulary: Vocabulary, params: bind.Params, batch: inputs.Batch
) -> jax.Array:
    """Sum of `token_scores` over each row, float32 [B]: how likely a text is, in nats."""
    return jnp.sum(token_scores(config, vocabulary, params, batch), axis=-1)


ELECTRIC = Definition(electra.parts, loss, totals, electra.summary, example, signs=electra.signs)
