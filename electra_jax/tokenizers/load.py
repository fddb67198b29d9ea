"""Loads a tokenizer from a corpus folder, from its JSON, or from a vocabulary file."""

import pathlib
from typing import Any

from electra_jax.config import settings
from electra_jax.core.errors import DataError, unknown
from electra_jax.core.files import parse_object
from electra_jax.tokenizers import api
from electra_jax.tokenizers.sentencepiece import SentencePiece
from electra_jax.tokenizers.wordpiece import WordPiece

# Values of `config.data.tokenizer.kind`. To add one: its file and a row here.
KINDS: dict[str, type[api.Tokenizer]] = {
    'wordpiece': WordPiece,
    'unigram': SentencePiece,
    'bpe': SentencePiece,
}
_STORED = {made.kind: made for made in KINDS.values()}


def find(name: str) -> type[api.Tokenizer]:
    """The tokenizers of the kind of that name; ConfigError where there are none."""
    if name not in KINDS:
        raise unknown('config.data.tokenizer.kind', name, KINDS)
    return KINDS[name]


def from_json(data: Any, where: object = 'the tokenizer') -> api.Tokenizer:
    """The tokenizer that `Tokenizer.to_json` describes; DataError if the JSON is damaged."""
    kind = data.get('kind') if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in _STORED:
        raise DataError(
            f'{where} is damaged: its kind is {kind!r:.60}, allowed: {", ".join(sorted(_STORED))}'
        )
    try:
        return _STORED[kind].from_json(data)
    except DataError as error:
        raise DataError(f'{where}: {error}') from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{where} is damaged ({error!r:.200})') from error


def load(folder: str | pathlib.Path) -> api.Tokenizer:
    """The tokenizer that `Tokenizer.save` wrote into a folder; DataError if there is none."""
    path = pathlib.Path(folder) / api.FILE_NAME
    try:
        data = parse_object(path.read_bytes())
    except OSError as error:
        raise DataError(
            f'cannot read the tokenizer {path} ({error.strerror}); `prepare` writes one into '
            "the corpus folder's tokenizer/"
        ) from error
    except ValueError as error:
        raise DataError(f'{path} is damaged ({error}); build the corpus again') from error
    return from_json(data, path)


def open_tokenizer(config: settings.TokenizerConfig) -> api.Tokenizer:
    """The tokenizer in the file `config.path`, such as a vocab.txt or a SentencePiece .model."""
    if config.path is None:
        raise ValueError('open_tokenizer needs config.path; train.train_tokenizer makes one')
    return find(config.kind).from_file(config)
