"""Rows of a training file held out to be scored, where there is no file for that."""

import hashlib
from collections.abc import Callable
from typing import Any

from electra_jax.core.errors import DataError
from electra_jax.tasks.examples import SpanExample, TaggedExample, TextExample
from electra_jax.tasks.readers import Loaded

# What rows that must not be parted have in common: questions, their context.
_CONTENT: dict[type, Callable[[Any], Any]] = {
    TextExample: lambda example: sorted((example.text_a, example.text_b or '')),
    TaggedExample: lambda example: example.words,
    SpanExample: lambda example: example.context,
}


def part(loaded: Loaded, share: float, held_out: bool) -> Loaded:
    """The rows that are held out, or those that are not.

    Which ones follows from their content alone: the same text, or pair of texts in either order,
    is never on both sides, and another run, or a longer file, holds out the same.

    Args:
        loaded: of the training file.
        share: about how much of it is held out, between 0 and 1.
        held_out: which part is wanted.

    Raises:
        DataError: no row would be left in it.
    """
    examples = [one for one in loaded.examples if (_place(one) < share) == held_out]
    if not examples:
        raise DataError(
            f'{loaded.where}: config.task.dev_share is {share:g}, which leaves no row of '
            f'{len(loaded.examples)} to {"score" if held_out else "train on"}: write another '
            'share, or name a file of rows to score with --config.task.dev_file'
        )
    return loaded._replace(examples=examples)


def _place(example: Any) -> float:
    """A number from 0 to 1 that depends on the content alone."""
    content = _CONTENT[type(example)](example)
    text = repr(content).encode('utf-8', 'surrogatepass')
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) / 2**32
