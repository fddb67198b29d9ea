"""The interface of all tokenizers."""

import abc
import dataclasses
import hashlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from electra_jax.config.settings import TokenizerConfig
from electra_jax.core import files
from electra_jax.core.errors import DataError

FILE_NAME = 'electra_tokenizer.json'

# Names of the five special tokens that a vocabulary may have; training uses the first one.
ACCEPTED = {
    'pad': ('[PAD]', '<pad>'),
    'unk': ('[UNK]', '<unk>'),
    'cls': ('[CLS]', '<s>', '<cls>'),
    'sep': ('[SEP]', '</s>', '<sep>'),
    'mask': ('[MASK]', '<mask>'),
}
Watch = Callable[[Iterable[str]], Iterator[str]]  # `iter`, or one that counts what is read
PAD, UNK, CLS, SEP, MASK = SPECIAL_NAMES = tuple(names[0] for names in ACCEPTED.values())


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """Ids of the five special tokens; text can produce none of them but `unk` (unknown words)."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int


class Tokenizer(abc.ABC):
    """Text to ids and back. Instances are read-only and may be used from several threads."""

    kind: ClassVar[str]  # in the JSON of such tokenizers
    pieces: Sequence[str]  # in id order, special ones included; for display
    special: SpecialIds
    lowers: ClassVar[bool] = True  # whether one that is trained lower-cases, by default

    @property
    def vocab_size(self) -> int:
        """Number of ids, special ones included."""
        return len(self.pieces)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The piece of each id, for display; an id outside the vocabulary is shown as `<id>`."""
        pieces = self.pieces
        return [pieces[i] if 0 <= i < len(pieces) else f'<{i}>' for i in map(int, ids)]

    def _visible_tokens(self, ids: Sequence[int]) -> list[str]:
        """The pieces of some ids, without padding, [CLS] and [SEP]."""
        hidden = {self.special.pad, self.special.cls, self.special.sep}
        return self.tokens([i for i in ids if int(i) not in hidden])

    @abc.abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text, int32 [tokens] (read-only), without [CLS] and [SEP].

        The name of a special token in a text, such as "[MASK]", is encoded as ordinary text.
        """

    def encode_rest(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of texts that follow other text, or [MASK]: no space is before one without it."""
        return self.encode_batch(texts)

    @abc.abstractmethod
    def encode_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ids of each text as in `encode_batch`, and the characters that each piece covers.

        Slower than `encode_batch`. The second array is int32 [tokens, 2]: a piece was made of
        `text[begin:end]`.
        """

    @abc.abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Readable text of some ids, without padding, [CLS] and [SEP]."""

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Everything that defines this tokenizer, its `kind` included."""

    @classmethod
    @abc.abstractmethod
    def from_json(cls, data: dict[str, Any]) -> 'Tokenizer':
        """The inverse of `to_json`; a KeyError, TypeError or ValueError if the data is damaged."""

    @classmethod
    @abc.abstractmethod
    def from_file(cls, config: TokenizerConfig) -> 'Tokenizer':
        """The tokenizer in `config.path`, a file of other programs."""

    @classmethod
    @abc.abstractmethod
    def train(
        cls, texts: Iterable[str], config: TokenizerConfig, watch: Watch = iter
    ) -> 'Tokenizer':
        """A new tokenizer from lines of text; equal texts give equal tokenizers.

        It reads `watch(texts)` where reading takes longest, so that people see how far it is.
        """

    @abc.abstractmethod
    def write_native(self, folder: pathlib.Path) -> None:
        """Writes the files that other programs read (vocab.txt or spiece.model)."""

    @property
    def hash(self) -> str:
        """sha256 (hex) of `to_json`: tokenizers with the same hash give the same ids."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(',', ':'))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def max_word_chars(self) -> int | None:
        """Longer words are [UNK]; None: there is no limit."""
        return None

    def switches(self) -> dict[str, bool]:
        """The settings that decide how text is normalized, and their values."""
        return {}

    def continues_word(self) -> np.ndarray | None:
        """Which pieces stand inside a word, bool [V]; None: the tokenizer does not know words."""
        return None

    def lost(self) -> list[str]:
        """Pieces that normalization changes to what is no piece: no text can become them."""
        return []

    def variants(self) -> Mapping[str, 'Tokenizer']:
        """This vocabulary with other switches, by the words to type for each."""
        return {}

    def fits(self, other: 'Tokenizer') -> bool:
        """Whether the ids of the other one mean the same to a model."""
        return self.hash == other.hash

    def save(self, folder: str | pathlib.Path) -> None:
        """Writes our own file and the native ones into a folder, which is made if needed."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.write_native(folder)
        # Last and in one step, so that `load` never sees half a tokenizer.
        files.write_whole(folder / FILE_NAME, json.dumps(self.to_json(), sort_keys=True) + '\n')


def special_ids(
    pieces: Sequence[str], where: str, advice: str, named: Mapping[str, str] | None = None
) -> SpecialIds:
    """The ids of the special tokens among pieces in id order; DataError where one is missing.

    `named`: fields of `SpecialIds` whose pieces have other names than usual.
    """
    ids = {piece: i for i, piece in enumerate(pieces)}
    accepted = ACCEPTED | {field: (name,) for field, name in (named or {}).items()}
    loose = {piece.lower(): i for piece, i in reversed(ids.items())}  # <PAD>, [mask]
    found = {
        field: [ids[name] for name in names if name in ids]
        or [loose[name.lower()] for name in names if name.lower() in loose]
        for field, names in accepted.items()
    }
    missing = [' or '.join(accepted[field]) for field, known in found.items() if not known]
    if missing:
        raise DataError(
            f'{where} lacks {", ".join(missing)}; ELECTRA needs all five special tokens: {advice}'
        )
    return SpecialIds(**{field: known[0] for field, known in found.items()})


def cut_text(text: str, most: int) -> Iterator[str]:
    """Stretches of a text of at most `most` characters.

    They are cut at the ends of lines, else at spaces, else anywhere.

    >>> list(cut_text('one two ACGTACGT', 7))
    ['one two', 'ACGTACG', 'T']
    """
    start = 0
    while len(text) - start > most:
        last = start + most + 1
        stop = text.rfind('\n', start, last)
        stop = stop if stop > start else text.rfind(' ', start, last)
        stop = stop if stop > start else start + most
        yield text[start:stop]
        start = stop + (text[stop] in ' \n')
    if start < len(text):
        yield text[start:]


def count_characters(texts: Sequence[str]) -> dict[str, int]:
    """How often each character is in some texts, by code point.

    >>> count_characters(['ACCA', 'C'])
    {'A': 2, 'C': 3}
    """
    counts = np.zeros(sys.maxunicode + 1, np.int64)
    for i in range(0, len(texts), 1000):
        codes = np.frombuffer(
            ''.join(texts[i : i + 1000]).encode('utf-32-le', 'replace'), np.uint32
        )
        found = np.bincount(codes)
        counts[: len(found)] += found
    return {chr(code): int(counts[code]) for code in np.flatnonzero(counts).tolist()}


def is_name(piece: str) -> bool:
    """Whether a piece is the name of something that is no text, such as [CLS] or <S>."""
    return len(piece) > 2 and piece[0] + piece[-1] in ('[]', '<>')
