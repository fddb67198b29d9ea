"""The transformer encoder: a stack of equal layers, scanned."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config.settings import ModelConfig
from electra_jax.config.shapes import EncoderShape
from electra_jax.core.dims import constrain
from electra_jax.model.layers import Dense, Dropout, RMSNorm, make_norm, truncated_normal
from electra_jax.ops import rotary
from electra_jax.ops.activations import geglu, gelu
from electra_jax.ops.attention import Drop, attention
from electra_jax.ops.sight import Sight


class Remat(NamedTuple):
    """What the backward pass computes again.

    Attributes:
        keeps: which values of a layer are kept; None: all but those below.
        attention: whether scores and probabilities are computed again.
        feed_forward: whether the first dense map and the activation are.
    """

    keeps: Callable | None = None
    attention: bool = False
    feed_forward: bool = False


REMAT_POLICIES: dict[str, Remat] = {
    'none': Remat(),
    'attention': Remat(attention=True),
    'feed_forward': Remat(feed_forward=True),
    'both': Remat(attention=True, feed_forward=True),
    'dots': Remat(jax.checkpoint_policies.dots_with_no_batch_dims_saveable),
    'full': Remat(jax.checkpoint_policies.nothing_saveable),
}


class Where(NamedTuple):
    """Where each token is, the same for all layers."""

    documents_BL: jax.Array
    turns: rotary.Turns | None  # None: positions are learned, and in the embeddings


class Attention(nn.Module):
    """Self-attention with its output projection."""

    model: ModelConfig
    shape: EncoderShape
    dtype: jnp.dtype
    sight: Sight

    @nn.compact
    def __call__(self, x_BLD: jax.Array, where: Where) -> jax.Array:
        """[B, L, D] -> [B, L, D], each token seeing its own document, or a part of it."""
        query_BLHK, key_BSHK, value_BSHK = self.project(x_BLD)
        if self.model.qk_norm:
            norms = [self.head_norm(name) for name in ('query_norm', 'key_norm')]
            query_BLHK, key_BSHK = norms[0](query_BLHK), norms[1](key_BSHK)
        if where.turns is not None:
            query_BLHK = rotary.rotate(query_BLHK, where.turns)
            key_BSHK = rotary.rotate(key_BSHK, where.turns)
        drop = Dropout(self.model.attention_dropout, self.model.dropout_bits, name='dropout')
        key = drop.key()

        def attend(
            query_BLHK: jax.Array, key_BSHK: jax.Array, value_BSHK: jax.Array, documents: jax.Array
        ) -> jax.Array:
            dropping, kernel = Drop(drop.rate, key, drop.bits), self.model.attention
            return attention(
                kernel, query_BLHK, key_BSHK, value_BSHK, documents, self.sight, dropping
            )

        if REMAT_POLICIES[self.model.remat].attention:
            attend = jax.checkpoint(attend, prevent_cse=False)
        context_BLHK = attend(
            constrain(query_BLHK, 'BLHK'),
            constrain(key_BSHK, 'BSHK'),
            constrain(value_BSHK, 'BSHK'),
            where.documents_BL,
        )
        context_BLHK = constrain(context_BLHK, 'BLHK')
        return self.dense('output', 'BLHK,HKD->BLD')(context_BLHK)

    def project(self, x_BLD: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries, keys and values, [B, L, H, K] each."""
        if self.model.fused_qkv:
            qkv_BLGHK = constrain(self.dense('qkv', 'BLD,DGHK->BLGHK')(x_BLD), 'BLGHK')
            query_BLHK, key_BSHK, value_BSHK = _parts(qkv_BLGHK)
        else:
            names = ('query', 'key', 'value')
            query_BLHK, key_BSHK, value_BSHK = (
                self.dense(name, 'BLD,DHK->BLHK')(x_BLD) for name in names
            )
        return query_BLHK, key_BSHK, value_BSHK

    def dense(self, name: str, equation: str) -> Dense:
        """One of the linear maps."""
        D, H, K = self.shape.hidden_size, self.shape.num_heads, self.shape.head_size
        sizes = {'D': D, 'H': H, 'K': K, 'G': 3}
        return encoder_dense(self.model, name, equation, sizes)

    def head_norm(self, name: str) -> RMSNorm:
        """Of each head's queries or keys."""
        return RMSNorm(self.model.layer_norm_epsilon, self.dtype, name=name)


def _parts(x_BLG: jax.Array) -> tuple[jax.Array, ...]:
    """[B, L, G, ...] -> G arrays, whose gradients are put together in one piece."""
    parts = jnp.split(x_BLG, x_BLG.shape[2], axis=2)
    return tuple(jnp.squeeze(part, axis=2) for part in parts)


def encoder_dense(
    model: ModelConfig,
    name: str,
    equation: str,
    sizes: dict[str, int],
    activation: Callable[[jax.Array], jax.Array] | None = None,
) -> Dense:
    """A linear map of an encoder's layers, BERT's start."""
    init = truncated_normal(model.init_stddev)
    return Dense(equation, sizes, model, init, model.biases, activation, name=name)


class FeedForward(nn.Module):
    """Two dense maps around an exact GELU, or a gate by one (`config.model.feed_forward`)."""

    model: ModelConfig
    shape: EncoderShape
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """[B, L, D] -> [B, L, D]."""
        sizes = {'D': self.shape.hidden_size, 'F': self.shape.ffn_size, 'G': 2}
        dense = functools.partial(encoder_dense, self.model)
        if self.model.feed_forward == 'geglu':
            y_BLGF = dense('gate_up', 'BLD,DGF->BLGF', sizes)(x_BLD)
            return self.down(_geglu)(constrain(y_BLGF, 'BLGF'))
        return self.down(_gelu)(dense('up', 'BLD,DF->BLF', sizes)(x_BLD))

    def down(self, activation: Callable[[jax.Array], jax.Array]) -> Dense:
        """The second map, of what `activation` makes of the first one's result."""
        sizes = {'D': self.shape.hidden_size, 'F': self.shape.ffn_size}
        return encoder_dense(self.model, 'down', 'BLF,FD->BLD', sizes, activation)


def _gelu(x_BLF: jax.Array) -> jax.Array:
    return constrain(gelu(x_BLF), 'BLF')


def _geglu(x_BLGF: jax.Array) -> jax.Array:
    return constrain(geglu(*_parts(x_BLGF)), 'BLF')


class Layer(nn.Module):
    """Attention and feed-forward, each with a residual and a norm.

    'post': x = norm(x + f(x)), as BERT and the paper; 'pre': x = x + f(norm(x)).
    """

    model: ModelConfig
    shape: EncoderShape
    dtype: jnp.dtype
    sight: Sight
    show_input: bool  # hand out what went in, too

    @nn.compact
    def __call__(self, x_BLD: jax.Array, where: Where) -> tuple[jax.Array, jax.Array | None]:
        """One step of the scan: the carried activations, and what the layer was given."""
        parts = (self.model, self.shape, self.dtype)
        attend = Attention(*parts, self.sight, name='attention')
        wide = FeedForward
        if REMAT_POLICIES[self.model.remat].feed_forward:
            wide = nn.remat(wide, prevent_cse=False)
        feed_forward = wide(*parts, name='feed_forward')
        shown_BLD = x_BLD if self.show_input else None
        x_BLD = self.sublayer('attention', x_BLD, lambda y_BLD: attend(y_BLD, where))
        x_BLD = self.sublayer('feed_forward', x_BLD, feed_forward)
        return constrain(x_BLD, 'BLD'), shown_BLD

    def sublayer(self, name: str, x_BLD: jax.Array, function: Callable) -> jax.Array:
        """Residual, dropout and norm around `function`."""
        norm = make_norm(self.model, self.dtype, f'{name}_norm')
        drop = Dropout(self.model.dropout, self.model.dropout_bits, name=f'{name}_dropout')
        if self.model.norm == 'pre':
            return x_BLD + drop(function(norm(x_BLD)))
        return norm(x_BLD + drop(function(x_BLD)))


class Group(nn.Module):
    """Consecutive layers, the first of which is global and the others local; or a local one alone.

    The unit that is scanned where layers differ in what they see, which a kernel must know when it
    is compiled.
    """

    model: ModelConfig
    shape: EncoderShape
    dtype: jnp.dtype
    side: str
    show_input: bool
    layer: type[nn.Module]
    size: int

    @nn.compact
    def __call__(self, x_BLD: jax.Array, where: Where) -> tuple[jax.Array, jax.Array | None]:
        """One step of the scan; what is shown is the last layer's input."""
        shown_BLD = None
        for number in range(self.size):
            is_global = number == 0 and self.model.global_every > 0
            sight = Sight(self.side, None if is_global else self.model.local_window)
            parts = (self.model, self.shape, self.dtype, sight, self.show_input)
            x_BLD, shown_BLD = self.layer(*parts, name=str(number))(x_BLD, where)
        return x_BLD, shown_BLD


def _to_groups(size: int, variables: dict) -> dict:
    """Parameters [N, ...] of layers -> by place in a group, [N / size, ...] each."""
    if not variables.get('params'):
        return variables
    grouped = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), variables['params'])
    return {'params': {str(i): jax.tree.map(lambda x, i=i: x[:, i], grouped) for i in range(size)}}


def _from_groups(size: int, variables: dict) -> dict:
    """The inverse of `_to_groups`."""
    parts = [variables['params'][str(i)] for i in range(size)]

    def weave(*leaves: jax.Array) -> jax.Array:
        return jnp.stack(leaves, axis=1).reshape(-1, *leaves[0].shape[1:])

    return {'params': jax.tree.map(weave, *parts)}


class Stack(nn.Module):
    """N layers whose parameters are stacked along a leading axis."""

    model: ModelConfig
    shape: EncoderShape
    dtype: jnp.dtype
    side: str = 'document'  # of its document that a token sees: a key of ops.sight.SIDES

    @nn.compact
    def __call__(
        self,
        x_BLD: jax.Array,
        documents_BL: jax.Array,
        positions_BL: jax.Array,
        show_last_input: bool = False,
    ) -> tuple[jax.Array, jax.Array | None]:
        """[B, L, D] -> [B, L, D] in the compute dtype, and the last layer's input if asked for."""
        turns = None
        if self.model.positions == 'rotary':
            turns = rotary.turns(positions_BL, self.shape.head_size, self.model.rotary_base)
        x_BLD = constrain(x_BLD, 'BLD')
        x_BLD, inputs_NBLD = self.layers(show_last_input)(x_BLD, Where(documents_BL, turns))
        if self.model.norm == 'pre':
            x_BLD = make_norm(self.model, self.dtype, 'norm')(x_BLD)
        return x_BLD, inputs_NBLD[-1] if show_last_input else None

    def layers(self, show_inputs: bool) -> nn.Module:
        """The scan: compile time does not grow with N unless it is unrolled."""
        layer = Layer
        keeps = REMAT_POLICIES[self.model.remat].keeps
        if keeps is not None:
            layer = nn.remat(layer, policy=keeps, prevent_cse=False)
        parts = (self.model, self.shape, self.dtype)
        if self.model.local_window is None:
            return self.scan(layer, 1)(*parts, Sight(self.side), show_inputs, name='layers')
        size = min(self.model.global_every or 1, self.shape.num_layers)
        # A tied encoder is called twice; its second call finds parameters to take apart.
        makes = self.is_initializing() and not self.has_variable('params', 'layers')
        stack = nn.map_variables(
            self.scan(Group, size),
            'params',
            trans_in_fn=functools.partial(_to_groups, size),
            trans_out_fn=functools.partial(_from_groups, size),
            init=makes,
            mutable=makes,
        )
        return stack(*parts, self.side, show_inputs, layer, size, name='layers')

    def scan(self, module: type[nn.Module], layers_each: int) -> type[nn.Module]:
        """`module`, of so many layers, repeated until there are N."""
        times = self.shape.num_layers // layers_each
        return nn.scan(
            module,
            variable_axes={'params': 0},
            split_rngs={'params': True, 'dropout': True},
            in_axes=nn.broadcast,
            length=times,
            unroll=max(1, min(self.model.scan_unroll // layers_each, times)),
        )


class Encoder(Stack):
    """Embeddings, brought to the model's width, through the stack."""

    @nn.compact
    def __call__(
        self,
        x_BLE: jax.Array,
        documents_BL: jax.Array,
        positions_BL: jax.Array,
        show_last_input: bool = False,
    ) -> tuple[jax.Array, jax.Array | None]:
        """[B, L, E] embeddings -> the results of `Stack`."""
        x_BLE = Dropout(self.model.dropout, self.model.dropout_bits, name='dropout')(x_BLE)
        D, E = self.shape.hidden_size, x_BLE.shape[-1]
        if D != E:
            init = nn.initializers.glorot_uniform()
            sizes = {'E': E, 'D': D}
            project = Dense(
                'BLE,ED->BLD', sizes, self.model, init, self.model.biases, name='project'
            )
            x_BLE = project(x_BLE)
        return super().__call__(x_BLE, documents_BL, positions_BL, show_last_input)
