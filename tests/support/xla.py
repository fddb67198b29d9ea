"""Flags with which XLA compiles fast, which takes most of the time of small programs."""

import importlib.metadata

DEVICES = '--xla_force_host_platform_device_count=8'
FAST = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
# XLA refuses flags that it does not know, and newer XLA does not know these.
if [int(part) for part in importlib.metadata.version('jaxlib').split('.')[:2]] < [0, 11]:
    FAST += ' --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1'
