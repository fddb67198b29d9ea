"""What a measurement leaves behind: a JSON file with the numbers and all that they depend on."""

import dataclasses
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
from electra_jax.config.settings import Config
from electra_jax.core import files
from electra_jax.train import workdir

Record = dict[str, Any]
IDENTITY = ('config_name', 'config', 'rival', 'plan', 'revision')  # of a measurement
VERSIONS = ('torch', 'transformers', 'libtpu')  # in addition to those of every run


def make(
    name: str,
    config: Settings | Config,
    rival: Mapping[str, Any] | None,
    plan: Mapping[str, int],
    measured: Record,
) -> Record:
    """What was measured, where and when, and the numbers.

    `config` is from before the devices are known; `rival` has the 'name' and 'config' of another.
    """
    return {
        'config_name': name,
        'config': dataclasses.asdict(config),
        'rival': rival,
        'plan': dict(plan),
        'revision': workdir.revision(),
        'command': ['electra_jax.bench', *sys.argv[1:]],  # not where it is installed
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'python': platform.python_version(),
        'packages': workdir.versions(VERSIONS),
        'machine': {
            'processor': _processor(),
            'cores': len(os.sched_getaffinity(0)),
            'load_average': list(os.getloadavg()),  # figures under load are worth little
        },
        **measured,
    }


def _processor() -> str:
    try:
        lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
        return next(line.partition(':')[2].strip() for line in lines if 'model name' in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write(folder: pathlib.Path, record: Record) -> pathlib.Path:
    """Writes a record into a file of its own; the same measurement again overwrites it."""
    identity = {name: record[name] for name in IDENTITY}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    config = record['config']
    size = f'{config["batch_size"]}x{config["data"]["row_length"]}'
    path = folder / f'{record["config_name"]}-{size}-{digest}.json'
    folder.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, json.dumps(record, indent=1) + '\n')
    return path


def text(record: Record) -> str:
    """A record for the terminal."""
    config, ready = record['config'], record['ready']
    lines = [
        f'{record["config_name"]}, {config["batch_size"]} x {config["data"]["row_length"]}, '
        f'{ready["devices"]}, {ready["dtype"]}',
        *(_program_line(one) for one in (record, *record['peers'])),
    ]
    if record['ratio']:
        lines.append(f'  ratio to {record["peer"]}: {record["ratio"]:.2f}')
    for key, form, words in (
        ('ratio_of_processor_time', '.2f', 'ratio in processor time'),
        ('ratio_of_real_tokens', '.2f', 'ratio in tokens that are not padding'),
        ('mfu', '.1%', 'MFU'),
        ('input_share', '.1%', 'share of time spent waiting for input'),
        ('real_token_share', '.1%', 'tokens that are not padding'),
    ):
        if record.get(key) is not None:
            lines.append(f'  {words}: {record[key]:{form}}')
    return '\n'.join(lines)


def _program_line(one: Mapping[str, Any]) -> str:
    """One program's speed, the spread of its steps and its memory."""
    spread = '/'.join(f'{one["step_seconds"][name]:.3f}' for name in ('p10', 'p50', 'p90', 'max'))
    return (
        f'  {one["name"]:<38}{one["tokens_per_second"]:>12,.0f} tokens/s   '
        f'{spread} s   {one["peak_memory_bytes"] / 2**30:.2f} GiB'
    )
