"""The door to corpora: `python -m electra_jax.prepare --config=configs/corpus/NAME.py`.

Text becomes a vocabulary and packed shards in the folder `data.path`; the same words after a
crash go on where it stopped.

With `--config.data.runner=beam` Apache Beam builds the same shards on many machines, which see the
text and `data.path` on a file system that they share; `--config.data.runner_options='--runner=...'`
says where. The vocabulary is trained here, before.
"""

import dataclasses

from electra_jax.config import fields, resolve
from electra_jax.config.fields import Settings
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import DataConfig
from electra_jax.corpus import job
from electra_jax.runtime import cli

CONFIG = cli.config_flag()


def main(settings: Settings) -> None:
    """Builds the corpus of `config.data`, or reports that it is already there."""
    full = resolve.fill(settings)
    built = job.build_corpus(fields.build(DataConfig, dataclasses.asdict(full.data)))
    defaults = recipe({})
    defaults.data = settings.data
    if settings != defaults:  # the recipe also has something to train
        print(f'next: {cli.same_command("main")}')
        return
    print(
        f'next: python -m electra_jax.main --config=configs/small.py '
        f'--config.data.path={built.path} --config.data.row_length={built.row_length} '
        f'--config.data.layout={built.layout}'
    )


if __name__ == '__main__':
    cli.run(main, CONFIG)
