"""Networks of transformers' Electra classes: their settings and tensors, and our parameters.

Needs neither transformers nor PyTorch; the files are in interop/files.py.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.config.settings import ModelConfig
from electra_jax.config.shapes import EncoderShape
from electra_jax.core.errors import CheckpointError, ConfigError, unknown
from electra_jax.core.trees import Tree, count, named_leaves
from electra_jax.interop import names, transfer
from electra_jax.interop.files import CONFIG_FILE, Network
from electra_jax.interop.names import BARE_ENCODER, HUGGINGFACE_HEADS, PROBLEMS, TASK_HEADS, Part
from electra_jax.interop.sizes import TIED, model_of
from electra_jax.interop.transfer import Moved, Report

# Their names of the fields of `EncoderShape`, in order.
SHAPE = ('num_hidden_layers', 'hidden_size', 'intermediate_size', 'num_attention_heads')
# Their name of another size -> ours.
SIZES = {
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
    'pruned_heads': {},
    'quantization_config': None,
}
# Settings that are read elsewhere, or that change nothing that our networks compute.
_KNOWN = {
    *('architectures', 'vocab_size', 'id2label', 'label2id', 'num_labels', '_num_labels', 'dtype'),
    *('problem_type', 'classifier_dropout', 'tie_word_embeddings', 'tokenizer_class', 'use_cache'),
    *('torch_dtype', 'transformers_version', 'name_or_path', '_name_or_path', 'finetuning_task'),
    *('gradient_checkpointing', 'output_attentions', 'output_hidden_states', 'return_dict'),
    *('use_return_dict', 'torchscript', 'chunk_size_feed_forward', 'generator_size', 'language'),
    *('task_specific_params', '_attn_implementation', 'attn_implementation', 'output_past'),
    # Of a pooling layer that these classes do not have, and of generation.
    *('summary_type', 'summary_use_proj', 'summary_activation', 'summary_last_dropout'),
    *('summary_first_dropout', 'summary_proj_to_labels'),
    *(f'{name}_token_id' for name in ('pad', 'bos', 'eos', 'sep', 'cls', 'mask')),
}
RECORD = 'electra_jax'  # in a config.json that we wrote: what transformers has no setting for
_LM_TABLE, _LM_BIAS = 'generator_lm_head.weight', 'generator_lm_head.bias'
_WORD_TABLE = 'electra.embeddings.word_embeddings.weight'
_LARGEST = 2**31 - 1
_LANGUAGE = 'ElectraForMaskedLM'
# Part of a network -> the same part of a generator that is read with its discriminator.
_OF_GENERATOR = {'embeddings': 'generator_embeddings', 'discriminator': 'generator'}


def params_from_networks(
    networks: Mapping[str, Network], vocab_size: int | None = None
) -> tuple[dict[str, Tree], ModelConfig, Report]:
    """Our parameters from one network, or from a discriminator and its generator.

    A lone ElectraForMaskedLM becomes what our masked language modelling trains: an encoder under
    `discriminator`, with a `generator_head`.

    Where `vocab_size` is not given, each row of the word table has a token.
    """
    arrays: dict[str, np.ndarray] = {}
    parts: list[Part] = []
    for role, network in networks.items():
        scope = f'{role}/' if len(networks) > 1 else ''
        _check_config(scope, network)
        arrays |= {scope + name: x for name, x in _without_tied_table(scope, network).items()}
        for part in names.huggingface_parts(architecture_of(network.arrays)):
            ours = _OF_GENERATOR.get(part.ours, part.ours) if scope == 'generator/' else part.ours
            parts.append(Part(ours, part.rows, scope + part.prefix))
    main = next(iter(networks.values()))
    model = _model(networks)
    size = main.config['vocab_size'] if vocab_size is None else vocab_size
    params, report = transfer.read_parts(arrays, parts, model, size)
    for network in networks.values():
        read = {*SHAPE, *SIZES, *NUMBERS, *EXPECTED, *_KNOWN, RECORD}
        unknown = sorted(network.config.keys() - read)
        if unknown:
            report.notes.append(
                f'{CONFIG_FILE}: unknown here and not followed: {", ".join(unknown)}'
            )
    kinds = sorted({x.dtype.name for x in arrays.values()} - {'float32', 'int64'})
    report.notes += [f'{", ".join(kinds)} became float32'] if kinds else []
    if len(networks) > 1:
        model = _without_copies(params, model, report)
    return params, model, report


def _model(networks: Mapping[str, Network]) -> ModelConfig:
    """The model of one network, or of a discriminator and a generator with its own embeddings."""
    if len(networks) == 1:
        (network,) = networks.values()
        is_language = architecture_of(network.arrays) == _LANGUAGE
        generator = TIED if is_language else {'generator': 'separate'}
        return model_of(_shape(network), {**_settings(network), **generator}, None, '')
    network, small = networks['discriminator'], networks['generator']
    if [architecture_of(one.arrays) == _LANGUAGE for one in (network, small)] != [False, True]:
        raise CheckpointError(
            f'the folder generator/ must hold an {_LANGUAGE}, and discriminator/ must not'
        )
    untied = {
        'generator': 'separate',
        'embedding_sharing': 'untied',
        'generator_embedding_size': small.config['embedding_size'],
    }
    return model_of(_shape(network), {**_settings(network), **untied}, _shape(small), 'generator/')


def _shape(network: Network) -> EncoderShape:
    return EncoderShape(*(network.config[name] for name in SHAPE))


def _settings(network: Network) -> dict[str, Any]:
    config = network.config
    sizes = {ours: config[theirs] for theirs, ours in SIZES.items()}
    numbers = {ours: float(config.get(theirs, value)) for theirs, (ours, value) in NUMBERS.items()}
    return sizes | numbers


def _without_copies(params: dict[str, Tree], model: ModelConfig, report: Report) -> ModelConfig:
    """Removes from a pair what the generator has in common with the discriminator."""
    if not _equal(params['generator_embeddings'], params['embeddings']):
        report.notes.append(
            'the two networks have different embeddings: each keeps its own '
            '(config.model.embedding_sharing=untied)'
        )
        return model
    settings: dict[str, Any] = {'embedding_sharing': 'shared', 'generator_embedding_size': None}
    del params['generator_embeddings']
    if _equal(params['generator'], params['discriminator']):
        del params['generator']
        settings |= TIED
        report.notes.append('both networks have the same weights: config.model.generator=tied')
    report.moved = [moved for moved in report.moved if moved.ours in params]
    return dataclasses.replace(model, **settings)


def networks_from_params(
    params: Mapping[str, Tree],
    model: ModelConfig,
    vocab_size: int,
    pad_id: int = 0,
    task: str | None = None,
    labels: Sequence[str] | None = None,
    record: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Network], Report]:
    """The networks of our parameters by role, one or both of `ROLES`, and a report.

    A `task_head` is for the `task`, a key of `names.TASK_HEADS`; `labels` name its outputs, and
    `record` is what our checkpoint holds about the task.
    """
    kept, report = transfer.keep_expressible(params, 'transformers')
    if 'task_head' in kept and kept.pop('discriminator_head', None):
        report.left_out['discriminator_head'] = 'a network in transformers has one head'
    architecture = _architecture(kept, task)
    has_generator = 'generator_head' in kept and 'generator_ltr' not in kept
    networks = {}
    if 'generator' in kept or architecture != BARE_ENCODER or not has_generator:
        network = _network(kept, architecture, model, vocab_size, pad_id)
        if 'task_head' in kept:
            network.config.update(_label_settings(kept['task_head'], task, labels))
            # transformers keeps settings that it does not know.
            if record:
                dropout = record['head_dropout']
                network.config.update({RECORD: {'task': record}, 'classifier_dropout': dropout})
        networks['discriminator'] = network
    if has_generator:
        small = {
            'embeddings': kept.get('generator_embeddings', kept['embeddings']),
            'discriminator': kept.get('generator', kept['discriminator']),
            'generator_head': kept['generator_head'],
        }
        networks['generator'] = _network(small, _LANGUAGE, model, vocab_size, pad_id)
    else:
        left = [name for name in kept if name.startswith('generator')]
        why = 'a generator in transformers has one tower and a head'
        report.left_out |= dict.fromkeys(left, why)
    for role, network in networks.items():
        name = network.config['architectures'][0]
        report.moved.append(Moved(role, count(network.arrays), name, len(network.arrays)))
    return networks, report


def _architecture(kept: Mapping[str, Tree], task: str | None) -> str:
    """The class of the discriminator's network."""
    if 'task_head' not in kept:
        return 'ElectraForPreTraining' if 'discriminator_head' in kept else BARE_ENCODER
    if task not in TASK_HEADS:
        raise unknown('the task of task_head', str(task), TASK_HEADS)
    architecture, rows = TASK_HEADS[task]
    layers = set(kept['task_head'])
    if layers != {row.ours.split('/')[0] for row in rows}:
        raise CheckpointError(
            f"the head for {task} has the layers {', '.join(sorted(layers))}, which transformers' "
            'class for that does not have: fine-tune with --config.task.head=huggingface to have '
            'a head that it has'
        )
    return architecture


def _network(
    params: Mapping[str, Tree], architecture: str, model: ModelConfig, vocab_size: int, pad_id: int
) -> Network:
    parts = names.huggingface_parts(architecture)
    arrays, _ = transfer.write_parts(params, parts, vocab_size)
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


def _label_settings(head: Tree, task: str | None, labels: Sequence[str] | None) -> dict[str, Any]:
    C = head['output']['kernel'].shape[-1]
    labels = list(labels or [f'LABEL_{i}' for i in range(C)])
    if len(labels) != C:
        raise ConfigError(f'the task head has {C} outputs, but {len(labels)} labels were given')
    return {
        'id2label': {str(i): label for i, label in enumerate(labels)},
        'label2id': {label: i for i, label in enumerate(labels)},
        **({'problem_type': PROBLEMS[task]} if task in PROBLEMS else {}),
    }


def architecture_of(arrays: Mapping[str, np.ndarray]) -> str:
    """The class of transformers that has tensors of these names."""
    for architecture, head in HUGGINGFACE_HEADS.items():
        if head.rows[0].huggingface in arrays:
            return architecture
    # An encoder that was saved out of a class with a head is a discriminator without its head.
    return 'ElectraForPreTraining' if _WORD_TABLE in arrays else BARE_ENCODER


def task_of(network: Network, C: int) -> tuple[str, list[str] | None]:
    """The kind of task that a fine-tuned network of C outputs is for, and their names."""
    architecture, config = architecture_of(network.arrays), network.config
    task = next(kind for kind, (name, _) in TASK_HEADS.items() if name == architecture)
    if task in PROBLEMS:
        task = _problem(config.get('problem_type'), C)
    labels = config.get('id2label')
    if not isinstance(labels, dict) or set(labels) != {str(i) for i in range(C)}:
        return task, None
    found = [str(labels[str(i)]) for i in range(C)]
    double = next((name for name in found if found.count(name) > 1), None)
    if double is not None and task not in ('regression', 'spans'):
        raise CheckpointError(
            f'{CONFIG_FILE}: id2label has the name {double!r} twice: its outputs could not be told '
            'apart'
        )
    return task, found


def head_dropout(network: Network) -> float:
    """The dropout of a task's head, which is that of the layers if nothing else is stated."""
    config = network.config
    rate = config.get('classifier_dropout')
    return float(config.get('hidden_dropout_prob', 0.1) if rate is None else rate)


def _problem(problem: Any, C: int) -> str:
    """The kind of task of a head on whole rows, by what transformers calls its problem_type."""
    kinds = {theirs: ours for ours, theirs in PROBLEMS.items()}
    # As transformers decides it where nothing is stated.
    kind = kinds.get(problem) if problem else 'regression' if C == 1 else 'classification'
    if kind is None:
        raise CheckpointError(
            f'{CONFIG_FILE}: problem_type is {problem!r:.60}, allowed: {", ".join(kinds)}'
        )
    if (kind == 'regression') != (C == 1) and kind != 'multi_label':
        raise CheckpointError(
            f'{CONFIG_FILE}: problem_type is {problem!r}, but the head has {C} outputs, allowed: '
            f'{"1" if kind == "regression" else "2 or more"}'
        )
    return kind


def _check_config(scope: str, network: Network) -> None:
    """Refuses what is not there, is no sensible size, or asks for another kind of network."""
    config, file = network.config, scope + CONFIG_FILE
    for name, expected in EXPECTED.items():
        if config.get(name, expected) != expected:
            raise CheckpointError(
                f'{file}: {name} is {config[name]!r}, allowed: {expected!r}; this network '
                'computes something that ours does not'
            )
    for name in (*SHAPE, *SIZES, 'vocab_size'):
        value = config.get(name)
        if type(value) is not int or not 1 <= value <= _LARGEST:
            found = f'{name} is {value!r}' if name in config else f'lacks {name!r}'
            raise CheckpointError(f'{file}: {found}, allowed: whole numbers from 1')
    for name in NUMBERS:
        if not isinstance(config.get(name, 0.0), int | float):
            raise CheckpointError(f'{file}: {name} is {config[name]!r}, allowed: a number')
    if config['hidden_size'] % config['num_attention_heads']:
        raise CheckpointError(
            f'{file}: hidden_size is {config["hidden_size"]} and num_attention_heads is '
            f'{config["num_attention_heads"]}: the first must be a multiple of the second'
        )
    bare = architecture_of(network.arrays) == BARE_ENCODER
    layers = transfer.count_layers(network.arrays, '' if bare else 'electra.')
    # Otherwise every name of the layers would be listed as missing.
    if layers != config['num_hidden_layers']:
        raise CheckpointError(
            f'{file} has num_hidden_layers {config["num_hidden_layers"]}, but the tensors are of '
            f'{layers} layers'
        )


def _without_tied_table(scope: str, network: Network) -> dict[str, np.ndarray]:
    """The tensors without the softmax's copy of the word table, which transformers ties."""
    kept = dict(network.arrays)
    table = kept.pop(_LM_TABLE, None)
    untied = table is None and not network.config.get('tie_word_embeddings', True)
    if table is not None:
        untied = _WORD_TABLE not in kept or not np.array_equal(table, kept[_WORD_TABLE])
    if untied and _LM_BIAS in kept:
        raise CheckpointError(
            f"{scope}{_LM_TABLE} is another table than {_WORD_TABLE}: ELECTRA's generator has one "
            'for both, so this model cannot be converted'
        )
    return kept


def _equal(one: Tree, other: Tree) -> bool:
    ours, theirs = dict(named_leaves(one)), dict(named_leaves(other))
    return ours.keys() == theirs.keys() and all(
        np.array_equal(leaf, theirs[name]) for name, leaf in ours.items()
    )
