"""Where the parameters of a run start: fresh, or from the checkpoint `config.init_from`.

The checkpoint is ours (a workdir) or another project's (``google:PATH``, ``huggingface:PATH``).
Every array of both sides is accounted for: loaded, fresh, or not used.
"""

import dataclasses
import functools
import importlib.util
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.config import resolve
from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config
from electra_jax.core import files, rng, trees
from electra_jax.core.complaints import counted
from electra_jax.core.errors import CheckpointError, ConfigError, nearest
from electra_jax.interop.checkpoint import STARTED_FROM, Checkpoint, recorded
from electra_jax.interop.projects import PASSED_ON, READERS
from electra_jax.model.bind import bind
from electra_jax.optim.networks import network_table
from electra_jax.tokenizers import load as tokenizers
from electra_jax.tokenizers.api import FILE_NAME, Tokenizer
from electra_jax.train import workdir

OURS = workdir.OURS  # the other kinds are those of `READERS`
OWN = (OURS, PASSED_ON)  # kinds of checkpoints that this program has trained
# Models that come with the repository, by name, in its folder models/ or in the package that
# `pip install ./models` makes of it.
MODELS = ('laptop',)


class Start(NamedTuple):
    """What fine-tuning starts from."""

    where: str | None  # the checkpoint, as it was named; None: from scratch
    params: trees.Tree  # NumPy arrays; empty where no parameter is to be loaded
    about: Mapping[str, Any]  # what the checkpoint records about itself
    stored: Mapping[str, Any] | None  # its model, field by field; None: from scratch
    tokenizer: Tokenizer  # the checkpoint's, or the one of config.data.tokenizer


# In what a checkpoint records: the tokens of text that its first parameters had been trained on.
BEFORE = 'tokens_before'
SCRATCH: Mapping[str, Any] = {BEFORE: 0.0, STARTED_FROM: None}  # of parameters that were random


class Account(NamedTuple):
    """What becomes of each array of the checkpoint and of the model, by path."""

    loaded: list[str]
    fresh: list[str]  # not in the checkpoint
    unused: list[str]  # only in the checkpoint
    # Loaded arrays of another shape: the checkpoint's shape and the model's.
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def line(self, config: Config, also_fresh: str) -> str:
        """What was loaded and what was not, for people; a part of the model is named once."""
        line = f'from {config.init_from}: {counted(len(self.loaded), "arrays")}; fresh: '
        line += _parts([*self.fresh, also_fresh])
        if self.reshaped:
            line += f'; made longer ({config.init_positions}): {", ".join(self.reshaped)}'
        return line + (f'; not used: {_parts(self.unused)}' if self.unused else '')


def compare(stored: trees.Tree, wanted: trees.Tree) -> Account:
    """The account of a model's parameters that start from stored ones; only shapes are read."""
    there = {path: np.shape(leaf) for path, leaf in trees.named_leaves(stored)}
    here = {path: leaf.shape for path, leaf in trees.named_leaves(wanted)}
    loaded = [path for path in here if path in there]
    return Account(
        loaded=loaded,
        fresh=[path for path in here if path not in there],
        unused=sorted(there.keys() - here.keys()),
        reshaped={path: (there[path], here[path]) for path in loaded if there[path] != here[path]},
    )


def load_start(config: Settings) -> Start:
    """Reads the checkpoint of `config.init_from`, or the tokenizer that scratch needs."""
    if config.init_from is None:
        if config.data.tokenizer.path is None:
            raise ConfigError(
                'config.init_from is not set: type --config.init_from=WORKDIR of a pre-trained '
                'model. To train from scratch, add --config.init_network=none to that, which keeps '
                'its shape and tokenizer; or --config.data.tokenizer.path=vocab.txt is needed'
            )
        tokenizer = tokenizers.open_tokenizer(config.data.tokenizer)
        return Start(None, {}, {}, None, tokenizer)
    start = checked_start(config, config.init_from, *read_checkpoint(config, config.init_from))
    return start._replace(params={}) if config.init_network == 'none' else start


def check_named(where: str, named_by: str = 'config.init_from') -> None:
    """Refuses a checkpoint, named by a setting or a flag, whose file or folder is not there."""
    kind, path = parse_name(where)
    if where in MODELS and not os.path.exists(path):
        raise CheckpointError(
            f'{named_by} is {where}, a model that comes with the repository of this program, in '
            f'{path}, but it is not there: get the repository with its folder models/ and type '
            'pip install ./models in it, or train it with configs/laptop.py'
        )
    # A TensorFlow checkpoint is named by the beginning of its files' names.
    folder = files.absolute(path)
    if not folder.exists() and kind != 'google':
        near = files.nearest(path)
        meant = (
            f'; did you mean {where.removesuffix(path)}{near}?' if near else nearest(where, MODELS)
        )
        raise CheckpointError(
            f'{named_by} is {where}, but there is no checkpoint in {path}: no such folder '
            f'(looked from {os.getcwd()}){meant}'
        )


def read_checkpoint(
    config: Config | Settings, where: str, values: bool = True
) -> tuple[trees.Tree, dict[str, Any]]:
    """The NumPy parameters of a checkpoint, named as by `config.init_from`, and what it records.

    `config` names the tokenizer of a checkpoint of another project that has none. Where no `values`
    are needed, only the shapes of one of ours are read.
    """
    check_named(where)
    kind, path = parse_name(where)
    if kind != OURS:
        loaded, about = read_foreign(config, kind, path)
        return loaded.params, about
    folder = files.absolute(path)
    _check_own(folder)
    return read_own(folder, values)


def chosen(where: str, folder: epath.Path) -> str:
    """The checkpoint that `config.init_from` means in the run in `folder`, at each of its starts.

    Of a workdir it is one step's; checkpoints of other projects have no steps.
    """
    kind, path = parse_name(where)
    if kind != OURS:
        return where
    from electra_jax.train import beginning  # imports Orbax, too: see `read_own`

    _check_own(files.absolute(path))
    return beginning.chosen('init_from', where, folder)


def parse_name(where: str) -> tuple[str, str]:
    """The kind and the path of a checkpoint as it is named everywhere.

    >>> parse_name('huggingface:theirs'), parse_name('ours:runs/mine'), parse_name('runs/mine')
    (('huggingface', 'theirs'), ('ours', 'runs/mine'), ('ours', 'runs/mine'))

    A folder may be called like a kind:

    >>> parse_name('google')
    ('ours', 'google')

    A name of `MODELS` is the model that comes with the program, unless there is such a folder here.
    """
    if where in MODELS and not os.path.exists(where):
        return PASSED_ON, str(_models() / where)
    kind, colon, path = where.partition(':')
    return (kind, path) if colon and kind in (OURS, *READERS) else (OURS, where)


def tokens_read(about: Mapping[str, Any], where: str) -> float | None:
    """How much text a checkpoint was trained on, and what it started from before it.

    Args:
        about: what it records, of which `BEFORE` are the tokens of what it started from.
        where: as `config.init_from` names it.

    Returns:
        None: it is another project's, or started from such.

    Raises:
        CheckpointError: the record is damaged.
    """
    config = about.get('config') or {}
    # Checkpoints of earlier versions do not record what came before.
    earlier = None if BEFORE in about else config.get('init_from')
    sources = where, about.get('converted_from'), earlier
    kinds = {parse_name(source)[0] for source in sources if source}
    if not kinds <= set(OWN) or 'objective' not in config or about.get(BEFORE, 0.0) is None:
        return None
    try:
        steps = int(about.get('steps') or config['total_steps'])
        own = float(steps * config['batch_size'] * config['data']['row_length'])
        return own + float(about.get(BEFORE, 0.0))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f'{where} does not describe its training ({error!r})') from error


def started_from(about: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a checkpoint records of the one that it starts from, in place of `SCRATCH`.

    `about` is what that one records, and `where` its name, as `tokens_read` has them.
    """
    kept = ('config', 'steps', 'corpora', 'converted_from', BEFORE, STARTED_FROM)
    known = {name: about[name] for name in kept if name in about}
    return {BEFORE: tokens_read(about, where), STARTED_FROM: {'name': where, **known}}


def _models() -> pathlib.Path:
    """The folder of the models that come with the program; it may not be there."""
    package = importlib.util.find_spec('electra_jax_models')  # of models/
    if package is not None and package.submodule_search_locations:
        return pathlib.Path(package.submodule_search_locations[0])
    return pathlib.Path(__file__).parent.parent / 'models'


def read_own(folder: epath.Path, values: bool = True) -> tuple[trees.Tree, dict[str, Any]]:
    """The NumPy parameters of a checkpoint of ours, or their shapes, and what it records."""
    _check_not_foreign(folder)
    # Orbax, half a second to import, is not for checkpoints of other projects.
    from electra_jax.train import parameters

    return parameters.read_params(folder, values=values)


def _check_own(folder: epath.Path) -> None:
    """Refuses a folder that is no one checkpoint of ours."""
    if (folder / workdir.TRIALS).is_dir():
        raise CheckpointError(
            f'{folder} holds the trials of a fine-tuning run: name one of them, such as '
            f'--config.init_from={folder / workdir.TRIALS / "0"}'
        )
    _check_not_foreign(folder)


def _check_not_foreign(folder: epath.Path) -> None:
    foreign = ('config.json', 'model.safetensors')
    if all((folder / name).exists() for name in foreign) and not workdir.has_checkpoint(folder):
        raise CheckpointError(
            f"{folder} is no workdir, but a folder of transformers: name it 'huggingface:{folder}'"
        )


def read_foreign(
    config: Config | Settings, kind: str, path: str
) -> tuple[Checkpoint, dict[str, Any]]:
    """A checkpoint of another project, and what one of ours would record about it.

    The tokenizer is its own, or the one that the config names.
    """
    named = config.data.tokenizer
    given = {}
    if kind == 'google' and named.path:
        given = {'vocab': named.path, 'lower_case': named.lower_case}
    loaded = READERS[kind](pathlib.Path(path).expanduser(), **given)
    if loaded.tokenizer is None and named.path is None:
        raise ConfigError(
            f'{kind}:{path} comes without a vocabulary: type --config.data.tokenizer.path=vocab.txt'
        )
    if loaded.about is not None:
        return loaded, loaded.about
    tokenizer = loaded.tokenizer or tokenizers.open_tokenizer(named)
    about = {
        'config': {
            'model': dataclasses.asdict(loaded.model),
            'objective': {'name': loaded.objective},
        },
        'tokenizer': tokenizer.to_json(),
    }
    return loaded, about


def checked_start(
    config: Settings,
    where: str,
    params: trees.Tree,
    about: Mapping[str, Any],
    has_encoder: bool = True,
) -> Start:
    """The start that a checkpoint gives, which must be whole and of the tokenizer that is named.

    `has_encoder`: it must have a whole encoder. False: who uses parameters checks them, which takes
    a second for each network.
    """
    stored, tokenizer = recorded(about, where)
    if has_encoder:
        model = bind(resolve.stored_model(stored), tokenizer.vocab_size)
        check_complete(where, params, model.shapes(('encoder',)))
    if config.data.tokenizer.path is not None:
        named = tokenizers.open_tokenizer(config.data.tokenizer)
        if not named.fits(tokenizer):
            raise ConfigError(
                f'config.data.tokenizer.path is {config.data.tokenizer.path!r}, but {where} was '
                'trained with another tokenizer, which it holds itself: leave the setting out'
            )
    return Start(where, params, about, stored, tokenizer)


def check_complete(where: str, params: trees.Tree, wanted: trees.Tree) -> None:
    """Refuses parameters of a checkpoint unless they have all those `wanted`, in their shapes."""
    account = compare(params, wanted)
    if account.fresh:
        raise CheckpointError(f'{where} lacks the parameter {account.fresh[0]}: it is damaged')
    for path, (found, claimed) in account.reshaped.items():
        raise CheckpointError(
            f'{where}: {path} has shape {list(found)}, but {list(claimed)} in the model that the '
            'checkpoint claims to hold: it is damaged'
        )


def encoder_params(start: Start, config: Config) -> tuple[dict[str, np.ndarray], Account | None]:
    """The encoder's parameters by path, for fine-tuning, and their account; heads are never loaded.

    From scratch there are none, and no account.
    """
    if not start.params:
        return {}, None
    model = bind(config.model, start.tokenizer.vocab_size)
    init = functools.partial(model.init, rng.root_key(config.seed), ('encoder',))
    params, account = initialize(start.params, init, config.init_positions)
    return dict(trees.named_leaves(params)), account


def checked_params(
    config: Config, tokenizer: Tokenizer, wanted: trees.Tree, values: bool = True
) -> tuple[trees.Tree, dict[str, Any], Account]:
    """The parameters of `config.init_from` for pre-training, what is recorded of them, the account.

    All that is refused is refused here, for which their shapes are enough.

    Args:
        config: its model is what is trained, which may differ from the checkpoint's.
        tokenizer: of the text.
        wanted: the parameters that are trained, of which only shapes are read.
        values: as `read_checkpoint` has it.
    """
    where = config.init_from
    assert where is not None
    params, about = read_checkpoint(config, where, values)
    stored, theirs = recorded(about, where)
    if not theirs.fits(tokenizer):
        raise ConfigError(
            f'{config.data.path} was built with another tokenizer ({tokenizer.vocab_size:,} '
            f'tokens) than {where} was trained with ({theirs.vocab_size:,}): type another '
            '--config.data.path, with --config.data.source=... and '
            f'--config.data.tokenizer.path=.../{FILE_NAME}, a file in the tokenizer/ folder of the '
            'checkpoint or of its corpus'
        )
    if config.init_network != 'both':
        sharing = stored.get('embedding_sharing', 'shared')
        networks = dict(trees.named_leaves(network_table(params, sharing)))
        used = (config.init_network, 'shared')
        params = trees.keep(params, lambda path: networks[path] in used)
    account = compare(params, wanted)
    block = resolve.other_block(config.model, stored)
    if block or _is_of_other_sizes(account):
        sizes = resolve.other_sizes(config.model, stored, _uses(account, 'generator'))
        others = block | sizes
        words = ' '.join(f'--config.model.{name}={value}' for name, value in others.items())
        if words:
            raise ConfigError(
                f'the networks of {where} are of another kind or size than those of this model, '
                f'which cannot use their parameters: type {words}'
            )
    _check_shapes(params, account)
    return params, about, account


def lost_discriminator(config: Config, about: Mapping[str, Any], account: Account) -> str | None:
    """A warning where the trained discriminator of `config.init_from` would not be used."""
    if not resolve.has_two_stages(config) or not _uses(account, 'discriminator'):
        return None
    theirs = about['config']
    first = resolve.stored_first_stage(theirs)
    if first and (about.get('steps') or theirs.get('total_steps', 0)) <= first:
        return None  # it is not trained yet
    return (
        'warning: config.objective.name is two_stage, whose second stage starts the discriminator '
        f'from the generator, so that of {config.init_from} is not used: to train both networks '
        'on, type --config.objective.name=electra'
    )


def all_params(
    config: Config, tokenizer: Tokenizer, init: Callable[[], trees.Tree], abstract: trees.Tree
) -> tuple[trees.Tree, Account, Mapping[str, Any]]:
    """Parameters for pre-training: those of `config.init_from`, and fresh ones that it lacks.

    The last one returned is what `started_from` records, or `SCRATCH` where nothing of it is used.

    Args:
        config: its model is what is trained, which may differ from the checkpoint's.
        tokenizer: of the text.
        init: makes fresh parameters.
        abstract: their shapes and shardings.
    """
    assert config.init_from is not None
    params, about, account = checked_params(config, tokenizer, abstract)
    host, account = initialize(params, init, config.init_positions)

    def to_devices(x: np.ndarray, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index: x[index])

    before = started_from(about, config.init_from) if account.loaded else SCRATCH
    return jax.tree.map(to_devices, host, abstract), account, before


def _uses(account: Account, network: str) -> bool:
    """Whether the layers of a network are loaded, or of the two towers of one."""
    return any(path.startswith((f'{network}/', f'{network}_ltr/')) for path in account.loaded)


def _is_of_other_sizes(account: Account) -> bool:
    """Whether arrays have other shapes, or a network would read through others' embeddings."""
    reshaped = account.reshaped.items()
    if any(not path.endswith('/position') or a[1:] != b[1:] for path, (a, b) in reshaped):
        return True
    lost = {path.partition('/')[0] for path in account.unused}
    made = {path.partition('/')[0] for path in account.fresh}
    if 'embedding_delta' in lost and _uses(account, 'discriminator'):
        return True
    return 'generator_embeddings' in lost | made and _uses(account, 'generator')


def _parts(paths: Iterable[str]) -> str:
    """The top-level names of some parameters, each once: ``'embeddings, discriminator'``."""
    return ', '.join(dict.fromkeys(path.split('/')[0] for path in paths))


def _interpolate(known_LE: np.ndarray, fresh_LE: np.ndarray) -> np.ndarray:
    """The known positions spread linearly over the whole table; both ends stay ends.

    >>> _interpolate(np.array([[1.0], [3.0]]), np.zeros((3, 1))).ravel().tolist()
    [1.0, 2.0, 3.0]
    """
    at_L = np.linspace(0.0, len(known_LE) - 1, len(fresh_LE))
    below_L = np.minimum(at_L.astype(int), max(len(known_LE) - 2, 0))
    above_L = np.minimum(below_L + 1, len(known_LE) - 1)
    share_L1 = (at_L - below_L)[:, None]
    table_LE = (1 - share_L1) * known_LE[below_L] + share_L1 * known_LE[above_L]
    return np.asarray(table_LE, known_LE.dtype)


# How positions start that the checkpoint lacks: (checkpoint's, fresh) -> table, arrays [L, E].
POSITION_RULES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    # The known positions, then fresh ones.
    'fresh': lambda known_LE, fresh_LE: np.concatenate([known_LE, fresh_LE[len(known_LE) :]]),
    # The known positions again and again (Longformer, section 5).
    'repeat': lambda known_LE, fresh_LE: np.resize(known_LE, fresh_LE.shape),
    'interpolate': _interpolate,
}


def initialize(
    source: trees.Tree, init: Callable[[], trees.Tree], positions: str = 'fresh'
) -> tuple[trees.Tree, Account]:
    """Fresh parameters, replaced by those of `source` wherever it has them, and their account.

    Args:
        source: parameters of a checkpoint.
        init: makes fresh parameters of the model that is trained. It runs after all shapes have
            been compared, because the sizes in a damaged checkpoint may be absurd.
        positions: a key of `POSITION_RULES`, for position tables longer than the checkpoint's.
    """
    stored = {path: np.asarray(leaf) for path, leaf in trees.named_leaves(source)}
    account = compare(source, jax.eval_shape(init))
    _check_shapes(source, account)
    fresh = jax.device_get(jax.jit(init)())
    chosen = []
    for path, leaf in trees.named_leaves(fresh):
        x = stored.get(path, leaf)
        x = POSITION_RULES[positions](x, leaf) if path in account.reshaped else x
        chosen.append(x.astype(leaf.dtype))
    return jax.tree.unflatten(jax.tree.structure(fresh), chosen), account


def _check_shapes(source: trees.Tree, account: Account) -> None:
    """Refuses parameters of which the model can use none, or some that have another shape."""
    for path, (found, wanted) in account.reshaped.items():
        _check_longer(path, found, wanted)
    if not account.loaded:
        raise CheckpointError(
            'the checkpoint to start from has no parameter of this model: it holds '
            f'{_parts(sorted(path for path, _ in trees.named_leaves(source)))}'
        )


def _check_longer(path: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """Accepts a position table that is to be longer; refuses any other change of shape."""
    advice = 'give the model the sizes of the checkpoint'
    if path.endswith('/position') and len(found) == 2:
        if found[1] == wanted[1] and found[0] < wanted[0]:
            return
        if found[0] > wanted[0]:
            advice = f'type --config.model.max_positions={found[0]}'
    elif path.endswith(('embeddings/word', 'output_bias')):
        advice = 'use the tokenizer of the checkpoint'
    raise CheckpointError(
        f'{path} has shape {list(found)} in the checkpoint to start from and {list(wanted)} in '
        f'this model: {advice}'
    )
