"""What may stand where a text has [MASK], by the generator."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from electra_jax.finetune.answers import Outputs
from electra_jax.finetune.examples import TextExample, answered
from electra_jax.finetune.files.lines import UnusableError
from electra_jax.finetune.kinds.kind import Batch, json_number
from electra_jax.inference.ability import Ability, Answer, Notes, Options
from electra_jax.inference.opened import Opened, lacks
from electra_jax.inference.rows import to_rows
from electra_jax.model.bind import Model, Params
from electra_jax.ops import vocab_softmax
from electra_jax.tokenizers import unknown
from electra_jax.tokenizers.api import MASK, Tokenizer


class Filled(NamedTuple):
    """A token that may stand at a [MASK]."""

    token: str  # the piece of the vocabulary
    probability: float


def bind(opened: Opened, options: Options) -> Answer:
    """The function that gives, for each [MASK] of a text, its `top_k` likeliest tokens."""
    tokenizer = opened.tokenizer
    check_generates(opened)
    run = opened.program(
        ('generator',), lambda model: _likeliest(model, options.top_k, tokenizer.vocab_size)
    )

    def fill(examples: Sequence[TextExample], notes: Notes) -> Iterator[list[list[Filled]]]:
        masked = [_encode(opened, example, notes) for example in examples]
        # A row for each [MASK], which differ in the position that is looked at.
        at = [np.flatnonzero(ids == tokenizer.special.mask) for ids in masked]
        ids = [one for one, found in zip(masked, at, strict=True) for _ in found]
        positions = np.concatenate([np.zeros(0, np.int32), *at]) + 1
        outputs = iter(run(to_rows(opened, ids, position=positions)) if ids else ())
        for found in at:
            yield [_filled(tokenizer, next(outputs)) for _ in found]

    return fill


def check_generates(opened: Opened) -> None:
    """Refuses a checkpoint without a generator that has learnt."""
    if 'generator_head' not in opened.params:
        raise lacks(
            opened,
            'a generator, which predicts masked tokens',
            'name a checkpoint that was trained with one, such as that of configs/small.py',
        )


def _likeliest(model: Model, top_k: int, vocab_size: int) -> Outputs:
    def fill(params: Params, batch: Batch) -> dict[str, jax.Array]:
        softmax = model.generate(params, batch, batch['position'][:, None], None)
        logits_BV = vocab_softmax.vocab_logits(softmax, vocab_size)[:, 0]
        probs_BA, tokens_BA = jax.lax.top_k(jax.nn.softmax(logits_BV), min(top_k, vocab_size))
        return {'tokens': tokens_BA, 'probabilities': probs_BA}

    return fill


def _filled(tokenizer: Tokenizer, output: Any) -> list[Filled]:
    tokens = tokenizer.tokens(output['tokens'].tolist())
    return [Filled(*one) for one in zip(tokens, output['probabilities'].tolist(), strict=True)]


# ---------------------------------------------------------------------------------------------
# Texts with [MASK]


def check(opened: Opened, example: TextExample) -> None:
    """Refuses a text without [MASK]."""
    if _name_in(opened.tokenizer, example.text_a) not in example.text_a:
        raise UnusableError('no_mask', f'there is no {MASK} in {example.text_a!r:.60}')


def _name_in(tokenizer: Tokenizer, text: str) -> str:
    """What a text calls the masked token: its piece of the vocabulary, or [MASK]."""
    own = tokenizer.pieces[tokenizer.special.mask]
    return own if own in text else MASK


def _encode(opened: Opened, example: TextExample, notes: Notes) -> np.ndarray:
    """Ids of a text with those of its masks, int32 [T]."""
    tokenizer, room = opened.tokenizer, opened.room
    parts = example.text_a.split(_name_in(tokenizer, example.text_a))
    encoded = tokenizer.encode_batch(parts[:1]) + tokenizer.encode_rest(parts[1:])
    notes.unknown.merge(unknown.count(tokenizer, parts, encoded))
    mask = np.array([tokenizer.special.mask], np.int32)
    ids = np.concatenate([encoded[0], *(x for one in encoded[1:] for x in (mask, one))])
    if len(ids) > room:
        notes.complaints.count('cut', example.where)
    return ids[:room]


def to_json(example: TextExample, masks: list[list[Filled]]) -> dict[str, Any]:
    """The likeliest tokens of each [MASK]; the first one is the prediction."""
    listed = [
        [{'token': one.token, 'probability': json_number(one.probability)} for one in mask]
        for mask in masks
    ]
    return answered(example, {'masks': listed})


FILL_MASK = Ability(bind, to_json, check=check, options=('top_k',), fills=True)
