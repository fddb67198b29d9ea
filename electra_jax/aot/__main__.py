"""Compiles a config's train step for a TPU slice that is not here, and reports what it will cost.

``python -m electra_jax.aot --config=configs/base.py --topology=v5e:4x4`` prints whether it fits, by
how much, what it reads, writes and sends, and how fast the chips could be at most. It needs the TPU
compiler (``pip install -e '.[tpu_compile]'``), but no TPU, no text and no accelerator.

Examples:
    python -m electra_jax.aot --config=configs/base.py --topology=v5e:4x4
    python -m electra_jax.aot --config=configs/large.py --topology=v5p:8x8x8 --slices=2
    python -m electra_jax.aot --config=configs/base.py --config.model.remat=full --json
"""

from electra_jax.runtime import early

if __name__ == '__main__':
    early.begin(__file__)


import json

from absl import flags

from electra_jax.aot import report
from electra_jax.config.fields import Settings
from electra_jax.config.resolve import resolve
from electra_jax.objectives import table
from electra_jax.runtime import cli

CONFIG = cli.config_flag()
TOPOLOGY = flags.DEFINE_string(
    'topology', 'v5e:4x4', 'generation and chips along each side, such as v5e:16x16 or v5p:8x8x8'
)
SLICES = flags.DEFINE_integer('slices', 1, 'number of slices of that topology', lower_bound=1)
JSON = flags.DEFINE_bool('json', False, 'print one JSON object instead of a table')


def main(settings: Settings) -> None:
    """Compiles, and prints the report."""
    complete = table.complete(settings, cli.typed_settings(CONFIG))
    name, config = cli.recipe_name(CONFIG), resolve(complete, 'tpu')
    record = report.make(config, name, TOPOLOGY.value, SLICES.value)
    print(json.dumps(record) if JSON.value else report.as_table(record))


if __name__ == '__main__':
    cli.run(main, CONFIG)
