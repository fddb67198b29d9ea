"""Hypotheses in the order of their scores: the rows with one id are those of one thing."""

import collections
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from electra_jax.finetune.examples import TextExample, answered
from electra_jax.inference.abilities import score
from electra_jax.inference.abilities.score import Scored
from electra_jax.inference.ability import Ability, Answer, Notes, Options, in_turns
from electra_jax.inference.opened import Opened


class Ranked(NamedTuple):
    """A hypothesis among those with its id."""

    rank: int  # 1: the likeliest; of equal scores the first row comes first
    scored: Scored


def bind(opened: Opened, options: Options) -> Answer:
    """The function that ranks texts among those with the same id."""
    answer = score.bind(opened, options)

    def rank(examples: Sequence[TextExample], notes: Notes) -> Iterator[Ranked]:
        turns = in_turns(answer, examples, notes, score.AT_ONCE)
        scores = [one for some in turns for one in some]
        groups: dict[str, list[int]] = collections.defaultdict(list)
        for number in sorted(range(len(scores)), key=lambda i: -scores[i].score):
            groups[examples[number].id].append(number)
        ranks = {number: at for group in groups.values() for at, number in enumerate(group, 1)}
        return (Ranked(ranks[i], scored) for i, scored in enumerate(scores))

    return rank


def to_json(example: TextExample, ranked: Ranked) -> dict[str, Any]:
    """The text, its rank and its score."""
    found = score.numbers(ranked.scored)
    return answered(example, {'rank': ranked.rank, **found})


RERANK = Ability(bind, to_json, at_once=None, options=('scorer',))
