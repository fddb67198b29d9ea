"""How likely a text is: pseudo-log-likelihood by the generator, and one-pass scores.

The generator's score of a token is log p(token | all others), one position masked at a time
(Salazar et al. 2020). The discriminator's is the log-probability that the token is the
original one, and Electric's is -E(x)_t (`objectives.electric.token_scores`): one pass for a text.
Scores of a text are sums over its tokens, so those of texts of different length differ by length.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from electra_jax.core.errors import CheckpointError, unknown
from electra_jax.finetune.answers import Outputs
from electra_jax.finetune.examples import TextExample, answered
from electra_jax.finetune.kinds.kind import Batch, json_number
from electra_jax.inference.abilities.detect import check_detects, note_untrained, originality
from electra_jax.inference.abilities.fill_mask import check_generates
from electra_jax.inference.ability import Ability, Answer, Notes, Options
from electra_jax.inference.opened import Opened
from electra_jax.inference.rows import encode, to_rows
from electra_jax.model.bind import Model, Params
from electra_jax.objectives import electric
from electra_jax.objectives.definition import Vocabulary
from electra_jax.objectives.generators import GENERATORS
from electra_jax.ops import vocab_head

AT_ONCE = 256  # texts, each of which may become as many rows as it has tokens
# Ids of some texts, int32 [T] each -> the score of each token, float32 [T].
Terms = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


class Scored(NamedTuple):
    """How likely a text is."""

    score: float  # the sum of `terms`, in nats
    terms: np.ndarray  # float32 [T], of each token


def bind(opened: Opened, options: Options) -> Answer:
    """The function that scores texts, by `scorer` or what suits the checkpoint best."""
    name = options.scorer or usual(opened)
    several = bind_several(opened, [name])
    return lambda examples, notes: iter(several(examples, notes)[name])


def bind_several(
    opened: Opened, names: Sequence[str]
) -> Callable[[Sequence[TextExample], Notes], dict[str, list[Scored]]]:
    """The function that scores texts by each of some scorers."""
    for name in names:
        if name not in SCORERS:
            raise unknown('--scorer', name, SCORERS)
    terms = {name: SCORERS[name].bind(opened) for name in names}

    def score(examples: Sequence[TextExample], notes: Notes) -> dict[str, list[Scored]]:
        if 'discriminator' in names:
            note_untrained(opened, notes)
        ids = [one.ids for one in encode(opened, examples, notes)]
        return {
            name: [Scored(float(np.sum(x, dtype=np.float64)), x) for x in of_tokens(ids)]
            for name, of_tokens in terms.items()
        }

    return score


def able(opened: Opened) -> list[str]:
    """The scorers that the checkpoint has what is needed for; at least the usual one."""
    return [name for name, one in SCORERS.items() if one.fits(opened)] or [usual(opened)]


def usual(opened: Opened) -> str:
    """The scorer that suits the checkpoint best."""
    if opened.objective == 'electric':
        return 'electric'
    return 'generator' if 'generator_head' in opened.params else 'discriminator'


# ---------------------------------------------------------------------------------------------
# Scorers


def _by_generator(opened: Opened) -> Terms:
    check_generates(opened)
    # Such a generator never sees the token that it predicts: one pass has all positions.
    if GENERATORS[opened.config.model.generator].everywhere:
        return _in_one_pass(opened, ('generator',), lambda model: likelihoods(opened, model, True))
    run = opened.program(('generator',), lambda model: likelihoods(opened, model))

    def terms(ids: Sequence[np.ndarray]) -> list[np.ndarray]:
        masked = [_masked(one, opened.tokenizer.special.mask) for one in ids]
        rows = [row for some in masked for row in some]
        positions = [t for one in ids for t in range(1, len(one) + 1)]
        targets = np.concatenate(ids)
        outputs = run(to_rows(opened, rows, position=positions, target=targets)) if rows else []
        found = np.array([output['score'][0] for output in outputs], np.float32)
        return np.split(found, np.cumsum([len(one) for one in ids])[:-1])

    return terms


def _masked(ids: np.ndarray, mask: int) -> np.ndarray:
    """A copy of the text for each token, with [MASK] in its place, int32 [T, T]."""
    rows = np.repeat(ids[None], len(ids), axis=0)
    np.fill_diagonal(rows, mask)
    return rows


def likelihoods(opened: Opened, model: Model, everywhere: bool = False) -> Outputs:
    """Log-likelihoods [B, 1] by the generator, of the batch's 'target' [B] at its 'position' [B].

    `everywhere`: of all its tokens [B, L], at their own positions.
    """
    size, chunks = opened.tokenizer.vocab_size, opened.config.model.vocab_chunks

    def outputs(params: Params, batch: Batch) -> dict[str, jax.Array]:
        position_BP = None if everywhere else batch['position'][:, None]
        target_BP = batch['tokens'] if everywhere else batch['target'][:, None]
        softmax = model.generate(params, batch, position_BP, None)
        predicted = vocab_head.predict(softmax, target_BP, (), 1.0, size, chunks=chunks)
        return {'score': -predicted.loss_BP}

    return outputs


def _by_discriminator(opened: Opened) -> Terms:
    check_detects(opened)
    return _in_one_pass(opened, ('discriminator',), originality)


def _has_energies(opened: Opened) -> bool:
    return opened.objective == 'electric' and 'discriminator_head' in opened.params


def _by_electric(opened: Opened) -> Terms:
    if not _has_energies(opened):
        raise CheckpointError(
            f'{opened.where} has no energies: it was pre-trained as {opened.objective!r}, and '
            'electric is needed (configs/objectives/electric.py); other scorers are '
            f'{", ".join(name for name in SCORERS if name != "electric")}'
        )
    vocabulary = Vocabulary(opened.tokenizer.vocab_size, opened.tokenizer.special)
    return _in_one_pass(
        opened,
        ('discriminator',),
        lambda model: (
            lambda params, batch: {'score': electric.token_scores(model, vocabulary, params, batch)}
        ),
    )


def _in_one_pass(
    opened: Opened, networks: Sequence[str], outputs: Callable[[Model], Outputs]
) -> Terms:
    run = opened.program(networks, outputs)

    def terms(ids: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = run(to_rows(opened, ids))
        return [np.array(x['score'][1 : 1 + len(one)]) for x, one in zip(found, ids, strict=True)]

    return terms


class Scorer(NamedTuple):
    """A way to score texts."""

    fits: Callable[[Opened], bool]  # whether the checkpoint has what is needed
    bind: Callable[[Opened], Terms]  # raises CheckpointError: it has not


# Values of `predict --scorer`. To add one: a row here.
SCORERS: dict[str, Scorer] = {
    'generator': Scorer(lambda opened: 'generator_head' in opened.params, _by_generator),
    'discriminator': Scorer(lambda opened: opened.detects, _by_discriminator),
    'electric': Scorer(_has_energies, _by_electric),
}


def to_json(example: TextExample, scored: Scored) -> dict[str, Any]:
    """The text, its score in nats and its number of tokens."""
    return answered(example, numbers(scored))


def numbers(scored: Scored) -> dict[str, Any]:
    """A score as JSON has it."""
    return {'score': json_number(scored.score), 'tokens': len(scored.terms)}


SCORE = Ability(bind, to_json, at_once=AT_ONCE, options=('scorer',))
