"""Loads a tokenizer from a corpus folder, from its JSON, or from a vocabulary file."""

import pathlib
from typing import Any

from electra_jax.config import settings
from electra_jax.core.errors import DataError, unknown
from electra_jax.core.files import parse_object
from electra_jax.tokenizers import api, sentencepiece, wordpiece

# `config.data.tokenizer.kind` -> how such a tokenizer is made. To add one: its file and a row here.
KINDS: dict[str, api.Kind] = {
    'wordpiece': wordpiece.WORDPIECE,
    'unigram': sentencepiece.UNIGRAM,
    'bpe': sentencepiece.BPE,
}
_READERS = {kind.stored: kind.from_json for kind in KINDS.values()}


def find(name: str) -> api.Kind:
    """The kind of tokenizer of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in KINDS:
        raise unknown('config.data.tokenizer.kind', name, KINDS)
    return KINDS[name]


def from_json(data: Any, where: object = 'the tokenizer') -> api.Tokenizer:
    """The tokenizer that `Tokenizer.to_json` describes.

    Args:
        data: parsed JSON, possibly damaged.
        where: name of the tokenizer, for messages.

    Raises:
        DataError: the JSON is damaged, or of an unknown kind.
    """
    kind = data.get('kind') if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in _READERS:
        raise DataError(
            f'{where} is damaged: its kind is {kind!r:.60}, allowed: {", ".join(sorted(_READERS))}'
        )
    try:
        return _READERS[kind](data)
    except DataError as error:
        raise DataError(f'{where}: {error}') from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{where} is damaged ({error!r:.200})') from error


def load(folder: str | pathlib.Path) -> api.Tokenizer:
    """The tokenizer that `Tokenizer.save` wrote into a folder.

    Raises:
        DataError: there is no tokenizer, or its file is damaged.
    """
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
    """The tokenizer in the file `config.path`, such as a vocab.txt or a SentencePiece .model.

    Raises:
        ConfigError: the kind is unknown.
        DataError: the file cannot be used.
    """
    if config.path is None:
        raise ValueError('open_tokenizer needs config.path; train.train_tokenizer makes one')
    return find(config.kind).from_file(config)
