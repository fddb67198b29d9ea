"""Parameters that can be started from: written, found by any of their names, read back."""

import os

import jax
import numpy as np
import pytest
from etils import epath

from electra_jax.config.settings import CheckpointConfig
from electra_jax.core import untrusted
from electra_jax.core.errors import CheckpointError
from electra_jax.pretrain import program as runs
from electra_jax.train import checkpoint, parameters
from tests.support.configs import VOCABULARY, tiny_config

ABOUT = {'config': {'job': 'pretrain'}, 'tokenizer': {'kind': 'none'}}


@pytest.fixture(scope='module')
def program():
    return runs.build_program(tiny_config(mesh={'data': 1}), VOCABULARY, jax.devices()[:1])


@pytest.fixture(scope='module')
def fresh(program):
    return program.fresh_state()


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


@pytest.mark.parametrize('name', ['', 'checkpoints', 'checkpoints/0'])
def test_written_parameters_are_found_by_any_of_their_folders(tmp_path, fresh, name):
    folder = epath.Path(tmp_path)
    parameters.write_params(folder, fresh.params, ABOUT)
    params, about = parameters.read_params(folder / name)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(params))
    assert_same(params, fresh.params)
    assert about == {**ABOUT, 'steps': 0}


def test_shapes_alone_are_those_of_the_parameters_and_no_array_is_read(
    tmp_path, fresh, monkeypatch
):
    folder = epath.Path(tmp_path)
    parameters.write_params(folder, fresh.params, ABOUT)
    monkeypatch.delattr(parameters.ocp.PyTreeCheckpointHandler, 'restore')
    shapes, about = parameters.read_params(folder, values=False)
    wanted = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), fresh.params)
    assert shapes == wanted and about == {**ABOUT, 'steps': 0}


def test_a_whole_training_state_gives_its_parameters_and_comes_back_whole(tmp_path, fresh, program):
    checkpoints = checkpoint.Checkpoints(
        epath.Path(tmp_path) / 'checkpoints', CheckpointConfig(), print
    )
    checkpoints.save(7, fresh, {'position': 3}, ABOUT)
    checkpoints.save(12, fresh, {'position': 5}, ABOUT)
    checkpoints.finish()
    state, iterator = checkpoints.restore(12, program.abstract_state)
    assert_same(state, fresh)
    assert iterator == {'position': 5}
    assert_same(checkpoints.restore_params(7, program.abstract_state.params), fresh.params)
    checkpoints.close()
    assert_same(parameters.read_params(epath.Path(tmp_path))[0], fresh.params)


def test_a_state_of_all_that_may_be_kept_comes_back_whole(tmp_path):
    config = tiny_config(
        mesh={'data': 1},
        objective={'masks': 'loss'},
        optimizer={'matrices': 'muon', 'average_decay': 0.9},
    )
    program = runs.build_program(config, VOCABULARY, jax.devices()[:1])
    fresh = program.fresh_state()
    assert_same(fresh.average, fresh.params)
    mean = jax.tree.map(lambda x: x + 1, fresh.average)
    moments = jax.tree.map(lambda x: x + 1, fresh.opt_state)
    saved = fresh._replace(average=mean, opt_state=moments)
    folder = epath.Path(tmp_path)
    checkpoints = checkpoint.Checkpoints(folder / 'checkpoints', CheckpointConfig(), print)
    checkpoints.save(7, saved, {}, ABOUT)
    checkpoints.finish()
    state, _ = checkpoints.restore(7, program.abstract_state)
    assert jax.tree.structure(state) == jax.tree.structure(saved)
    assert_same(state, saved)
    abstract = program.abstract_state.params
    assert_same(checkpoints.restore_params(7, abstract, average=True), mean)
    checkpoints.close()
    assert_same(parameters.read_params(folder)[0], fresh.params)
    assert_same(parameters.read_params(folder, average=True)[0], mean)


def test_a_checkpoint_without_a_running_mean_is_refused_where_one_is_asked_for(tmp_path, fresh):
    parameters.write_params(epath.Path(tmp_path), fresh.params, ABOUT)
    with pytest.raises(CheckpointError, match=r'without config\.optimizer\.average_decay'):
        parameters.read_params(epath.Path(tmp_path), average=True)


def test_parameters_alone_are_nothing_to_go_on_with(tmp_path, fresh):
    parameters.write_params(epath.Path(tmp_path), fresh.params, ABOUT)
    checkpoints = checkpoint.Checkpoints(
        epath.Path(tmp_path) / 'checkpoints', CheckpointConfig(), print
    )
    with pytest.raises(CheckpointError, match='init_from'):
        checkpoints.check_state(0)
    checkpoints.close()


def test_parameters_are_read_from_a_folder_named_from_here(tmp_path, fresh, monkeypatch):
    parameters.write_params(epath.Path(tmp_path) / 'run', fresh.params, ABOUT)
    monkeypatch.chdir(tmp_path)
    assert_same(parameters.read_params(epath.Path('run'))[0], fresh.params)


def test_what_is_missing_or_damaged_is_named(tmp_path, fresh):
    with pytest.raises(CheckpointError, match=r'no checkpoint in .*nothing, and no such folder'):
        parameters.read_params(epath.Path(tmp_path) / 'nothing')
    folder = epath.Path(tmp_path) / 'run'
    parameters.write_params(folder, fresh.params, ABOUT)
    (folder / 'checkpoints' / '0' / 'params' / '_METADATA').write_text('{"torn')
    with pytest.raises(CheckpointError, match='_METADATA have changed'):
        parameters.read_params(folder)


def link_to_a_device(folder):
    (folder / 'about' / 'metadata').unlink()
    (folder / 'about' / 'metadata').symlink_to('/dev/zero')


def link_to_elsewhere(folder):
    path = folder / 'params' / 'manifest.ocdbt'
    path.rename(folder.parent / 'elsewhere')
    path.symlink_to(folder.parent / 'elsewhere')


def circle_of_folders(folder):
    (folder / 'params' / 'more').symlink_to(folder)


def circle_of_links(folder):
    (folder / 'params' / 'more').symlink_to(folder / 'params' / 'more')


def pipe(folder):
    path = folder / 'params' / 'manifest.ocdbt'
    path.unlink()
    os.mkfifo(path)


def huge_words(folder):
    os.truncate(folder / 'about' / 'metadata', untrusted.MOST_JSON_BYTES + 1)


def huge_checksums(folder):
    os.truncate(folder / 'checksums.json', untrusted.MOST_JSON_BYTES + 1)


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (link_to_a_device, 'metadata is a link to /dev/zero, outside of'),
        (link_to_elsewhere, 'manifest.ocdbt is a link to .*elsewhere, outside of'),
        (circle_of_folders, 'more is a link to a folder'),
        (circle_of_links, 'more is a link that leads nowhere'),
        (pipe, 'manifest.ocdbt is neither a file nor a folder'),
        (huge_words, r'metadata has 268,435,457 bytes, and at most 268,435,456 are read'),
        (huge_checksums, 'checksums.json has 268,435,457 bytes'),
    ],
)
def test_nothing_of_a_checkpoint_from_elsewhere_is_read_before_links_and_sizes_are_seen(
    tmp_path, monkeypatch, spoil, message
):
    folder = tmp_path / 'run' / 'checkpoints' / '0'
    parameters.write_params(epath.Path(tmp_path / 'run'), {'x': np.ones(3, np.float32)}, ABOUT)
    spoil(folder)

    def never(path, *args, **words):
        pytest.fail(f'{path} was read')

    for name in ('read_text', 'read_bytes', 'open'):
        monkeypatch.setattr(type(epath.Path('/')), name, never)
    with pytest.raises(CheckpointError, match=message):
        parameters.read_params(epath.Path(tmp_path / 'run'))
