"""Which tokens of a text were replaced, by the discriminator: what is odd in a text."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from electra_jax.finetune.answers import Outputs
from electra_jax.finetune.examples import TextExample, answered
from electra_jax.finetune.fitting import STAGE_1
from electra_jax.finetune.kinds.kind import json_number
from electra_jax.inference.ability import Ability, Answer, Notes, Options
from electra_jax.inference.opened import Opened, lacks
from electra_jax.inference.rows import encode, to_rows
from electra_jax.model.bind import Model


class Detected(NamedTuple):
    """The tokens of a text, T of them, each with its probability to be a replaced one."""

    tokens: list[str]  # the pieces of the vocabulary
    spans: np.ndarray  # int32 [T, 2]: token t was made of text[begin:end]
    replaced: np.ndarray  # float32 [T], probabilities


def bind(opened: Opened, options: Options) -> Answer:
    """The function that finds replaced tokens."""
    check_detects(opened)
    run = opened.program(('discriminator',), probabilities)

    def detect(examples: Sequence[TextExample], notes: Notes) -> Iterator[Detected]:
        note_untrained(opened, notes)
        encoded = encode(opened, examples, notes, spans=True)
        outputs = run(to_rows(opened, [one.ids for one in encoded]))
        for one, output in zip(encoded, outputs, strict=True):
            assert one.spans is not None
            replaced = np.array(output['replaced'][1 : 1 + len(one.ids)])
            yield Detected(opened.tokenizer.tokens(one.ids.tolist()), one.spans, replaced)

    return detect


def check_detects(opened: Opened) -> None:
    """Refuses a checkpoint without a head that gives the probability that a token was replaced."""
    if not opened.detects:
        raise lacks(
            opened,
            'a head that gives the probability that a token was replaced',
            'pre-train with --config.objective.name=electra, or fine-tune it (configs/finetune/)',
        )


def note_untrained(opened: Opened, notes: Notes) -> None:
    """Notes that the discriminator was not trained yet, where that is so."""
    if opened.generator_alone:
        notes.complaints.note(STAGE_1)


def originality(model: Model) -> Outputs:
    """Log-probabilities [B, L], the 'score' of each token, that it is the original one."""
    return lambda params, batch: {
        'score': jax.nn.log_sigmoid(-model.discriminate(params, batch, None))
    }


def probabilities(model: Model) -> Outputs:
    """'replaced' [B, L], float32: the probability that each token was replaced."""
    return lambda params, batch: {
        'replaced': jax.nn.sigmoid(model.discriminate(params, batch, None))
    }


def to_json(example: TextExample, found: Detected) -> dict[str, Any]:
    """Tokens, their characters and their probabilities to be replaced ones."""
    shown = {
        'tokens': found.tokens,
        'spans': found.spans.tolist(),
        'replaced': list(map(json_number, found.replaced)),
    }
    return answered(example, shown)


DETECT = Ability(bind, to_json)
