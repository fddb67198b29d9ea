"""The transformer encoder: a stack of equal layers, scanned."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config.presets import EncoderShape
from electra_jax.config.schema import ModelConfig
from electra_jax.core.dims import constrain
from electra_jax.model.layers import Dense, Dropout, LayerNorm, truncated_normal
from electra_jax.ops.activations import gelu
from electra_jax.ops.attention import attention

# What the backward pass may keep of each layer; everything else it computes again.
REMAT_POLICIES: dict[str, Callable | None] = {
    'none': None,
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    'full': jax.checkpoint_policies.nothing_saveable,
}


class Attention(nn.Module):
    """Self-attention with its output projection."""

    model: ModelConfig
    shape: EncoderShape
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BLD: jax.Array, documents_BL: jax.Array) -> jax.Array:
        """[B, L, D] -> [B, L, D], each token seeing its own document."""
        sizes = {'D': self.shape.hidden_size, 'H': self.shape.num_heads, 'K': self.shape.head_size}
        init = truncated_normal(self.model.init_stddev)

        def heads(name: str, letters: str) -> jax.Array:
            y_BLHK = Dense('BLD,DHK->BLHK', sizes, self.model, init, name=name)(x_BLD)
            return constrain(y_BLHK, letters)

        query_BLHK = heads('query', 'BLHK')
        key_BSHK, value_BSHK = heads('key', 'BSHK'), heads('value', 'BSHK')
        drop = Dropout(self.model.attention_dropout, self.model.dropout_bits, name='dropout')
        context_BLHK = attention(
            query_BLHK, key_BSHK, value_BSHK, documents_BL, drop.rate, drop.key(), drop.bits
        )
        context_BLHK = constrain(context_BLHK, 'BLHK')
        return Dense('BLHK,HKD->BLD', sizes, self.model, init, name='output')(context_BLHK)


class FeedForward(nn.Module):
    """Two dense maps around an exact GELU."""

    model: ModelConfig
    shape: EncoderShape
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """[B, L, D] -> [B, L, D]."""
        sizes = {'D': self.shape.hidden_size, 'F': self.shape.ffn_size}
        init = truncated_normal(self.model.init_stddev)
        y_BLF = Dense('BLD,DF->BLF', sizes, self.model, init, name='up')(x_BLD)
        y_BLF = constrain(gelu(y_BLF), 'BLF')
        return Dense('BLF,FD->BLD', sizes, self.model, init, name='down')(y_BLF)


class Layer(nn.Module):
    """Attention and feed-forward, each with a residual and a LayerNorm.

    'post': x = norm(x + f(x)), as BERT and the paper; 'pre': x = x + f(norm(x)).
    """

    model: ModelConfig
    shape: EncoderShape
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BLD: jax.Array, documents_BL: jax.Array) -> tuple[jax.Array, None]:
        """One step of the scan: the carried activations, and no per-layer output."""
        parts = (self.model, self.shape, self.dtype)
        attend = Attention(*parts, name='attention')
        feed_forward = FeedForward(*parts, name='feed_forward')
        x_BLD = self.sublayer('attention', x_BLD, lambda y_BLD: attend(y_BLD, documents_BL))
        x_BLD = self.sublayer('feed_forward', x_BLD, feed_forward)
        return constrain(x_BLD, 'BLD'), None

    def sublayer(self, name: str, x_BLD: jax.Array, function: Callable) -> jax.Array:
        """Residual, dropout and norm around `function`."""
        norm = LayerNorm(self.model.layer_norm_epsilon, self.dtype, name=f'{name}_norm')
        drop = Dropout(self.model.dropout, self.model.dropout_bits, name=f'{name}_dropout')
        if self.model.norm == 'pre':
            return x_BLD + drop(function(norm(x_BLD)))
        return norm(x_BLD + drop(function(x_BLD)))


class Encoder(nn.Module):
    """N layers whose parameters are stacked along a leading axis."""

    model: ModelConfig
    shape: EncoderShape
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BLE: jax.Array, documents_BL: jax.Array) -> jax.Array:
        """[B, L, E] embeddings -> [B, L, D] in the compute dtype."""
        x_BLE = Dropout(self.model.dropout, self.model.dropout_bits, name='dropout')(x_BLE)
        D, E = self.shape.hidden_size, self.model.embedding_size
        x_BLD = x_BLE
        if D != E:
            init = nn.initializers.glorot_uniform()
            project = Dense('BLE,ED->BLD', {'E': E, 'D': D}, self.model, init, name='project')
            x_BLD = project(x_BLE)
        x_BLD = constrain(x_BLD, 'BLD')
        x_BLD, _ = self.layers()(x_BLD, documents_BL)
        if self.model.norm == 'pre':
            x_BLD = LayerNorm(self.model.layer_norm_epsilon, self.dtype, name='norm')(x_BLD)
        return x_BLD

    def layers(self) -> nn.Module:
        """The stack: compile time does not grow with N unless it is unrolled."""
        layer = Layer
        policy = REMAT_POLICIES[self.model.remat]
        if policy is not None:
            layer = nn.remat(layer, policy=policy, prevent_cse=False)
        stack = nn.scan(
            layer,
            variable_axes={'params': 0},
            split_rngs={'params': True, 'dropout': True},
            in_axes=nn.broadcast,
            length=self.shape.num_layers,
            unroll=min(self.model.scan_unroll, self.shape.num_layers),
        )
        return stack(self.model, self.shape, self.dtype, name='layers')
