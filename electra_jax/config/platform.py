"""What is left to the devices of a run: how to compute, never what."""

import dataclasses

from electra_jax.config import kernels
from electra_jax.config.schema import LEFT_TO_DEVICES, Config


def resolve_platform(config: Config, platform: str) -> Config:
    """The config with nothing left to the devices.

    On a CPU, unrolled layers are faster (a scan copies each layer's activations into stacked
    arrays), and products of two-dimensional operands spare XLA a transposed copy of every
    activation in the backward pass. Accelerators want neither: the scan keeps compile time flat,
    and [B, L] must stay apart to be sharded. The vocabulary's logits would be their largest array,
    so they are made in chunks there; a CPU has the memory, and searches one long row for its best
    token faster than many short ones.

    Args:
        config: resolved.
        platform: 'cpu', 'gpu' or 'tpu', of the devices that will run it.

    Raises:
        ConfigError: the attention kernel that is asked for does not run there.
    """
    on_cpu = platform == 'cpu'
    choices = {
        'attention': kernels.choose(config, platform),
        'compute_dtype': 'float32' if on_cpu else 'bfloat16',
        'scan_unroll': config.model.num_layers if on_cpu else 1,
        'flat_products': on_cpu,
        'vocab_chunks': 1 if on_cpu else 8,
    }
    open_ones = {n: choices[n] for n in LEFT_TO_DEVICES if getattr(config.model, n) is None}
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, **open_ones))
    kernels.check(config, platform)
    return config
