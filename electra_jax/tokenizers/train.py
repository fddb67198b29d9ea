"""Trains a new tokenizer on a stream of text."""

import itertools
from collections.abc import Iterable, Iterator

from electra_jax.config import settings
from electra_jax.core.errors import DataError
from electra_jax.tokenizers import api, load

MEGABYTE = 1_000_000


def train_tokenizer(texts: Iterable[str], config: settings.TokenizerConfig) -> api.Tokenizer:
    """Trains the tokenizer that `config` describes; equal texts give equal tokenizers.

    Args:
        texts: lines of text; reading stops after `config.train_megabytes`.
        config: kind, size and normalization; `config.path` is ignored.

    Raises:
        ConfigError: the kind is unknown.
        DataError: there is no text, or too little for a vocabulary of this size.
    """
    kind, texts = load.find(config.kind), iter(texts)
    first = next((text for text in texts if text), None)
    if first is None:
        raise DataError('there is no text to train a tokenizer on; see data.source')
    limit = config.train_megabytes * MEGABYTE
    return kind.train(_limited(itertools.chain([first], texts), limit), config)


def _limited(texts: Iterable[str], limit: int) -> Iterator[str]:
    """Texts up to about `limit` characters."""
    for text in texts:
        yield text
        limit -= len(text)
        if limit <= 0:
            return
