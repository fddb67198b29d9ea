"""Images before the text of a row: patches read as tokens (ViT, Dosovitskiy et al. 2021).

All tokens of the text see all patches, and the patches see the text, but for layers that see one
side or a window alone, which count the patches as tokens before the text. What comes out at the
patches is dropped, so that masking, losses and heads know of the text alone. A batch has an image
for each row under PIXELS, or it has none and is read as text: which of both is known when a program
is traced.
"""

import jax
import jax.numpy as jnp

from electra_jax.config.settings import ModelConfig
from electra_jax.core.batch import Batch

PIXELS = 'pixels'  # of a batch: uint8 [B, size, size, COLOURS]
COLOURS = 3  # red, green, blue


def side(model: ModelConfig) -> int:
    """Patches along a side of the image; 0: the model reads no images."""
    return 0 if model.image_size is None else model.image_size // model.image_patch


def patches(pixels: jax.Array, patch: int) -> jax.Array:
    """The numbers of each patch, from -1 to 1, row after row: float32 [B, I, O].

    Args:
        pixels: uint8 [B, size, size, COLOURS].
        patch: pixels along a side of a patch, a divisor of the size.
    """
    B, size, _, colours = pixels.shape
    many = size // patch
    x = pixels.reshape(B, many, patch, many, patch, colours).swapaxes(2, 3)
    return x.reshape(B, many * many, patch * patch * colours).astype(jnp.float32) / 127.5 - 1


def with_patches(model: ModelConfig, batch: Batch) -> Batch:
    """What the layers know of each token, the patches before the text included.

    Patches are of the row's first document (a row of padding has none), and at position 0: where
    they are in the image is in their embeddings.
    """
    if PIXELS not in batch:
        return batch
    B, _ = batch['documents'].shape
    first_BI = jnp.broadcast_to(batch['documents'][:, :1], (B, side(model) ** 2))
    before = {'documents': first_BI, 'positions': jnp.zeros_like(first_BI)}
    return {
        **batch,
        **{name: jnp.concatenate([x, batch[name]], axis=1) for name, x in before.items()},
    }


def text_alone(x_BLD: jax.Array, batch: Batch) -> jax.Array:
    """States [B, L, D] of the text out of those of patches and text."""
    return x_BLD[:, -batch['tokens'].shape[1] :] if PIXELS in batch else x_BLD
