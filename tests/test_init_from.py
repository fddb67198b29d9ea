"""Starting from a checkpoint: which arrays are loaded, which are fresh, what is refused."""

import dataclasses
import functools
import re

import jax
import numpy as np
import pytest
from etils import epath

from electra_jax import init_from
from electra_jax.config import resolve
from electra_jax.core import trees
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.model.bind import bind
from electra_jax.objectives import table
from electra_jax.pretrain import program as runs
from electra_jax.tokenizers import load
from electra_jax.train import parameters
from tests.support import fakes
from tests.support.configs import TWO_STAGE_MODEL, VOCABULARY, modern_config, tiny_config

WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *(f'w{i}' for i in range(195))]


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    return tokenizer_of(tmp_path_factory.mktemp('vocab'), WORDS)


def tokenizer_of(folder, words):
    file = folder / 'vocab.txt'
    file.write_text('\n'.join(words) + '\n')
    settings = tiny_config(data={'row_length': 16, 'tokenizer': {'path': str(file)}}).data.tokenizer
    return load.open_tokenizer(settings)


def written(folder, tokenizer, steps=100, **changes):
    """Writes a checkpoint whose parameters have another seed than a fresh run's."""
    config = tiny_config(**changes)
    networks = table.build(config, VOCABULARY).networks
    init = functools.partial(bind(config.model, VOCABULARY.size).init, jax.random.key(9), networks)
    params = jax.device_get(jax.jit(init)())
    about = {'config': dataclasses.asdict(config), 'tokenizer': tokenizer.to_json()}
    about['steps'] = steps
    parameters.write_params(epath.Path(folder), params, about)
    return dict(trees.named_leaves(params))


def started(folder, tokenizer, **changes):
    """Parameters that a run starts with, fresh ones, the account and its printed line."""
    config = tiny_config(mesh={'data': 1}, init_from=str(folder), **changes)
    program = runs.build_program(config, VOCABULARY, jax.devices()[:1])
    arguments = (config, tokenizer, program.init_params, program.abstract_state.params)
    params, account, _ = init_from.all_params(*arguments)
    fresh = jax.device_get(jax.jit(program.init_params)())
    named = (dict(trees.named_leaves(tree)) for tree in (params, fresh))
    return *named, account, account.line(config, 'optimizer')


def test_every_array_is_loaded_if_the_model_is_the_same(tmp_path, tokenizer):
    theirs = written(tmp_path / 'run', tokenizer)
    ours, _, account, line = started(tmp_path / 'run', tokenizer)
    assert ours.keys() == theirs.keys()
    for name, leaf in ours.items():
        np.testing.assert_array_equal(leaf, theirs[name], err_msg=name)
    assert not account.fresh and not account.unused and line.endswith('fresh: optimizer')


def test_what_the_checkpoint_lacks_is_fresh_and_reported(tmp_path, tokenizer):
    theirs = written(tmp_path / 'run', tokenizer, objective={'name': 'mlm'})
    ours, fresh, _, line = started(tmp_path / 'run', tokenizer, init_network='discriminator')
    np.testing.assert_array_equal(ours['embeddings/word'], theirs['embeddings/word'])
    kernel = 'discriminator_head/dense/kernel'
    np.testing.assert_array_equal(ours[kernel], fresh[kernel])
    assert line.endswith('fresh: discriminator_head, generator, generator_head, optimizer')


def test_one_network_alone_can_be_loaded(tmp_path, tokenizer):
    untied = {'embedding_sharing': 'untied'}
    theirs = written(tmp_path / 'run', tokenizer, model=untied)
    ours, fresh, _, _ = started(tmp_path / 'run', tokenizer, model=untied, init_network='generator')
    for name, leaf in ours.items():
        source = theirs if name.startswith('generator') else fresh
        np.testing.assert_array_equal(leaf, source[name], err_msg=name)


def test_text_of_another_tokenizer_is_refused(tmp_path, tokenizer):
    written(tmp_path / 'run', tokenizer)
    other = tokenizer_of(tmp_path, [*WORDS[:-1], 'other'])
    with pytest.raises(ConfigError, match='another tokenizer'):
        started(tmp_path / 'run', other)


def test_layers_of_another_kind_are_refused_with_the_settings_to_type(tmp_path, tokenizer):
    written(tmp_path / 'run', tokenizer)
    with pytest.raises(ConfigError, match=r'--config.model.positions=learned') as refusal:
        started(tmp_path / 'run', tokenizer, model={'positions': 'rotary', 'qk_norm': True})
    assert '--config.model.qk_norm=False' in str(refusal.value)


def checked(folder, tokenizer, **changes):
    """What a run that starts from a checkpoint is told, which has compiled nothing."""
    config = tiny_config(init_from=str(folder), **changes)
    networks = table.build(config, VOCABULARY).networks
    wanted = bind(config.model, VOCABULARY.size).shapes(networks)
    _, about, account = init_from.checked_params(config, tokenizer, wanted, values=False)
    return init_from.lost_discriminator(config, about, account)


UNTIED = {'embedding_sharing': 'untied', 'generator_embedding_size': 16}  # E of both


@pytest.mark.parametrize(
    ('theirs', 'ours', 'typed'),
    [
        ({'ffn_size': 48, 'num_layers': 1}, {}, ['num_layers=1', 'ffn_size=48']),
        ({'num_heads': 4}, {}, ['num_heads=4']),
        (
            {'local_window': 2, 'global_every': 2},
            {'num_layers': 3, 'global_every': 3},
            ['local_window=2', 'num_layers=2', 'global_every=2'],
        ),
        ({'generator_width': 1.0}, {}, ['generator_width=1.0']),
        ({'type_vocab_size': 0, 'norm': 'post'}, {}, ['norm=post', 'type_vocab_size=0']),
        # One network would read through embeddings that it was not trained with.
        (UNTIED, {}, ['embedding_sharing=untied', 'generator_embedding_size=16']),
        ({}, UNTIED, ['embedding_sharing=shared', 'generator_embedding_size=None']),
        ({'embedding_sharing': 'disentangled'}, {}, ['embedding_sharing=disentangled']),
    ],
)
def test_a_model_of_another_size_is_refused_with_all_that_is_to_be_typed(
    tmp_path, tokenizer, theirs, ours, typed
):
    written(tmp_path / 'run', tokenizer, model=theirs)
    words = re.escape(' '.join(f'--config.model.{one}' for one in typed))
    with pytest.raises(ConfigError, match=f'type {words}$'):
        checked(tmp_path / 'run', tokenizer, model=ours)
    assert checked(tmp_path / 'run', tokenizer, model=theirs) is None


@pytest.mark.parametrize(
    ('theirs', 'ours', 'network'),
    [
        (UNTIED, {}, 'discriminator'),
        ({}, UNTIED, 'discriminator'),
        ({}, {'embedding_sharing': 'disentangled'}, 'both'),  # the added table starts at zero
        ({'generator_width': 1.0}, {}, 'discriminator'),
    ],
)
def test_sizes_of_a_network_that_is_not_loaded_do_not_matter(
    tmp_path, tokenizer, theirs, ours, network
):
    written(tmp_path / 'run', tokenizer, model=theirs)
    assert checked(tmp_path / 'run', tokenizer, model=ours, init_network=network) is None


TWO_STAGES = {'name': 'two_stage', 'generator_steps': 60}


@pytest.mark.parametrize(
    ('objective', 'steps', 'is_lost'),
    [
        ({}, 100, True),
        (TWO_STAGES, 100, True),
        (TWO_STAGES, 60, False),  # of which the discriminator is not trained yet
        ({'name': 'two_stage'}, 50, False),
        ({'name': 'two_stage'}, 51, True),
    ],
)
def test_a_trained_discriminator_that_two_stages_would_replace_is_named(
    tmp_path, tokenizer, objective, steps, is_lost
):
    written(tmp_path / 'run', tokenizer, steps, objective=objective, model=TWO_STAGE_MODEL)
    start = functools.partial(checked, tmp_path / 'run', tokenizer, model=TWO_STAGE_MODEL)
    warning = start(objective=TWO_STAGES)
    assert bool(warning) == is_lost
    assert not is_lost or '--config.objective.name=electra' in warning
    assert start() is None
    assert start(objective=TWO_STAGES, init_network='generator') is None


def test_every_setting_of_a_modern_model_is_inherited():
    model = modern_config().model
    inherited = resolve.stored_model(dataclasses.asdict(model))
    assert resolve.other_block(inherited, dataclasses.asdict(model)) == {}
    assert inherited.positions == 'rotary'


def test_a_folder_of_several_trials_is_refused(tmp_path):
    (tmp_path / 'run' / 'trials' / '0').mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r'name one of them, such as .*run/trials/0'):
        init_from.read_checkpoint(tiny_config(), str(tmp_path / 'run'))


@pytest.mark.parametrize('kind', ['', 'ours:', 'huggingface:'])
def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path, monkeypatch, kind):
    with pytest.raises(CheckpointError, match=r'no checkpoint in .*none: no such folder'):
        init_from.check_named(f'{kind}{tmp_path}/none')
    (tmp_path / 'mine').mkdir()
    with pytest.raises(CheckpointError, match=rf'; did you mean {kind}{tmp_path}/mine\?'):
        init_from.check_named(f'{kind}{tmp_path}/min')
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(CheckpointError, match=rf'; did you mean {kind}{tmp_path.name}/mine\?'):
        init_from.check_named(f'{kind}{tmp_path.name}x/mind')  # both parts are misspelt
    (tmp_path / 'folder').mkdir()
    init_from.check_named(f'{kind}{tmp_path}')
    if not kind:
        with pytest.raises(CheckpointError, match="did you mean 'laptop'"):
            init_from.check_named('labtop')


def test_matching_arrays_are_loaded_and_the_others_are_named():
    source = fakes.params(fakes.model(), discriminator_head=False, seed=1)
    source['language_head'] = {'output_bias': np.ones(3, np.float32)}
    fresh = fakes.params(fakes.model(), seed=2)
    params, account = init_from.initialize(source, lambda: fresh)
    for part in ('embeddings', 'generator', 'generator_head', 'discriminator'):
        fakes.assert_same(params[part], source[part])
    fakes.assert_same(params['discriminator_head'], fresh['discriminator_head'])
    head = [f'discriminator_head/{n}' for n, _ in trees.named_leaves(fresh['discriminator_head'])]
    assert account.fresh == head
    assert account.unused == ['language_head/output_bias']
    assert not account.reshaped
    assert sorted(account.loaded + account.fresh) == sorted(n for n, _ in trees.named_leaves(fresh))


@pytest.mark.parametrize('rule', sorted(init_from.POSITION_RULES))
def test_longer_position_tables_follow_the_rule(rule):
    sizes = {'embedding_sharing': 'untied', 'generator_embedding_size': 32}
    source = fakes.params(fakes.model(**sizes, max_positions=40), seed=1)
    fresh = fakes.params(fakes.model(**sizes, max_positions=100), seed=2)
    params, account = init_from.initialize(source, lambda: fresh, rule)
    assert list(account.reshaped) == ['embeddings/position', 'generator_embeddings/position']
    for part in ('embeddings', 'generator_embeddings'):
        known, started, table = (tree[part]['position'] for tree in (source, fresh, params))
        assert table.dtype == np.float32 and table.shape == started.shape
        if rule == 'fresh':
            np.testing.assert_array_equal(table, np.concatenate([known, started[40:]]))
        if rule == 'repeat':
            np.testing.assert_array_equal(table, np.concatenate([known, known, known[:20]]))
        if rule == 'interpolate':
            positions = np.linspace(0, 39, 100)
            expected = [np.interp(positions, np.arange(40), column) for column in known.T]
            np.testing.assert_allclose(table, np.stack(expected, 1), rtol=0, atol=1e-6)
            np.testing.assert_array_equal(table[[0, -1]], known[[0, -1]])


@pytest.mark.parametrize(
    ('source', 'fresh', 'message'),
    [
        ({'max_positions': 50}, {}, r'\[50, 24\].*\[40, 24\].*max_positions=50'),
        ({'embedding_size': 32}, {'max_positions': 60}, 'project/kernel has shape'),
        ({'ffn_size': 256}, {}, 'feed_forward'),
        ({'num_layers': 8, 'generator_layers': 0.25}, {}, r'has shape \[8, .*give the model'),
    ],
)
def test_other_shapes_are_refused_with_both_shapes(source, fresh, message):
    with pytest.raises(CheckpointError, match=message):
        params = fakes.params(fakes.model(**source))
        init_from.initialize(params, lambda: fakes.params(fakes.model(**fresh)))


def test_another_vocabulary_is_refused():
    source = fakes.params(fakes.model(), vocab_size=200)
    with pytest.raises(CheckpointError, match='use the tokenizer of the checkpoint'):
        init_from.initialize(source, lambda: fakes.params(fakes.model()))


def test_a_checkpoint_without_any_common_array_is_refused():
    with pytest.raises(CheckpointError, match='no parameter of this model: it holds other'):
        init_from.initialize({'other': {'x': np.ones(2)}}, lambda: fakes.params(fakes.model()))
