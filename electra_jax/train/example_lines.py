"""Held-out text as a model saw it, evaluation by evaluation: the lines of examples.jsonl."""

import contextlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from etils import epath

from electra_jax.core import files
from electra_jax.train import metric_lines

FILE = 'examples.jsonl'  # in the workdir


class Example(NamedTuple):
    """A piece of a held-out row, token by token."""

    tokens: list[str]  # what the discriminator reads, as the tokenizer's pieces
    originals: list[str]  # what was there before; the same where nothing was replaced
    doubts: list[float]  # the probability that it gives to "replaced"


def add(folder: epath.Path, step: int, examples: Sequence[Example]) -> None:
    """Writes the line of an evaluation, in place of those of this step and of later ones.

    An earlier start may have written them. The whole file is written, because a bucket cannot
    append; evaluations are rare, and a line has a few kilobytes.
    """
    kept = [text for text, line in metric_lines.of_steps(folder / FILE) if line['step'] < step]
    new = {'step': step, 'examples': [example._asdict() for example in examples]}
    lines = [*kept, json.dumps(new, ensure_ascii=False)]
    files.write_whole(folder / FILE, ''.join(f'{line}\n' for line in lines))


def read(folder: pathlib.Path | epath.Path) -> list[tuple[int, list[Example]]]:
    """The step of each evaluation with its examples; damaged lines are left out."""
    found = []
    for _, line in metric_lines.of_steps(folder / FILE):
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError, OverflowError):
            found.append((line['step'], [_example(one) for one in line['examples']]))
    return found


def _example(stored: dict[str, Any]) -> Example:
    example = Example(
        [str(token) for token in stored['tokens']],
        [str(token) for token in stored['originals']],
        [float(doubt) for doubt in stored['doubts']],
    )
    if not len(example.tokens) == len(example.originals) == len(example.doubts):
        raise ValueError('lists of different lengths')
    if not all(0 <= doubt <= 1 for doubt in example.doubts):
        raise ValueError('a doubt that is no probability')
    return example
