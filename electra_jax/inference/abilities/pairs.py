"""Minimal pairs: is the good sentence of two more likely than the bad one?

Files are those of BLiMP (Warstadt et al. 2020): objects with `sentence_good` and `sentence_bad`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.files.tables import Columns
from electra_jax.inference.abilities import score
from electra_jax.inference.abilities.score import Scored
from electra_jax.inference.ability import Ability, Answer, Notes, Options
from electra_jax.inference.opened import Opened

COLUMNS = Columns(text_a='sentence_good', text_b='sentence_bad')


class Compared(NamedTuple):
    """The two sentences of a pair."""

    good: Scored
    bad: Scored

    @property
    def right(self) -> float:
        """1 where the good one has the higher score, 0 where the bad one has it; a tie is 0.5."""
        good, bad = self.good.score, self.bad.score
        return 0.5 if good == bad else float(good > bad)


def bind(opened: Opened, options: Options) -> Answer:
    """The function that compares the sentences of pairs."""
    answer = score.bind(opened, options)

    def compare(examples: Sequence[TextExample], notes: Notes) -> Iterator[Compared]:
        bad = [one._replace(text_a=str(one.text_b), text_b=None) for one in examples]
        scores = list(answer([*examples, *bad], notes))
        return map(Compared, scores[: len(examples)], scores[len(examples) :])

    return compare


def to_json(example: TextExample, pair: Compared) -> dict[str, Any]:
    """Both sentences with their scores, and whether that is right."""
    return {
        'id': example.id,
        'sentence_good': example.text_a,
        'sentence_bad': example.text_b,
        'good': score.numbers(pair.good),
        'bad': score.numbers(pair.bad),
        'right': pair.right,
    }


def measure(examples: Sequence[TextExample], pairs: Sequence[Compared]) -> dict[str, float]:
    """The share of pairs that are right."""
    return {'accuracy': sum(pair.right for pair in pairs) / len(pairs)}


PAIRS = Ability(
    bind,
    to_json,
    lambda opened, options: opened.task_of(COLUMNS),
    measure=measure,
    at_once=score.AT_ONCE // 2,
    options=('scorer',),
)
