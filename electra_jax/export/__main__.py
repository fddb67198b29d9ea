"""Exports a model as a folder that runs without this package, on CPUs, GPUs and TPUs.

``python -m electra_jax.export --checkpoint=FOLDER --target=FOLDER`` writes the program as StableHLO
(jax.export) for any number of rows, the parameters as safetensors, the tokenizer for the library
`tokenizers`, and export.json, which describes inputs, outputs and labels. JAX loads it in ten
lines: docs/export.md.

Examples:
    python -m electra_jax.export --checkpoint=runs/reviews --target=exported
    python -m electra_jax.export --checkpoint=runs/mine --task=embed --target=exported
    python -m electra_jax.export --checkpoint=runs/mine --dtype=bfloat16 --target=exported
"""

from electra_jax.runtime import early

if __name__ == '__main__':
    early.begin(__file__)


import pathlib

from absl import flags

from electra_jax.core.errors import ConfigError
from electra_jax.export import job, programs
from electra_jax.interop.files import FLOATS
from electra_jax.runtime import cli

CHECKPOINT = cli.checkpoint_flag()
TARGET = flags.DEFINE_string('target', None, 'the folder to write, new or empty')
TASK = flags.DEFINE_enum(
    'task', 'auto', programs.TASKS,
    'auto: what it was fine-tuned on, or else detect; detect: the probability that each token was '
    'replaced; embed: a vector for each text',
)  # fmt: skip
DTYPE = flags.DEFINE_enum(
    'dtype', 'float32', FLOATS, 'of the parameters in the folder; it computes in float32'
)
PLATFORMS = flags.DEFINE_list('platforms', 'cpu,cuda,tpu', 'where it can run: cpu,cuda,rocm,tpu')
ROW_LENGTH = flags.DEFINE_integer(
    'row_length', None, 'tokens of a row; if not given: as the task has it, or as the model'
)


def main() -> None:
    """Writes the folder, and prints what is in it."""
    if CHECKPOINT.value is None or TARGET.value is None:
        raise ConfigError('type --checkpoint=WORKDIR --target=FOLDER: what is read, and written')
    target = pathlib.Path(TARGET.value).expanduser()
    request = job.Request(
        CHECKPOINT.value, target, TASK.value, DTYPE.value, PLATFORMS.value, ROW_LENGTH.value
    )
    print('\n'.join(job.export(request)))


if __name__ == '__main__':
    cli.run_without_recipe(main)
