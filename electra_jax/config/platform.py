"""What is left to the devices of a run: how to compute, never what."""

import dataclasses

from electra_jax.config import kernels
from electra_jax.config.settings import LEFT_TO_DEVICES, Config

# Layers; ELECTRA-small's depth. Measured on a model of that size alone, on one H100 in batches of
# 128 x 128: 1.3 M tokens a second instead of 0.88 M (benchmarks/RESULTS.md).
_GPU_UNROLL = 12


def resolve_platform(config: Config, platform: str) -> Config:
    """The config with nothing left to the devices.

    Unrolled layers are faster (a scan copies each layer's activations into stacked arrays), and
    compile longer: a CPU unrolls all of them; a GPU, which small kernels keep waiting, a dozen, but
    not to fine-tune, which compiles a step for each length of rows, nor where memory is to be saved
    (`remat`: without a loop XLA merges what is computed again with what was); a TPU none. Products
    of two-dimensional operands spare XLA on a CPU a transposed copy of every activation in the
    backward pass; elsewhere [B, L] must stay apart to be sharded. The vocabulary's logits would be
    an accelerator's largest array, so they are made in chunks there; a CPU has the memory, and
    searches one long row for its best token faster than many short ones.

    Args:
        config: resolved.
        platform: 'cpu', 'gpu' or 'tpu', of the devices that will run it.

    Raises:
        ConfigError: the attention kernel that is asked for does not run there.
    """
    on_cpu = platform == 'cpu'
    N, remat = config.model.num_layers, config.model.remat
    unrolls = platform == 'gpu' and config.job == 'pretrain' and remat == 'none'
    choices = {
        'attention': kernels.choose(config, platform),
        'compute_dtype': 'float32' if on_cpu else 'bfloat16',
        'scan_unroll': N if on_cpu else min(N, _GPU_UNROLL) if unrolls else 1,
        'flat_products': on_cpu,
        'vocab_chunks': 1 if on_cpu else 8,
    }
    open_ones = {n: choices[n] for n in LEFT_TO_DEVICES if getattr(config.model, n) is None}
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, **open_ones))
    kernels.check(config, platform)
    return config
