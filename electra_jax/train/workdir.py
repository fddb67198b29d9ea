"""The folder of a run: which run it holds, and whether a command continues the same one."""

import dataclasses
import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath
from jax.sharding import Mesh

from electra_jax.config import length
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import LEFT_TO_DEVICES, Config
from electra_jax.core import files
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import Tree
from electra_jax.parallel import rules
from electra_jax.runtime import cli, distributed
from electra_jax.train import metric_lines, seals

CONFIG_FILE = 'config.json'
OURS = 'ours'  # the kind of our own checkpoints, before a colon where one is named
TRIALS = 'trials'  # folder of a fine-tuning run: trials by number, each with a checkpoint
_PACKAGES = (
    'electra_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy',
    'tokenizers',
)  # fmt: skip

# Settings that may differ between two starts of one run: they change where and how long it runs
# and what is logged, not what is computed.
FREE = (
    'job',
    'stop_at',
    'max_exposures',
    'checkpoint',
    'eval',
    'health',
    'replay',
    'log',
    'mesh',
    'data.path',  # may have moved: the rows themselves are compared
    'data.source',
    'data.validation_source',
    'data.prefetch',
    'data.runner',
    'data.runner_options',
    'data.verify',
    'data.workers',
    'optimizer.warmup_share',  # the steps that follow are compared
    'optimizer.decay_share',
    'objective.generator_share',
    'remark',
    'compilation_cache',
    'trials',  # more of them may be asked for later
    'task.train_file',  # rows are compared here, too
    'task.dev_file',
    'task.test_file',
    'task.cache',  # of earlier versions
    'task.save',
    'task.predict_test',
    'task.defaults',  # what is made of it is compared
    'task.epochs',  # total_steps is compared
    'model.remat',
    # The dtype is not among them: it changes numbers.
    *(f'model.{name}' for name in LEFT_TO_DEVICES if name != 'compute_dtype'),
)
# Settings that are None unless they are typed -> what their default was in 0.1.0.
_USUAL = {
    'data.tokenizer.vocab_size': 30522,
    'data.tokenizer.lower_case': True,
    'data.holdout': 0.005,
}


def has_checkpoint(workdir: epath.Path) -> bool:
    """Whether the folder holds a checkpoint."""
    return bool(seals.steps(workdir / seals.FOLDER))


def without_step(where: str) -> str:
    """The workdir of a checkpoint that is named by its step.

    >>> without_step('runs/mine/checkpoints/8'), without_step('runs/mine')
    ('runs/mine', 'runs/mine')
    """
    return re.sub(rf'/{seals.FOLDER}/[0-9]+/*$', '', where)


def begun(workdir: epath.Path) -> dict[str, Any] | None:
    """The settings of the run in the folder, by dotted name; None: none has made a step there.

    Raises:
        CheckpointError: they cannot be read.
    """
    measured = workdir / metric_lines.FILE
    is_begun = has_checkpoint(workdir) or (measured.exists() and measured.read_bytes().strip())
    return recorded(workdir) if is_begun else None


def recorded(workdir: epath.Path) -> dict[str, Any] | None:
    """The settings in the folder's `config.json`, as `begun`, also before the first step."""
    path = workdir / CONFIG_FILE
    if not path.exists():
        return None
    try:
        return _flat(files.parse_object(path.read_text())['config'])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f'{path} cannot be read ({error}): restore it, or train in another --workdir'
        ) from error


def fact(workdir: epath.Path, name: str) -> dict[str, Any] | None:
    """What `describe` kept under a name, of a run whose settings can be read; None: nothing."""
    path = workdir / CONFIG_FILE
    found = files.parse_object(path.read_text()).get(name) if path.exists() else None
    return found if isinstance(found, dict) else None


class Other(NamedTuple):
    """What makes a config another run than the one that its workdir holds."""

    before: Mapping[str, Any]  # settings of the run that is there, by dotted name
    now: Mapping[str, Any]
    names: Sequence[str]  # of those that differ and must not

    @property
    def lines(self) -> str:
        return _listed(self.names, self.before, self.now)


def check_same_run(workdir: epath.Path, config: Config) -> None:
    """Refuses to continue a run with a config that would make it another one.

    Raises:
        CheckpointError: naming each setting that differs, with both values.
    """
    if (other := other_run(workdir, config)) is None:
        return
    to_do = 'continue it, or another --workdir to start a new one'
    if config.job == 'evaluate':
        to_do = 'score it, or name another --workdir'
    raise CheckpointError(
        f'{workdir} holds a run with other settings:\n{other.lines}\n'
        f'Type the settings it was started with to {to_do}.'
        + _how_to_go_on(workdir, other.names, other.before, other.now, config)
    )


def other_run(workdir: epath.Path, config: Config) -> Other | None:
    """Why the run in `workdir` cannot be continued with `config`; None: it can be.

    A run that has neither a checkpoint nor a line of metrics yet may change its settings, and one
    that is only scored may be of any length.
    """
    if (stored := begun(workdir)) is None:
        return None
    before, now, refused = _differences(stored, config)
    if config.job == 'evaluate':  # what is there is scored, however long it was trained
        refused = [name for name in refused if name not in _OF_THE_LENGTH]
    if not refused:
        return None
    # Minutes, operations or words that are typed only now have not become steps.
    is_in_steps = not any(now[name] is not None for name in length.MEASURED if name in refused)
    longer = _only_longer(refused, before, now) and is_in_steps
    shared = min(_free_steps(before, config), length.free_steps(config))
    newest = max(seals.steps(workdir / seals.FOLDER), default=0)
    if longer and shared >= max(newest, 1) and set(refused) <= {*length.MEASURED, *_OF_A_BRANCH}:
        return None
    return Other(before, now, refused)


def check_branch(step_folder: epath.Path, config: Config) -> None:
    """Refuses to begin with the state of another run that `config` does not share until there.

    Args:
        step_folder: of the checkpoint, in the other run's workdir.
        config: of the run that begins with it.

    Raises:
        CheckpointError: naming the settings that differ, or the steps that both runs have.
    """
    trunk, step = step_folder.parent.parent, int(step_folder.name)
    if (stored := begun(trunk)) is None:
        raise CheckpointError(
            f'config.branch_from is {config.branch_from}, but {trunk} has no {CONFIG_FILE} of a run'
        )
    before, now, refused = _differences(stored, config)
    refused = [name for name in refused if name not in _FREE_IN_A_BRANCH]
    if refused:
        raise CheckpointError(
            f'config.branch_from is {config.branch_from}, a run with other settings:\n'
            f'{_listed(refused, before, now)}\nA branch differs in config.total_steps and '
            'config.optimizer.decay_steps alone; to start with the parameters and nothing else, '
            'type --config.init_from instead'
        )
    shared = min(_free_steps(before, config), length.free_steps(config))
    if step > shared:
        raise CheckpointError(
            f'config.branch_from names step {step} of {trunk}, but after step {shared:.0f} the two '
            'runs have different schedules, allowed: a step before the decay of both '
            '(config.optimizer.decay_steps), without a falling mask rate, temperature or stages'
        )


def _differences(
    stored: Mapping[str, Any], config: Config
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """The settings of a run that has begun and of this one, and which differ and must not."""
    # A setting that is newer than the run counts as having had its default.
    before = {**_flat(dataclasses.asdict(recipe({}))), **stored}
    now = _flat(dataclasses.asdict(config))
    for one in (before, now):
        one.update({name: usual for name, usual in _USUAL.items() if one.get(name) is None})
    changed = [name for name in before | now if before.get(name) != now.get(name)]
    return before, now, [name for name in changed if not is_free(name)]


def is_free(name: str) -> bool:
    """Whether a setting may differ between two starts of one run; see `FREE`."""
    return any(f'{name}.'.startswith(f'{one}.') for one in FREE)


def _listed(names: Sequence[str], before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return '\n'.join(
        f'  config.{name}: {before.get(name)!r} there, {now.get(name)!r} now' for name in names
    )


# What a branch may have otherwise than the run that it begins with, and a longer run than before.
_OF_A_BRANCH = ('total_steps', 'optimizer.decay_steps')
# The other run has begun, so what it began with is part of its state.
_BEGINNINGS = ('branch_from', 'init_from', 'init_network', 'init_positions')
_FREE_IN_A_BRANCH = {*_OF_A_BRANCH, *length.MEASURED, *_BEGINNINGS}
# What follows from the length of a run.
_OF_THE_LENGTH = {
    *_OF_A_BRANCH, *length.MEASURED, 'optimizer.warmup_steps', 'objective.generator_steps',
}  # fmt: skip


def _free_steps(before: Mapping[str, Any], config: Config) -> float:
    """`length.free_steps` of a run that differs from `config` as a branch may."""
    decay = before.get('optimizer.decay_steps')
    optimizer = dataclasses.replace(config.optimizer, decay_steps=decay)
    return length.free_steps(
        dataclasses.replace(config, total_steps=before['total_steps'], optimizer=optimizer)
    )


def _only_longer(changed: Sequence[str], before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the length alone has changed, and has grown."""
    lengths = ('total_steps', *length.MEASURED)
    longer = any((now.get(name) or 0) > (before.get(name) or 0) for name in lengths)
    return longer and set(changed) <= _OF_THE_LENGTH


def _how_to_go_on(
    workdir: epath.Path,
    changed: Sequence[str],
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    config: Config,
) -> str:
    """What to type to train a run for longer that another length was typed for."""
    if not _only_longer(changed, before, now):
        return ''
    if length.free_steps(config) == math.inf:
        name = 'optimizer.warmup_steps'
        warmup = f' --config.{name}={before[name]}' if name in changed else ''
        return (
            '\nThis run can be made longer by steps alone: type '
            f'--config.total_steps=NUMBER{warmup} (above {before["total_steps"]}), and no '
            + ' or '.join(f'config.{name}' for name in length.MEASURED)
        )
    shared = min(_free_steps(before, config), length.free_steps(config))
    stable = [step for step in seals.steps(workdir / seals.FOLDER) if step <= shared]
    if stable and all(now[name] is None for name in length.MEASURED):  # a branch counts steps
        folder = workdir / seals.FOLDER / str(stable[-1])
        branch = {'config.branch_from': str(folder), 'workdir': f'{workdir}-longer'}
        return (
            f'\nThe learning rate decays after step {shared:.0f}. To go on from a checkpoint '
            f'before that: {cli.same_command(**branch)}'
        )
    fresh = {'config.init_from': str(workdir), 'workdir': f'{workdir}-longer'}
    return (
        '\nIts schedules end with it, so it cannot be made longer. To train its model further, '
        f'with schedules from the start: {cli.same_command(**fresh)}'
    )


def describe(workdir: epath.Path, config: Config, facts: Mapping[str, Any]) -> None:
    """Writes `config.json`, on the first host: config, versions, git commit, command, `facts`."""
    if not distributed.is_first():
        return
    workdir.mkdir(parents=True, exist_ok=True)
    content = {
        'config': dataclasses.asdict(config),
        'command': sys.argv,
        'python': platform.python_version(),
        'packages': versions(),
        'revision': revision(),
        **facts,
    }
    files.write_whole(workdir / CONFIG_FILE, json.dumps(content, indent=2) + '\n')


def write_parameters(workdir: epath.Path, params: Tree, mesh: Mesh) -> None:
    """Writes `parameters.txt`, on the first host: each parameter's shape, decay and sharding."""
    from electra_jax.optim.optimizer import decay_table  # reads no checkpoint, but imports optax

    if distributed.is_first():
        table = rules.parameter_table(params, mesh, decay_table(params))
        (workdir / 'parameters.txt').write_text(table + '\n')


def revision() -> str | None:
    """The git commit of the package's checkout, with '+changes' if it has any."""

    def git(*words: str) -> str:
        command = ['git', '-C', os.path.dirname(__file__), *words]
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()

    try:
        changed = git('status', '--porcelain', '--untracked-files=no')  # outputs change no code
        return git('rev-parse', 'HEAD') + ('+changes' if changed else '')
    except (OSError, subprocess.CalledProcessError):
        return None


def versions(more: Sequence[str] = ()) -> dict[str, str | None]:
    """Versions of the packages that a run uses; None where one is not installed."""

    def version(package: str) -> str | None:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    return {name: version(name) for name in (*_PACKAGES, *more)}


def _flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Every leaf of a nested mapping by its dotted name, such as 'model.size'."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves |= _flat(value, f'{prefix}{key}.')
        else:
            leaves[prefix + key] = value
    return leaves
