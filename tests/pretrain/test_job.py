"""Which way a run of pre-training goes."""

import math
import os
import signal
import time
import types

import numpy as np
import pytest
from etils import epath

from electra_jax.config.settings import CheckpointConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.pretrain import begin, job, words
from electra_jax.pretrain.text import Text
from electra_jax.train import checkpoint, parameters
from tests.support.configs import VOCABULARY, tiny_config

NO_LIMIT = words.Reading((), 1, None, math.inf)


def test_a_process_that_sees_no_end_goes_the_way_of_the_first_one(tmp_path, monkeypatch):
    monkeypatch.setattr(job.distributed, 'agree', lambda number: 12)
    monkeypatch.setattr(job.texts, 'check_checkpoint', lambda *_, **more: None)
    monkeypatch.setattr(job.Checkpoints, 'about', lambda *_: {})
    assert job.finished_step(tiny_config(), Text([], [], None), epath.Path(tmp_path)) == 12


class EndedError(Exception):
    pass


@pytest.fixture
def signalled(monkeypatch):
    """What sends a signal to this process, whose end is an EndedError with the status."""

    def end(status):
        raise EndedError(status)

    def send(number):
        os.kill(os.getpid(), number)
        time.sleep(0.1)  # the handler runs

    monkeypatch.setattr(job.signals.os, '_exit', end)
    return send


def test_a_signal_while_the_length_is_measured_ends_in_good_order(
    tmp_path, monkeypatch, capsys, signalled
):
    monkeypatch.setattr(job.length, 'measured', lambda *_: signalled(signal.SIGINT))
    monkeypatch.setattr(job.texts, 'vocabulary', lambda *_: None)
    monkeypatch.setattr(job.texts, 'held_out_rows', lambda _: 0)
    with pytest.raises(EndedError, match=r'^130$'):
        job.make_program(
            tiny_config(minutes=1.0), Text([], [], None), epath.Path(tmp_path), NO_LIMIT, True
        )
    output = capsys.readouterr().out
    assert 'stopped by SIGINT, with its text kept' in output and 'to continue: python' in output


def test_a_signal_while_a_checkpoint_is_read_ends_in_good_order(monkeypatch, capsys, signalled):
    config, objective = (
        tiny_config(),
        types.SimpleNamespace(networks=(), warning_signs=(), other_losses=(), metrics_after=0),
    )
    run = types.SimpleNamespace(
        config=config,
        program=types.SimpleNamespace(objective=objective),
        text=types.SimpleNamespace(tokenizer=types.SimpleNamespace(vocab_size=8)),
        folder='run',
        reading=NO_LIMIT,
    )
    for name in ('open_checkpoints', 'training_flops', 'Health', 'Means'):
        monkeypatch.setattr(job, name, lambda *_, **__: types.SimpleNamespace(latest=lambda: 5))
    for name in ('training_batches', 'held_out_batches'):
        monkeypatch.setattr(job.texts, name, lambda *_: [])
    monkeypatch.setattr(job, 'load_state', lambda *_: signalled(signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it would end the tests
    try:
        with pytest.raises(EndedError, match=r'^0$'):
            job.pretrain(run, None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert 'stopped by SIGTERM, with nothing new to save' in capsys.readouterr().out


@pytest.mark.parametrize('warning', [None, 'warning: what is lost'])
def test_a_checkpoint_to_start_from_is_checked_before_a_program_is_made(
    tmp_path, monkeypatch, capsys, warning
):
    class MadeError(Exception):
        pass

    def made(*_):
        raise MadeError

    def checked(config, tokenizer, wanted, values):
        assert not values  # a large checkpoint is read once, when it is used
        assert wanted['embeddings']['word'].shape == (256, 16)
        if warning is None:
            raise CheckpointError('it does not fit')
        return {}, {}, None

    config = tiny_config(init_from='runs/theirs')
    monkeypatch.setattr(job, 'configure', lambda *_: (config, config))
    monkeypatch.setattr(job.texts, 'open_text', lambda *_: Text([], [], None))
    monkeypatch.setattr(job.texts, 'vocabulary', lambda *_: VOCABULARY)
    monkeypatch.setattr(job.init_from, 'checked_params', checked)
    monkeypatch.setattr(job.init_from, 'lost_discriminator', lambda *_: warning)
    monkeypatch.setattr(job, 'make_program', made)
    with pytest.raises(CheckpointError if warning is None else MadeError):
        job.run(None, epath.Path(tmp_path), lambda _: None, ())
    assert (warning or '') in capsys.readouterr().out


def test_a_workdir_of_parameters_alone_is_refused_whatever_it_was_trained_on(tmp_path):
    folder = epath.Path(tmp_path)
    parameters.write_params(folder, {'weights': np.zeros(2)}, {})
    checkpoints = checkpoint.Checkpoints(
        folder / parameters.FOLDER, CheckpointConfig(), print, read_only=True
    )
    run = types.SimpleNamespace(program=None, folder=folder)
    with pytest.raises(CheckpointError, match=rf'parameters only.*--config.init_from={folder}'):
        begin.load_state(run, checkpoints, batches=None)
    checkpoints.close()
