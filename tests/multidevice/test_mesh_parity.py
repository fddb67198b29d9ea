"""The same run on every shape of mesh: eight virtual devices, same losses, one compilation."""

import functools

import jax
import numpy as np
import pytest

from electra_jax.parallel import rules
from electra_jax.pretrain import program as runs
from tests.support.configs import VOCABULARY, random_batch, tiny_config

STEPS = 10
MESHES = {
    '1 device': ({'data': 1}, 1),
    '8 data': ({'data': 8}, 8),
    '8 fsdp': ({'data': 1, 'fsdp': 8}, 8),
    '2x2x2 data fsdp tensor': ({'data': 2, 'fsdp': 2, 'tensor': 2}, 8),
    '2x2x2 data tensor sequence': ({'data': 2, 'tensor': 2, 'sequence': 2}, 8),
}


@functools.cache
def run_on(mesh):
    return run(*MESHES[mesh])


def run(mesh_sizes, num_devices, objective=None, optimizer=None, **model):
    """Losses of ten steps, the final state, and how often the step was compiled."""
    config = tiny_config(
        mesh=mesh_sizes,
        model={'dropout': 0.1, 'attention_dropout': 0.1, 'norm': 'post', **model},
        objective=objective or {},
        optimizer={'learning_rate': 1e-2, 'warmup_steps': 5, **(optimizer or {})},
    )
    program = runs.build_program(config, VOCABULARY, jax.devices()[:num_devices])
    current = program.fresh_state()
    losses = []
    for number in range(STEPS):
        batch = random_batch(seed=number)
        batch = {
            k: jax.device_put(x, rules.batch_sharding(program.mesh, x.shape))
            for k, x in batch.items()
        }
        current, metrics = program.step(current, batch)
        losses.append([float(metrics['loss']), float(metrics['grad_norm'])])
    return np.array(losses), current, program.step._cache_size()


@pytest.fixture(scope='module')
def alone():
    return run_on('1 device')


@pytest.mark.parametrize(
    'name',
    [
        pytest.param('8 data', marks=pytest.mark.slow),  # the mesh that differs least from one
        *(name for name in MESHES if name not in ('1 device', '8 data')),
    ],
)
def test_every_mesh_gives_the_same_losses(name, alone):
    losses, _, compilations = run_on(name)
    np.testing.assert_allclose(losses[:, 0], alone[0][:, 0], rtol=1e-5)
    np.testing.assert_allclose(losses[:, 1], alone[0][:, 1], rtol=1e-3)
    assert compilations == 1


@pytest.mark.slow  # compiles one more program
def test_the_way_a_cpu_computes_gives_the_same_losses(alone):
    losses, _, compilations = run(
        *MESHES['2x2x2 data tensor sequence'], flat_products=True, scan_unroll=2
    )
    np.testing.assert_allclose(losses[:, 0], alone[0][:, 0], rtol=1e-5)
    assert compilations == 1


def test_the_losses_are_of_a_model_that_learns(alone):
    losses, _, compilations = alone
    assert losses[-1, 0] < losses[0, 0] - 5
    assert compilations == 1


def test_parameters_lie_where_the_rules_say():
    _, final, _ = run_on('2x2x2 data fsdp tensor')
    kernel = final.params['discriminator']['layers']['feed_forward']['up']['kernel']
    assert kernel.sharding.spec == jax.sharding.PartitionSpec(None, 'fsdp', 'tensor')
    shard = kernel.addressable_shards[0].data
    assert shard.shape == (kernel.shape[0], kernel.shape[1] // 2, kernel.shape[2] // 2)
    moment = final.opt_state[1].mu['discriminator']['layers']['feed_forward']['up']['kernel']
    assert moment.sharding == kernel.sharding


@pytest.mark.slow  # compiles two more programs
def test_what_is_kept_lies_with_the_parameters_and_is_the_same_on_a_mesh():
    kept = {
        'objective': {'masks': 'loss'},
        'optimizer': {'matrices': 'muon', 'average_decay': 0.9},
        'dropout': 0.0,
        'attention_dropout': 0.0,
        'norm': 'pre',
    }
    (ours, final, _), (losses, alone, _) = (
        run(*MESHES[name], **kept) for name in ('2x2x2 data fsdp tensor', '1 device')
    )
    np.testing.assert_allclose(ours[:, 0], losses[:, 0], rtol=1e-4)
    assert losses[-1, 0] < losses[0, 0]
    np.testing.assert_allclose(final.memory['token_loss'], alone.memory['token_loss'], rtol=1e-3)
    assert final.memory['token_loss'].sharding.spec == jax.sharding.PartitionSpec('tensor')
    up = ('discriminator', 'layers', 'feed_forward', 'up', 'kernel')
    momentum = final.opt_state[1].inner_states['muon'].inner_state[0].mu
    kernel, *others = (
        functools.reduce(lambda tree, name: tree[name], up, tree)
        for tree in (final.params, momentum, final.average)
    )
    assert kernel.sharding.spec == jax.sharding.PartitionSpec(None, 'fsdp', 'tensor')
    assert all(one.sharding == kernel.sharding for one in others)
