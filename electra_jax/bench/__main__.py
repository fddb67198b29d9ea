"""How fast a config is on this machine, alone or compared with PyTorch or another recipe.

``python -m electra_jax.bench --config=configs/small.py --config.batch_size=16
--versus=transformers``: every step does all the work of training (draws, both networks, dropout,
clip and optimizer), on random tokens, or on text where --config.data.path names some. With a
recipe of fine-tuning, evaluation is timed instead, on the task's files. Each program has its own
process, and they take turns. A record of everything goes to benchmarks/.
"""

import functools
import pathlib

import jax
from absl import flags

from electra_jax.bench import job
from electra_jax.config.fields import Settings
from electra_jax.core.errors import UserError
from electra_jax.runtime import cli
from electra_jax.sweep import plan

CONFIG = cli.config_flag()
VERSUS = flags.DEFINE_string(
    'versus', None, "what to compare it with: 'transformers' (parity extra), or another recipe, "
    'which is given the same --config.KEY=VALUE'
)  # fmt: skip
VERSUS_SET = flags.DEFINE_multi_string(
    'versus_set', [], 'KEY=VALUE: a setting of the other recipe alone, such as data.path=DIR'
)
VARIANTS = flags.DEFINE_list(
    'peer_variants', None, 'how PyTorch is run: eager, compiled, cuda_graphs; all that may be the '
    'fastest, if not given'
)  # fmt: skip
SWEEP = flags.DEFINE_multi_string(
    'sweep', [], 'KEY=A,B,C: one measurement for each value; several: one axis after another'
)
GRID = flags.DEFINE_bool('grid', False, 'every value of a sweep with every other')
TURNS = flags.DEFINE_integer('turns', 3, 'of each program', lower_bound=1)
STEPS = flags.DEFINE_integer(
    'steps', None, 'steps in a turn (default 10), or passes over a split (1)', lower_bound=1
)
WARMUP = flags.DEFINE_integer('warmup', 3, 'steps before them', lower_bound=1)
FOLDER = flags.DEFINE_string('folder', 'benchmarks', 'where the records go')
JSON = flags.DEFINE_bool('json', False, 'print JSON instead of a table')


def main(settings: Settings) -> None:
    """Measures the config, or each point of a sweep."""
    del settings  # made again for each point
    # This process only starts others: the devices are for them.
    jax.config.update('jax_platforms', 'cpu')
    request = job.Request(
        cli.recipe_name(CONFIG), frozenset(cli.typed_settings(CONFIG)),
        functools.partial(cli.changed_settings, CONFIG), VERSUS.value,
        dict(map(plan.setting, VERSUS_SET.value)),
        tuple(VARIANTS.value) if VARIANTS.value else None, plan.axes(SWEEP.value, '--sweep'),
        GRID.value, TURNS.value, STEPS.value, WARMUP.value,
        pathlib.Path(FOLDER.value),
    )  # fmt: skip
    result, failed = job.sweep(request) if SWEEP.value else (job.measure_one(request), None)
    print(job.as_text(result, failed, JSON.value))
    if failed:
        raise UserError('not measured:\n' + '\n'.join(failed))


if __name__ == '__main__':
    cli.run(main, CONFIG)
