"""A checkpoint in our terms, whichever project it comes from or goes to."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.config import resolve
from electra_jax.config.settings import ModelConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import Tree
from electra_jax.interop.transfer import Report
from electra_jax.tokenizers import load
from electra_jax.tokenizers.api import Tokenizer

# In what a checkpoint of ours records: what the one that its first parameters are of recorded of
# its training, with its 'name'; None: they were random. Older checkpoints lack it.
STARTED_FROM = 'started_from'


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in our terms: what every project's reader gives, and every writer takes."""

    params: Mapping[str, Tree]  # NumPy arrays, float32, without the parts that the source lacks
    model: ModelConfig
    tokenizer: Tokenizer | None = None  # None: it comes without one
    task: str | None = None  # the kind of task that a `task_head` is for
    labels: Sequence[str] | None = None  # of its outputs, where they are recorded
    objective: str = 'electra'  # or 'mlm': what trains such parameters
    report: Report = dataclasses.field(default_factory=Report)  # of reading it
    about: dict[str, Any] | None = None  # what a checkpoint of ours records about itself
    # Folder of transformers' tokenizer, whose reading can be compared with that of transformers.
    tokenizer_folder: pathlib.Path | None = None
    # The task as our checkpoint records it, also where it went through another project's files.
    record: dict[str, Any] | None = None
    head_style: str | None = None  # of a task's head (config.task.head), where it is recorded
    head_dropout: float | None = None  # the same
    row_limit: int | None = None  # the most tokens of a row, where the tokenizer states it
    dtype: str = 'float32'  # to write parameters in, one of `files.FLOATS`


def recorded(about: Mapping[str, Any], where: str) -> tuple[Mapping[str, Any], Tokenizer]:
    """The model, field by field, and the tokenizer that the checkpoint `where` of ours records."""
    try:
        stored, tokenizer = about['config']['model'], about['tokenizer']
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f'{where} does not name its model or tokenizer ({error!r}): it is not a '
            'checkpoint of this program, or is damaged'
        ) from error
    resolve.check_stored_model(stored, where)
    return stored, load.from_json(tokenizer, f'the tokenizer of {where}')


def from_record(params: Mapping[str, Tree], about: dict[str, Any], where: str) -> Checkpoint:
    """A checkpoint of ours, called `where`, by its parameters and what it records."""
    stored, tokenizer = recorded(about, where)
    try:
        objective = str(about['config']['objective']['name'])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f'{where} does not name its objective ({error!r})') from error
    model = resolve.stored_model(stored)
    return Checkpoint(params, model, tokenizer, objective=objective, about=about)
