"""Eight virtual devices for every test; nothing here needs a network or an accelerator."""

import importlib.metadata
import os
import signal

# Before jax is imported anywhere.
os.environ['XLA_FLAGS'] = (
    os.environ.get('XLA_FLAGS', '')
    + ' --xla_force_host_platform_device_count=8'
    # Programs here are small: compiling them takes most of the time.
    + ' --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
)
# XLA refuses flags that it does not know, and newer XLA does not know this one.
if [int(part) for part in importlib.metadata.version('jaxlib').split('.')[:2]] < [0, 11]:
    os.environ['XLA_FLAGS'] += ' --xla_cpu_use_fusion_emitters=false'

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Commands in processes of their own start once, not twice; see runtime/malloc.py.
os.environ.setdefault('GLIBC_TUNABLES', 'glibc.malloc.hugetlb=1')

# A shell ignores Ctrl-C in what it starts in the background, and so would every process that a test
# starts: a handler here, unlike an ignored signal, is not inherited.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import jax
import pytest

from electra_jax.objectives.definition import Vocabulary
from tests.support.configs import VOCABULARY

# Shapes of different ranks are mistakes more often than not: `core.dims.lift` says which are meant.
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture
def vocabulary() -> Vocabulary:
    return VOCABULARY
