"""Trains a new tokenizer on a stream of text."""

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
    limited = _Limited(texts, config.train_megabytes * MEGABYTE)
    tokenizer = load.find(config.kind).train(limited, config)
    if not limited.characters and not any(limited):  # training may have read nothing
        raise DataError('there is no text to train a tokenizer on; see data.source')
    return tokenizer


class _Limited:
    """Texts up to about `limit` characters; counts them."""

    def __init__(self, texts: Iterable[str], limit: int) -> None:
        self._texts = texts
        self._limit = limit
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            yield text
            self.characters += len(text)
            if self.characters >= self._limit:
                return
