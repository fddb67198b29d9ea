"""Texts as token rows: [CLS] text [SEP], and where each token stands in its text."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.features import Rows, ragged
from electra_jax.inference.ability import Notes
from electra_jax.inference.opened import Opened
from electra_jax.tokenizers import unknown


class Encoded(NamedTuple):
    """A text as tokens."""

    ids: np.ndarray  # int32 [T], without [CLS] and [SEP], as many as a row has room for
    spans: np.ndarray | None  # int32 [T, 2]: token t was made of text[begin:end]; None: not asked


def encode(
    opened: Opened, examples: Sequence[TextExample], notes: Notes, spans: bool = False
) -> list[Encoded]:
    """Tokens of each text; texts that are too long for a row are cut and counted."""
    tokenizer, room = opened.tokenizer, opened.room
    if opened.config.model.image_size is not None:
        notes.complaints.note(
            'the model was trained with images; here it reads texts alone (docs/images.md has the '
            'tasks that read both)'
        )
    texts = [example.text_a for example in examples]
    if spans:
        whole = [Encoded(*pair) for pair in tokenizer.encode_spans(texts)]
    else:
        whole = [Encoded(ids, None) for ids in tokenizer.encode_batch(texts)]
    notes.unknown.merge(unknown.count(tokenizer, texts, [one.ids for one in whole]))
    for example, one in zip(examples, whole, strict=True):
        if not len(one.ids):
            notes.complaints.count('no_token', example.where)
        if len(one.ids) > room:
            notes.complaints.count('cut', example.where)
    return [Encoded(ids[:room], at if at is None else at[:room]) for ids, at in whole]


def to_rows(
    opened: Opened, ids: Sequence[np.ndarray], **numbers: Sequence[int] | np.ndarray
) -> Rows:
    """A row for each list of ids; `numbers` become arrays int32 [B] of a batch."""
    special = opened.tokenizer.special
    cls, sep = (np.array([x], np.int32) for x in (special.cls, special.sep))
    tokens = ragged([np.concatenate([cls, one, sep]) for one in ids])
    arrays = {name: np.asarray(x, np.int32) for name, x in numbers.items()}
    return Rows(tokens, tokens.lengths(), np.arange(len(ids)), arrays, {})
