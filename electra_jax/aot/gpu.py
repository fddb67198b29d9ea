"""NVIDIA cards that are not here, as XLA describes them from a card's data sheet.

Each card is one file in `cards/`, which the compiler reads (its GpuTargetConfigProto, as text), and
one row of `parallel/chips.py`, from which the roofline is made.
"""

import importlib.util
import os
import pathlib
import shutil

import jax
from jax.experimental import topologies

from electra_jax.aot.definition import Platform
from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError, first_line

CARDS = {path.stem: path for path in (pathlib.Path(__file__).parent / 'cards').glob('*.textproto')}
# JAX's compiler for CUDA, of either version; and where their packages have NVIDIA's assembler.
_PLUGINS = ('jax_plugins.xla_cuda12', 'jax_plugins.xla_cuda13')
_ASSEMBLERS = ('nvidia.cuda_nvcc', 'nvidia.cu13')
_CUDNN = ('nvidia.cudnn', 'nvidia.cublas', 'nvidia.cuda_runtime')
_MEMORY = 'XLA_PYTHON_CLIENT_MEM_FRACTION'  # JAX's variable
_USUAL_SHARE = 0.75  # JAX's, where the variable is not set


def devices(topology: str, hosts: int) -> list[jax.Device]:
    """The devices of hosts that have a number of cards each."""
    if not has_compiler():
        raise ConfigError(
            'the GPU compiler (jax-cuda12-plugin of the version of JAX, and ptxas) is not '
            "installed: type pip install -e '.[gpu-compile]' in a clone, or pip install "
            f"'jax[cuda12-local]=={jax.__version__}' nvidia-cuda-nvcc-cu12; it needs no GPU and no "
            'driver'
        )
    card, _, number = topology.partition(':')
    try:
        described = topologies.get_topology_desc(
            platform='cuda',
            topology_name='any',
            topology=f'1x{hosts}x{number}',  # groups of hosts, hosts, cards of a host
            target_config=CARDS[card].read_text(),
        )
    except (jax.errors.JaxRuntimeError, RuntimeError) as error:
        raise ConfigError(
            f'--topology={topology} cannot be described by the GPU compiler '
            f"({first_line(error)}): type pip install -e '.[gpu-compile]' again if JAX "
            f'({jax.__version__}) and jax-cuda12-plugin differ in version'
        ) from error
    return list(described.devices)


def has_compiler() -> bool:
    """Whether programs can be compiled for GPUs here."""
    return any(map(_has, _PLUGINS)) and bool(shutil.which('ptxas') or any(map(_has, _ASSEMBLERS)))


def has_cudnn() -> bool:
    """Whether the libraries are here with which cuDNN's attention is compiled."""
    return all(map(_has, _CUDNN)) or _has('nvidia.cu13')


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor the package above it
        return False


def check(config: Config) -> None:
    """Refuses kernels of attention that cannot be compiled here."""
    kernel = config.model.attention
    if kernel == 'triton':
        raise ConfigError(
            "config.model.attention is 'triton', whose kernel asks the GPU for its kind while it "
            'is compiled, and none is here: type --config.model.attention=xla'
        )
    if kernel in ('cudnn', 'cudnn_mask') and not has_cudnn():
        raise ConfigError(
            f'config.model.attention is {kernel!r}, which is compiled by cuDNN, and that is not '
            "installed: type pip install -e '.[gpu-compile]' in a clone, or pip install "
            'nvidia-cudnn-cu12 nvidia-cublas-cu12 nvidia-cuda-runtime-cu12; or type '
            '--config.model.attention=xla'
        )


def memory_share() -> float:
    """The share of a card's memory that JAX takes for a program."""
    text = os.environ.get(_MEMORY, str(_USUAL_SHARE))
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ConfigError(f'${_MEMORY} is {text!r}, allowed: above 0 and at most 1')
    return share


PLATFORM = Platform(
    kind='gpu',
    group='host',
    links='nvlink',
    network='network',
    names=tuple(sorted(CARDS)),
    pattern=r'[1-9]\d{0,3}',
    allowed=f'an NVIDIA card ({", ".join(sorted(CARDS))}) and how many of them a host has, for '
    'example h100:8, h200:1, a100:8',
    devices=devices,
    check=check,
    group_of=lambda device: device.process_index,
    memory_share=memory_share,
    options={'xla_gpu_autotune_level': 0},  # it would time kernels on the card
    # Of configs/one_gpu.py the times in turn are then 17.3 ms with layers in a loop and 11.7 ms
    # unrolled, where an H100 took 18.6 and 12.6 (docs/speed.md).
    launch_seconds=2e-6,
    assumptions=(
        'each kernel costs 2 us in addition to what it reads, writes and computes',
        'what a kernel finds in the L2 cache counts as read from main memory',
        'kernels are those that XLA chooses without timing them; on a card it takes the fastest of '
        'several for each matrix product',
        f'JAX takes {_USUAL_SHARE:.0%} of the memory of a card, or the share in ${_MEMORY}',
    ),
)
