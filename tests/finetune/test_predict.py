"""Which checkpoints can answer."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from etils import epath

from electra_jax.config.recipe import recipe
from electra_jax.core.errors import CheckpointError
from electra_jax.finetune.predict import open_predictor
from electra_jax.model.bind import bind
from electra_jax.tokenizers.wordpiece import WordPiece
from tests.support.configs import tiny_config

TOKENIZER = WordPiece(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a'])


@pytest.mark.parametrize(
    ('objective', 'networks'),
    [('mlm', ('language',)), ('electric', ('discriminator',)), ('teams', ('selection',))],
)
def test_a_model_whose_head_predicts_something_else_is_refused(objective, networks):
    config = tiny_config(objective={'name': objective})
    about = {'config': dataclasses.asdict(config), 'tokenizer': TOKENIZER.to_json()}
    init = functools.partial(bind(config.model, TOKENIZER.vocab_size).init, jax.random.key(0))
    shapes = jax.eval_shape(functools.partial(init, networks))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    with pytest.raises(CheckpointError, match=f"/here was pre-trained as '{objective}', without"):
        open_predictor(epath.Path('/here'), params, about, recipe({}))
