"""Any objective's loss from draws that are given, to check numbers against another program.

    from electra_jax.objectives import given

    batch = given.batch_from_bert(input_ids, input_mask, segment_ids)      # NumPy, [B, L] each
    draws = given.make_draws(config, vocabulary, positions, keep, uniforms)
    (loss, metrics), grads = jax.value_and_grad(
        lambda params: given.loss(config, vocabulary, params, batch, draws), has_aux=True
    )(params)

`config` is `config.resolve.resolve(config.recipe.recipe({'objective': {'sampler': 'gumbel'}}),
'cpu')`; `vocabulary` is a `definition.Vocabulary(size,
tokenizers.api.SpecialIds(...))`; `params` come from `interop`, or from
`model.bind.init(config.model, size, key, ('generator', 'discriminator'))`. Dropout is off unless a
key is given. For whole optimizer steps hand `train.step.train_step` a `draw` that returns
`given.inputs(...)`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError
from electra_jax.model import bind
from electra_jax.objectives import table
from electra_jax.objectives.definition import Vocabulary
from electra_jax.objectives.inputs import Batch, Draws, Inputs, from_draws


def batch_from_bert(
    input_ids_BL: np.ndarray, input_mask_BL: np.ndarray, segment_ids_BL: np.ndarray
) -> dict[str, jax.Array]:
    """Our batch from BERT's three arrays: one document a row, positions 0 to L - 1."""
    places_L = np.arange(input_ids_BL.shape[1])
    return {
        'tokens': jnp.asarray(input_ids_BL, jnp.int32),
        'documents': jnp.asarray(input_mask_BL, jnp.int32),
        'positions': jnp.asarray(np.broadcast_to(places_L, input_ids_BL.shape), jnp.int32),
        'types': jnp.asarray(segment_ids_BL, jnp.int32),
    }


def make_draws(
    config: Config,
    vocabulary: Vocabulary,
    masked_BP: np.ndarray,
    keep_BP: np.ndarray,
    noise_BPV: np.ndarray,
    weights_BP: np.ndarray | None = None,
    candidate_noise_BPV: np.ndarray | None = None,
) -> Draws:
    """Draws in our form.

    Args:
        config: resolved; its sampler must be 'gumbel', one uniform per token.
        vocabulary: of the tokenizer.
        masked_BP: positions; any P.
        keep_BP: bool, slots that keep their token in the generator's input.
        noise_BPV: uniforms in (0, 1), V the unpadded vocabulary, made into Gumbel noise by
            `ops.vocab_head.gumbel`.
        weights_BP: 1 for a slot that is used; if not given, all but those at position 0, which is
            the reference's filler.
        candidate_noise_BPV: for the objective 'teams'.

    Raises:
        ConfigError: the noise does not fit the vocabulary or the sampler.
    """
    if config.objective.sampler != 'gumbel':
        raise ConfigError(
            f'config.objective.sampler is {config.objective.sampler!r}: with given noise for every '
            "token it must be 'gumbel'"
        )
    rows = bind.vocab_rows(config.model, vocabulary.size)

    def padded(uniforms_BPV: np.ndarray) -> jax.Array:
        V = uniforms_BPV.shape[-1]
        if vocabulary.size != V:
            raise ConfigError(f'the noise is for {V} tokens, the vocabulary has {vocabulary.size}')
        # Padding rows have a logit that no noise lifts.
        return jnp.pad(
            jnp.asarray(uniforms_BPV), ((0, 0), (0, 0), (0, rows - V)), constant_values=0.5
        )

    used_BP = masked_BP > 0 if weights_BP is None else weights_BP
    others = () if candidate_noise_BPV is None else (padded(candidate_noise_BPV),)
    return Draws(
        jnp.asarray(masked_BP, jnp.int32),
        jnp.asarray(used_BP, jnp.float32),
        jnp.asarray(keep_BP, bool),
        (padded(noise_BPV),),
        others,
    )


def inputs(vocabulary: Vocabulary, batch: Batch, draws: Draws) -> Inputs:
    """What an objective's `loss` takes."""
    return from_draws(vocabulary.special, batch, draws)


def loss(
    config: Config,
    vocabulary: Vocabulary,
    params: bind.Params,
    batch: Batch,
    draws: Draws,
    step: int = 0,
    dropout_key: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The config's loss and its parts, float32 scalars.

    Args:
        config: resolved.
        vocabulary: of the tokenizer.
        params: float32.
        batch: int32 [B, L] each: tokens, documents (0 on padding), positions, types.
        draws: from `make_draws`.
        step: for scheduled temperature and mask rate.
        dropout_key: None: no dropout.
    """
    objective = table.build(config, vocabulary)
    given = inputs(vocabulary, batch, draws)
    return objective.loss(params, given, dropout_key, jnp.asarray(step, jnp.int32))
