"""Networks of transformers' classes: their settings and tensors, and our parameters.

Needs neither transformers nor PyTorch; the files are in interop/files.py, what the classes have in
interop/electra.py and interop/modernbert.py.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from electra_jax.config import fields
from electra_jax.config.settings import ModelConfig
from electra_jax.config.shapes import EncoderShape
from electra_jax.core.errors import CheckpointError, ConfigError, unknown
from electra_jax.core.trees import Tree, count, named_leaves
from electra_jax.interop import electra, modernbert, transfer
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.interop.family import KNOWN, SHAPE, Family
from electra_jax.interop.files import CONFIG_FILE, Network
from electra_jax.interop.names import PROBLEMS, Part
from electra_jax.interop.sizes import TIED, model_of
from electra_jax.interop.transfer import Moved, Report

# What config.json calls a family of classes (model_type) -> it. To add one: a file and a row.
FAMILIES: dict[str, Family] = {
    family.model_type: family for family in (electra.FAMILY, modernbert.FAMILY)
}
RECORD = 'electra_jax'  # in a config.json that we wrote: what transformers has no setting for
_LARGEST = 2**31 - 1
_LANGUAGE = 'generator_head'
# Part of a network -> the same part of a generator that is read with its discriminator.
_OF_GENERATOR = {'embeddings': 'generator_embeddings', 'discriminator': 'generator'}


def family_of(network: Network) -> Family:
    """The family of a network's class."""
    name = network.config.get('model_type', electra.FAMILY.model_type)
    if not isinstance(name, str) or name not in FAMILIES:
        allowed = ' or '.join(map(repr, FAMILIES))
        raise CheckpointError(
            f'{CONFIG_FILE}: model_type is {name!r:.60}, allowed: {allowed}; this network computes '
            'something that ours does not'
        )
    return FAMILIES[name]


def class_of(network: Network) -> str:
    """The class of transformers that a network is of."""
    family = family_of(network)
    return family.name(family.head_of(network))


def params_from_networks(
    networks: Mapping[str, Network], vocab_size: int | None = None
) -> tuple[dict[str, Tree], ModelConfig, Report]:
    """Our parameters from one network, or from a discriminator and its generator.

    A lone masked language model becomes what our objective of that name trains: an encoder under
    `discriminator`, with a `generator_head`.

    Where `vocab_size` is not given, each row of the word table has a token.
    """
    arrays: dict[str, np.ndarray] = {}
    parts: list[Part] = []
    networks = dict(sorted(networks.items()))  # the discriminator before the generator
    main = next(iter(networks.values()))
    family = family_of(main)
    for role, network in networks.items():
        scope = f'{role}/' if len(networks) > 1 else ''
        if family_of(network) is not family:
            raise CheckpointError('the two networks are of different kinds (model_type)')
        _check_config(scope, network, family)
        arrays |= {
            scope + name: x for name, x in _without_tied_table(scope, network, family).items()
        }
        for part in family.parts(family.head_of(network)):
            ours = _OF_GENERATOR.get(part.ours, part.ours) if scope == 'generator/' else part.ours
            parts.append(Part(ours, part.rows, scope + part.prefix))
    model = _model(networks, family)
    size = main.config['vocab_size'] if vocab_size is None else vocab_size
    params, report = transfer.read_parts(arrays, parts, model, size)
    read = {*SHAPE, *family.sizes, *family.numbers, *family.expected, *family.known, *KNOWN, RECORD}
    for network in networks.values():
        unknown = sorted(network.config.keys() - read)
        if unknown:
            report.notes.append(
                f'{CONFIG_FILE}: unknown here and not followed: {", ".join(unknown)}'
            )
    kinds = sorted({x.dtype.name for x in arrays.values()} - {'float32', 'int64'})
    report.notes += [f'{", ".join(kinds)} became float32'] if kinds else []
    if len(networks) > 1:
        model = _without_copies(params, model, report)
    return family.folded(params, model), model, report


def _model(networks: Mapping[str, Network], family: Family) -> ModelConfig:
    """The model of one network, or of a discriminator and a generator with its own embeddings."""
    main, *others = networks.values()
    settings = {**_settings(main, family), **family.block([main, *others])}
    if not others:
        is_language = family.head_of(main) == _LANGUAGE
        generator = TIED if is_language else {'generator': 'separate'}
        return model_of(_shape(main), {**settings, **generator}, None, '')
    (small,) = others
    if [family.head_of(one) == _LANGUAGE for one in (main, small)] != [False, True]:
        raise CheckpointError(
            f'the folder generator/ must hold an {family.name(_LANGUAGE)}, and '
            'discriminator/ must not'
        )
    untied = {
        'generator': 'separate',
        'embedding_sharing': 'untied',
        'generator_embedding_size': small.config.get('embedding_size', small.config['hidden_size']),
    }
    return model_of(_shape(main), {**settings, **untied}, _shape(small), 'generator/')


def _shape(network: Network) -> EncoderShape:
    return EncoderShape(*(network.config[name] for name in SHAPE))


def _settings(network: Network, family: Family) -> dict[str, Any]:
    config = network.config
    sizes = {ours: config[theirs] for theirs, ours in family.sizes.items()}
    numbers = {
        ours: float(config.get(theirs, value)) for theirs, (ours, value) in family.numbers.items()
    }
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


def networks_from_checkpoint(checkpoint: Checkpoint) -> tuple[dict[str, Network], Report]:
    """The networks of a checkpoint by role, one or both of `ROLES`, and a report."""
    family, record = _family_for(checkpoint.model), checkpoint.record
    kept, report = transfer.keep_expressible(checkpoint.params, 'transformers')
    if 'task_head' in kept and kept.pop('discriminator_head', None):
        report.left_out['discriminator_head'] = 'a network in transformers has one head'
    for part, why in family.no_place(checkpoint.model).items():
        if kept.pop(part, None) is not None:
            report.left_out[part] = why
    head = _head(kept, checkpoint.task, family)
    has_generator = 'generator_head' in kept and 'generator_ltr' not in kept
    networks = {}
    if 'generator' in kept or head is not None or not has_generator:
        network = _network(kept, head, family, checkpoint)
        if 'task_head' in kept:
            style = str((record or {}).get('style'))
            network.config.update(family.head_styles.get(style, family.usual_style[1]))
            network.config.update(_label_settings(kept['task_head'], checkpoint))
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
        networks['generator'] = _network(small, _LANGUAGE, family, checkpoint)
    else:
        left = [name for name in kept if name.startswith('generator')]
        why = 'a generator in transformers has one tower and a head'
        report.left_out |= dict.fromkeys(left, why)
    for role, network in networks.items():
        name = network.config['architectures'][0]
        report.moved.append(Moved(role, count(network.arrays), name, len(network.arrays)))
    return networks, report


def _family_for(model: ModelConfig) -> Family:
    """The family that has the model's block; CheckpointError names what would have to be typed."""
    others = {name: family.others(model) for name, family in FAMILIES.items()}
    nearest = min(others, key=lambda name: len(others[name]))
    if not others[nearest]:
        return FAMILIES[nearest]
    has = ', '.join(f'config.model.{name}={getattr(model, name)}' for name in others[nearest])
    words = ' '.join(
        f'--config.model.{name}={str(value).lower() if isinstance(value, bool) else value}'
        for name, value in others[nearest].items()
    )
    raise CheckpointError(
        f"the model has {has}, which transformers' {nearest} does not know, and its other classes "
        'differ in more: such a model cannot be converted. To have one that can, pre-train it with '
        f'{words}'
    )


def head_wanted(model: ModelConfig, kind: str, layers: Collection[str]) -> str | None:
    """The style of head (config.task.head) by which a fine-tuned model could be written.

    None: a class for the `kind` of task has the head's `layers`, or there is none for this model.
    """
    family = next((one for one in FAMILIES.values() if not one.others(model)), None)
    if family is None or kind not in family.heads or _has(family, kind, layers):
        return None
    return family.usual_style[0]


def _has(family: Family, kind: str, layers: Collection[str]) -> bool:
    """Whether a class's head for a kind of task has these layers of ours."""
    return {*layers} == {row.ours.split('/')[0] for row in family.heads[kind][1]}


def _head(kept: Mapping[str, Tree], task: str | None, family: Family) -> str | None:
    """The head of the discriminator's network."""
    if 'task_head' not in kept:
        return 'discriminator_head' if 'discriminator_head' in kept else None
    heads = {kind: head for kind, head in family.heads.items() if kind[-5:] != '_head'}
    if task not in heads:
        raise unknown('the task of task_head', str(task), heads)
    assert task is not None
    if not _has(family, task, kept['task_head']):
        layers = ', '.join(sorted(kept['task_head']))
        raise CheckpointError(
            f"the head for {task} has the layers {layers}, which transformers' "
            f'{heads[task][0]} does not have: fine-tune with '
            f'--config.task.head={family.usual_style[0]} to have a head that it has'
        )
    return task


def _network(
    params: Mapping[str, Tree], head: str | None, family: Family, checkpoint: Checkpoint
) -> Network:
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    assert tokenizer is not None  # `convert` has looked
    params, special = family.written_out(params), tokenizer.special
    arrays, _ = transfer.write_parts(params, family.parts(head), tokenizer.vocab_size)
    config = {
        'architectures': [family.name(head)],
        'model_type': family.model_type,
        'vocab_size': tokenizer.vocab_size,
        **{theirs: getattr(model, ours) for theirs, (ours, _) in family.numbers.items()},
        **family.stated(params, model, head),
        **{f'{name}_token_id': getattr(special, ours) for name, ours in family.token_ids.items()},
        'tie_word_embeddings': True,
    }
    return Network(config, arrays)


def _label_settings(head: Tree, checkpoint: Checkpoint) -> dict[str, Any]:
    C, task = head['output']['kernel'].shape[-1], checkpoint.task
    labels = list(checkpoint.labels or [f'LABEL_{i}' for i in range(C)])
    if len(labels) != C:
        raise ConfigError(f'the task head has {C} outputs, but {len(labels)} labels were given')
    return {
        'id2label': {str(i): label for i, label in enumerate(labels)},
        'label2id': {label: i for i, label in enumerate(labels)},
        **({'problem_type': PROBLEMS[task]} if task in PROBLEMS else {}),
    }


def task_of(network: Network, C: int) -> tuple[str, list[str] | None]:
    """The kind of task that a fine-tuned network of C outputs is for, and their names."""
    config, task = network.config, family_of(network).head_of(network)
    assert task is not None  # it has a head of a task
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
    name, default = family_of(network).head_dropout
    stated = {key: network.config.get(key) for key in ('classifier_dropout', name)}
    for key, rate in stated.items():
        if rate is not None and (not isinstance(rate, int | float) or not 0 <= rate < 1):
            raise CheckpointError(
                f'{CONFIG_FILE}: {key} is {rate!r:.60}, allowed: numbers from 0 to below 1'
            )
    return next((float(rate) for rate in stated.values() if rate is not None), default)


def head_style(network: Network) -> str:
    """The style of a task's head (config.task.head)."""
    family = family_of(network)
    if family.head_of(network) not in PROBLEMS:  # it is not on whole rows
        return family.usual_style[0]
    for style, stated in family.head_styles.items():
        # What is not stated has the last one's value.
        if all(network.config.get(name) == value for name, value in stated.items()):
            return style
    return list(family.head_styles)[-1]


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


def _check_config(scope: str, network: Network, family: Family) -> None:
    """Refuses what is not there, is no sensible size, or asks for another kind of network."""
    config, file = network.config, scope + CONFIG_FILE
    for name, expected in family.expected.items():
        if config.get(name, expected) != expected:
            raise CheckpointError(
                f'{file}: {name} is {config[name]!r}, allowed: {expected!r}; this network '
                'computes something that ours does not'
            )
    for name in (*SHAPE, *family.sizes, 'vocab_size'):
        value = config.get(name)
        if type(value) is not int or not 1 <= value <= _LARGEST:
            found = f'{name} is {value!r}' if name in config else f'lacks {name!r}'
            raise CheckpointError(f'{file}: {found}, allowed: whole numbers from 1')
    for name, (ours, default) in family.numbers.items():
        leaf = dataclasses.replace(fields.leaves(ModelConfig)[ours], name=name)
        try:
            leaf.checked(config.get(name, default))
        except ConfigError as error:
            raise CheckpointError(f'{file}: {str(error).removeprefix("config.")}') from error
    if config['hidden_size'] % config['num_attention_heads']:
        raise CheckpointError(
            f'{file}: hidden_size is {config["hidden_size"]} and num_attention_heads is '
            f'{config["num_attention_heads"]}: the first must be a multiple of the second'
        )
    scope = '' if family.head_of(network) is None else family.prefix
    layers = transfer.count_layers(network.arrays, scope, family.layer)
    # Otherwise every name of the layers would be listed as missing.
    if layers != config['num_hidden_layers']:
        raise CheckpointError(
            f'{file} has num_hidden_layers {config["num_hidden_layers"]}, but the tensors are of '
            f'{layers} layers'
        )


def _without_tied_table(scope: str, network: Network, family: Family) -> dict[str, np.ndarray]:
    """The tensors without the softmax's copy of the word table, which transformers ties."""
    kept, softmax = family.arrays(network), f'{family.softmax}.weight'
    words = family.word_table(family.head_of(network))
    table = kept.pop(softmax, None)
    untied = table is None and not network.config.get('tie_word_embeddings', True)
    if table is not None:
        untied = words not in kept or not np.array_equal(table, kept[words])
    if untied and f'{family.softmax}.bias' in kept:
        raise CheckpointError(
            f"{scope}{softmax} is another table than {words}: ELECTRA's generator has one for "
            'both, so this model cannot be converted'
        )
    return kept


def _equal(one: Tree, other: Tree) -> bool:
    ours, theirs = dict(named_leaves(one)), dict(named_leaves(other))
    return ours.keys() == theirs.keys() and all(
        np.array_equal(leaf, theirs[name]) for name, leaf in ours.items()
    )
