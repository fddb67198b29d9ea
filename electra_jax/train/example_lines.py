"""Held-out text as a model saw it, evaluation by evaluation: the lines of examples.jsonl."""

import contextlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from etils import epath

from electra_jax.core import files

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
    kept = [line for line in _lines(folder) if line['step'] < step]
    new = {'step': step, 'examples': [example._asdict() for example in examples]}
    text = ''.join(json.dumps(line, ensure_ascii=False) + '\n' for line in [*kept, new])
    files.write_whole(folder / FILE, text)


def read(folder: pathlib.Path | epath.Path) -> list[tuple[int, list[Example]]]:
    """The step of each evaluation with its examples; damaged lines are left out."""
    found = []
    for line in _lines(folder):
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            found.append((line['step'], [_example(one) for one in line['examples']]))
    return found


def _lines(folder: pathlib.Path | epath.Path) -> list[dict[str, Any]]:
    path = folder / FILE
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding='utf-8').split('\n'):  # a token may be another line end
        with contextlib.suppress(ValueError):
            line = files.parse_object(text)
            if isinstance(line.get('step'), int):
                lines.append(line)
    return lines


def _example(stored: dict[str, Any]) -> Example:
    example = Example(
        [str(token) for token in stored['tokens']],
        [str(token) for token in stored['originals']],
        [float(doubt) for doubt in stored['doubts']],
    )
    if not len(example.tokens) == len(example.originals) == len(example.doubts):
        raise ValueError('lists of different lengths')
    return example
