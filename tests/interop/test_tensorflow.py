"""TensorFlow's own files: what TF1's Saver writes is read, what is written TF1's Saver reads."""

import numpy as np
import pytest

from electra_jax.core.errors import CheckpointError, UserError
from electra_jax.interop import google_tf, projects
from electra_jax.interop.checkpoint import Checkpoint
from tests.support import fakes


@pytest.fixture(scope='module')
def tensorflow():
    return pytest.importorskip('tensorflow', reason='needs the tf extra')


def write_as_tf1(tensorflow, prefix, variables, step=None):
    """A checkpoint as an Estimator leaves it: a graph of variables, a session, a Saver."""
    v1 = tensorflow.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        feeds = {}
        for name, x in variables.items():
            made = v1.get_variable(
                name, x.shape, x.dtype, use_resource=False, initializer=v1.zeros_initializer()
            )
            feeds[made.initializer.inputs[1]] = x
        session.run([one.initializer for one in v1.global_variables()], feeds)
        v1.train.Saver().save(session, str(prefix), global_step=step)


def training_variables(model):
    params = fakes.params(model)
    variables, _ = google_tf.variables_from_params(params, fakes.VOCAB_SIZE)
    slots = {f'{name}/{slot}': x for name, x in variables.items() for slot in ('adam_m', 'adam_v')}
    return params, {**variables, **slots, 'global_step': np.array(500, np.int64)}


def test_a_training_checkpoint_of_tf1_is_read(tensorflow, tmp_path):
    model = fakes.model()
    params, variables = training_variables(model)
    write_as_tf1(tensorflow, tmp_path / 'model.ckpt', variables, step=500)
    (tmp_path / 'vocab.txt').write_text('\n'.join(fakes.VOCAB) + '\n')
    read = google_tf.read_checkpoint(tmp_path)
    assert sorted(read) == sorted(variables)
    loaded = projects.read_google(tmp_path)
    fakes.assert_same(params, loaded.params)
    assert loaded.tokenizer.hash == fakes.tokenizer().hash and loaded.objective == 'electra'
    assert loaded.report.missing == []


def test_a_released_checkpoint_of_tf1_is_read(tensorflow, tmp_path):
    model = fakes.model()
    params = fakes.params(model, discriminator_head=False)
    variables, _ = google_tf.variables_from_params(params, fakes.VOCAB_SIZE)
    write_as_tf1(tensorflow, tmp_path / 'electra_small', variables)
    loaded = projects.read_google(tmp_path / 'electra_small')
    fakes.assert_same(params, loaded.params)
    assert loaded.report.missing == ['discriminator_head'] and loaded.tokenizer is None


def test_what_is_written_tf1_restores(tensorflow, tmp_path):
    model = fakes.model()
    params, variables = training_variables(model)
    google_tf.write_checkpoint(tmp_path / 'model.ckpt', variables)
    v1 = tensorflow.compat.v1
    assert v1.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / 'model.ckpt')
    with v1.Graph().as_default(), v1.Session() as session:
        made = {
            name: v1.get_variable(name, x.shape, x.dtype, use_resource=False)
            for name, x in variables.items()
        }
        v1.train.Saver().restore(session, v1.train.latest_checkpoint(str(tmp_path)))
        for name, x in session.run(made).items():
            np.testing.assert_array_equal(x, variables[name], err_msg=name)
    fakes.assert_same(params, google_tf.params_from_variables(variables, model)[0])


def test_saved_folders_are_loaded_again(tensorflow, tmp_path):
    model = fakes.model(generator='two_tower')
    params = fakes.params(model)
    report = projects.write_google(tmp_path, Checkpoint(params, model, fakes.tokenizer()))
    assert {moved.ours for moved in report.moved} == set(params)
    loaded = projects.read_google(tmp_path)
    fakes.assert_same(params, loaded.params)
    assert loaded.tokenizer.hash == fakes.tokenizer().hash
    assert (tmp_path / 'vocab.txt').read_text().split('\n')[:-1] == fakes.VOCAB


def test_a_damaged_checkpoint_is_refused(tensorflow, tmp_path):
    model = fakes.model()
    projects.write_google(tmp_path, Checkpoint(fakes.params(model), model, fakes.tokenizer()))
    data = tmp_path / 'model.ckpt.data-00000-of-00001'
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match='cannot be read'):
        google_tf.read_checkpoint(tmp_path)
    data.write_bytes(whole[:1000] + b'\xff\xff' + whole[1002:])
    with pytest.raises(CheckpointError, match='cannot be read'):
        google_tf.read_checkpoint(tmp_path)
    data.write_bytes(whole)
    (tmp_path / 'model.ckpt.index').write_bytes(b'no table')
    with pytest.raises(CheckpointError, match='cannot be read'):
        google_tf.read_checkpoint(tmp_path)


def test_without_tensorflow_the_message_says_what_to_type(tmp_path, monkeypatch):
    (tmp_path / 'model.ckpt.index').touch()
    monkeypatch.setitem(__import__('sys').modules, 'tensorflow', None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[tf\]'"):
        google_tf.read_checkpoint(tmp_path)
