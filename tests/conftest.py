"""Eight virtual devices for every test; nothing here needs a network or an accelerator."""

import atexit
import os
import shutil
import signal
import tempfile

from electra_jax.runtime import malloc
from tests.support import xla

# Before jax is imported anywhere.
os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {xla.DEVICES} {xla.FAST}'

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Programs in this process are compiled in a second. The commands that tests start share what they
# compile (`recipes.ENVIRONMENT`), and must not fill the user's folder.
os.environ['JAX_ENABLE_COMPILATION_CACHE'] = '0'
if xla.COMPILED not in os.environ:  # not yet in pytest-xdist's workers
    os.environ[xla.COMPILED] = tempfile.mkdtemp(prefix='electra_jax_tests_')
    atexit.register(shutil.rmtree, os.environ[xla.COMPILED], ignore_errors=True)
# Commands in processes of their own start once, not twice; see runtime/malloc.py.
os.environ.update(malloc.with_settings(os.environ))

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
