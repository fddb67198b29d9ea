"""Devices that are not here: what describes them, meshes over them, and messages where it fails."""

import dataclasses
import re
import subprocess
import sys
import types

import pytest
from jax.experimental import topologies

from electra_jax.aot import gpu, tpu
from electra_jax.aot import topologies as slices
from electra_jax.config.settings import MeshConfig
from electra_jax.core.errors import ConfigError
from electra_jax.parallel import chips
from electra_jax.parallel import mesh as meshes
from tests.support.configs import tiny_config

needs_libtpu = pytest.mark.skipif(
    not tpu.has_libtpu(), reason="needs the TPU compiler: pip install -e '.[tpu-compile]'"
)


@pytest.mark.parametrize(
    'topology', ['v5e', 'v5e-16', 'h100:2x2', 'v5e:4', 'h100', 'h100:0', 'b9:8']
)
def test_a_name_that_is_no_topology_is_refused_with_examples(topology):
    with pytest.raises(ConfigError, match=r'for example v4:2x2x2, v5e:4x4.* for example h100:8'):
        slices.devices(topology)


def test_the_platform_follows_from_the_name():
    assert slices.find('v5e:4x4') is tpu.PLATFORM and slices.find('a100:8') is gpu.PLATFORM


CARD = (
    'core_count', 'fpus_per_core', 'clock_rate_ghz', 'device_memory_size', 'memory_bandwidth',
    'l2_cache_size', 'registers_per_core_limit', 'registers_per_block_limit',
    'shared_memory_per_core', 'shared_memory_per_block', 'shared_memory_per_block_optin',
    'threads_per_warp', 'threads_per_core_limit', 'threads_per_block_limit', 'block_dim_limit_x',
    'block_dim_limit_y', 'block_dim_limit_z',
)  # fmt: skip


def test_the_cards_are_those_that_the_help_names():
    assert sorted(gpu.CARDS) == ['a100', 'h100', 'h200']


@pytest.mark.parametrize('card', gpu.CARDS)
def test_a_card_has_every_number_and_a_line_in_the_table_that_agrees(card):
    text = gpu.CARDS[card].read_text()
    numbers = {name: float(value) for name, value in re.findall(r'(\w+): ([\d.]+)', text)}
    assert set(CARD) < set(numbers) and all(numbers[name] > 0 for name in CARD)
    assert 'major: ' in text and 'Sources: ' in text and 'platform_name: "CUDA"' in text
    (name,) = re.findall(r'device_description_str: "(.*)"', text)
    chip = chips.chip(types.SimpleNamespace(device_kind=name))
    assert chip.hbm_bandwidth == numbers['memory_bandwidth']
    assert chip.hbm_bytes == numbers['device_memory_size']
    assert chip.ici_bandwidth and chip.dcn_bandwidth
    # Tensor cores do 8 times (compute capability 8) or 16 times (9) what the others do, and the
    # vendor's peak is that of a clock a little below the highest.
    others = 2 * numbers['core_count'] * numbers['fpus_per_core'] * numbers['clock_rate_ghz'] * 1e9
    assert 13 < chip.flops / others < 17


def test_without_the_compiler_for_gpus_the_error_has_what_to_type(monkeypatch):
    monkeypatch.setattr(gpu, 'has_compiler', lambda: False)
    with pytest.raises(
        ConfigError, match=r"pip install -e '.\[gpu-compile\]'.*jax\[cuda12-local\]"
    ):
        slices.devices('h100:8')


def test_a_gpu_compiler_of_another_version_is_named(monkeypatch):
    def fail(**words):
        raise RuntimeError('Unable to initialize backend')

    monkeypatch.setattr(gpu, 'has_compiler', lambda: True)
    monkeypatch.setattr(topologies, 'get_topology_desc', fail)
    with pytest.raises(ConfigError, match=r'Unable to initialize backend.*gpu-compile'):
        slices.devices('h100:8')


@pytest.mark.parametrize(
    ('kernel', 'advice'), [('triton', 'attention=xla'), ('cudnn', 'nvidia-cudnn-cu12')]
)
def test_kernels_that_cannot_be_compiled_here_are_refused(monkeypatch, kernel, advice):
    monkeypatch.setattr(gpu, 'has_cudnn', lambda: False)
    plain = tiny_config()
    model = dataclasses.replace(plain.model, attention=kernel)
    with pytest.raises(ConfigError, match=f"config.model.attention is '{kernel}'.*{advice}"):
        gpu.check(dataclasses.replace(plain, model=model))
    gpu.check(plain)


@pytest.mark.parametrize('share', ['0', '2', 'half'])
def test_a_share_of_memory_that_is_none_is_refused(monkeypatch, share):
    monkeypatch.setenv('XLA_PYTHON_CLIENT_MEM_FRACTION', share)
    with pytest.raises(ConfigError, match=f"XLA_PYTHON_CLIENT_MEM_FRACTION is '{share}'"):
        gpu.memory_share()


def test_without_the_compiler_the_error_has_what_to_type(monkeypatch):
    monkeypatch.setattr(tpu, 'has_libtpu', lambda: False)
    with pytest.raises(ConfigError, match=r"pip install -e '.\[tpu-compile\]'"):
        slices.devices('v5e:2x2')


@needs_libtpu
@pytest.mark.parametrize(
    ('topology', 'count', 'peak'),
    [
        ('v4:2x2x2', 8, 275e12),
        ('v5e:4x4', 16, 197e12),
        ('v5p:2x2x2', 8, 459e12),
        ('v6e:2x4', 8, 918e12),
        ('tpu7x:2x2x1', 8, 1153.5e12),  # two devices a chip
    ],
)
def test_every_generation_has_devices_and_a_line_in_the_table(topology, count, peak):
    devices = slices.devices(topology)
    chip = chips.chip(devices[0])
    assert len(devices) == count and chip.flops == peak
    assert chips.peak_flops(devices) == count * peak
    assert None not in (chip.hbm_bytes, chip.hbm_bandwidth, chip.ici_bandwidth)


def test_an_error_without_a_word_is_named_by_its_kind(monkeypatch):
    def fail(**words):
        raise RuntimeError

    monkeypatch.setattr(tpu, 'has_libtpu', lambda: True)
    monkeypatch.setattr(tpu, '_ENVIRONMENT', {})
    monkeypatch.setattr(topologies, 'get_topology_desc', fail)
    with pytest.raises(ConfigError, match=r'not a slice that libtpu knows \(RuntimeError\)'):
        slices.devices('v5e:4x4')


@needs_libtpu
def test_a_slice_that_cannot_be_built_is_refused():
    with pytest.raises(ConfigError, match='not a slice that libtpu knows'):
        slices.devices('v5p:3x5x9')


@needs_libtpu
def test_the_data_axis_alone_goes_from_slice_to_slice():
    devices = slices.devices('v5e:2x2', 2)
    mesh = meshes.make_mesh(MeshConfig(data=4, fsdp=2), devices)
    assert meshes.num_hosts(mesh) == 2
    for place, group in enumerate(mesh.devices.reshape(4, -1)):
        assert {meshes.slice_of(device) for device in group} == {place // 2}
    with pytest.raises(
        ConfigError, match=r'config\.mesh\.data is 1, not a multiple of the 2 slices'
    ):
        meshes.make_mesh(MeshConfig(data=1, fsdp=8), devices)


@needs_libtpu
def test_axes_of_the_torus_are_split_where_the_mesh_asks_for_it():
    devices = slices.devices('v5p:4x4x4')
    mesh = meshes.make_mesh(MeshConfig(data=2, fsdp=16, tensor=2), devices)
    assert mesh.devices.size == 64


def test_the_command_prints_a_wrong_topology_as_a_sentence():
    words = ['-m', 'electra_jax.aot', '--config=configs/small.py', '--topology=v9:2x2']
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: --topology is 'v9:2x2'" in done.stderr and 'Traceback' not in done.stderr
