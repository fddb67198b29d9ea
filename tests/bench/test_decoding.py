"""Decoding is measured next to a peer of the same size; which checkpoints can be measured."""

import pathlib
import types

import pytest

from electra_jax.bench.decoding import job
from electra_jax.core.errors import ConfigError
from tests.support import fakes
from tests.support.configs import tiny_config
from tests.support.loading import task_of


def test_the_peer_has_the_sizes_of_encoder_and_decoder():
    config, task = tiny_config(task={'name': 'seq2seq'}, job='finetune'), task_of('seq2seq')
    predictor = types.SimpleNamespace(config=config, task=task, tokenizer=fakes.tokenizer())
    encoder, decoder = job.sizes_of(predictor)
    model = config.model
    for one in (encoder, decoder):
        assert (
            one['hidden_size'] == model.hidden_size and one['num_hidden_layers'] == model.num_layers
        )
        assert one['intermediate_size'] == model.ffn_size
        assert one['vocab_size'] == fakes.tokenizer().vocab_size
        assert one['max_position_embeddings'] > task.row_length
    assert decoder['add_cross_attention'] and 'is_decoder' not in encoder


def test_a_checkpoint_that_writes_no_texts_is_refused(monkeypatch):
    monkeypatch.setattr(job.predictors, 'best_folder', lambda folder: folder)
    about = {'task': {'name': 'sst2', 'kind': 'classification'}}
    monkeypatch.setattr(job.parameters, 'read_params', lambda folder: ({}, about))
    with pytest.raises(ConfigError, match=r'runs/x, whose task is sst2.*such as translation'):
        job.run(
            job.Request('runs/x', pathlib.Path('a.en'), 8, 4, 1, None), pathlib.Path('benchmarks')
        )
