"""Dense, norms and dropout, written so that shapes stand in one place: the einsum."""

import functools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config.settings import ModelConfig
from electra_jax.core.dims import lift
from electra_jax.ops.dropout import dropout
from electra_jax.ops.norms import normalize


def truncated_normal(stddev: float) -> nn.initializers.Initializer:
    """BERT's initializer: a normal cut off at two deviations, not rescaled."""
    return nn.initializers.truncated_normal(stddev, lower=-2.0, upper=2.0)


class Dense(nn.Module):
    """A linear map given by an einsum equation, with or without a bias on the dimensions it makes.

    `equation` is such as ``'BLD,DHK->BLHK'``; `sizes` gives the kernel's letters their sizes.
    Kernel and bias are float32 parameters, cast to the compute dtype for the product. `activation`
    is applied to the input first; the backward pass keeps what it was given and computes it again,
    where the layers are a loop.
    """

    equation: str
    sizes: Mapping[str, int]
    model: ModelConfig
    kernel_init: nn.initializers.Initializer
    biased: bool = True
    activation: Callable[[jax.Array], jax.Array] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the map to `x`, whose letters are the equation's first term."""
        inputs, output = self.equation.split('->')
        kernel_letters = inputs.split(',')[1]
        kernel_shape = tuple(self.sizes[letter] for letter in kernel_letters)
        bias_shape = tuple(self.sizes[letter] for letter in output if letter in kernel_letters)
        kernel = self.param('kernel', self.kernel_init, kernel_shape)
        dtype = jnp.dtype(self.model.compute_dtype)
        product = flat_einsum if self.model.flat_products else jnp.einsum
        apply: Callable[[jax.Array, jax.Array], jax.Array]
        apply, activation = functools.partial(product, self.equation), self.activation
        if activation is not None:
            # Nothing of this is worth keeping: the product's result is not asked for again.
            apply = jax.checkpoint(
                lambda x, kernel: product(self.equation, activation(x), kernel),
                prevent_cse=False,
            )
        y = apply(x.astype(dtype), kernel.astype(dtype))
        if not self.biased:
            return y
        bias = self.param('bias', nn.initializers.zeros_init(), bias_shape)
        return y + lift(bias.astype(dtype), y.ndim)


def flat_einsum(equation: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same as `jnp.einsum`, as one product of two matrices.

    The kernel's letters are those of `x` that vanish, then those of the result that are new, as
    in ``'BLHK,HKD->BLD'``.
    """
    inputs, output = equation.split('->')
    x_letters, kernel_letters = inputs.split(',')
    summed = sum(letter in x_letters for letter in kernel_letters)
    rows, columns = x.shape[: x.ndim - summed], kernel.shape[summed:]
    assert output == x_letters[: x.ndim - summed] + kernel_letters[summed:], equation
    inner = math.prod(kernel.shape[:summed])
    y = x.reshape(-1, inner) @ kernel.reshape(inner, -1)
    return y.reshape(*rows, *columns)


class LayerNorm(nn.Module):
    """Normalization over the last dimension; statistics in float32, output in `dtype`."""

    epsilon: float
    dtype: jnp.dtype
    biased: bool = True

    @nn.compact
    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Normalizes `x_BLD` over D."""
        D = x_BLD.shape[-1]
        scale_D = self.param('scale', nn.initializers.ones_init(), (D,))
        bias_D = None
        if self.biased:
            bias_D = self.param('bias', nn.initializers.zeros_init(), (D,))
        return normalize(x_BLD, scale_D, bias_D, self.epsilon, True, self.dtype)


class RMSNorm(nn.Module):
    """Division by the root of the mean square over the last dimension, and a scale.

    No mean is taken away and nothing added: one sum less than LayerNorm, at no loss of quality
    (Zhang and Sennrich 2019). Statistics in float32, output in `dtype`.
    """

    epsilon: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Normalizes `x_BLD` over its last dimension."""
        scale_D = self.param('scale', nn.initializers.ones_init(), x_BLD.shape[-1:])
        return normalize(x_BLD, scale_D, None, self.epsilon, False, self.dtype)


# What normalizes in encoders and embeddings, by `config.model.norm_type`.
NORMS: dict[str, Callable[[ModelConfig, jnp.dtype, str | None], nn.Module]] = {
    'layer': lambda model, dtype, name: LayerNorm(
        model.layer_norm_epsilon, dtype, model.biases, name=name
    ),
    'rms': lambda model, dtype, name: RMSNorm(model.layer_norm_epsilon, dtype, name=name),
}


def make_norm(model: ModelConfig, dtype: jnp.dtype, name: str | None = None) -> nn.Module:
    """The model's normalization of encoders and embeddings."""
    return NORMS[model.norm_type](model, dtype, name)


class Dropout(nn.Module):
    """Dropout by `ops.dropout`; off where no 'dropout' key is handed to `apply`."""

    rate: float
    bits: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Drops elements of `x` at this module's rate."""
        return dropout(x, self.rate, self.key(), self.bits)

    def key(self) -> jax.Array | None:
        """This call's key, or None outside training."""
        on = self.rate > 0.0 and self.has_rng('dropout')
        return self.make_rng('dropout') if on else None
