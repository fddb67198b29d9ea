"""What a measurement leaves behind: a JSON file with the numbers and all that they depend on."""

import datetime
import hashlib
import json
import os
import pathlib
import platform
import sys
from collections.abc import Mapping
from typing import Any

from electra_jax.config.fields import Settings
from electra_jax.core import files
from electra_jax.train import workdir

Record = dict[str, Any]
VERSIONS = ('torch', 'transformers', 'libtpu')  # in addition to those of every run
as_json = workdir.as_json


def identity(
    name: str, config: Settings, rival: Mapping[str, Any] | None, plan: Mapping[str, int]
) -> Record:
    """What is measured; a measurement that was made before need not be made again.

    Args:
        name: of the recipe.
        config: settings in which only what depends on the devices is left unset.
        rival: 'name' and 'config' of what it is compared with.
        plan: how long.
    """
    return {
        'config_name': name,
        'config': workdir.as_json(config),
        'rival': rival,
        'plan': dict(plan),
        'revision': workdir.revision(),
    }


def complete(identity: Record, varied: Mapping[str, Any], measured: Record) -> Record:
    """A whole record.

    Args:
        identity: of the measurement.
        varied: settings in which it differs from others of its sweep.
        measured: the numbers.
    """
    return {
        **identity,
        'varied': dict(varied),
        'command': ['electra_jax.bench', *sys.argv[1:]],  # not where it is installed
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'python': platform.python_version(),
        'packages': workdir.versions(VERSIONS),
        'machine': machine(),
        **measured,
    }


def machine() -> Record:
    """The host, and how busy it is, since figures under load are worth little."""
    return {
        'processor': processor(),
        'cores': len(os.sched_getaffinity(0)),
        'load_average': list(os.getloadavg()),
    }


def processor() -> str:
    """The CPU's name."""
    try:
        lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
        return next(line.partition(':')[2].strip() for line in lines if 'model name' in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def path_of(folder: pathlib.Path, identity: Record) -> pathlib.Path:
    """The file of the record of this identity; another measurement overwrites it."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    config = identity['config']
    size = f'{config["batch_size"]}x{config["data"]["row_length"]}'
    return folder / f'{identity["config_name"]}-{size}-{digest}.json'


def read(path: pathlib.Path) -> Record | None:
    """A record, or None where there is none that is whole."""
    try:
        record: Record = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return record


def write(path: pathlib.Path, record: Record) -> None:
    """Writes a record whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, json.dumps(record, indent=1) + '\n')
