"""Meshes and rules: what fits, what is refused, what is left whole."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from electra_jax.config.settings import MeshConfig
from electra_jax.core.errors import ConfigError
from electra_jax.model.bind import bind
from electra_jax.objectives import table
from electra_jax.optim import optimizer
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from electra_jax.train import state
from tests.support.configs import VOCABULARY, tiny_config


def test_minus_one_takes_the_rest():
    assert meshes.mesh_shape(MeshConfig(data=-1, fsdp=2, tensor=2), 8) == (2, 2, 2, 1)


@pytest.mark.parametrize(
    'sizes',
    [{'data': 3}, {'fsdp': 3}, {'data': 4, 'fsdp': 4}, {'fsdp': -1}, {'tensor': 0}, {'data': 0}],
)
def test_a_mesh_that_does_not_fit_is_refused(sizes):
    with pytest.raises(ConfigError, match=r'8 devices.*only one may be -1'):
        meshes.mesh_shape(MeshConfig(**sizes), 8)


def test_a_batch_that_does_not_divide_is_refused_with_sizes_that_do():
    mesh = meshes.make_mesh(MeshConfig())
    with pytest.raises(ConfigError, match='8 or 16'):
        meshes.check_batch(tiny_config(batch_size=12), mesh, 1)
    with pytest.raises(ConfigError, match=r'config.data.row_length is 20'):
        mesh = meshes.make_mesh(MeshConfig(data=1, sequence=8))
        meshes.check_batch(tiny_config(data={'row_length': 20}), mesh, 1)


def test_letters_become_axes_unless_they_do_not_divide_or_are_taken():
    mesh = meshes.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    axes = rules.PARAMETER_AXES
    assert rules.partition('DF', (8, 6), axes, mesh) == PartitionSpec('fsdp', 'tensor')
    assert rules.partition('DF', (7, 6), axes, mesh) == PartitionSpec(None, 'tensor')
    assert rules.partition('DE', (8, 8), axes, mesh) == PartitionSpec('fsdp', None)
    both = rules.partition('BLD', (8, 6, 4), rules.ACTIVATION_AXES, mesh)
    assert both == PartitionSpec(('data', 'fsdp'), None, None)
    with pytest.raises(ConfigError, match='letters'):
        rules.partition('DF', (8,), axes, mesh)


def test_every_array_of_the_state_has_a_rule_and_a_line_in_the_report():
    mesh = meshes.make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    settings = [{'model': {'norm': 'post'}}, {'model': {'norm': 'pre'}}]
    settings += [{'objective': {'name': name}} for name in ('teams', 'all_tokens_mlm', 'electric')]
    settings += [{'model': {'embedding_sharing': name}} for name in ('untied', 'disentangled')]
    for changes in settings:
        config = tiny_config(**changes)
        networks = table.build(config, VOCABULARY).networks
        shapes = jax.eval_shape(
            lambda config=config, networks=networks: bind(config.model, VOCABULARY.size).init(
                jax.random.key(0), networks
            )
        )
        placed = jax.tree.map(
            lambda leaf, s: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=s),
            shapes,
            rules.state_shardings(shapes, mesh),
        )
        text = rules.parameter_table(placed, mesh, optimizer.decay_table(placed))
        assert 'F over tensor' in text and 'D over fsdp' in text
    assert state.TrainState._fields == ('step', 'params', 'opt_state', 'memory', 'average')


def test_an_array_without_a_rule_is_refused():
    mesh = meshes.make_mesh(MeshConfig())
    with pytest.raises(ConfigError, match='gadget'):
        rules.state_shardings({'gadget': jnp.ones(3)}, mesh)
