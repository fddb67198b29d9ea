"""What a run starts from (`config.init_from`), and what of it a program takes over."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.config import checks, resolve
from electra_jax.config.platform import resolve_platform
from electra_jax.config.settings import Config, ModelConfig
from electra_jax.core import rng, trees
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.interop import adopt, load
from electra_jax.interop.adopt import Adopted
from electra_jax.model import bind
from electra_jax.optim.networks import network_table
from electra_jax.tokenizers import load as tokenizers
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.train import checkpoint, workdir


class Start(NamedTuple):
    """What a run starts from.

    Attributes:
      where: the checkpoint, as it was named; None: from scratch.
      params: NumPy arrays of its parameters; empty from scratch, also with a checkpoint's model.
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
    start = start_of(config, config.init_from, *read(config))
    return start._replace(params={}) if config.init_network == 'none' else start


def read(config: Config) -> tuple[trees.Tree, dict[str, Any]]:
    """The parameters of `config.init_from` as NumPy arrays, and what it says of itself.

    Raises:
        ConfigError: a checkpoint of another project has no vocabulary beside it.
        CheckpointError: it cannot be read.
    """
    kind, _, path = config.init_from.partition(':')
    if kind in load.LOADERS:
        return _foreign(config, kind, path)
    named = epath.Path(path if kind == 'ours' else config.init_from).expanduser().resolve()
    if (named / workdir.TRIALS).is_dir():
        raise CheckpointError(
            f'{named} holds the trials of a fine-tuning run: name one of them, such as '
            f'--config.init_from={named / workdir.TRIALS / "0"}'
        )
    return checkpoint.read_params(named)


def _foreign(config: Config, kind: str, path: str) -> tuple[trees.Tree, dict[str, Any]]:
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
    return loaded.params, about


def start_of(config: Config, where: str, params: trees.Tree, about: Mapping[str, Any]) -> Start:
    """A start from parameters and what their checkpoint says of itself."""
    try:
        stored, tokenizer = about['config']['model'], about['tokenizer']
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f'{where} does not say what model or tokenizer it has ({error!r}): it is no '
            'checkpoint of this program, or is damaged'
        ) from error
    tokenizer = tokenizers.from_json(tokenizer, f'the tokenizer of {where}')
    checks.check_stored_model(stored, where)
    # Its shapes are the same on every platform.
    own = resolve_platform(Config(model=resolve.inherit_model(ModelConfig(), stored)), 'cpu')
    init = functools.partial(bind.init_encoder, own.model, tokenizer.vocab_size)
    check_whole(where, params, init)
    model = resolve.inherit_model(config.model, stored)
    if config.data.tokenizer.path is not None:
        asked = tokenizers.open_tokenizer(config.data.tokenizer)
        if asked.hash != tokenizer.hash:
            raise ConfigError(
                f'config.data.tokenizer.path is {config.data.tokenizer.path!r}, but {where} was '
                'trained with another tokenizer, which it holds itself: leave the setting out'
            )
    return Start(where, params, about, model, tokenizer)


def check_whole(where: str, params: trees.Tree, init: Callable[[jax.Array], trees.Tree]) -> None:
    """Refuses parameters that are not those of the model that the checkpoint says it has.

    Args:
        where: the checkpoint.
        params: its arrays; there may be more than `init` makes.
        init: key -> fresh parameters; only their shapes are worked out.

    Raises:
        CheckpointError: naming the first parameter that is missing or has another shape.
    """
    have = dict(trees.named_leaves(params))
    for path, leaf in trees.named_leaves(jax.eval_shape(init, rng.root_key(0))):
        if path not in have:
            raise CheckpointError(f'{where} lacks the parameter {path}: it is damaged')
        shape = np.shape(have[path])
        if shape != leaf.shape:
            raise CheckpointError(
                f'{where}: {path} has shape {list(shape)}, and {list(leaf.shape)} in the model '
                'that it says it has: it is damaged'
            )


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
    if not start.params:
        return Taken({}, None)
    init = functools.partial(bind.init_encoder, start.model, start.tokenizer.vocab_size)
    # Before anything is made: what a checkpoint says of its sizes may be absurd.
    adopt.check_shapes(start.params, jax.eval_shape(init, rng.root_key(seed)))
    fresh = jax.device_get(jax.jit(init)(rng.root_key(seed)))
    params, account = adopt.adopt(start.params, fresh, positions)
    return Taken(dict(trees.named_leaves(params)), account)


def begin(
    config: Config,
    tokenizer: Tokenizer,
    init: Callable[[], trees.Tree],
    abstract: trees.Tree,
) -> tuple[trees.Tree, Adopted]:
    """Parameters to pre-train from: those of `config.init_from`, fresh ones where it has none.

    Args:
        config: resolved; its model is what is trained, whatever the checkpoint's was.
        tokenizer: of the text.
        init: makes fresh parameters.
        abstract: their shapes and shardings.

    Returns:
        The parameters laid out as `abstract` says, and an account of every array.

    Raises:
        ConfigError: the text was not tokenized as the checkpoint's was.
        CheckpointError: the checkpoint cannot be read, or an array has another shape there.
    """
    params, about = read(config)
    theirs = tokenizers.from_json(about['tokenizer'], f'the tokenizer of {config.init_from}')
    if theirs.hash != tokenizer.hash:
        raise ConfigError(
            f'{config.data.path} was built with another tokenizer ({tokenizer.vocab_size:,} '
            f'tokens) than {config.init_from} was trained with ({theirs.vocab_size:,}): build the '
            'text with that one in another --config.data.path, by the same command with '
            '--config.data.source=... and --config.data.tokenizer.path=..., a file in the '
            'tokenizer/ folder of the checkpoint or of its corpus'
        )
    others = resolve.other_block(config.model, about['config']['model'])
    if others:
        stored = {**dataclasses.asdict(ModelConfig()), **about['config']['model']}
        words = ' '.join(f'--config.model.{name}={stored[name]}' for name in others)
        raise ConfigError(
            f'the layers of {config.init_from} are made otherwise than those of this model, which '
            f'could do nothing with their parameters: type {words}'
        )
    if config.init_network != 'both':
        sharing = about['config']['model'].get('embedding_sharing', 'shared')
        owners = dict(trees.named_leaves(network_table(params, sharing)))
        wanted = (config.init_network, 'shared')
        params = trees.keep(params, lambda name: owners[name] in wanted)
    fresh = jax.device_get(jax.jit(init)())
    adopted, account = adopt.adopt(params, fresh, config.init_positions)

    def place(x: np.ndarray, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index: x[index])

    return jax.tree.map(place, adopted, abstract), account


def account_lines(config: Config, account: Adopted) -> list[str]:
    """What was taken over and what was not, for people; parts that are whole are named once."""
    lines = [f'started from {config.init_from}: {len(account.taken)} arrays']
    if account.fresh:
        lines.append(f'  fresh, for it has none: {_parts(account.fresh)}; and the optimizer')
    else:
        lines.append('  fresh: the optimizer alone')
    if account.unused:
        lines.append(f'  not used: {_parts(account.unused)}')
    if account.extended:
        how = config.init_positions
        lines.append(f'  made longer ({how}): {", ".join(account.extended)}')
    return lines


def _parts(names: Sequence[str]) -> str:
    return ', '.join(dict.fromkeys(name.split('/')[0] for name in names))
