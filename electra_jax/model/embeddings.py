"""The embedding block, which generator and discriminator share, its LayerNorm included."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config.settings import ModelConfig
from electra_jax.core.dims import constrain, lift
from electra_jax.model import images
from electra_jax.model.layers import make_norm, truncated_normal


def sinusoids(L: int, E: int) -> jax.Array:
    """sin and cos of the position at E / 2 wavelengths from 2 pi to 10,000 x 2 pi, [L, E]."""
    wavelengths = 10_000.0 ** (jnp.arange((E + 1) // 2) / ((E + 1) // 2))
    angles = jnp.arange(L)[:, None] / wavelengths[None]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)[:, :E]


def _scaled_sinusoids(init: nn.initializers.Initializer) -> nn.initializers.Initializer:
    """Sinusoids with the deviation that `init` would give."""

    def make(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
        return sinusoids(*shape) * (jnp.std(init(key, shape)) * 2**0.5)

    return make


# How the learned position table starts. Neighbours in a sinusoidal one are already related, so
# attention to a token at a fixed distance is found in fewer steps.
POSITION_INITS = {'normal': lambda init: init, 'sinusoidal': _scaled_sinusoids}


class ImageTables(NamedTuple):
    """What a patch of an image becomes: a linear map of its numbers, its row and its column."""

    patch_OE: jax.Array
    row_IE: jax.Array
    column_IE: jax.Array


class Tables(NamedTuple):
    """The vectors that are summed, float32."""

    word_VE: jax.Array
    position_LE: jax.Array | None  # None: positions are rotary
    type_TE: jax.Array | None  # None: texts of a pair are not told apart
    image: ImageTables | None = None  # None: the model reads no images


class Embeddings(nn.Module):
    """Word, position and type vectors summed and normalized (ELECTRA section 3.2)."""

    model: ModelConfig
    vocab_size: int  # rows of the word table that are tokens; the rest is zero and stays so
    vocab_rows: int  # V, padded
    width: int  # E
    is_delta: bool = False  # starts at zero, to be added to another block's tables

    def setup(self) -> None:
        """Makes the tables and the norm."""
        init = nn.initializers.zeros_init()
        position_init = init
        if not self.is_delta:
            init = truncated_normal(self.model.init_stddev)
            position_init = POSITION_INITS[self.model.position_init](init)
        word_init = _zero_from(init, self.vocab_size)
        E = self.width
        self.word_VE = self.param('word', word_init, (self.vocab_rows, E))
        # Rotary positions are the business of attention.
        self.position_LE = None
        if self.model.positions == 'learned':
            shape = (self.model.max_positions, E)
            self.position_LE = self.param('position', position_init, shape)
        self.type_TE = None
        if self.model.type_vocab_size:
            self.type_TE = self.param('type', init, (self.model.type_vocab_size, E))
        self.image = None
        if side := images.side(self.model):
            numbers = self.model.image_patch**2 * images.COLOURS  # O
            self.image = ImageTables(
                # A patch begins as large as a word.
                self.param('patch', _divided(init, numbers**0.5), (numbers, E)),
                self.param('image_row', init, (side, E)),
                self.param('image_column', init, (side, E)),
            )
        self.norm = make_norm(self.model)

    def __call__(self, batch: Mapping[str, jax.Array], base: Tables | None = None) -> jax.Array:
        """[B, L, E] in the compute dtype; each network adds its own dropout.

        The patches of the batch's images, if it has any, stand before the text: [B, I + L, E].

        `base` are another block's tables, to which this one's are added; no gradient flows there
        (DeBERTaV3, equation 9).
        """
        x_BLE = _sum(self.tables(), batch)
        if base is not None:
            x_BLE += _sum(jax.lax.stop_gradient(base), batch)
        return self.norm(constrain(x_BLE, 'BLE'))

    def tables(self) -> Tables:
        """What this block itself holds; the generator's softmax uses the word table again."""
        return Tables(self.word_VE, self.position_LE, self.type_TE, self.image)


def _sum(tables: Tables, batch: Mapping[str, jax.Array]) -> jax.Array:
    """The vectors of each patch and of each token, added up, [B, L, E] in float32."""
    x_BLE = tables.word_VE[batch['tokens']]
    if tables.position_LE is not None:
        x_BLE += tables.position_LE[batch['positions']]
    if tables.type_TE is not None:
        x_BLE += tables.type_TE[batch['types']]
    if tables.image is None or images.PIXELS not in batch:
        return x_BLE
    return jnp.concatenate([_sum_of_patches(tables.image, batch[images.PIXELS]), x_BLE], axis=1)


def _sum_of_patches(tables: ImageTables, pixels: jax.Array) -> jax.Array:
    """The vectors of each patch, added up, [B, I, E] in float32."""
    numbers, side = len(tables.patch_OE), len(tables.row_IE)
    x_BIO = images.patches(pixels, round((numbers / images.COLOURS) ** 0.5))
    x_BIE = jnp.einsum('BIO,OE->BIE', x_BIO, tables.patch_OE)
    place_IE = jnp.repeat(tables.row_IE, side, axis=0) + jnp.tile(tables.column_IE, (side, 1))
    return x_BIE + lift(place_IE, 3)


def _zero_from(init: nn.initializers.Initializer, row: int) -> nn.initializers.Initializer:
    """`init` with zeros from `row` on: rows that only pad a table stay out of files and norms."""

    def make(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
        return jnp.where(jnp.arange(shape[0])[:, None] < row, init(key, shape), 0.0)

    return make


def _divided(init: nn.initializers.Initializer, by: float) -> nn.initializers.Initializer:
    """`init` with smaller numbers."""
    return lambda key, shape: init(key, shape) / by
