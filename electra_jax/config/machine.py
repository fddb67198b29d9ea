"""Which kind of devices this machine has, without the seconds that JAX takes to find out."""

import glob
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
