"""Opens a tokenizer: from a corpus folder, from its JSON, or from a vocabulary file."""

import pathlib
from typing import Any

from electra_jax.config import settings
from electra_jax.core import errors
from electra_jax.core.files import parse_object
from electra_jax.tokenizers import api, sentencepiece, wordpiece

# `kind` in a tokenizer's JSON -> what reads it.
KINDS = {
    'wordpiece': wordpiece.WordPiece.from_json,
    'sentencepiece': sentencepiece.SentencePiece.from_json,
}


def from_json(data: Any, where: object = 'the tokenizer') -> api.Tokenizer:
    """The tokenizer that `Tokenizer.to_json` described.

    Args:
      data: what it gave, or what has become of it since.
      where: it stands, for messages.

    Raises:
      errors.DataError: it is damaged, or of a kind that is not known.
    """
    kind = data.get('kind') if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise errors.DataError(
            f'{where} is damaged: its kind is {kind!r:.60}, allowed: {", ".join(sorted(KINDS))}'
        )
    try:
        return KINDS[kind](data)
    except errors.DataError as error:
        raise errors.DataError(f'{where}: {error}') from error
    except (KeyError, TypeError, ValueError) as error:
        first_line = repr(error).split('\\n')[0]
        raise errors.DataError(f'{where} is damaged ({first_line:.200})') from error


def load(folder: str | pathlib.Path) -> api.Tokenizer:
    """The tokenizer that `Tokenizer.save` wrote into `folder`.

    Raises:
      errors.DataError: there is none, or its file is damaged.
    """
    path = pathlib.Path(folder) / api.FILE_NAME
    try:
        data = parse_object(path.read_bytes())
    except OSError as error:
        raise errors.DataError(
            f'cannot read the tokenizer {path} ({error.strerror}); `prepare` writes one into '
            "the corpus folder's tokenizer/"
        ) from error
    except ValueError as error:
        raise errors.DataError(f'{path} is damaged ({error}); build the corpus anew') from error
    return from_json(data, path)


def open_tokenizer(config: settings.TokenizerConfig) -> api.Tokenizer:
    """The tokenizer in the existing file `config.path`, a vocab.txt or a SentencePiece .model.

    Raises:
      errors.ConfigError: `config.kind` is not known, or a switch does not apply to it.
      errors.DataError: the file cannot be used.
    """
    if config.path is None:
        raise ValueError('open_tokenizer needs config.path; train.train_tokenizer makes one')
    check_kind(config)
    if config.kind == 'wordpiece':
        return wordpiece.WordPiece.from_file(config.path, config.lower_case, config.strip_accents)
    return sentencepiece.SentencePiece.from_file(config.path)


def check_kind(config: settings.TokenizerConfig) -> None:
    """Refuses a kind that does not exist and switches that its kind does not have."""
    known = ('wordpiece', *sentencepiece.MODEL_TYPES)
    if config.kind not in known:
        raise errors.unknown('data.tokenizer.kind', config.kind, known)
    if config.kind != 'wordpiece' and config.strip_accents:
        raise errors.ConfigError(
            f'data.tokenizer.strip_accents is True but data.tokenizer.kind is {config.kind!r}; '
            'only wordpiece strips accents: leave strip_accents at None'
        )
