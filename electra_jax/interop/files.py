"""Folders as transformers writes them: config.json and model.safetensors, one network each.

Pickled weights (pytorch_model.bin) can run code when they are opened and are never read.
"""

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
import safetensors
from safetensors.numpy import save

from electra_jax.core import untrusted
from electra_jax.core.errors import CheckpointError
from electra_jax.core.files import parse_object

CONFIG_FILE, WEIGHTS_FILE = 'config.json', 'model.safetensors'
ROLES = ('discriminator', 'generator')  # subfolders of a pair
FLOATS = ('float32', 'bfloat16')  # that parameters may be written in


class Network(NamedTuple):
    """What a folder holds, apart from its tokenizer."""

    config: dict[str, Any]  # config.json
    arrays: dict[str, np.ndarray]  # by the tensors' names


def read(path: pathlib.Path) -> dict[str, Network]:
    """The networks in a folder, or in its subfolders discriminator/ and generator/, by role."""
    folders = {role: path / role for role in ROLES}
    if (path / CONFIG_FILE).is_file():
        folders = {'discriminator': path}
    found = {role: one for role, one in folders.items() if (one / CONFIG_FILE).is_file()}
    if not found:
        raise CheckpointError(
            f'there is no Hugging Face model in {path}: it has no {CONFIG_FILE}, and no '
            'discriminator/ or generator/ with one'
        )
    return {role: _read_network(folder) for role, folder in found.items()}


def _read_network(folder: pathlib.Path) -> Network:
    config = read_json(folder / CONFIG_FILE)
    arrays: dict[str, np.ndarray] = {}
    for file in _weight_files(folder):
        arrays |= read_tensors(file)
    return Network(config, arrays)


def _weight_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The safetensors files of a folder, whole or in shards."""
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    shards = sorted(folder.glob('model-*-of-*.safetensors'))
    if shards:
        if not all(one.name.endswith(f'-of-{len(shards):05}.safetensors') for one in shards):
            raise CheckpointError(
                f'{folder} lacks files: there are {len(shards)} such as {shards[0].name}'
            )
        return shards
    pickled = sorted(folder.glob('pytorch_model*.bin'))
    if pickled:
        raise CheckpointError(
            f'{folder} has its weights in {pickled[0].name} only, a pickle, which can run code '
            'when it is opened and is never read here. If you trust it, write it again with '
            'transformers: python -c "from transformers import AutoModelForPreTraining as A; '
            f"A.from_pretrained('{folder}').save_pretrained('{folder}')\" (AutoModelForMaskedLM "
            'for a generator)'
        )
    raise CheckpointError(f'{folder} holds no {WEIGHTS_FILE}')


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file; CheckpointError where it cannot be read."""
    check_inside(path)
    try:
        # bfloat16 is known to NumPy once JAX's dtypes are imported, which callers do.
        with safetensors.safe_open(path, framework='numpy') as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise CheckpointError(
            f'{path} cannot be read ({error}): it is damaged or was not copied whole; fetch it '
            'again'
        ) from error


def write_tensors(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a safetensors file."""
    # transformers wants to see the format it would have written itself; `save_file` would make a
    # file that only its owner can read.
    path.write_bytes(save(arrays, metadata={'format': 'pt'}))


def write_network(folder: pathlib.Path, network: Network, dtype: str) -> None:
    """Writes config.json and model.safetensors into a folder that exists."""
    arrays = {name: x.astype(dtype) for name, x in network.arrays.items()}
    write_tensors(folder / WEIGHTS_FILE, arrays)
    text = json.dumps({**network.config, 'dtype': dtype}, indent=2, sort_keys=True)
    (folder / CONFIG_FILE).write_text(text + '\n')


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The object in a JSON file of a folder; CheckpointError where it cannot be used."""
    check_inside(path)
    try:
        size, most = path.stat().st_size, untrusted.MOST_JSON_BYTES
        if size > most:
            raise ValueError(f'it has {size:,} bytes, and at most {most:,} are read')
        return parse_object(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f'cannot read {path} ({error.strerror})') from error
    except ValueError as error:
        raise CheckpointError(f'{path} is not JSON that can be used ({error})') from error


def check_inside(path: pathlib.Path) -> None:
    """Refuses a file that is a link out of its folder, naming where it leads."""
    problem = untrusted.link_problem(path, path.parent)
    if problem:
        raise CheckpointError(problem)
