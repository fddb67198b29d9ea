"""What a run has left on disk, as digests for a comparison bit for bit."""

import hashlib
import json
import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from electra_jax.train.parameters import AVERAGE
from tools.faults import setting

logging.set_verbosity(logging.ERROR)  # Orbax warns of the absence of a file that it does not need

_UNLIKE = ('speed/',)  # metrics that no two runs have in common


def digest(checkpoint: pathlib.Path) -> dict[str, str]:
    """Every array of a checkpoint and its position in the data, each as a hash of its bits."""
    found = {}
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        for item in ('params', 'rest', AVERAGE):
            if not (checkpoint / item).exists():  # few runs keep a mean
                continue
            shapes = reader.metadata(checkpoint / item).item_metadata.tree
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
            tree = reader.restore(
                checkpoint / item, args=ocp.args.PyTreeRestore(restore_args=as_numpy)
            )
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
                array = np.asarray(leaf)
                bits = f'{array.dtype}{array.shape}'.encode() + array.tobytes()
                found[item + jax.tree_util.keystr(path)] = hashlib.sha256(bits).hexdigest()
    position = json.loads((checkpoint / 'data' / 'metadata').read_text())
    found['data'] = json.dumps(position, sort_keys=True)
    return found


def finished_steps(workdir: pathlib.Path) -> list[int]:
    """Steps of the checkpoints that have their final name."""
    folder = workdir / 'checkpoints'
    names = [child.name for child in folder.iterdir()] if folder.exists() else []
    return sorted(int(name) for name in names if name.isdigit())


def whole_steps(workdir: pathlib.Path, reference: dict[str, Any]) -> list[int]:
    """Steps of the checkpoints whose every bit is that of the undisturbed run."""
    return [
        step for step in finished_steps(workdir) if not checkpoint_differs(workdir, step, reference)
    ]


def checkpoint_differs(workdir: pathlib.Path, step: int, reference: dict[str, Any]) -> list[str]:
    """Names of the arrays that differ from the undisturbed run."""
    try:
        found = digest(workdir / 'checkpoints' / str(step))
    except Exception as error:
        return [f'unreadable: {type(error).__name__}']
    wanted = reference['checkpoints'][str(step)]
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def metrics(workdir: pathlib.Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl, without what differs between any two runs."""
    return [
        {name: value for name, value in line.items() if not name.startswith(_UNLIKE)}
        for line in setting.read_lines(workdir / 'metrics.jsonl')
    ]


def metrics_differ(workdir: pathlib.Path, reference: dict[str, Any]) -> list[str]:
    """Where metrics.jsonl differs from that of the undisturbed run."""
    found, wanted = metrics(workdir), reference['metrics']
    for number, (a, b) in enumerate(zip(found, wanted, strict=False), 1):
        if a != b:
            names = sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
            return [f'metrics.jsonl line {number} (step {b["step"]}): {", ".join(names)}']
    if len(found) != len(wanted):
        return [f'metrics.jsonl has {len(found)} lines, not {len(wanted)}']
    return []


def record(workdir: pathlib.Path) -> dict[str, Any]:
    """An undisturbed run, to compare others with: it has saved after every step."""
    checkpoints = workdir / 'checkpoints'
    return {
        'checkpoints': {
            str(step): digest(checkpoints / str(step)) for step in finished_steps(workdir)
        },
        'metrics': metrics(workdir),
    }
