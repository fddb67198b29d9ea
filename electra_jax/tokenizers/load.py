"""Makes a tokenizer: from a corpus folder, its JSON or a vocabulary file, or by training."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from electra_jax.config import settings
from electra_jax.core.errors import ConfigError, DataError, unknown
from electra_jax.core.files import parse_object
from electra_jax.tokenizers import api
from electra_jax.tokenizers.characters import Characters
from electra_jax.tokenizers.sentencepiece import SentencePiece
from electra_jax.tokenizers.wordpiece import WordPiece

# Values of `config.data.tokenizer.kind`. To add one: its file and a row here.
KINDS: dict[str, type[api.Tokenizer]] = {
    'wordpiece': WordPiece,
    'unigram': SentencePiece,
    'bpe': SentencePiece,
    'characters': Characters,
}
MEGABYTE = 1_000_000
# Of a vocabulary: so many pieces that no text can become are normal. English BERT's have none.
_LOST_SHARE = 0.03
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
    """The tokenizer in the file `config.path`, such as a vocab.txt or a SentencePiece .model.

    Our own file, which has rules that no setting has, is read as it is. Of a folder its own file is
    taken, which may be in its folder tokenizer/, or else its vocab.txt.
    """
    path = _file_of(pathlib.Path(str(config.path)))
    config = dataclasses.replace(config, path=str(path))
    own = path.name == api.FILE_NAME
    tokenizer = load(path.parent) if own else find(config.kind).from_file(config)
    has = {'vocab_size': tokenizer.vocab_size, **(tokenizer.switches() if own else {})}
    for name, value in has.items():
        typed = getattr(config, name)
        if typed not in (None, value):
            raise ConfigError(
                f'config.data.tokenizer.{name} is {typed}, but {value} in {path}: leave it out, or '
                f'type --config.data.tokenizer.{name}={value}'
            )
    if not own:
        _check_normalization(tokenizer, path)
    return tokenizer


def _file_of(path: pathlib.Path) -> pathlib.Path:
    """The tokenizer's file of a folder, such as a workdir or a corpus; of a file, the file."""
    for name in (api.FILE_NAME, f'tokenizer/{api.FILE_NAME}', 'vocab.txt'):
        if (path / name).is_file():
            return path / name
    return path


def _check_normalization(tokenizer: api.Tokenizer, path: pathlib.Path) -> None:
    """Refuses switches under which much of a vocabulary can never come out of a text."""
    lost = tokenizer.lost()
    if len(lost) <= _LOST_SHARE * tokenizer.vocab_size:
        return
    others = {typed: len(one.lost()) for typed, one in tokenizer.variants().items()}
    typed = min(others, key=others.__getitem__, default='')
    better = others.get(typed, len(lost)) <= _LOST_SHARE * tokenizer.vocab_size
    switches = ' and '.join(f'{name}={value}' for name, value in tokenizer.switches().items())
    examples = ', '.join(map(repr, lost[:: max(len(lost) // 3, 1)][:3]))
    raise ConfigError(
        f'{path}: with {switches}, {len(lost):,} of its {tokenizer.vocab_size:,} pieces can never '
        f'come out of a text, which is normalized first, such as {examples}: '
        + (f'type {typed}' if better else 'it is no vocabulary of such a tokenizer')
    )


def usual(config: settings.TokenizerConfig) -> settings.TokenizerConfig:
    """The settings of a tokenizer that is trained, where they are None."""
    lower_case = config.lower_case
    return dataclasses.replace(
        config,
        vocab_size=config.vocab_size or settings.VOCAB_SIZE,
        lower_case=find(config.kind).lowers if lower_case is None else lower_case,
    )


def train_tokenizer(
    texts: Iterable[str], config: settings.TokenizerConfig, watch: api.Watch = iter
) -> api.Tokenizer:
    """Trains the tokenizer that `config` describes on lines of text; equal texts give equal ones.

    Reading stops after `config.train_megabytes`; `watch` is that of `Tokenizer.train`.
    """
    config, kind, texts = usual(config), find(config.kind), iter(texts)
    first = next((text for text in texts if text), None)
    if first is None:
        raise DataError('there is no text to train a tokenizer on; see data.source')
    limit = config.train_megabytes * MEGABYTE
    return kind.train(_limited(itertools.chain([first], texts), limit), config, watch)


def _limited(texts: Iterable[str], limit: int) -> Iterator[str]:
    """Texts up to `limit` UTF-8 bytes, and the one that passes it."""
    for text in texts:
        yield text
        limit -= len(text.encode(errors='replace'))
        if limit <= 0:
            return
