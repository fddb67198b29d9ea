"""Any objective's numbers from draws that are handed in, to check them against another program.

Everything that a step draws by its keys is an argument here: masked positions, and the noise of the
sampler. So losses, gradients, metrics and whole optimizer steps can be compared with another
implementation, or repeated from its records.

A tiny ELECTRA, and the records of two steps of another program: rows, masked positions, positions
that keep their token, and uniform numbers for the sampler.

>>> import functools
>>> from electra_jax.config.recipe import recipe
>>> from electra_jax.config.resolve import resolve
>>> from electra_jax.model.bind import bind
>>> from electra_jax.objectives import given
>>> from electra_jax.optim import optimizer
>>> from electra_jax.tokenizers.api import SpecialIds
>>> sizes = {'num_layers': 1, 'hidden_size': 8, 'num_heads': 2, 'embedding_size': 8}
>>> settings = {'model': sizes, 'objective': {'sampler': 'gumbel'}, 'data': {'row_length': 8}}
>>> config = resolve(recipe({'total_steps': 10, 'batch_size': 2, **settings}), 'cpu')
>>> vocabulary = Vocabulary(30, SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4))
>>> networks = ('generator', 'discriminator')
>>> params = bind(config.model, vocabulary.size).init(jax.random.key(0), networks)
>>> random, records = np.random.default_rng(0), []
>>> for _ in range(2):
...     tokens_BL, masked_BP = random.integers(5, 30, (2, 8)), np.array([[1, 3], [2, 6]])
...     ones_BL, noise_BPV = np.ones_like(tokens_BL), random.random((2, 2, 30))
...     batch = given.batch_from_bert(tokens_BL, input_mask_BL=ones_BL, segment_ids_BL=0 * ones_BL)
...     draws = given.make_draws(config, vocabulary, masked_BP, masked_BP < 0, noise_BPV)
...     records.append((batch, draws))

Loss, metrics and gradient of the first step:

>>> loss = functools.partial(given.loss, config, vocabulary)
>>> (total, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params, records[0])
>>> sorted(metrics)
['disc_loss', 'fake_rate', 'loss', 'mlm_loss']

A replay of both as optimizer steps, with clipped gradients, the learning rate and Adam's moments.
Dropout, if the config has any, is drawn by the seed.

>>> from electra_jax.train import step
>>> from electra_jax.train.state import TrainState
>>> objective = given.objective(config, vocabulary)
>>> parts = objective.draw, objective.loss, objective.prepare, objective.alone, objective.remember
>>> problem = step.Problem(*parts)
>>> adamw = optimizer.build(config, params)
>>> train_step = jax.jit(functools.partial(step.train_step, problem, adamw, config, config.seed))
>>> state = TrainState(jnp.int32(0), params, adamw.init(params))
>>> for record in records:
...     state, metrics = train_step(state, record)
>>> int(state.step), sorted(metrics)
(2, ['disc_loss', 'fake_rate', 'grad_norm', 'learning_rate', 'loss', 'mlm_loss', 'update_norm'])
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.settings import Config
from electra_jax.core.batch import Batch
from electra_jax.core.errors import ConfigError
from electra_jax.core.trees import Tree
from electra_jax.model.bind import Key, Params, vocab_rows
from electra_jax.objectives import table
from electra_jax.objectives.definition import LossAndMetrics, Objective, Vocabulary
from electra_jax.objectives.inputs import Draws, Inputs, Step, from_draws
from electra_jax.ops.corrupt import Masked


def batch_from_bert(
    input_ids_BL: np.ndarray, input_mask_BL: np.ndarray, segment_ids_BL: np.ndarray
) -> dict[str, jax.Array]:
    """Our batch from BERT's three arrays: one document a row, positions 0 to L - 1."""
    positions_L = np.arange(input_ids_BL.shape[1])
    return {
        'tokens': jnp.asarray(input_ids_BL, jnp.int32),
        'documents': jnp.asarray(input_mask_BL, jnp.int32),
        'positions': jnp.asarray(np.broadcast_to(positions_L, input_ids_BL.shape), jnp.int32),
        'types': jnp.asarray(segment_ids_BL, jnp.int32),
    }


def make_draws(
    config: Config,
    vocabulary: Vocabulary,
    masked_BP: np.ndarray,
    keep_BP: np.ndarray,
    noise_BPV: np.ndarray,
    weights_BP: np.ndarray | None = None,
    own_noise_BPV: np.ndarray | None = None,
) -> Draws:
    """Draws in our form.

    Args:
        config: its sampler must be 'gumbel', one uniform per token.
        vocabulary: of the tokenizer.
        masked_BP: positions; any P.
        keep_BP: bool, slots that keep their token in the generator's input.
        noise_BPV: uniforms in [0, 1), V the unpadded vocabulary, made into Gumbel noise by
            `ops.vocab_softmax.gumbel`.
        weights_BP: 1 for a slot that is used; if not given, all but those at position 0, which is
            the reference's filler.
        own_noise_BPV: of an objective that draws more, such as TEAMS for its candidates.

    Raises:
        ConfigError: the noise does not fit the vocabulary or the sampler.
    """
    if config.objective.sampler != 'gumbel':
        raise ConfigError(
            f'config.objective.sampler is {config.objective.sampler!r}: with given noise for every '
            "token it must be 'gumbel'"
        )

    def padded(uniforms_BPV: np.ndarray) -> jax.Array:
        V = uniforms_BPV.shape[-1]
        if vocabulary.size != V:
            raise ConfigError(f'the noise is for {V} tokens, the vocabulary has {vocabulary.size}')
        # Padding rows have a logit that no noise lifts.
        missing = vocab_rows(config.model, V) - V
        widths = ((0, 0), (0, 0), (0, missing))
        return jnp.pad(jnp.asarray(uniforms_BPV), widths, constant_values=0.5)

    used_BP = masked_BP > 0 if weights_BP is None else weights_BP
    own_noise = () if own_noise_BPV is None else (padded(own_noise_BPV),)
    return Draws(
        Masked(jnp.asarray(masked_BP, jnp.int32), jnp.asarray(used_BP, jnp.float32)),
        jnp.asarray(keep_BP, bool),
        (padded(noise_BPV),),
        own_noise,
    )


def objective(config: Config, vocabulary: Vocabulary) -> Objective:
    """The config's objective, whose `draw` takes (batch, draws) in place of a batch."""

    def draw(
        batch_and_draws: tuple[Batch, Draws],
        keys: Mapping[str, jax.Array],
        step: Step | None,
        memory: Tree = None,
    ) -> Inputs:
        return from_draws(vocabulary.special, *batch_and_draws)

    return table.build(config, vocabulary)._replace(draw=draw)


def loss(
    config: Config,
    vocabulary: Vocabulary,
    params: Params,
    batch_and_draws: tuple[Batch, Draws],
    step: int = 0,
    dropout_key: Key = None,
) -> LossAndMetrics:
    """The config's loss and its metrics, float32 scalars.

    Args:
        config: of the run.
        vocabulary: of the tokenizer.
        params: float32.
        batch_and_draws: as from `batch_from_bert` and `make_draws`.
        step: for scheduled temperature and mask rate.
        dropout_key: None: no dropout.
    """
    inputs = from_draws(vocabulary.special, *batch_and_draws)
    run = table.build(config, vocabulary).loss
    return run(params, inputs, dropout_key, jnp.asarray(step, jnp.int32))
