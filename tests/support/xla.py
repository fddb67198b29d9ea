"""Flags with which XLA compiles fast, which takes most of the time of small programs."""

import importlib.metadata
import os

# The environment variable with the folder in which one run of the tests keeps compiled programs.
COMPILED = 'ELECTRA_JAX_TESTS_COMPILED'
DEVICES = '--xla_force_host_platform_device_count=8'
FAST = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
# XLA refuses flags that it does not know, and newer XLA does not know these.
if [int(part) for part in importlib.metadata.version('jaxlib').split('.')[:2]] < [0, 11]:
    FAST += ' --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1'


def shared() -> dict[str, str]:
    """Environment variables by which commands load what others of this run have compiled.

    None outside of pytest.
    """
    if COMPILED not in os.environ:
        return {}
    return {
        'JAX_ENABLE_COMPILATION_CACHE': '1',
        'JAX_COMPILATION_CACHE_DIR': os.environ[COMPILED],
        'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.2',
    }
