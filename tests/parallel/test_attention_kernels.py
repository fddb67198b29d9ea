"""Attention kernels on a mesh, and compiled for a TPU that is not here."""

import functools
import importlib.util
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from electra_jax.ops import attention, flash
from electra_jax.parallel import rules
from electra_jax.pretrain import program as runs
from tests.support.configs import VOCABULARY, random_batch, tiny_config

MESHES = {'alone': ({'data': 1}, 1), '2x2 data tensor': ({'data': 2, 'tensor': 2}, 4)}


def loss(kernel, rate, mesh_sizes, num_devices):
    model = {'attention': kernel, 'num_layers': 1, 'attention_dropout': rate}
    config = tiny_config(mesh=mesh_sizes, model=model)
    program = runs.build_program(config, VOCABULARY, jax.devices()[:num_devices])
    batch = {
        name: jax.device_put(x, rules.batch_sharding(program.mesh, x.shape))
        for name, x in random_batch(documents=2).items()
    }
    _, metrics = program.step(program.fresh_state(), batch)
    return np.array([metrics['loss'], metrics['grad_norm']])


@pytest.mark.parametrize(
    'mesh', [pytest.param(m, marks=[pytest.mark.slow] * (m != 'alone')) for m in MESHES]
)
@pytest.mark.parametrize(
    ('kernel', 'form', 'rate'), [('triton', flash.triton, 0.0), ('mosaic', attention.mosaic, 0.1)]
)
def test_a_kernel_gives_the_same_step_on_every_mesh(mesh, kernel, form, rate, monkeypatch):
    monkeypatch.setitem(attention.KERNELS, kernel, functools.partial(form, interpret=True))
    monkeypatch.setattr('electra_jax.config.kernels.PLATFORM_OF', dict.fromkeys(attention.KERNELS))
    ours, theirs = loss(kernel, rate, *MESHES[mesh]), loss('xla', rate, *MESHES['alone'])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


# In a process of its own: libtpu reads its settings, and ends where it finds a CPU's.
TPU_PROGRAM = """
import sys
import jax
import jax.numpy as jnp
from jax.experimental import topologies
from electra_jax.config.settings import MeshConfig
from electra_jax.ops.attention import attention
from electra_jax.ops.dropout import Drop
from electra_jax.ops.sight import Operands, Sight
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from electra_jax.train import step

slice_ = topologies.get_topology_desc(platform='tpu', topology_name='v5e:2x2')
mesh = meshes.make_mesh(MeshConfig(data=2, tensor=2), list(slice_.devices))
kernel, L, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
B, H, K = 4, 4, 64

def total(q, k, v, documents_BL, key):
    for sight in (Sight('document', 64), Sight('before'), Sight()):
        operands = Operands(q, k, v, documents_BL)
        q = attention(kernel, operands, sight, Drop(rate, jax.random.wrap_key_data(key)))
    return jnp.sum(q.astype(jnp.float32) ** 2)

def array(letters, shape, dtype):
    sharding = rules.activation_sharding(mesh, letters, shape)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

vectors = [array('BLHK', (B, L, H, K), jnp.bfloat16)] * 3
gradient = jax.jit(rules.on_mesh(jax.grad(total, (0, 1, 2)), mesh))
integers = array('BL', (B, L), jnp.int32), jax.ShapeDtypeStruct((2,), jnp.uint32)
print(gradient.lower(*vectors, *integers).compile().as_text())
"""


@pytest.mark.tpu_compile
@pytest.mark.slow
@pytest.mark.parametrize('length', ['512', '640', '8192'])  # one block, and several
@pytest.mark.parametrize(('kernel', 'rate'), [('splash', '0'), ('mosaic', '0.1')])
def test_a_kernel_compiles_for_a_tpu_and_holds_no_scores(kernel, rate, length):
    if importlib.util.find_spec('libtpu') is None:
        pytest.skip('libtpu is not installed')
    settings = {**os.environ, 'XLA_FLAGS': '', 'TPU_SKIP_MDS_QUERY': '1', 'JAX_PLATFORMS': 'cpu'}
    done = subprocess.run(
        [sys.executable, '-c', TPU_PROGRAM, kernel, length, rate],
        capture_output=True, text=True, env=settings,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'tpu_custom_call' in done.stdout
    assert f'{length},{length}' not in done.stdout
