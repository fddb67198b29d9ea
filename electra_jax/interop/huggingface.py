"""Networks of transformers' Electra classes: their settings and tensors, and our parameters.

Needs neither transformers nor PyTorch; the files are in interop/files.py.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.config import resolve
from electra_jax.config.settings import ModelConfig
from electra_jax.core.errors import CheckpointError, ConfigError, unknown
from electra_jax.core.trees import Tree, named_leaves
from electra_jax.interop import names, transfer
from electra_jax.interop.files import CONFIG_FILE, Network
from electra_jax.interop.names import HUGGINGFACE
from electra_jax.interop.sizes import generator_scale, nearest_size
from electra_jax.interop.transfer import Report

# Their name of a size -> ours.
SIZES = {
    'num_hidden_layers': 'num_layers',
    'hidden_size': 'hidden_size',
    'intermediate_size': 'ffn_size',
    'num_attention_heads': 'num_heads',
    'embedding_size': 'embedding_size',
    'max_position_embeddings': 'max_positions',
    'type_vocab_size': 'type_vocab_size',
}
# Their name of a number that shapes do not show -> ours, and their default.
NUMBERS = {
    'hidden_dropout_prob': ('dropout', 0.1),
    'attention_probs_dropout_prob': ('attention_dropout', 0.1),
    'layer_norm_eps': ('layer_norm_epsilon', 1e-12),
    'initializer_range': ('init_stddev', 0.02),
}
# Settings that have only one value in our encoder; another value is refused.
EXPECTED = {
    'model_type': 'electra',
    'hidden_act': 'gelu',
    'position_embedding_type': 'absolute',
    'is_decoder': False,
    'add_cross_attention': False,
}
_LM_TABLE, _LM_BIAS = 'generator_lm_head.weight', 'generator_lm_head.bias'
_WORD_TABLE = 'electra.embeddings.word_embeddings.weight'
_LARGEST = 2**31 - 1
HEAD_ADVICE = (
    "transformers' class for that does not have: fine-tune with --config.task.head=huggingface to "
    'have a head that it has'
)


_Lone = tuple[dict[str, Tree], ModelConfig, Report]  # one network as a model of its own


def params_from_networks(
    networks: Mapping[str, Network], vocab_size: int | None = None
) -> tuple[dict[str, Tree], ModelConfig, Report]:
    """Our parameters from one network, or from a discriminator and its generator.

    A lone ElectraForMaskedLM becomes what our masked language modelling trains: an encoder under
    `discriminator`, with a `generator_head`.

    Args:
        networks: by role, one or both of `ROLES`, as `read` gives them.
        vocab_size: tokens of the vocabulary; the rows of the word table if not given.

    Returns:
        The parameters, float32; the model, resolved; and a report, which names what is missing.

    Raises:
        CheckpointError: a tensor is unknown, missing or of another shape, or the settings are of
            a model that ours cannot be.
    """
    alone = {role: _lone_params(network, vocab_size) for role, network in networks.items()}
    if len(alone) == 1:
        return next(iter(alone.values()))
    return _pair_params(alone['discriminator'], alone['generator'])


def _pair_params(discriminator: _Lone, generator: _Lone) -> _Lone:
    """Discriminator and generator as one model; where they are the same network, a tied one."""
    params, model, report = discriminator
    small_params, small, small_report = generator
    for field in ('max_positions', 'type_vocab_size'):
        _check_equal(field, getattr(model, field), getattr(small, field))
    if 'generator_head' not in small_params or 'generator_head' in params:
        raise CheckpointError(
            'the folder generator/ must hold an ElectraForMaskedLM, and discriminator/ must not'
        )
    head = small_params['generator_head']
    if _equal(small_params['discriminator'], params['discriminator']) and _equal(
        small_params['embeddings'], params['embeddings']
    ):
        settings: dict[str, Any] = {'generator': 'tied', 'generator_layers': 1.0}
        settings['generator_width'] = 1.0
        params = {**params, 'generator_head': head}
        report.notes.append('both networks have the same weights: config.model.generator=tied')
    else:
        params, settings = _join(params, model, small_params, small, report)
    report.missing = [part for part in report.missing if not part.startswith('generator')]
    report.left_out |= {f'generator: {n}': w for n, w in small_report.left_out.items()}
    report.notes += [f'generator: {note}' for note in small_report.notes]
    generator_rows = [
        moved._replace(ours=moved.ours.replace('discriminator', 'generator'), theirs='generator/')
        for moved in small_report.moved
    ]
    report.moved = [m._replace(theirs='discriminator/') for m in report.moved] + generator_rows
    return params, dataclasses.replace(model, **settings), report


def networks_from_params(
    params: Mapping[str, Tree],
    model: ModelConfig,
    vocab_size: int,
    pad_id: int = 0,
    task: str | None = None,
    labels: Sequence[str] | None = None,
) -> tuple[dict[str, Network], Report]:
    """The networks of our parameters: 'discriminator', 'generator', or both.

    Args:
        params: ours.
        model: of the parameters.
        vocab_size: tokens; rows that pad the vocabulary are not written.
        pad_id: id of the padding token.
        task: what a `task_head` without a hidden layer is for: a key of `names.TASK_HEADS`.
        labels: names of the outputs of a `task_head`.

    Returns:
        Networks by role, and a report that names the parts left out.

    Raises:
        CheckpointError: the networks are of a kind that transformers' classes are not.
        ConfigError: `task` is needed, or does not fit the head.
    """
    kept, report = transfer.keep_expressible(params, "transformers' Electra")
    architecture, head = _discriminator_class(kept, task)
    has_own = any(name in kept for name in ('generator', 'generator_ltr'))
    only_language = 'generator_head' in kept and not has_own and architecture == 'ElectraModel'
    _leave_generators(kept, report)
    known = {'embeddings', 'discriminator', *head}
    known |= {'generator_embeddings', 'generator', 'generator_head'}
    if set(kept) - known:
        raise CheckpointError(
            f'transformers has no counterpart for {transfer.listed(sorted(set(kept) - known))}'
        )
    networks = {}
    if not only_language:
        parts = {name: kept[name] for name in ('embeddings', 'discriminator', *head)}
        networks['discriminator'] = _network(parts, architecture, model, vocab_size, pad_id)
        if labels or 'task_head' in parts:
            networks['discriminator'].config.update(_label_settings(parts['task_head'], labels))
    if 'generator_head' in kept:
        parts = {
            'embeddings': kept.get('generator_embeddings', kept['embeddings']),
            'discriminator': kept.get('generator', kept['discriminator']),
            'generator_head': kept['generator_head'],
        }
        networks['generator'] = _network(parts, 'ElectraForMaskedLM', model, vocab_size, pad_id)
    for role, network in networks.items():
        numbers = sum(x.size for x in network.arrays.values())
        name = network.config['architectures'][0]
        report.moved.append(transfer.Moved(role, name, len(network.arrays), numbers))
    return networks, report


def _leave_generators(kept: dict[str, Tree], report: Report) -> None:
    """Removes from `kept` the generators that transformers has no class for; reports them."""
    if 'generator_ltr' in kept:
        for part in ('generator_ltr', 'generator_rtl', 'generator_head'):
            if kept.pop(part, None):
                report.left_out[part] = 'transformers has no generator of two towers'
    elif 'generator' in kept and 'generator_head' not in kept:
        del kept['generator']
        report.left_out['generator'] = 'it has no head to predict words with'


def architecture_of(arrays: Mapping[str, np.ndarray]) -> str:
    """Which of `names.HUGGINGFACE_PARTS` has tensors of these names."""
    heads = {
        'generator_predictions.dense.weight': 'ElectraForMaskedLM',
        'discriminator_predictions.dense.weight': 'ElectraForPreTraining',
        'classifier.out_proj.weight': 'ElectraForSequenceClassification',
        'classifier.weight': 'ElectraForTokenClassification',
        'qa_outputs.weight': 'ElectraForQuestionAnswering',
        # An encoder that was saved out of one of these classes: a discriminator without its head.
        _WORD_TABLE: 'ElectraForPreTraining',
    }
    return next((name for tensor, name in heads.items() if tensor in arrays), 'ElectraModel')


def task_of(network: Network) -> tuple[str | None, list[str] | None]:
    """The kind of task that a fine-tuned network is for, and the names of its outputs."""
    architecture, C = architecture_of(network.arrays), _num_labels(network.arrays)
    kinds = [kind for kind, name in names.CLASS_OF.items() if name == architecture]
    task = kinds[-1] if C == 1 else next(iter(kinds), None)
    labels = network.config.get('id2label')
    if not isinstance(labels, dict) or set(labels) != {str(i) for i in range(C)}:
        return task, None
    return task, [str(labels[str(i)]) for i in range(C)]


def _lone_params(network: Network, vocab_size: int | None) -> _Lone:
    """One network as a model of its own."""
    config, arrays = network.config, _without_tied_table(network.arrays, network.config)
    _check_config(config)
    architecture = architecture_of(arrays)
    is_language = architecture == 'ElectraForMaskedLM'
    model = _model(config, is_language)
    parts = names.HUGGINGFACE_PARTS[architecture]
    arrays, cropped = transfer.crop_vocabulary(
        arrays, parts, HUGGINGFACE, config['vocab_size'] if vocab_size is None else vocab_size
    )
    # A wrong number of layers would otherwise be a long list of missing names.
    _check_layers(arrays, model.num_layers)
    params, report = transfer.read_parts(
        arrays,
        parts,
        HUGGINGFACE,
        model,
        config['vocab_size'] if vocab_size is None else vocab_size,
        _num_labels(arrays),
    )
    if {'embeddings', 'discriminator'} & set(report.missing):
        raise CheckpointError('the source has no embeddings or no encoder of ELECTRA')
    if not is_language:
        report.missing += ['generator', 'generator_head']
    if 'discriminator_head' not in params and 'discriminator_head' not in report.missing:
        report.missing.append('discriminator_head')
    report.notes += [cropped] if cropped else []
    kinds = sorted({x.dtype.name for x in arrays.values()} - {'float32', 'int64'})
    report.notes += [f'{", ".join(kinds)} became float32'] if kinds else []
    return params, model, report


def _join(
    params: dict[str, Tree],
    model: ModelConfig,
    small_params: dict[str, Tree],
    small: ModelConfig,
    report: Report,
) -> tuple[dict[str, Tree], dict[str, Any]]:
    """Discriminator and generator as one tree, and the settings of the generator."""
    own = small_params['embeddings']
    joined = {
        **params,
        'generator': small_params['discriminator'],
        'generator_head': small_params['generator_head'],
    }
    settings = {
        'generator': 'separate',
        **generator_scale(_encoder(model), _encoder(small), 'generator/'),
    }
    if not _equal(own, params['embeddings']):
        joined['generator_embeddings'] = own
        settings |= {
            'embedding_sharing': 'untied',
            'generator_embedding_size': small.embedding_size,
        }
        report.notes.append(
            'the two networks have different embeddings: each keeps its own '
            '(config.model.embedding_sharing=untied)'
        )
    return joined, settings


def _discriminator_class(kept: Mapping[str, Tree], task: str | None) -> tuple[str, tuple[str, ...]]:
    """The class of the discriminator's network, and the part that is its head."""
    if 'task_head' not in kept:
        has_head = 'discriminator_head' in kept
        return (
            ('ElectraForPreTraining', ('discriminator_head',)) if has_head else ('ElectraModel', ())
        )
    head = kept['task_head']
    hidden = 'dense' in head
    task = task or ('classification' if hidden else None)
    if task not in names.TASK_HEADS:
        raise unknown('the task of task_head (--task_head)', str(task), names.TASK_HEADS)
    deep = task in ('classification', 'regression')
    if set(head) != ({'dense', 'output'} if deep else {'output'}):
        raise CheckpointError(
            f'the head for {task} has the layers {", ".join(sorted(head))}, which {HEAD_ADVICE}'
        )
    return names.CLASS_OF[task], ('task_head',)


def _network(
    params: Mapping[str, Tree], architecture: str, model: ModelConfig, vocab_size: int, pad_id: int
) -> Network:
    parts = names.HUGGINGFACE_PARTS[architecture]
    arrays, _ = transfer.write_parts(params, parts, HUGGINGFACE, vocab_size)
    query_NDHK = params['discriminator']['layers']['attention']['query']['kernel']
    up_NDF = params['discriminator']['layers']['feed_forward']['up']['kernel']
    embeddings = params['embeddings']
    config = {
        'architectures': [architecture],
        'model_type': EXPECTED['model_type'],
        'hidden_act': EXPECTED['hidden_act'],
        'vocab_size': vocab_size,
        'num_hidden_layers': query_NDHK.shape[0],
        'hidden_size': query_NDHK.shape[1],
        'num_attention_heads': query_NDHK.shape[2],
        'intermediate_size': up_NDF.shape[2],
        'embedding_size': embeddings['word'].shape[1],
        'max_position_embeddings': embeddings['position'].shape[0],
        'type_vocab_size': embeddings['type'].shape[0],
        **{theirs: getattr(model, ours) for theirs, (ours, _) in NUMBERS.items()},
        'pad_token_id': pad_id,
        'tie_word_embeddings': True,
        'dtype': 'float32',
    }
    return Network(config, arrays)


def _label_settings(head: Tree, labels: Sequence[str] | None) -> dict[str, Any]:
    C = head['output']['kernel'].shape[-1]
    labels = list(labels or [f'LABEL_{i}' for i in range(C)])
    if len(labels) != C:
        raise ConfigError(f'the task head has {C} outputs, but {len(labels)} labels were given')
    return {
        'id2label': {str(i): label for i, label in enumerate(labels)},
        'label2id': {label: i for i, label in enumerate(labels)},
        **({'problem_type': 'regression'} if C == 1 else {}),
    }


def _model(config: Mapping[str, Any], is_language: bool) -> ModelConfig:
    sizes = {ours: config[theirs] for theirs, ours in SIZES.items()}
    numbers = {ours: float(config.get(theirs, value)) for theirs, (ours, value) in NUMBERS.items()}
    settings = {**sizes, **numbers, 'norm': 'post'}
    if is_language:
        settings |= {'generator': 'tied', 'generator_layers': 1.0, 'generator_width': 1.0}
    else:
        settings |= {'generator': 'separate'}
    return resolve.model_of({'size': nearest_size(sizes['hidden_size']), **settings})


def _check_config(config: Mapping[str, Any]) -> None:
    """Refuses what is not there, is no sensible size, or asks for another kind of network."""
    for name, expected in EXPECTED.items():
        if config.get(name, expected) != expected:
            raise CheckpointError(
                f'{CONFIG_FILE}: {name} is {config[name]!r}, allowed: {expected!r}; this network '
                'computes something that ours does not'
            )
    for name in (*SIZES, 'vocab_size'):
        if name not in config:
            raise CheckpointError(f'{CONFIG_FILE} lacks {name!r}, a size that is needed')
        value = config[name]
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST:
            raise CheckpointError(
                f'{CONFIG_FILE}: {name} is {value!r}, allowed: whole numbers from 1'
            )
    for name in NUMBERS:
        if not isinstance(config.get(name, 0.0), int | float):
            raise CheckpointError(f'{CONFIG_FILE}: {name} is {config[name]!r}, allowed: a number')
    if config['hidden_size'] % config['num_attention_heads']:
        raise CheckpointError(
            f'{CONFIG_FILE}: hidden_size is {config["hidden_size"]} and num_attention_heads is '
            f'{config["num_attention_heads"]}: the first must be a multiple of the second'
        )


def _check_layers(arrays: Mapping[str, np.ndarray], num_layers: int) -> None:
    """Refuses another number of layers than the config has, before their names are listed."""
    found = {
        int(one[1]) for one in map(re.compile(r'.*encoder\.layer\.(\d+)\.').match, arrays) if one
    }
    if len(found) != num_layers or found != set(range(len(found))):
        raise CheckpointError(
            f'{CONFIG_FILE} has num_hidden_layers {num_layers}, but the tensors are of layers '
            f'{transfer.listed([str(i) for i in sorted(found)]) or "none"}'
        )


def _without_tied_table(
    arrays: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The tensors without the softmax's copy of the word table, which transformers ties.

    Raises:
        CheckpointError: it is a table of its own.
    """
    kept = dict(arrays)
    table = kept.pop(_LM_TABLE, None)
    untied = table is None and not config.get('tie_word_embeddings', True)
    if table is not None:
        untied = _WORD_TABLE not in kept or not np.array_equal(table, kept[_WORD_TABLE])
    if untied and _LM_BIAS in arrays:
        raise CheckpointError(
            f"{_LM_TABLE} is another table than {_WORD_TABLE}: ELECTRA's generator has one for "
            'both, so this model cannot be converted'
        )
    return kept


def _num_labels(arrays: Mapping[str, np.ndarray]) -> int:
    for name in ('classifier.out_proj.bias', 'classifier.bias', 'qa_outputs.bias'):
        if name in arrays:
            return arrays[name].size
    return 1


def _encoder(model: ModelConfig) -> dict[str, int]:
    fields = ('num_layers', 'hidden_size', 'ffn_size', 'num_heads')
    return {name: getattr(model, name) for name in fields}


def _check_equal(field: str, discriminator: int, generator: int) -> None:
    if discriminator != generator:
        raise CheckpointError(
            f'discriminator/ has {field} {discriminator}, generator/ has {generator}: one model '
            'has one of both'
        )


def _equal(one: Tree, other: Tree) -> bool:
    ours, theirs = dict(named_leaves(one)), dict(named_leaves(other))
    return ours.keys() == theirs.keys() and all(
        np.array_equal(leaf, theirs[name]) for name, leaf in ours.items()
    )
