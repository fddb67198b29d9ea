"""What a fine-tuning run starts from, and what of it a program takes over."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from electra_jax.config import presets
from electra_jax.config.schema import Config, ModelConfig
from electra_jax.core import trees
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.tokenizers import load
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.train import checkpoint


class Start(NamedTuple):
    """What a run starts from.

    Attributes:
      where: the checkpoint, as it was named; None: from scratch.
      params: NumPy arrays of its parameters; empty from scratch.
      about: what it says of itself.
      model: resolved.
      tokenizer: of the checkpoint, or of config.data.tokenizer.
    """

    where: str | None
    params: trees.Tree
    about: Mapping[str, Any]
    model: ModelConfig
    tokenizer: Tokenizer


def open_start(config: Config) -> Start:
    """Reads the checkpoint of `config.init_from`, or settles what scratch needs.

    Raises:
        ConfigError: from scratch without a tokenizer, or settings at odds with the checkpoint.
        CheckpointError: it cannot be read.
    """
    if config.init_from is None:
        if config.data.tokenizer.path is None:
            raise ConfigError(
                'config.init_from is not set: type --config.init_from=WORKDIR of a pre-trained '
                'model. To train from scratch, --config.data.tokenizer.path=vocab.txt is needed'
            )
        tokenizer = load.open_tokenizer(config.data.tokenizer)
        return Start(None, {}, {}, config.model, tokenizer)
    params, about = checkpoint.read_params(epath.Path(config.init_from))
    return start_of(config, config.init_from, params, about)


def start_of(config: Config, where: str, params: trees.Tree, about: Mapping[str, Any]) -> Start:
    """A start from parameters and what their checkpoint says of itself."""
    try:
        stored, tokenizer = about['config']['model'], load.from_json(about['tokenizer'])
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f'{where} does not say what model or tokenizer it has ({error!r}): it is no '
            'checkpoint of this program, or is damaged'
        ) from error
    model = presets.inherit_model(config.model, stored)
    if config.data.tokenizer.path is not None:
        asked = load.open_tokenizer(config.data.tokenizer)
        if asked.hash != tokenizer.hash:
            raise ConfigError(
                f'config.data.tokenizer.path is {config.data.tokenizer.path!r}, but {where} was '
                'trained with another tokenizer, which it holds itself: leave the setting out'
            )
    return Start(where, params, about, model, tokenizer)


class Taken(NamedTuple):
    """What of a start's parameters a program uses."""

    source: dict[str, np.ndarray]  # by name
    fresh: list[str]  # parameters of the program that the start lacks
    unused: list[str]  # parts of the start that the program has no place for


def take(start: Start, params: trees.Tree) -> Taken:
    """Matches a start's parameters with a program's, by name.

    Args:
        start: where from.
        params: of the program, abstract.

    Raises:
        CheckpointError: a parameter has another shape there.
    """
    have = dict(trees.named_leaves(start.params))
    need = dict(trees.named_leaves(params))
    source = {name: np.asarray(have[name]) for name in need if name in have}
    wrong = [
        f'{name} is {list(value.shape)} there, {list(need[name].shape)} here'
        for name, value in source.items()
        if value.shape != need[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f'{start.where} does not fit the model:\n  ' + '\n  '.join(wrong) + '\nThe model is '
            "the checkpoint's own where no --config.model setting says otherwise"
        )
    unused = sorted({name.split('/')[0] for name in have if name not in need})
    return Taken(source, sorted(set(need) - set(source)), unused)
