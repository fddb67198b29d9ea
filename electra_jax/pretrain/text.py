"""The text of a run: its corpora, its batches, and what every checkpoint stores about it."""

import dataclasses
import functools
import os
from collections.abc import Callable, Collection
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.config import mixture
from electra_jax.config.fields import Settings
from electra_jax.config.resolve import ROW_LENGTH
from electra_jax.config.settings import Config, DataConfig
from electra_jax.core.errors import CheckpointError, ConfigError, DataError
from electra_jax.data import manifest, pipeline
from electra_jax.model.bind import vocab_rows
from electra_jax.objectives.definition import Vocabulary
from electra_jax.pretrain.program import Program, put_batch
from electra_jax.runtime import terminal
from electra_jax.tokenizers import load
from electra_jax.tokenizers.api import Tokenizer

BuildCorpus = Callable[[DataConfig], object]  # writes the corpus that the settings describe


class Text(NamedTuple):
    """Corpora that are open."""

    corpora: list[manifest.Corpus]  # one or more, of one tokenizer
    weights: list[float]  # the share of rows from each corpus
    tokenizer: Tokenizer


def row_length(settings: Settings) -> int:
    """L of a run whose settings may leave it unset: that of its text, where it is there."""
    path = settings.data.path
    if settings.data.row_length is None and path is not None:
        first = mixture.parse_paths(path)[0][0]
        if (epath.Path(first) / manifest.FILE_NAME).exists():
            return manifest.described(first).row_length
    return settings.data.row_length or ROW_LENGTH


def open_text(config: Config, build_corpus: BuildCorpus, typed: Collection[str] = ()) -> Text:
    """The corpora of `config.data.path`; one that is missing is built first.

    `typed` are the names of the settings that were typed, which a corpus must have.
    """
    load.find(config.data.tokenizer.kind)  # also where a corpus is there, so that it is not read
    if config.data.path is None:
        raise ConfigError(
            'config.data.path is not set: type --config.data.path=FOLDER with shards made by '
            'python -m electra_jax.prepare'
        )
    paths = mixture.parse_paths(config.data.path)
    if len(paths) == 1 and not (epath.Path(paths[0][0]) / manifest.FILE_NAME).exists():
        if config.data.source is None:
            there = epath.Path(paths[0][0]).exists()
            found = (
                'holds no finished corpus' if there else f'is not there (looked from {os.getcwd()})'
            )
            raise DataError(
                f'the folder config.data.path={paths[0][0]} {found}, and config.data.source does '
                "not name text to build it from: type --config.data.source='text:FILES/*.txt', for "
                'example, or the folder of a corpus'
            )
        build_corpus(config.data)
    check, report, share = config.data.verify, terminal.OUT.print, 1 / len(paths)
    corpora = [manifest.load_corpus(path, check, report, share) for path, _ in paths]
    asked = config.data.tokenizer
    one = corpora[0].tokenizer_hash, f'the corpus {corpora[0].path}'
    if asked.path:
        one = load.open_tokenizer(asked).hash, f'--config.data.tokenizer.path={asked.path}'
    for corpus in corpora:
        manifest.check_corpus(corpus, config.data, *one)
        manifest.check_typed(corpus, config.data, typed)
    return Text(corpora, [weight for _, weight in paths], corpora[0].tokenizer())


def vocabulary(config: Config, text: Text) -> Vocabulary:
    """What an objective has to know of the text, the frequencies of its tokens among it."""
    size = text.tokenizer.vocab_size
    probs = np.zeros(size)
    for corpus, weight in zip(text.corpora, text.weights, strict=True):
        counts = corpus.unigram() + 1.0
        probs += weight / sum(text.weights) * counts / counts.sum()
    padding = vocab_rows(config.model, size) - size
    log_unigram_V = np.pad(np.log(probs), (0, padding)).astype(np.float32)
    continues_V = text.tokenizer.continues_word()
    if continues_V is not None:
        continues_V = np.pad(continues_V, (0, padding))
    return Vocabulary(size, text.tokenizer.special, log_unigram_V, continues_V)


def training_rows(text: Text) -> int:
    """How many rows there are to train on."""
    return sum(shard.rows for corpus in text.corpora for shard in corpus.shards['train'])


def held_out_rows(text: Text) -> int:
    """How many rows there are to evaluate on."""
    return sum(shard.rows for corpus in text.corpora for shard in corpus.shards['validation'])


def training_batches(text: Text, program: Program) -> pipeline.DeviceBatches:
    """Training batches on the mesh."""
    config = program.config
    rows = pipeline.Rows(text.corpora, 'train', config.model.image_size is not None)
    batches = pipeline.train_batches(
        rows, text.weights, host_rows(config), config.seed, config.data.prefetch
    )
    put = functools.partial(put_batch, program.mesh, config.batch_size)
    return pipeline.DeviceBatches(batches, put)


def held_out_batches(text: Text, program: Program) -> list[dict[str, jax.Array]]:
    """The held-out batches, on the mesh."""
    config = program.config
    rows = pipeline.Rows(text.corpora, 'validation', config.model.image_size is not None)
    batches = pipeline.held_out_batches(rows, host_rows(config), config.eval.rows)
    return [put_batch(program.mesh, config.batch_size, batch) for batch in batches]


def host_rows(config: Config) -> pipeline.HostRows:
    """This host's share of each batch."""
    return pipeline.HostRows(config.batch_size, jax.process_index(), jax.process_count())


def about(config: Config, text: Text) -> dict:
    """What every checkpoint stores in addition to arrays, the whole tokenizer among it."""
    return {
        'config': dataclasses.asdict(config),
        'tokenizer': text.tokenizer.to_json(),
        'tokenizer_hash': text.tokenizer.hash,
        'corpora': [
            {
                'path': str(corpus.path),
                'source': corpus.source,
                'fingerprint': corpus.fingerprint,
                'weight': weight,
            }
            for corpus, weight in zip(text.corpora, text.weights, strict=True)
        ],
    }


def check_checkpoint(
    checkpoint: dict, config: Config, text: Text, folder: epath.Path, same_text: bool
) -> None:
    """Refuses text of another tokenizer than the checkpoint's, whose `about` it is given.

    With `same_text` the very rows and weights must be those that the run in `folder` had.
    """
    wanted, ours = checkpoint['tokenizer_hash'], text.tokenizer
    if wanted != ours.hash and load.from_json(checkpoint['tokenizer']).fits(ours):
        wanted = ours.hash  # of a converted checkpoint, for example
    for corpus in text.corpora:
        manifest.check_corpus(corpus, config.data, wanted, f'the checkpoint in {folder}')
    before = [(corpus['fingerprint'], corpus['weight']) for corpus in checkpoint['corpora']]
    now = [(one.fingerprint, w) for one, w in zip(text.corpora, text.weights, strict=True)]
    if same_text and before != now:
        named = ','.join(f'{one["path"]}={one["weight"]}' for one in checkpoint['corpora'])
        raise CheckpointError(
            f'{folder} was trained on {named}, whose rows or weights are not those of '
            f'{config.data.path}: name that text with --config.data.path, or another --workdir'
        )
