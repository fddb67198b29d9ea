"""Pre-training from a checkpoint: what is taken, what is fresh, what is refused."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from etils import epath

from electra_jax import init_from
from electra_jax.config import resolve
from electra_jax.config.settings import ModelConfig
from electra_jax.core import trees
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.model import bind
from electra_jax.objectives import table
from electra_jax.pretrain import program as runs
from electra_jax.tokenizers import load
from electra_jax.train import checkpoint, workdir
from tests.support.configs import VOCABULARY, modern_config, tiny_config

WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *(f'w{i}' for i in range(195))]


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    return tokenizer_of(tmp_path_factory.mktemp('vocab'), WORDS)


def tokenizer_of(folder, words):
    file = folder / 'vocab.txt'
    file.write_text('\n'.join(words) + '\n')
    settings = tiny_config(data={'row_length': 16, 'tokenizer': {'path': str(file)}}).data.tokenizer
    return load.open_tokenizer(settings)


def written(folder, tokenizer, **changes):
    """A checkpoint of parameters of another seed than a fresh run's."""
    config = tiny_config(**changes)
    parts = table.build(config, VOCABULARY).parts
    init = functools.partial(bind.init, config.model, VOCABULARY.size, jax.random.key(9), parts)
    params = jax.device_get(jax.jit(init)())
    about = {'config': workdir.as_json(config), 'tokenizer': tokenizer.to_json()}
    checkpoint.write_params(epath.Path(folder), params, about)
    return dict(trees.named_leaves(params))


def begun(folder, tokenizer, **changes):
    """What a run starts with, and the account, and what it would have had without."""
    config = tiny_config(mesh={'data': 1}, init_from=str(folder), **changes)
    program = runs.build_program(config, VOCABULARY, jax.devices()[:1])
    arguments = (config, tokenizer, program.init_params, program.abstract.params)
    params, account = init_from.begin(*arguments)
    fresh = jax.device_get(jax.jit(program.init_params)())
    named = (dict(trees.named_leaves(tree)) for tree in (params, fresh))
    return *named, account, init_from.account_lines(config, account)


def test_everything_is_taken_where_the_model_is_the_same(tmp_path, tokenizer):
    theirs = written(tmp_path / 'run', tokenizer)
    ours, _, account, lines = begun(tmp_path / 'run', tokenizer)
    assert ours.keys() == theirs.keys()
    for name, leaf in ours.items():
        np.testing.assert_array_equal(leaf, theirs[name], err_msg=name)
    assert not account.fresh and not account.unused and 'optimizer alone' in lines[1]


def test_what_the_checkpoint_lacks_is_fresh_and_said(tmp_path, tokenizer):
    theirs = written(tmp_path / 'run', tokenizer, objective={'name': 'mlm'})
    ours, fresh, _, lines = begun(tmp_path / 'run', tokenizer, init_network='discriminator')
    np.testing.assert_array_equal(ours['embeddings/word'], theirs['embeddings/word'])
    kernel = 'discriminator_head/dense/kernel'
    np.testing.assert_array_equal(ours[kernel], fresh[kernel])
    assert any('fresh' in line and 'discriminator_head' in line for line in lines)


def test_one_network_alone_can_be_taken(tmp_path, tokenizer):
    untied = {'embedding_sharing': 'untied'}
    theirs = written(tmp_path / 'run', tokenizer, model=untied)
    ours, fresh, _, _ = begun(tmp_path / 'run', tokenizer, model=untied, init_network='generator')
    for name, leaf in ours.items():
        source = theirs if name.startswith('generator') else fresh
        np.testing.assert_array_equal(leaf, source[name], err_msg=name)


def test_text_of_another_tokenizer_is_refused(tmp_path, tokenizer):
    written(tmp_path / 'run', tokenizer)
    other = tokenizer_of(tmp_path, [*WORDS[:-1], 'other'])
    with pytest.raises(ConfigError, match='another tokenizer'):
        begun(tmp_path / 'run', other)


def test_layers_of_another_make_are_refused_with_what_to_type(tmp_path, tokenizer):
    written(tmp_path / 'run', tokenizer)
    with pytest.raises(ConfigError, match=r'--config.model.positions=learned') as refusal:
        begun(tmp_path / 'run', tokenizer, model={'positions': 'rotary', 'qk_norm': True})
    assert '--config.model.qk_norm=False' in str(refusal.value)


def test_a_modern_model_is_inherited_whole():
    model = modern_config().model
    inherited = resolve.inherit_model(ModelConfig(), dataclasses.asdict(model))
    assert resolve.other_block(inherited, dataclasses.asdict(model)) == []
    assert inherited.positions == 'rotary' and inherited.attention is None


def test_of_several_trials_one_must_be_named(tmp_path):
    (tmp_path / 'run' / 'trials' / '0').mkdir(parents=True)
    config = tiny_config(init_from=str(tmp_path / 'run'))
    with pytest.raises(CheckpointError, match=r'name one of them, such as .*run/trials/0'):
        init_from.read(config)
