"""Minimal pairs: is the good sentence of two more likely than the bad one, by one or all scorers?

Files are those of BLiMP (Warstadt et al. 2020): objects with `sentence_good` and `sentence_bad`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from electra_jax.finetune.examples import TextExample, answered
from electra_jax.finetune.files.tables import Columns
from electra_jax.inference.abilities import score
from electra_jax.inference.abilities.score import Scored
from electra_jax.inference.ability import Ability, Answer, Notes, Options
from electra_jax.inference.opened import Opened

COLUMNS = Columns(text_a='sentence_good', text_b='sentence_bad')
ALL = 'all'  # in place of a scorer: each that the checkpoint has


class Compared(NamedTuple):
    """The two sentences of a pair."""

    good: Scored
    bad: Scored

    @property
    def right(self) -> float:
        """1 where the good one has the higher score, 0 where the bad one has it; a tie is 0.5."""
        good, bad = self.good.score, self.bad.score
        return 0.5 if good == bad else float(good > bad)


By = dict[str, Compared]  # scorer -> what it gives a pair


def bind(opened: Opened, options: Options) -> Answer:
    """The function that compares the sentences of pairs."""
    usual = [options.scorer or score.usual(opened)]
    names = score.able(opened) if options.scorer == ALL else usual
    answer = score.bind_several(opened, names)

    def compare(examples: Sequence[TextExample], notes: Notes) -> Iterator[By]:
        bad = [one._replace(text_a=str(one.text_b), text_b=None) for one in examples]
        found = answer([*examples, *bad], notes)
        for i in range(len(examples)):
            yield {
                name: Compared(scores[i], scores[i + len(examples)])
                for name, scores in found.items()
            }

    return compare


def to_json(example: TextExample, by: By) -> dict[str, Any]:
    """Both sentences with their scores, and whether that is right; of several scorers by name."""
    found = {
        name: {
            'good': score.numbers(pair.good),
            'bad': score.numbers(pair.bad),
            'right': pair.right,
        }
        for name, pair in by.items()
    }
    return answered(example, found if len(found) > 1 else next(iter(found.values())))


def measure(examples: Sequence[TextExample], pairs: Sequence[By]) -> dict[str, float]:
    """The share of pairs that are right, by scorer, and where the good sentence is the shorter one.

    Chance is one half. The last number is what follows from the numbers of tokens alone: sums over
    tokens favor short sentences.
    """
    names = list(pairs[0])
    shares = {
        name if len(names) > 1 else 'accuracy': sum(by[name].right for by in pairs) / len(pairs)
        for name in names
    }
    sizes = [(len(pair.good.terms), len(pair.bad.terms)) for by in pairs for pair in [by[names[0]]]]
    shorter = sum(0.5 if good == bad else float(good < bad) for good, bad in sizes)
    return {**shares, 'shorter': shorter / len(pairs)}


PAIRS = Ability(
    bind,
    to_json,
    lambda opened, options: opened.task_of(COLUMNS),
    measure=measure,
    at_once=score.AT_ONCE // 2,
    options=('scorer',),
)
