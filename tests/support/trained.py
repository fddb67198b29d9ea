"""Checkpoints of tiny models that are not trained at all, to answer text with."""

import dataclasses

import jax
import numpy as np

from electra_jax.config.resolve import stored_model
from electra_jax.finetune import task as tasks
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.inference.opened import Found
from electra_jax.model.bind import Model, bind
from electra_jax.tokenizers.wordpiece import WordPiece
from tests.support import task_files
from tests.support.configs import merged, tiny_config

TOKENIZER = WordPiece([*task_files.SPECIAL, *task_files.WORDS, '##s'])
MODEL = {'max_positions': 16}


def found(networks=('generator', 'discriminator'), task: Task | None = None, **changes) -> Found:
    """A checkpoint with fresh parameters of some networks, and of a task's head."""
    config = tiny_config(**merged({'model': MODEL, 'data': {'row_length': 16}}, changes))
    model = bind(config.model, TOKENIZER.vocab_size)
    about = {'config': dataclasses.asdict(config), 'tokenizer': TOKENIZER.to_json()}
    head = task and model.head(KINDS[task.kind].head(task))

    def init(key: jax.Array) -> dict:
        params = model.init(key, networks)
        return params | ({'task_head': head.init(key)} if head else {})

    if task is not None:
        about['task'] = tasks.to_json(task)
    # Nothing is compiled to make them.
    random, shapes = np.random.default_rng(0), jax.eval_shape(init, jax.random.key(0))
    params = jax.tree.map(lambda x: random.standard_normal(x.shape, np.float32) / 2, shapes)
    return Found('/here', params, about, [])


def networks_of(found: Found) -> Model:
    """The functions of a checkpoint's networks."""
    return bind(stored_model(found.about['config']['model']), TOKENIZER.vocab_size)
