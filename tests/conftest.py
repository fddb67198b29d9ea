"""Eight virtual devices for every test; nothing here needs a network or an accelerator."""

import os

# Before jax is imported anywhere.
os.environ['XLA_FLAGS'] = (
    os.environ.get('XLA_FLAGS', '')
    + ' --xla_force_host_platform_device_count=8'
    # Programs here are small: compiling them is what takes the time.
    + ' --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
    + ' --xla_cpu_use_fusion_emitters=false'
)
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Doors in processes of their own start once, not twice; see runtime/malloc.py.
os.environ.setdefault('GLIBC_TUNABLES', 'glibc.malloc.hugetlb=1')

import pytest

from electra_jax.objectives.definition import Vocabulary
from tests.support.configs import VOCABULARY


@pytest.fixture
def vocabulary() -> Vocabulary:
    return VOCABULARY
