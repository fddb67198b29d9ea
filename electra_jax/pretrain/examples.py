"""Held-out text as the networks see it, for people to look at."""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from etils import epath

from electra_jax.core.errors import first_line
from electra_jax.core.trees import Tree
from electra_jax.objectives.definition import Metrics
from electra_jax.objectives.inputs import Inputs
from electra_jax.pretrain.program import Program
from electra_jax.runtime import distributed, terminal
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.train import example_lines, step
from electra_jax.train.example_lines import Example

_ROWS, _TOKENS = 3, 64  # at most: what is kept of an evaluation
_SHOWN = 32  # tokens that fit a screen

MakeExamples = Callable[[Tree], list[Example]]


def make_examples(
    program: Program, tokenizer: Tokenizer, batch: Mapping[str, jax.Array]
) -> MakeExamples:
    """The function from parameters to a few pieces of a held-out batch, the same each time.

    They are masked in the same positions each time, too, as the evaluation masks that batch. All
    processes of a run call the function together.
    """
    objective = program.objective

    def look(params: Tree, inputs: Inputs) -> Metrics:
        shown_BL, doubt_BL = objective.example(params, inputs)
        tokens_BL, documents_BL = inputs.batch['tokens'], inputs.batch['documents']
        return {'shown': shown_BL, 'doubt': doubt_BL, 'was': tokens_BL, 'document': documents_BL}

    compiled: Callable[..., Metrics] = step.compile_totals(look, objective.draw, program.mesh)

    def make(params: Tree) -> list[Example]:
        found = jax.device_get(compiled(params, batch, np.int32(0)))
        first_BL = found['document'] == 1
        longest = np.argsort(-first_BL.sum(axis=1), kind='stable')[:_ROWS]
        rows = [{k: x[b][first_BL[b]] for k, x in found.items()} for b in sorted(longest)]
        return [_example(tokenizer, row) for row in rows]

    return make


def _example(tokenizer: Tokenizer, row: Mapping[str, np.ndarray]) -> Example:
    """The beginning of a document."""
    return Example(
        tokenizer.tokens(row['shown'][:_TOKENS].tolist()),
        tokenizer.tokens(row['was'][:_TOKENS].tolist()),
        [round(float(p), 3) for p in row['doubt'][:_TOKENS]],
    )


def keep(folder: epath.Path, make: MakeExamples) -> Callable[[int, Tree], None]:
    """The function that writes the examples after a step into the workdir.

    A disk that is full costs them, and nothing else.
    """
    refused = False

    def write(number: int, params: Tree) -> None:
        nonlocal refused
        examples = make(params)
        try:
            if distributed.is_first():
                example_lines.add(folder, number, examples)
        except Exception as error:  # a bucket's errors are no OSError
            if not refused:
                terminal.OUT.print(f'no {example_lines.FILE}: {first_line(error)}')
            refused = True

    return write


def text(examples: Sequence[Example]) -> str:
    """The first example: a token a line, replaced ones with what they were before."""
    shown = list(zip(*examples[0], strict=True))[:_SHOWN]
    is_replaced = any(now != was for now, was, _ in shown)
    with_replaced = 'held-out text with replaced tokens, and how sure the model is of each'
    lines = [
        f'{with_replaced} replacement:'
        if is_replaced
        else 'held-out text, in which nothing is replaced, and the doubt about each token:'
    ]
    for now, was, p in shown:
        original = f'<- was {was}' if was != now else ''
        lines.append(f'  {now:<18} {p:4.2f} {"#" * round(20 * p):<20} {original}'.rstrip())
    return '\n'.join(lines)
