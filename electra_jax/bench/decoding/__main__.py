"""How fast a fine-tuned model writes texts, next to `generate` of transformers.

``python -m electra_jax.bench.decoding --checkpoint=runs/translation --input=test.en``: the peer is
an encoder-decoder of the same size with random weights (`EncoderDecoderModel` of `BertGeneration`),
which reads the same tokens in the same batches by the same search. Neither may end an answer before
it has `--tokens` tokens, so that both take as many steps. Both run in one process, with one thread
for each core that it may use, and take turns; what is compiled, is compiled before. The record goes
to benchmarks/. It needs the extra 'parity'.
"""

from electra_jax.runtime import early

if __name__ == '__main__':
    early.begin(__file__)


import pathlib

from absl import flags

from electra_jax.bench.decoding import job
from electra_jax.core.errors import ConfigError
from electra_jax.ops.decoding import METHODS
from electra_jax.runtime import cli

CHECKPOINT = flags.DEFINE_string('checkpoint', None, 'a workdir of a task with texts as answers')
INPUT = flags.DEFINE_string('input', None, 'file of texts, a line each')
BATCH_SIZE = flags.DEFINE_integer('batch_size', 64, 'rows of a batch', lower_bound=1)
TOKENS = flags.DEFINE_integer('tokens', 24, 'of each answer', lower_bound=1)
METHOD = flags.DEFINE_enum('method', None, [*METHODS], 'of the search; usually that of the task')
TURNS = flags.DEFINE_integer('turns', 2, 'of each program; the fastest one counts', lower_bound=1)
FOLDER = flags.DEFINE_string('folder', 'benchmarks', 'where the record goes')


def main() -> None:
    """Measures, prints both speeds, and writes the record."""
    if CHECKPOINT.value is None or INPUT.value is None:
        raise ConfigError('type --checkpoint=WORKDIR --input=FILE')
    request = job.Request(
        CHECKPOINT.value,
        pathlib.Path(INPUT.value),
        BATCH_SIZE.value,
        TOKENS.value,
        TURNS.value,
        METHOD.value,
    )
    job.run(request, pathlib.Path(FOLDER.value))


if __name__ == '__main__':
    cli.run_without_recipe(main)
