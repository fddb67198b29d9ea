"""Dense, norms and dropout, written so that shapes stand in one place: the einsum."""

# Z: numbers of a token in all heads, H K.

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config.settings import ModelConfig
from electra_jax.core.dims import join_heads, lift, split_heads
from electra_jax.ops.dropout import dropout
from electra_jax.ops.norms import normalize


def truncated_normal(stddev: float) -> nn.initializers.Initializer:
    """BERT's initializer: a normal cut off at two deviations, not rescaled."""
    return nn.initializers.truncated_normal(stddev, lower=-2.0, upper=2.0)


class Dense(nn.Module):
    """A linear map given by an einsum equation, with a bias on the dimensions that it makes.

    Kernel and bias are float32 parameters, cast to the compute dtype for the product, in which
    heads are joined (`core.dims.join_heads`).
    """

    equation: str  # such as 'BLD,DHK->BLHK'
    sizes: Mapping[str, int]  # of the kernel's letters
    model: ModelConfig
    kernel_init: nn.initializers.Initializer
    biased: bool = True
    # Applied to the input first; the backward pass keeps what it was given and computes it again.
    activation: Callable[[jax.Array], jax.Array] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the map to `x`, whose letters are the equation's first term."""
        inputs, output = self.equation.split('->')
        x_letters, kernel_letters = inputs.split(',')
        bias_letters = ''.join(letter for letter in output if letter in kernel_letters)
        kernel_shape = tuple(self.sizes[letter] for letter in kernel_letters)
        kernel = self.param('kernel', self.kernel_init, kernel_shape)
        dtype = jnp.dtype(self.model.compute_dtype)
        product = flat_einsum if self.model.flat_products else jnp.einsum
        activation = self.activation

        def apply(x: jax.Array, kernel: jax.Array) -> jax.Array:
            x = x if activation is None else activation(x)
            return product(self.equation.replace('HK', 'Z'), x, kernel)

        if activation is not None:
            # Nothing of this is worth keeping: the product's result is not asked for again. The
            # scan over layers keeps XLA from merging both computations: prevent_cse is not needed.
            apply = jax.checkpoint(apply, prevent_cse=False)
        kernel = join_heads(kernel.astype(dtype), kernel_letters)
        if 'HK' in kernel_letters:
            # XLA would split the heads before the product that gives the kernel's gradient, in a
            # copy of the activations, instead of after it.
            kernel = jax.lax.optimization_barrier(kernel)
        y = apply(join_heads(x.astype(dtype), x_letters), kernel)
        if self.biased:
            bias_shape = tuple(self.sizes[letter] for letter in bias_letters)
            bias = self.param('bias', nn.initializers.zeros_init(), bias_shape)
            y += lift(join_heads(bias.astype(dtype), bias_letters), y.ndim)
        return split_heads(y, output, self.sizes.get('K', 1))


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


class Norm(nn.Module):
    """LayerNorm or RMSNorm: statistics in float32, the result in the compute dtype.

    RMSNorm only divides by the root of the mean square: it neither subtracts the mean nor adds
    anything, which is one sum less at no loss of quality (Zhang and Sennrich 2019).
    """

    model: ModelConfig
    centred: bool = True  # LayerNorm
    biased: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalizes `x` over its last dimension."""
        scale_D = self.param('scale', nn.initializers.ones_init(), x.shape[-1:])
        bias_D = None
        if self.biased:
            bias_D = self.param('bias', nn.initializers.zeros_init(), x.shape[-1:])
        dtype = jnp.dtype(self.model.compute_dtype)
        return normalize(x, scale_D, bias_D, self.model.layer_norm_epsilon, self.centred, dtype)


# What normalizes in encoders and embeddings, by `config.model.norm_type`.
NORMS: dict[str, Callable[[ModelConfig, str | None], Norm]] = {
    'layer': lambda model, name: Norm(model, biased=model.biases, name=name),
    'rms': lambda model, name: Norm(model, centred=False, biased=False, name=name),
}


def make_norm(model: ModelConfig, name: str | None = None) -> Norm:
    """The model's normalization of encoders and embeddings."""
    return NORMS[model.norm_type](model, name)


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
