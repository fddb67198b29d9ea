"""The transformer encoder: a stack of equal layers, scanned."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config.settings import ModelConfig
from electra_jax.config.shapes import EncoderShape
from electra_jax.core.dims import constrain
from electra_jax.model.layers import Dense, Dropout, Norm, make_norm, truncated_normal
from electra_jax.ops import rotary
from electra_jax.ops.activations import geglu, gelu
from electra_jax.ops.attention import attention
from electra_jax.ops.dropout import Drop
from electra_jax.ops.sight import Operands, Sight


class Remat(NamedTuple):
    """What the backward pass computes again."""

    keeps: Callable | None = None  # which values of a layer are kept; None: all but those below
    attention: bool = False  # scores and probabilities are computed again
    feed_forward: bool = False  # the first dense map and the activation are


REMAT_POLICIES: dict[str, Remat] = {
    'none': Remat(),
    'attention': Remat(attention=True),
    'feed_forward': Remat(feed_forward=True),
    'both': Remat(attention=True, feed_forward=True),
    'dots': Remat(jax.checkpoint_policies.dots_with_no_batch_dims_saveable),
    'full': Remat(jax.checkpoint_policies.nothing_saveable),
}


class Positions(NamedTuple):
    """Where each token is, the same for all layers."""

    documents_BL: jax.Array
    # By the layer's sight: 'global', 'local'. Empty: positions are learned, and in the embeddings.
    rotations: Mapping[str, rotary.Rotation]


class Block(nn.Module):
    """What attention and feed-forward have: a model, an encoder's shape, and linear maps of it."""

    model: ModelConfig
    shape: EncoderShape

    def dense(
        self,
        name: str,
        equation: str,
        G: int = 1,
        activation: Callable[[jax.Array], jax.Array] | None = None,
    ) -> Dense:
        """A linear map, of `G` maps in one, that starts as BERT's."""
        shape = self.shape
        D, H, K, F = shape.hidden_size, shape.num_heads, shape.head_size, shape.ffn_size
        sizes = {'D': D, 'H': H, 'K': K, 'F': F, 'G': G}
        init = truncated_normal(self.model.init_stddev)
        return Dense(equation, sizes, self.model, init, self.model.biases, activation, name=name)

    def normalized(self, name: str, x_BLHK: jax.Array) -> jax.Array:
        """Queries or keys, by their `name`, each head's normalized where the model does so."""
        if not self.model.qk_norm:
            return x_BLHK
        return Norm(self.model, centred=False, biased=False, name=f'{name}_norm')(x_BLHK)

    def drop_probs(self) -> Drop:
        """Dropout on this call's attention probabilities."""
        dropout = Dropout(self.model.attention_dropout, self.model.dropout_bits, name='dropout')
        return Drop(dropout.rate, dropout.key(), dropout.bits)


class Attention(Block):
    """Self-attention with its output projection."""

    sight: Sight

    @nn.compact
    def __call__(self, x_BLD: jax.Array, positions: Positions) -> jax.Array:
        """[B, L, D] -> [B, L, D], each token seeing its own document, or a part of it."""
        query_BLHK, key_BSHK, value_BSHK = self.operands(x_BLD, positions)
        attend: Callable[[Operands], jax.Array]
        attend = functools.partial(
            attention, self.model.attention, sight=self.sight, drop=self.drop_probs()
        )
        if REMAT_POLICIES[self.model.remat].attention:
            attend = jax.checkpoint(attend, prevent_cse=False)
        operands = Operands(
            constrain(query_BLHK, 'BLHK'),
            constrain(key_BSHK, 'BSHK'),
            constrain(value_BSHK, 'BSHK'),
            positions.documents_BL,
        )
        context_BLHK = attend(operands)
        return self.dense('output', 'BLHK,HKD->BLD')(constrain(context_BLHK, 'BLHK'))

    def operands(self, x_BLD: jax.Array, positions: Positions) -> tuple[jax.Array, ...]:
        """Queries, keys and values as attention compares them."""
        query_BLHK, key_BSHK, value_BSHK = self.project(x_BLD)
        query_BLHK = self.normalized('query', query_BLHK)
        key_BSHK = self.normalized('key', key_BSHK)
        rotation = positions.rotations.get('global' if self.sight.window is None else 'local')
        if rotation is not None:
            query_BLHK = rotary.rotate(query_BLHK, rotation)
            key_BSHK = rotary.rotate(key_BSHK, rotation)
        return query_BLHK, key_BSHK, value_BSHK

    def project(self, x_BLD: jax.Array) -> tuple[jax.Array, ...]:
        """Queries, keys and values, [B, L, H, K] each."""
        if self.model.fused_qkv:
            qkv_BLGHK = self.dense('qkv', 'BLD,DGHK->BLGHK', G=3)(x_BLD)
            return _parts(constrain(qkv_BLGHK, 'BLGHK'))
        names = ('query', 'key', 'value')
        return tuple(self.dense(name, 'BLD,DHK->BLHK')(x_BLD) for name in names)


def _parts(x_BLG: jax.Array) -> tuple[jax.Array, ...]:
    """[B, L, G, ...] -> G arrays, whose gradients are put together in one piece."""
    parts = jnp.split(x_BLG, x_BLG.shape[2], axis=2)
    return tuple(jnp.squeeze(part, axis=2) for part in parts)


class FeedForward(Block):
    """Two dense maps around an exact GELU, or a gate by one (`config.model.feed_forward`)."""

    @nn.compact
    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """[B, L, D] -> [B, L, D]."""
        if self.model.feed_forward == 'geglu':
            y_BLGF = constrain(self.dense('gate_up', 'BLD,DGF->BLGF', G=2)(x_BLD), 'BLGF')
            return self.dense('down', 'BLF,FD->BLD', activation=_geglu)(y_BLGF)
        y_BLF = self.dense('up', 'BLD,DF->BLF')(x_BLD)
        return self.dense('down', 'BLF,FD->BLD', activation=_gelu)(y_BLF)


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
    sight: Sight

    @nn.compact
    def __call__(
        self, x_BLD: jax.Array, positions: Positions, is_normalized: jax.Array | bool
    ) -> tuple[jax.Array, jax.Array]:
        """One step of the scan: the carried activations, and what the layer was given.

        `is_normalized`: whether a norm has just made `x_BLD`; a scalar.
        """
        given_BLD = x_BLD
        attend = Attention(self.model, self.shape, self.sight, name='attention')
        skip = is_normalized if self.model.skip_first_norm else None
        x_BLD = self.sublayer('attention', x_BLD, lambda y_BLD: attend(y_BLD, positions), skip)
        x_BLD = self.sublayer('feed_forward', x_BLD, self.make_feed_forward())
        return constrain(x_BLD, 'BLD'), given_BLD

    def make_feed_forward(self) -> FeedForward:
        """The second sublayer, of which the backward pass computes again what remat names."""
        made = FeedForward
        if REMAT_POLICIES[self.model.remat].feed_forward:
            made = nn.remat(made, prevent_cse=False)
        return made(self.model, self.shape, name='feed_forward')

    def sublayer(
        self,
        name: str,
        x_BLD: jax.Array,
        function: Callable,
        skip_norm: jax.Array | bool | None = None,
    ) -> jax.Array:
        """Residual, dropout and norm around `function`."""
        norm = make_norm(self.model, f'{name}_norm')
        drop = Dropout(self.model.dropout, self.model.dropout_bits, name=f'{name}_dropout')
        if self.model.norm == 'pre':
            y_BLD = norm(x_BLD)
            if skip_norm is not None:
                y_BLD = jnp.where(skip_norm, x_BLD, y_BLD)
            return x_BLD + drop(function(y_BLD))
        return norm(x_BLD + drop(function(x_BLD)))


class Group(nn.Module):
    """Consecutive layers, the first of which is global and the others local; or a local one alone.

    The unit that is scanned where layers differ in what they see, which a kernel must know when it
    is compiled.
    """

    model: ModelConfig
    shape: EncoderShape
    side: str
    layer: type[nn.Module]
    size: int

    @nn.compact
    def __call__(
        self, x_BLD: jax.Array, positions: Positions, is_normalized: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """One step of the scan: the carried activations, and what the last layer was given."""
        given_BLD = x_BLD
        for number in range(self.size):
            is_global = number == 0 and self.model.global_every > 0
            sight = Sight(self.side, None if is_global else self.model.local_window)
            layer = self.layer(self.model, self.shape, sight, name=str(number))
            x_BLD, given_BLD = layer(x_BLD, positions, is_normalized if number == 0 else False)
        return x_BLD, given_BLD


def _to_groups(size: int, variables: dict) -> dict:
    """Parameters [N, ...] of layers -> by position in a group, [N / size, ...] each."""
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


def draws_numbers(module: nn.Module) -> bool:
    """Whether layers draw initial parameters or dropout.

    A scan that checks which of its values are constant traces each layer twice, and the numbers
    drawn depend on that. So a scan that draws keeps the check; others trace their layer once.
    """
    return module.is_initializing() or module.has_rng('dropout')


class Stack(nn.Module):
    """N layers whose parameters are stacked along a leading axis."""

    model: ModelConfig
    shape: EncoderShape
    side: str = 'document'  # of its document that a token sees: a key of ops.sight.SIDES
    follows_norm: bool = False  # whether a norm has made what the first layer reads

    @nn.compact
    def __call__(
        self, x_BLD: jax.Array, batch: Mapping[str, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        """[B, L, D] -> [B, L, D] in the compute dtype, and the last layer's input [B, L, D].

        Where a caller ignores that input, the compiler drops it from the scan: it costs nothing.
        """
        positions = Positions(batch['documents'], self.rotations(batch['positions']))
        layers, times = self.layers()
        is_normalized = (jnp.arange(times) == 0) & self.follows_norm
        x_BLD, inputs_NBLD = layers(constrain(x_BLD, 'BLD'), positions, is_normalized)
        if self.model.norm == 'pre':
            x_BLD = make_norm(self.model, 'norm')(x_BLD)
        return x_BLD, inputs_NBLD[-1]

    def rotations(self, positions_BL: jax.Array) -> dict[str, rotary.Rotation]:
        """How far queries and keys are turned, by the sight of the layer."""
        model, K = self.model, self.shape.head_size
        if model.positions != 'rotary':
            return {}
        wide = near = rotary.rotation(positions_BL, K, model.rotary_base)
        if model.local_rotary_base is not None:
            near = rotary.rotation(positions_BL, K, model.local_rotary_base)
        return {'global': wide, 'local': near}

    def layers(self) -> tuple[nn.Module, int]:
        """The scan, and its number of steps: compile time does not grow with N unless unrolled."""
        layer = Layer
        keeps = REMAT_POLICIES[self.model.remat].keeps
        if keeps is not None:
            layer = nn.remat(layer, policy=keeps, prevent_cse=False)
        model, shape = self.model, self.shape
        if model.local_window is None:
            scan = self.scan(layer, 1)
            return scan(model, shape, Sight(self.side), name='layers'), shape.num_layers
        size = min(model.global_every or 1, shape.num_layers)
        # A tied encoder runs twice during init; the second run reuses the parameters of the first.
        makes = self.is_mutable_collection('params') and not self.has_variable('params', 'layers')
        stack = nn.map_variables(
            self.scan(Group, size),
            'params',
            trans_in_fn=functools.partial(_to_groups, size),
            trans_out_fn=functools.partial(_from_groups, size),
            init=makes,
            mutable=makes,
        )
        layers = stack(model, shape, self.side, layer, size, name='layers')
        return layers, shape.num_layers // size

    def scan(self, module: type[nn.Module], layers_each: int) -> type[nn.Module]:
        """`module`, of so many layers, repeated until there are N."""
        times = self.shape.num_layers // layers_each
        return nn.scan(
            module,
            variable_axes={'params': 0},
            split_rngs={'params': True, 'dropout': True},
            in_axes=(nn.broadcast, 0),
            length=times,
            unroll=max(1, min(self.model.scan_unroll // layers_each, times)),
            check_constancy_invariants=draws_numbers(self),
        )


class Encoder(Stack):
    """Embeddings, brought to the model's width, through the stack."""

    follows_norm: bool = True  # that of the embeddings

    @nn.compact
    def __call__(
        self, x_BLE: jax.Array, batch: Mapping[str, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        """[B, L, E] embeddings -> the results of `Stack`."""
        return super().__call__(widened(self.model, x_BLE, self.shape.hidden_size), batch)


def widened(model: ModelConfig, x_BLE: jax.Array, D: int) -> jax.Array:
    """Embeddings with dropout, [B, L, D]; the layers made here are those of the calling module."""
    x, E = Dropout(model.dropout, model.dropout_bits, name='dropout')(x_BLE), x_BLE.shape[-1]
    if D == E:
        return x
    sizes, init = {'E': E, 'D': D}, nn.initializers.glorot_uniform()
    return Dense('BLE,ED->BLD', sizes, model, init, model.biases, name='project')(x)
