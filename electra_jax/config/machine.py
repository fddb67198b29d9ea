"""Which kind of devices this machine has, without the seconds that JAX takes to find out."""

import glob
import importlib.metadata
import importlib.util
import os

# Kind -> packages with which JAX runs on it, and the files of its devices.
_SIGNS = {
    'tpu': (('libtpu',), ('/dev/accel[0-9]*', '/dev/vfio/[0-9]*')),
    'gpu': (('jax_cuda12_plugin', 'jax_cuda13_plugin'), ('/dev/nvidia[0-9]*',)),
}


def kind() -> str:
    """'tpu', 'gpu' or 'cpu': what JAX will run on here; $JAX_PLATFORMS decides where it is set."""
    named = os.environ.get('JAX_PLATFORMS', '').partition(',')[0]
    if named:
        return {'cuda': 'gpu', 'rocm': 'gpu'}.get(named, named)
    for name, (packages, devices) in _SIGNS.items():
        if any(map(importlib.util.find_spec, packages)) and any(map(glob.glob, devices)):
            return name
    return 'cpu'


def look_for_no_tpu() -> None:
    """Lets JAX use the CPU where libtpu is installed and nothing tells of a TPU.

    JAX would try, and libtpu print errors that are none. Where anything might be another device (a
    file of one, a plugin of JAX, a variable about TPUs), JAX looks for itself and shows its errors.
    """
    packages, files = _SIGNS['tpu']
    if not any(map(importlib.util.find_spec, packages)) or any(map(glob.glob, files)):
        return
    told = any(name.startswith(('TPU_', 'PJRT_', 'CLOUD_TPU_')) for name in os.environ)
    plugins = importlib.util.find_spec('jax_plugins') is not None
    if not told and not plugins and not importlib.metadata.entry_points(group='jax_plugins'):
        os.environ.setdefault('JAX_PLATFORMS', 'cpu')
