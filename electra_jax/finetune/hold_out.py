"""Rows of a training file held out to be scored, where there is no file for that."""

import hashlib
from typing import Any

from electra_jax.core.errors import DataError
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.readers import Loaded


def parts(loaded: Loaded, share: float) -> tuple[list[Any], list[Any]]:
    """The rows that are not held out, and those that are.

    Which ones follows from their content alone: the same text, or pair of texts in either order,
    is never on both sides, and another run, or a longer file, holds out the same.

    Args:
        loaded: of the training file.
        share: about how much of it is held out, between 0 and 1.

    Raises:
        DataError: no row would be left in one of them.
    """
    content = KINDS[loaded.task.kind].content
    rest, held_out = [], []
    for example in loaded.examples:
        (held_out if _position(content(example)) < share else rest).append(example)
    if not rest or not held_out:
        raise DataError(
            f'{loaded.where}: config.task.dev_share is {share:g}, which leaves no row of '
            f'{len(loaded.examples)} to {"train on" if held_out else "score"}: write another '
            'share, or name a file of rows to score with --config.task.dev_file'
        )
    return rest, held_out


def _position(content: Any) -> float:
    """A number from 0 to 1 that depends on the content alone."""
    text = repr(content).encode('utf-8', 'surrogatepass')
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) / 2**32
