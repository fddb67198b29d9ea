"""A vector for each text: the mean of its tokens' last hidden states."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from electra_jax.finetune.answers import Outputs
from electra_jax.finetune.examples import TextExample, answered
from electra_jax.finetune.kinds.kind import Batch, json_number
from electra_jax.inference.ability import Ability, Answer, Notes, Options
from electra_jax.inference.opened import Opened
from electra_jax.inference.rows import encode, to_rows
from electra_jax.model.bind import Model, Params
from electra_jax.model.task_heads import mean_of
from electra_jax.tokenizers.api import SpecialIds


def bind(opened: Opened, options: Options) -> Answer:
    """The function that gives a vector, float32 [D], for each text."""
    special = opened.tokenizer.special
    run = opened.program(('encoder',), lambda model: means(model, special))

    def embed(examples: Sequence[TextExample], notes: Notes) -> Iterator[np.ndarray]:
        encoded = encode(opened, examples, notes)
        outputs = run(to_rows(opened, [one.ids for one in encoded]))
        yield from (np.array(output['vector']) for output in outputs)

    return embed


def means(model: Model, special: SpecialIds) -> Outputs:
    """'vector' [B, D], float32: means over all tokens but [CLS] and [SEP]."""

    def vectors(params: Params, batch: Batch) -> dict[str, jax.Array]:
        hidden_BLD = model.encode(params, batch, None)
        tokens_BL, real_BL = batch['tokens'], batch['documents'] > 0
        text_BL = real_BL & (tokens_BL != special.cls) & (tokens_BL != special.sep)
        return {'vector': mean_of(hidden_BLD, text_BL)}

    return vectors


def to_json(example: TextExample, vector_D: np.ndarray) -> dict[str, Any]:
    """The text and its vector."""
    vector = list(map(json_number, vector_D))
    return answered(example, {'vector': vector})


EMBED = Ability(bind, to_json)
