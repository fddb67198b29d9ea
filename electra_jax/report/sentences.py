"""Held-out text of the evaluations of a run, as the page shows it."""

from collections.abc import Sequence
from typing import Any

from electra_jax.train.example_lines import Example
from electra_jax.train.runs import Run

_EVALUATIONS = 60  # on a page, at most, of all runs together; but some of each
_FEWEST = 6
_HIDDEN = ('[CLS]', '[SEP]', '[PAD]', '<s>', '</s>', '<pad>')


def sentences(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The texts of each run that has some: steps, and for each of them the tokens of each text."""
    shown = [(number, run) for number, run in enumerate(runs) if run.examples]
    most = max(_EVALUATIONS // max(len(shown), 1), _FEWEST)
    found = []
    for number, run in shown:
        kept = spread(run.examples, most)
        is_wordpiece = any(
            piece.startswith('##')
            for _, examples in kept for example in examples for piece in example.originals
        )  # fmt: skip
        texts = [[_tokens(example, is_wordpiece) for example in examples] for _, examples in kept]
        found.append({'run': number, 'steps': [step for step, _ in kept], 'texts': texts})
    return found


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, evenly spread, the first and the last among them.

    >>> spread([1, 2, 3, 4, 5], 3), spread([1, 2], 3)
    ([1, 3, 5], [1, 2])
    """
    if len(items) <= most:
        return list(items)
    return [items[round(at * (len(items) - 1) / (most - 1))] for at in range(most)]


def _tokens(example: Example, is_wordpiece: bool) -> list[list[Any]]:
    """[what is read, what was there before ('': the same), doubt in percent, a space before it]."""
    found: list[list[Any]] = []
    for piece, original, doubt in zip(*example, strict=True):
        if original in _HIDDEN:
            continue
        begins = not original.startswith('##') if is_wordpiece else original.startswith('▁')
        was = '' if piece == original else plain(original)
        found.append([plain(piece), was, round(100 * doubt), int(begins)])
    return found


def plain(piece: str) -> str:
    """A piece without the marks by which tokenizers join them.

    >>> plain('##ing'), plain('▁the'), plain('##')
    ('ing', 'the', '##')
    """
    return piece.removeprefix('##').removeprefix('▁') or piece
