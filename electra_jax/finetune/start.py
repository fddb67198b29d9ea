"""What a fine-tuning run starts from, and what of it a program takes over."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.config import presets
from electra_jax.config.schema import Config, ModelConfig
from electra_jax.core import rng, trees
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.interop import adopt, load
from electra_jax.interop.adopt import Adopted
from electra_jax.model import api
from electra_jax.tokenizers import load as tokenizers
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
        tokenizer = tokenizers.open_tokenizer(config.data.tokenizer)
        return Start(None, {}, {}, config.model, tokenizer)
    kind, _, path = config.init_from.partition(':')
    if kind in load.LOADERS:
        return _foreign(config, kind, path)
    params, about = checkpoint.read_params(epath.Path(config.init_from))
    return start_of(config, config.init_from, params, about)


def _foreign(config: Config, kind: str, path: str) -> Start:
    """A checkpoint of another project, with the tokenizer beside it or the one that is named."""
    named = config.data.tokenizer
    vocab = {'vocab': named.path, 'lower_case': named.lower_case} if named.path else {}
    loaded = load.load_foreign(kind, path, **(vocab if kind == 'google' else {}))
    tokenizer = loaded.tokenizer
    if tokenizer is None:
        if named.path is None:
            raise ConfigError(
                f'{config.init_from} has no vocabulary beside it: type '
                '--config.data.tokenizer.path=vocab.txt'
            )
        tokenizer = tokenizers.open_tokenizer(named)
    about = {'config': {'model': dataclasses.asdict(loaded.model)}}
    about['tokenizer'] = tokenizer.to_json()
    return start_of(config, config.init_from, loaded.params, about)


def start_of(config: Config, where: str, params: trees.Tree, about: Mapping[str, Any]) -> Start:
    """A start from parameters and what their checkpoint says of itself."""
    try:
        stored, tokenizer = about['config']['model'], tokenizers.from_json(about['tokenizer'])
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f'{where} does not say what model or tokenizer it has ({error!r}): it is no '
            'checkpoint of this program, or is damaged'
        ) from error
    model = presets.inherit_model(config.model, stored)
    if config.data.tokenizer.path is not None:
        asked = tokenizers.open_tokenizer(config.data.tokenizer)
        if asked.hash != tokenizer.hash:
            raise ConfigError(
                f'config.data.tokenizer.path is {config.data.tokenizer.path!r}, but {where} was '
                'trained with another tokenizer, which it holds itself: leave the setting out'
            )
    return Start(where, params, about, model, tokenizer)


class Taken(NamedTuple):
    """What of a start's parameters a program uses."""

    source: dict[str, np.ndarray]  # by name
    account: Adopted | None  # of every parameter; None: from scratch


def take(start: Start, seed: int, positions: str) -> Taken:
    """The encoder's parameters from a start; a head of it, for whatever task, is not used.

    Args:
        start: where from.
        seed: of what the start lacks.
        positions: a key of `adopt.POSITION_RULES`, for a longer position table than the start's.

    Raises:
        CheckpointError: a parameter has another shape there.
    """
    if start.where is None:
        return Taken({}, None)
    init = functools.partial(api.init_encoder, start.model, start.tokenizer.vocab_size)
    fresh = jax.device_get(jax.jit(init)(rng.root_key(seed)))
    params, account = adopt.adopt(start.params, fresh, positions)
    return Taken(dict(trees.named_leaves(params)), account)
