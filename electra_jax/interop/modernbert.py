"""transformers' ModernBert classes: a pre-norm block with rotary positions and gated layers.

Their block has all of ours that can be written in its form without changing a number: separate
queries, keys and values are one map there; a feed-forward without a gate is one whose gate is
always 1; biases that a model has not are zero.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.config import shapes
from electra_jax.config.settings import ModelConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import Tree
from electra_jax.interop import names
from electra_jax.interop.family import Family
from electra_jax.interop.files import CONFIG_FILE, Network

_KINDS = ('full_attention', 'sliding_attention')
# Where nothing is stated, by kind of layer; and an older name of the setting.
_BASES = {'full_attention': 160_000.0, 'sliding_attention': 10_000.0}
_OLD_BASES = {'full_attention': 'global_rope_theta', 'sliding_attention': 'local_rope_theta'}
_WINDOW = 128  # tokens that a local layer sees, where nothing is stated


# ---------------------------------------------------------------------------------------------
# Reading


def _head_of(network: Network) -> str | None:
    """By the class that config.json names: several have tensors of the same names."""
    named = network.config.get('architectures')
    heads = {theirs: head for head, (theirs, _) in reversed(FAMILY.heads.items())}
    if named == [FAMILY.bare]:
        return None
    if not isinstance(named, list) or len(named) != 1 or str(named[0]) not in heads:
        allowed = ', '.join([FAMILY.bare, *heads])
        raise CheckpointError(
            f'{CONFIG_FILE}: architectures is {named!r:.80}, allowed: one of {allowed}'
        )
    name = str(named[0])
    if name == FAMILY.name('tagging'):
        outputs = np.size(network.arrays.get('classifier.bias', ()))
        return 'discriminator_head' if outputs == 1 else 'tagging'
    return heads[name]


def _block(networks: Sequence[Network]) -> dict[str, Any]:
    """Our settings of the block, which all networks must have alike."""
    stated = [_sight(network) for network in networks]
    for one in stated[1:]:
        for name, value in one.items():
            if value != stated[0][name]:
                raise CheckpointError(
                    f'the two networks differ: config.model.{name} would be {stated[0][name]!r} '
                    f'and {value!r}'
                )
    return {
        **stated[0],
        'norm': 'pre',
        'positions': 'rotary',
        'biases': any(map(_has_biases, networks)),
        'feed_forward': 'geglu' if any(map(_has_gates, networks)) else 'gelu',
        'fused_qkv': True,
        'skip_first_norm': True,
        'type_vocab_size': 0,
        'discriminator_head_norm': True,
        'embedding_size': networks[0].config['hidden_size'],
    }


def _sight(network: Network) -> dict[str, Any]:
    """What each layer sees, and the bases of its positions."""
    config, N = network.config, network.config['num_hidden_layers']
    kinds = config.get('layer_types')
    if kinds is None:
        kinds = _kinds(int(_number(config, 'global_attn_every_n_layers', 3)), N)
    every = next((n for n in range(N + 1) if kinds == _kinds(n, N)), None)
    if every is None:
        raise CheckpointError(
            f'{CONFIG_FILE}: layer_types is {kinds!r:.200}, allowed: every n-th layer from the '
            'first is full_attention, or none is'
        )
    is_local = 'sliding_attention' in kinds
    if is_local and every and N % every and every < N:
        raise CheckpointError(
            f'{CONFIG_FILE}: every {every}th of {N} layers is full_attention; our encoder repeats '
            f'groups of {every} layers, so {N} must be a multiple of {every}'
        )
    bases = {kind: _base(config, kind) for kind in _KINDS}
    wide, near = bases.values()
    return {
        'local_window': int(_number(config, 'local_attention', _WINDOW)) // 2 if is_local else None,
        'global_every': every if is_local else 3,
        'rotary_base': wide if 'full_attention' in kinds else near,
        'local_rotary_base': near if is_local and near != wide else None,
    }


def _kinds(every: int, N: int) -> list[str]:
    """The kinds of N layers, of which each `every`-th sees its whole text; 0: none does."""
    return [_KINDS[bool(i % every) if every else True] for i in range(N)]


def _base(config: Mapping[str, Any], kind: str) -> float:
    """The base of a kind of layer, by its newer or its older name, or where neither is there."""
    parameters = config.get('rope_parameters') or {}
    stated = parameters.get(kind, {}) if isinstance(parameters, dict) else parameters
    is_plain = isinstance(stated, dict) and stated.get('rope_type', 'default') == 'default'
    if not is_plain or config.get('rope_scaling'):
        raise CheckpointError(
            f'{CONFIG_FILE}: positions are scaled (rope_parameters, rope_scaling), allowed: '
            "rope_type 'default'"
        )
    default = _BASES[kind]
    if config.get(_OLD_BASES[kind]) is not None:
        default = _number(config, _OLD_BASES[kind], default)
    return float(_number(stated, 'rope_theta', default))


def _number(config: Mapping[str, Any], name: str, default: float) -> float:
    value = config.get(name, default)
    if not isinstance(value, int | float) or not 1 <= value < 1e12:
        raise CheckpointError(f'{CONFIG_FILE}: {name} is {value!r:.60}, allowed: numbers from 1')
    return value


def _has_biases(network: Network) -> bool:
    """Whether a bias of the encoder changes a number; those of a gate that is 1 are not counted."""
    for name, x in network.arrays.items():
        if not name.endswith('.bias') or name.startswith(('head.', 'classifier.', 'decoder.')):
            continue
        layer = name.removesuffix('.bias')
        if layer.endswith('mlp.Wi') and not _is_gate(network.arrays, layer):
            x = np.split(x, 2)[0]
        if np.any(x):
            return True
    return False


def _is_gate(arrays: Mapping[str, np.ndarray], layer: str) -> bool:
    """Whether the gate of a feed-forward is ever anything but 1."""
    kernel, bias = arrays[f'{layer}.weight'], arrays.get(f'{layer}.bias')
    if bias is None or np.ndim(bias) != 1 or len(bias) % 2 or np.shape(kernel)[:1] != bias.shape:
        return True
    return bool(np.any(np.split(kernel, 2)[1])) or bool(np.any(np.split(bias, 2)[1] != 1))


def _has_gates(network: Network) -> bool:
    layers = [n.removesuffix('.weight') for n in network.arrays if n.endswith('mlp.Wi.weight')]
    return any(_is_gate(network.arrays, layer) for layer in layers)


def _arrays(network: Network) -> dict[str, np.ndarray]:
    """The tensors, and zeros for biases that the settings leave out."""
    arrays, head = dict(network.arrays), _head_of(network)
    N = network.config['num_hidden_layers']
    for part in FAMILY.parts(head):
        for row in part.rows:
            if row.ours.endswith('bias'):
                for name in part.names(row, N):
                    weight = name.removesuffix('bias') + 'weight'
                    if name == 'decoder.bias':
                        weight = FAMILY.prefix + 'embeddings.tok_embeddings.weight'
                    if name not in arrays and weight in arrays:
                        arrays[name] = np.zeros(np.shape(arrays[weight])[:1], np.float32)
    return arrays


def _folded(params: dict[str, Tree], model: ModelConfig) -> dict[str, Tree]:
    """What was read, as its model has it: without gates and biases that change nothing."""
    return {
        name: part if name.endswith('_head') else _without(part, model)
        for name, part in params.items()
    }


def _without(part: Tree, model: ModelConfig) -> Tree:
    kept = {}
    for name, value in part.items():
        if name == 'gate_up' and model.feed_forward == 'gelu':
            kept['up'] = _without({k: x.take(0, axis=-2) for k, x in value.items()}, model)
        elif isinstance(value, dict):
            kept[name] = _without(value, model)
        elif model.biases or name != 'bias':
            kept[name] = value
    return kept


# ---------------------------------------------------------------------------------------------
# Writing


def _written_out(params: Mapping[str, Tree]) -> dict[str, Tree]:
    """The parameters of one network with every map and every bias of ModernBERT's block."""
    layers = dict(params['discriminator']['layers'])
    attention = dict(layers['attention'])
    if 'qkv' not in attention:
        maps = [attention.pop(name) for name in ('query', 'key', 'value')]
        attention['qkv'] = {
            name: np.stack([np.asarray(one[name]) for one in maps], axis=-3) for name in maps[0]
        }
    attention = {
        name: _biased(one, 2 if name == 'output' else 1) for name, one in attention.items()
    }
    feed_forward = dict(layers['feed_forward'])
    if 'up' in feed_forward:
        up = _biased(feed_forward.pop('up'), 1)
        gate = {'kernel': np.zeros_like(up['kernel']), 'bias': np.ones_like(up['bias'])}
        feed_forward['gate_up'] = {name: np.stack([up[name], gate[name]], axis=-2) for name in up}
    layers |= {
        'attention': attention,
        'feed_forward': {name: _biased(one, 1) for name, one in feed_forward.items()},
        **{name: _biased(norm, 0) for name, norm in layers.items() if name.endswith('_norm')},
    }
    embeddings, encoder = params['embeddings'], params['discriminator']
    return {
        **params,
        'embeddings': {**embeddings, 'norm': _biased(embeddings['norm'], 0)},
        'discriminator': {**encoder, 'layers': layers, 'norm': _biased(encoder['norm'], 0)},
    }


def _biased(one: Tree, inputs: int) -> Tree:
    """A norm (no inputs), or stacked dense maps that sum over so many letters, with a bias."""
    one = {name: np.asarray(x) for name, x in one.items()}
    if 'bias' in one:
        return one
    shape = one['kernel'].shape if inputs else one['scale'].shape
    shape = (*shape[:1], *shape[1 + inputs :]) if inputs else shape
    return {**one, 'bias': np.zeros(shape, np.float32)}


def _others(model: ModelConfig) -> dict[str, Any]:
    """Settings in which a model differs from ModernBERT's block -> the value there."""
    wanted = {
        'norm': 'pre',
        'norm_type': 'layer',
        'positions': 'rotary',
        'qk_norm': False,
        'skip_first_norm': True,
        'type_vocab_size': 0,
        'embedding_size': model.hidden_size,
    }
    return {name: value for name, value in wanted.items() if getattr(model, name) != value}


def _no_place(model: ModelConfig) -> dict[str, str]:
    found = {}
    if not model.discriminator_head_norm:
        found['discriminator_head'] = (
            'ModernBERT has a norm in it; a model that is pre-trained with '
            '--config.model.discriminator_head_norm=true has one, too'
        )
    E, D = shapes.generator_embedding_size(model), shapes.generator_shape(model).hidden_size
    if model.generator == 'separate' and E != D:
        why = f'its embeddings have {E} numbers and its layers {D}, in ModernBERT both have as many'
        found |= dict.fromkeys(('generator', 'generator_embeddings', 'generator_head'), why)
    return found


def _stated(params: Mapping[str, Tree], model: ModelConfig, head: str | None) -> dict[str, Any]:
    qkv_NDGHK = params['discriminator']['layers']['attention']['qkv']['kernel']
    down_NFD = params['discriminator']['layers']['feed_forward']['down']['kernel']
    N, D, _, H, _ = qkv_NDGHK.shape
    every = 1 if model.local_window is None else model.global_every
    wide, near = model.rotary_base, model.local_rotary_base or model.rotary_base
    return {
        'num_hidden_layers': N,
        'hidden_size': D,
        'num_attention_heads': H,
        'intermediate_size': down_NFD.shape[1],
        'max_position_embeddings': model.max_positions,
        'layer_types': _kinds(min(every, N), N),
        'local_attention': 2 * (model.local_window or _WINDOW // 2),
        'rope_parameters': {
            kind: {'rope_type': 'default', 'rope_theta': base}
            for kind, base in zip(_KINDS, (wide, near), strict=True)
        },
        'mlp_dropout': model.dropout,
        **dict.fromkeys(
            ('norm_bias', 'attention_bias', 'mlp_bias', 'classifier_bias', 'decoder_bias'), True
        ),
        'hidden_activation': 'gelu',
        'classifier_activation': 'gelu',
        **({'id2label': {'0': 'replaced'}, 'label2id': {'replaced': 0}}
           if head == 'discriminator_head' else {}),
    }  # fmt: skip


FAMILY = Family(
    bare='ModernBertModel',
    prefix='model.',
    embeddings=names.MODERN_EMBEDDINGS,
    encoder=names.MODERN_ENCODER,
    heads=names.MODERN_HEADS,
    layer=r'layers\.(\d+)\.',
    softmax='decoder',
    sizes={'max_position_embeddings': 'max_positions'},
    numbers={
        'embedding_dropout': ('dropout', 0.0),
        'attention_dropout': ('attention_dropout', 0.0),
        'norm_eps': ('layer_norm_epsilon', 1e-5),
        'initializer_range': ('init_stddev', 0.02),
    },
    expected={
        'model_type': 'modernbert',
        'hidden_activation': 'gelu',
        'classifier_activation': 'gelu',
        'head_dim': None,
        'is_decoder': False,
        'quantization_config': None,
    },
    known=frozenset({
        *('layer_types', 'global_attn_every_n_layers', 'local_attention', 'rope_parameters'),
        *('rope_theta', 'rope_scaling', *_OLD_BASES.values(), 'classifier_pooling'),
        *('norm_bias', 'attention_bias', 'mlp_bias', 'classifier_bias', 'decoder_bias'),
        # Of training there; of its kernels; of its own start.
        *('mlp_dropout', 'sparse_prediction', 'sparse_pred_ignore_index', 'reference_compile'),
        *('repad_logits_with_grad', 'deterministic_flash_attn', 'initializer_cutoff_factor'),
        *('position_embedding_type', 'layer_norm_eps'),
    }),
    head_dropout=('classifier_dropout', 0.0),
    head_of=_head_of,
    block=_block,
    arrays=_arrays,
    folded=_folded,
    written_out=_written_out,
    others=_others,
    no_place=_no_place,
    stated=_stated,
    head_styles={
        'modernbert': {'classifier_pooling': 'mean'},
        'modernbert_cls': {'classifier_pooling': 'cls'},
    },
    # Of a row's beginning and end.
    token_ids={'pad': 'pad', 'cls': 'cls', 'sep': 'sep', 'bos': 'cls', 'eos': 'sep'},
    has_types=False,
)  # fmt: skip
