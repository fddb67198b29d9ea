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
from electra_jax.ops.attention import Drop, attention
from electra_jax.ops.sight import Sight

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
    sight: Sight

    @nn.compact
    def __call__(self, x_BLD: jax.Array, documents_BL: jax.Array) -> jax.Array:
        """[B, L, D] -> [B, L, D], each token seeing its own document, or a side of it."""
        sizes = {'D': self.shape.hidden_size, 'H': self.shape.num_heads, 'K': self.shape.head_size}
        init = truncated_normal(self.model.init_stddev)

        def heads(name: str, letters: str) -> jax.Array:
            y_BLHK = Dense('BLD,DHK->BLHK', sizes, self.model, init, name=name)(x_BLD)
            return constrain(y_BLHK, letters)

        query_BLHK = heads('query', 'BLHK')
        key_BSHK, value_BSHK = heads('key', 'BSHK'), heads('value', 'BSHK')
        drop = Dropout(self.model.attention_dropout, self.model.dropout_bits, name='dropout')
        context_BLHK = attention(
            self.model.attention,
            query_BLHK,
            key_BSHK,
            value_BSHK,
            documents_BL,
            self.sight,
            Drop(drop.rate, drop.key(), drop.bits),
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
    sight: Sight
    show_input: bool  # hand out what went in, too

    @nn.compact
    def __call__(
        self, x_BLD: jax.Array, documents_BL: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        """One step of the scan: the carried activations, and what the layer was given."""
        parts = (self.model, self.shape, self.dtype)
        attend = Attention(*parts, self.sight, name='attention')
        feed_forward = FeedForward(*parts, name='feed_forward')
        shown_BLD = x_BLD if self.show_input else None
        x_BLD = self.sublayer('attention', x_BLD, lambda y_BLD: attend(y_BLD, documents_BL))
        x_BLD = self.sublayer('feed_forward', x_BLD, feed_forward)
        return constrain(x_BLD, 'BLD'), shown_BLD

    def sublayer(self, name: str, x_BLD: jax.Array, function: Callable) -> jax.Array:
        """Residual, dropout and norm around `function`."""
        norm = LayerNorm(self.model.layer_norm_epsilon, self.dtype, name=f'{name}_norm')
        drop = Dropout(self.model.dropout, self.model.dropout_bits, name=f'{name}_dropout')
        if self.model.norm == 'pre':
            return x_BLD + drop(function(norm(x_BLD)))
        return norm(x_BLD + drop(function(x_BLD)))


class Stack(nn.Module):
    """N layers whose parameters are stacked along a leading axis."""

    model: ModelConfig
    shape: EncoderShape
    dtype: jnp.dtype
    side: str = 'document'  # of its document that a token sees: a key of ops.sight.SIDES

    @nn.compact
    def __call__(
        self, x_BLD: jax.Array, documents_BL: jax.Array, show_last_input: bool = False
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """[B, L, D] -> [B, L, D] in the compute dtype, and what the last layer was given."""
        x_BLD = constrain(x_BLD, 'BLD')
        x_BLD, inputs_NBLD = self.layers(show_last_input)(x_BLD, documents_BL)
        if self.model.norm == 'pre':
            x_BLD = LayerNorm(self.model.layer_norm_epsilon, self.dtype, name='norm')(x_BLD)
        return (x_BLD, inputs_NBLD[-1]) if show_last_input else x_BLD

    def layers(self, show_inputs: bool) -> nn.Module:
        """The scan: compile time does not grow with N unless it is unrolled."""
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
        return stack(
            self.model, self.shape, self.dtype, Sight(self.side), show_inputs, name='layers'
        )


class Encoder(Stack):
    """Embeddings, brought to the model's width, through the stack."""

    @nn.compact
    def __call__(
        self, x_BLE: jax.Array, documents_BL: jax.Array, show_last_input: bool = False
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """[B, L, E] embeddings -> what `Stack` returns."""
        x_BLE = Dropout(self.model.dropout, self.model.dropout_bits, name='dropout')(x_BLE)
        D, E = self.shape.hidden_size, x_BLE.shape[-1]
        if D != E:
            init = nn.initializers.glorot_uniform()
            project = Dense('BLE,ED->BLD', {'E': E, 'D': D}, self.model, init, name='project')
            x_BLE = project(x_BLE)
        return super().__call__(x_BLE, documents_BL, show_last_input)
