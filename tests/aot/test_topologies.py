"""Slices that are not here: their devices, meshes over them, and the messages where they fail."""

import subprocess
import sys

import pytest
from jax.experimental import topologies

from electra_jax.aot import topologies as slices
from electra_jax.config.settings import MeshConfig
from electra_jax.core.errors import ConfigError
from electra_jax.parallel import chips
from electra_jax.parallel import mesh as meshes

needs_libtpu = pytest.mark.skipif(
    not slices.has_libtpu(), reason="needs the TPU compiler: pip install -e '.[tpu_compile]'"
)


@pytest.mark.parametrize('topology', ['v5e', 'v5e-16', 'h100:2x2', 'v5e:4'])
def test_a_name_that_is_no_topology_is_refused_with_examples(topology):
    with pytest.raises(ConfigError, match='for example v4:2x2x2, v5e:4x4'):
        slices.devices(topology)


def test_without_the_compiler_the_error_has_what_to_type(monkeypatch):
    monkeypatch.setattr(slices, 'has_libtpu', lambda: False)
    with pytest.raises(ConfigError, match=r"pip install -e '.\[tpu_compile\]'"):
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

    monkeypatch.setattr(slices, 'has_libtpu', lambda: True)
    monkeypatch.setattr(slices, '_ENVIRONMENT', {})
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
