"""How fast a config is on this machine, alone or beside a peer in the same run.

``python -m electra_jax.bench --config=configs/small.py --config.batch_size=16
--versus=transformers``: every step does all the work of training (draws, both networks, dropout,
clip and optimizer), on random tokens, or on text where --config.data.path names some. With a
recipe of fine-tuning it is evaluation that is timed, on the task's files. Each program has a
process of its own, and they take turns. A record of everything goes to benchmarks/.
"""

from electra_jax.config import recipe
from electra_jax.runtime import malloc

if __name__ == '__main__':
    malloc.ask_for_large_pages()  # starts the process again: before imports that take seconds

import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping

import jax
from absl import flags as absl_flags

from electra_jax.bench import records, sweeps, tables
from electra_jax.bench.training import Plan, Rival
from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError, UserError
from electra_jax.finetune import known
from electra_jax.runtime import cli

CONFIG = cli.config_flag()
VERSUS = absl_flags.DEFINE_string(
    'versus', None, "what to measure beside it: 'transformers' (parity extra), or another recipe, "
    'which is given the same --config.KEY=VALUE'
)  # fmt: skip
VERSUS_SET = absl_flags.DEFINE_multi_string(
    'versus_set', [], 'KEY=VALUE: a setting of the other recipe alone, such as data.path=DIR'
)
VARIANTS = absl_flags.DEFINE_list(
    'peer_variants', None, 'how PyTorch is run: eager, compiled, cuda_graphs; all that may be the '
    'fastest, if not given'
)  # fmt: skip
SWEEP = absl_flags.DEFINE_multi_string(
    'sweep', [], 'KEY=A,B,C: one measurement for each value; several: one axis after another'
)
GRID = absl_flags.DEFINE_bool('grid', False, 'every value of a sweep with every other')
TURNS = absl_flags.DEFINE_integer('turns', 3, 'of each program', lower_bound=1)
STEPS = absl_flags.DEFINE_integer(
    'steps', None, 'steps in a turn (default 10), or passes over a split (1)', lower_bound=1
)
WARMUP = absl_flags.DEFINE_integer('warmup', 3, 'steps before them', lower_bound=1)
FOLDER = absl_flags.DEFINE_string('folder', 'benchmarks', 'where the records go')
JSON = absl_flags.DEFINE_bool('json', False, 'print JSON instead of a table')


def main(config: Config) -> None:
    """Measures the config, or each point of a sweep."""
    # This process only looks on: the devices are for those that it starts.
    jax.config.update('jax_platforms', 'cpu')
    axes = {}
    for text in SWEEP.value:
        name, values = sweeps.parse_axis(text)
        axes[recipe.setting_name(name)] = values
    if axes:
        sweep(axes)
        return
    point = plan_point(config, {})
    record = point.measure()
    records.write(point.path, record)
    say(f'record: {point.path}')
    print(json.dumps(record) if JSON.value else tables.text(record))


def sweep(axes: Mapping[str, list[str]]) -> None:
    """Measures every point that has no record yet; then tables, plots and checks of all."""
    chosen = sweeps.points(axes, GRID.value)
    planned = [plan_point(cli.changed_config(CONFIG, varied), varied) for varied in chosen]
    found, failed = sweeps.run(planned, say)
    folder, name = pathlib.Path(FOLDER.value), cli.recipe_name(CONFIG)
    summary = sweeps.conclude(folder, name, list(axes), found)
    say(f'files: {", ".join(summary["files"])}')
    print(json.dumps({**summary, 'failed': failed}) if JSON.value else summary['text'])
    if failed:
        raise UserError('not measured:\n' + '\n'.join(failed))


def plan_point(config: Config, varied: sweeps.Settings) -> sweeps.Point:
    """A measurement of the command line with some settings changed."""
    name, folder = cli.recipe_name(CONFIG), pathlib.Path(FOLDER.value)
    config = settled(config, varied)
    return sweeps.plan_point(name, config, rival(varied), plan(config), varied, folder, say)


def settled(config: Config, changes: Mapping[str, str]) -> Config:
    """The config as it is measured: a task's rows are as long as the task has them.

    Pre-training is measured on random tokens, unless its text was named in the command.
    """
    data = config.data
    if config.task.name:
        length = data.row_length or known.get(config.task.name).row_length
        data = dataclasses.replace(data, row_length=length)
    elif 'data.path' not in {**cli.typed_settings(CONFIG), **changes}:
        data = dataclasses.replace(data, path=None)
    return dataclasses.replace(config, data=data)


def plan(config: Config) -> Plan:
    """How long is measured."""
    usual = 1 if config.task.name else 10
    return Plan(TURNS.value, STEPS.value or usual, WARMUP.value)


def rival(varied: sweeps.Settings) -> Rival | None:
    """What is measured beside it."""
    if VERSUS.value is None or VERSUS.value == 'transformers':
        if VERSUS_SET.value:
            raise ConfigError('--versus_set is for another recipe: type --versus=FILE.py, too')
        variants = VARIANTS.value and tuple(VARIANTS.value)
        return VERSUS.value and Rival(VERSUS.value, None, variants)
    changes = dict(varied)
    for text in VERSUS_SET.value:
        name, is_whole, value = text.partition('=')
        if not is_whole:
            raise ConfigError(f'--versus_set is {text!r}: type such as --versus_set=seed=1')
        changes[recipe.setting_name(name)] = value
    other = cli.changed_config(CONFIG, changes, VERSUS.value)
    return Rival(pathlib.Path(VERSUS.value).stem, settled(other, changes))


def say(text: str) -> None:
    """What happens, where it does not get in the way of what was measured."""
    print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
    cli.run(main, CONFIG)
