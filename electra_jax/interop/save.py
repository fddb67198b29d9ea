"""Writes our parameters as checkpoints of other projects, tokenizer included."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from electra_jax.config.settings import ModelConfig
from electra_jax.core.errors import unknown
from electra_jax.core.trees import Tree
from electra_jax.interop import files, google_tf, huggingface, transfer
from electra_jax.interop import tokenizer as huggingface_tokenizer
from electra_jax.interop.transfer import Report
from electra_jax.tokenizers.api import Tokenizer

CHECKPOINT_NAME = 'model.ckpt'  # of Google's files


class Model(NamedTuple):
    """What is written."""

    params: Mapping[str, Tree]
    model: ModelConfig
    tokenizer: Tokenizer
    task: str | None = None  # what a `task_head` is for
    labels: Sequence[str] | None = None  # of its outputs


def save_foreign(kind: str, folder: str | pathlib.Path, model: Model) -> Report:
    """Writes a checkpoint of another project.

    Args:
        kind: a key of `SAVERS`.
        folder: new or empty; it is made.
        model: what is written.

    Returns:
        What went where, and what was left out.

    Raises:
        UserError: the format has no place for such a model; nothing has been written then.
    """
    if kind not in SAVERS:
        raise unknown('the kind of checkpoint', kind, SAVERS)
    transfer.check_block(model.model, f'the format {kind!r}')
    return SAVERS[kind](pathlib.Path(folder), model)


def _save_google(folder: pathlib.Path, model: Model) -> Report:
    variables, report = google_tf.variables_from_params(model.params, model.tokenizer.vocab_size)
    folder.mkdir(parents=True, exist_ok=True)
    google_tf.write_checkpoint(folder / CHECKPOINT_NAME, variables)
    model.tokenizer.write_native(folder)
    return report


def _save_huggingface(folder: pathlib.Path, model: Model) -> Report:
    tokenizer = model.tokenizer
    networks, report = huggingface.networks_from_params(
        model.params,
        model.model,
        tokenizer.vocab_size,
        tokenizer.special.pad,
        model.task,
        model.labels,
    )
    for role, network in networks.items():
        inside = folder / role if len(networks) > 1 else folder
        inside.mkdir(parents=True, exist_ok=True)
        # First, because it may be refused.
        longest = network.config['max_position_embeddings']
        huggingface_tokenizer.write_tokenizer(tokenizer, inside, longest)
        files.write_folder(inside, network)
    return report


# Projects whose checkpoints can be written. A choice between implementations: add a row.
SAVERS: dict[str, Callable[[pathlib.Path, Model], Report]] = {
    'google': _save_google,
    'huggingface': _save_huggingface,
}
