"""Compiles a config's train step for TPUs or GPUs that are not here, and reports what it will cost.

``python -m electra_jax.aot --config=configs/base.py --topology=v5e:4x4`` prints whether it fits, by
how much, what it reads, writes and sends, and how fast the devices could be at most; for GPUs
(``--topology=h100:8``) also how many kernels a step starts. It needs the compiler
(``pip install -e '.[tpu-compile]'`` or ``'.[gpu-compile]'``), but no TPU, GPU, driver or text.

Examples:
    python -m electra_jax.aot --config=configs/base.py --topology=v5e:4x4
    python -m electra_jax.aot --config=configs/large.py --topology=v5p:8x8x8 --slices=2
    python -m electra_jax.aot --config=configs/small.py --topology=h100:8 --json
"""

from electra_jax.runtime import early

if __name__ == '__main__':
    early.begin(__file__)


import json

from absl import flags

from electra_jax.aot import report, topologies
from electra_jax.config.fields import Settings
from electra_jax.config.resolve import resolve
from electra_jax.objectives import table
from electra_jax.runtime import cli

CONFIG = cli.config_flag()
TOPOLOGY = flags.DEFINE_string(
    'topology',
    'v5e:4x4',
    'TPU generation and chips along each side, such as v5e:16x16 or v5p:8x8x8, or NVIDIA card and '
    'cards of a host, such as h100:8',
)
SLICES = flags.DEFINE_integer(
    'slices',
    1,
    'number of slices of that topology, or of hosts with that many cards',
    lower_bound=1,
)
JSON = flags.DEFINE_bool('json', False, 'print one JSON object instead of a table')


def main(settings: Settings) -> None:
    """Compiles, and prints the report."""
    complete = table.complete(settings, cli.typed_settings(CONFIG))
    name, config = cli.recipe_name(CONFIG), resolve(complete, topologies.find(TOPOLOGY.value).kind)
    record = report.make(config, name, TOPOLOGY.value, SLICES.value)
    print(json.dumps(record) if JSON.value else report.as_table(record))


if __name__ == '__main__':
    cli.run(main, CONFIG)
