"""Text to a vocabulary and shards: `python -m electra_jax.prepare --config=configs/corpus/NAME.py`.

The same command after a crash continues where it stopped. `--config.data.runner=beam` builds the
same shards on many machines (see corpus/beam.py).

Examples:
    python -m electra_jax.prepare --config=configs/corpus/text.py \\
      --config.data.source='text:TEXTS/*.txt.gz' --config.data.path=corpora/mine
    python -m electra_jax.prepare --config=configs/own.py \\
      --config.data.source='jsonl:FILE.jsonl#body' --config.data.path=corpora/mine
    python -m electra_jax.prepare --config=configs/corpus/text.py \\
      --config.data.source='parquet:FOLDER#text' --config.data.tokenizer.path=vocab.txt
"""

from electra_jax.runtime import early

if __name__ == '__main__':
    early.begin(__file__, ['data'])


import dataclasses
import shlex

from electra_jax.config import fields, resolve
from electra_jax.config.fields import Settings
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import DataConfig
from electra_jax.corpus import job
from electra_jax.data import manifest
from electra_jax.runtime import cli

CONFIG = cli.config_flag()
_OF_THE_CORPUS = ('path', 'row_length', 'layout')


def main(settings: Settings) -> None:
    """Builds the corpus of `config.data`, or reports that it is already there."""
    full = resolve.fill(settings)
    built = job.build_corpus(fields.build(DataConfig, dataclasses.asdict(full.data)))
    for line in manifest.warnings(built):  # which a run prints at its own start
        print(f'warning: {line}')
    print(f'next: {following(settings, built)}')
    if full.data.tokenizer.path is not None:
        print(f'or, from the checkpoint that the vocabulary is of: {continuing(built)}')


def following(settings: Settings, built: manifest.Corpus) -> str:
    """The command that trains on the corpus."""
    defaults = recipe({})
    defaults.data = settings.data
    if settings != defaults:
        return cli.same_command('main')
    # The recipe has nothing to train.
    data = [f'--config.data.{name}={getattr(built, name)}' for name in _OF_THE_CORPUS]
    words = ['--config=configs/own.py', *data, f'--workdir=runs/{built.path.name}']
    return f'python -m electra_jax.main {shlex.join(words)}'


def continuing(built: manifest.Corpus) -> str:
    """The command that trains a checkpoint, which is to be named, on with the corpus."""
    words = ['--config=configs/continue_small.py', '--config.init_from=CHECKPOINT']
    words += [f'--config.data.path={built.path}', f'--workdir=runs/{built.path.name}']
    return f'python -m electra_jax.main {shlex.join(words)}'


if __name__ == '__main__':
    cli.run(main, CONFIG)
