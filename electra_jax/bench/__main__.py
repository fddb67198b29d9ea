"""How fast a config trains on this machine, alone or compared with PyTorch or another recipe.

``python -m electra_jax.bench --config=configs/small.py --config.batch_size=16
--versus=transformers``: every step does all the work of pre-training (draws, both networks,
dropout, clip and optimizer), on random tokens, or on text where --config.data.path names some.
Each program has its own process, and they take turns. A record of everything goes to benchmarks/.

Examples:
    python -m electra_jax.bench --config=configs/small.py --config.batch_size=16
    python -m electra_jax.bench --config=configs/small.py --versus=configs/modern_small.py
    python -m electra_jax.bench --config=configs/small.py --versus=transformers --turns=5
"""

from electra_jax.runtime import early

if __name__ == '__main__':
    early.begin(__file__)


import functools
import json
import pathlib

import jax
from absl import flags

from electra_jax.bench import job, records
from electra_jax.bench.contest import Plan
from electra_jax.config.fields import Settings
from electra_jax.config.recipe import parse_setting
from electra_jax.runtime import cli

CONFIG = cli.config_flag()
VERSUS = flags.DEFINE_string(
    'versus', None, "what to compare it with: 'transformers' (parity extra), or another recipe, "
    'which is given the same --config.KEY=VALUE'
)  # fmt: skip
VERSUS_SET = flags.DEFINE_multi_string(
    'versus_set', [], 'KEY=VALUE: a setting of the other recipe alone, such as data.path=DIR'
)
VARIANTS = flags.DEFINE_list(
    'peer_variants', [], 'how PyTorch is run: eager, compiled, cuda_graphs; all that may be the '
    'fastest, if not given'
)  # fmt: skip
TURNS = flags.DEFINE_integer('turns', 3, 'of each program', lower_bound=1)
STEPS = flags.DEFINE_integer('steps', 10, 'in a turn', lower_bound=1)
WARMUP = flags.DEFINE_integer('warmup', 3, 'steps before them', lower_bound=1)
FOLDER = flags.DEFINE_string('folder', 'benchmarks', 'where the record goes')
JSON = flags.DEFINE_bool('json', False, 'print JSON instead of a table')


def main(settings: Settings) -> None:
    """Measures the config, and prints the record."""
    del settings  # made again for each program
    # This process only starts others: the devices are for them.
    jax.config.update('jax_platforms', 'cpu')
    record = job.run(job.Request(
        cli.recipe_name(CONFIG), frozenset(cli.typed_settings(CONFIG)),
        functools.partial(cli.changed_settings, CONFIG), VERSUS.value,
        dict(map(parse_setting, VERSUS_SET.value)), tuple(VARIANTS.value),
        Plan(TURNS.value, STEPS.value, WARMUP.value), pathlib.Path(FOLDER.value),
    ))  # fmt: skip
    print(json.dumps(record) if JSON.value else records.text(record))


if __name__ == '__main__':
    cli.run(main, CONFIG)
