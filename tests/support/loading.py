"""Reads a split of a task from a file, or from a folder as a run would find it."""

import pathlib

from electra_jax.finetune import known as table
from electra_jax.finetune import readers
from electra_jax.finetune.bad_rows import BadRows
from electra_jax.finetune.known import Place, TaskSpec
from electra_jax.finetune.readers import Known, Loaded, Options


def load(
    spec: TaskSpec,
    where: str,
    split: str,
    options: Options | None = None,
    known: Known | None = None,
) -> Loaded:
    path = pathlib.Path(where)
    place = Place(path) if path.is_file() else table.find(spec.layout, where, split)
    if place is None:
        raise table.missing(spec.layout, where, split)
    return readers.read(spec, place, split, options or Options(), known)


def counts(bad: BadRows) -> dict[str, int]:
    """Kind of bad row -> how many."""
    return {kind: number for kind, (number, _) in bad.found.items()}
