"""The model whose evaluation is measured, and the comparison of programs' answers."""

import jax
import numpy as np
import pytest
from etils import epath

from electra_jax.bench import evaluation
from electra_jax.bench.contest import Measured
from electra_jax.bench.versus import Rival
from electra_jax.core import trees
from electra_jax.core.errors import ConfigError
from electra_jax.model.bind import bind
from electra_jax.tokenizers.wordpiece import WordPiece
from electra_jax.train import checkpoint, workdir
from tests.support import task_files
from tests.support.configs import settings_of, tiny_config


@pytest.fixture
def config(tmp_path):
    task_files.write_text(tmp_path)
    tokenizer = WordPiece(task_files.write_vocab(tmp_path / 'vocab.txt').read_text().split())
    pretrained = tiny_config()
    size, key = tokenizer.vocab_size, jax.random.key(3)
    params = jax.jit(lambda: bind(pretrained.model, size).init(key, ('discriminator',)))()
    about = {'config': workdir.as_json(pretrained), 'tokenizer': tokenizer.to_json()}
    checkpoint.write_params(epath.Path(tmp_path) / 'start', params, about)
    changes = {
        'job': 'finetune',
        'batch_size': 8,
        'init_from': str(tmp_path / 'start'),
        'data': {'path': str(tmp_path), 'row_length': 32},
        'task': {
            'name': 'text', 'head': 'huggingface',
            'columns': {'text_a': 'text', 'label': 'label'},
        },
    }  # fmt: skip
    return settings_of(changes)


def test_a_pretrained_model_is_given_a_fresh_head(config):
    model = evaluation.open_model(config)
    pretrained, _ = checkpoint.read_params(epath.Path(config.init_from))
    names = dict(trees.named_leaves(model.params))
    for name, x in trees.named_leaves({'discriminator': pretrained['discriminator']}):
        np.testing.assert_array_equal(names[name], x)
    assert 'task_head' in model.params and 'discriminator_head' not in model.params
    assert model.task.labels == ('bad', 'good') and model.config.model.num_layers == 2


def test_only_transformers_is_a_rival():
    config = tiny_config()
    with pytest.raises(ConfigError, match='compared with transformers alone'):
        evaluation.check_rival(config, Rival('base', config))
    with pytest.raises(ConfigError, match="--peer_variants is 'cuda_graphs'"):
        evaluation.check_rival(config, Rival('transformers', None, ('cuda_graphs',)))


def test_the_fastest_peer_counts_and_every_answer_is_compared():
    def measured(name, seconds, logits):
        ready = {
            'first_pass_seconds': 4 * seconds, 'platform': 'cpu', 'rows': 3, 'tokens': 30,
            'computed_tokens': 40,
        }  # fmt: skip
        turns = [{'pass_seconds': [seconds], 'cpu_seconds': [seconds]}] * 2
        return Measured(name, ready, turns, {'logits': logits, 'peak_host_bytes': 1})

    ours = measured('ours', 1.0, [[0.0, 1.0], [1.0, 0.0], [0.2, 0.1]])
    slow = measured('slow', 4.0, [[0.0, 1.0], [1.0, 0.0], [0.2, 0.1]])
    fast = measured('fast', 2.0, [[0.0, 1.0], [1.0, 0.0], [0.1, 0.2]])
    assert evaluation.agreement(ours, slow) == {'same_answers': 3, 'logit_difference': 0.0}
    record = evaluation.results(ours, [slow, fast])
    assert record['peer'] == 'fast' and record['ratio'] == 2.0 and record['same_answers'] == 2
    assert record['ratios'] == {'slow': 4.0, 'fast': 2.0}
    assert record['ratio_of_processor_time'] == 2.0
    assert record['padding_share'] == 0.25 and record['chosen'] == [2, 1]
    assert record['first_pass_ratios'] == {'slow': 4.0, 'fast': 2.0}
