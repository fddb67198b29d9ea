"""Each character of a text is a token: for DNA, proteins, SMILES and other strings of symbols."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from electra_jax.config.settings import VOCAB_SIZE, TokenizerConfig
from electra_jax.core import compressed, formats
from electra_jax.core.errors import DataError
from electra_jax.tokenizers import api


class Characters(api.Tokenizer):
    """An alphabet of single characters, spaces among them; the others are [UNK]."""

    kind = 'characters'
    lowers = False  # in SMILES and proteins case has a meaning

    def __init__(
        self, vocab: Sequence[str], lower_case: bool = False, where: str = 'the alphabet'
    ) -> None:
        """A tokenizer of pieces in id order: characters, and names such as [CLS] that are none."""
        self.pieces = list(vocab)
        self.lower_case = lower_case
        ids = {piece: i for i, piece in enumerate(self.pieces)}
        if len(ids) != len(self.pieces):
            raise DataError(f'{where} holds the same piece twice')
        for number, piece in enumerate(self.pieces, start=1):
            if len(piece) != 1 and not api.is_name(piece):
                raise DataError(
                    f'{where}, line {number}: {piece!r:.60} is not one character; each line must '
                    'hold one, or the name of a special token such as [CLS]'
                )
        self.special = api.special_ids(self.pieces, where, 'add a line for each')
        codes = [ord(piece) for piece in self.pieces if len(piece) == 1]
        # The last entry is that of all characters above the largest code.
        self._ids = np.full(max(codes, default=0) + 2, self.special.unk, np.int32)
        self._ids[codes] = [ids[chr(code)] for code in codes]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self._encode(text.lower() if self.lower_case else text) for text in texts]

    def _encode(self, text: str) -> np.ndarray:
        codes = np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), np.uint32)
        return self._ids[np.minimum(codes, len(self._ids) - 1)]

    def encode_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [self._spans(text) for text in texts]

    def _spans(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        (ids,) = self.encode_batch([text])
        letters = np.arange(len(text), dtype=np.int32)
        if len(ids) != len(text):  # a letter such as İ is two in lower case
            letters = np.repeat(letters, [len(letter.lower()) for letter in text])
        return ids, np.stack([letters, letters + 1], axis=1)

    def decode(self, ids: Sequence[int]) -> str:
        return ''.join(self._visible_tokens(ids))

    def switches(self) -> dict[str, bool]:
        return {'lower_case': self.lower_case}

    def lost(self) -> list[str]:
        known = set(self.pieces)
        lower = (x for x in self.pieces if self.lower_case and not api.is_name(x))
        return [piece for piece in lower if piece.lower() not in known]

    def variants(self) -> dict[str, api.Tokenizer]:
        other = not self.lower_case
        typed = f'--config.data.tokenizer.lower_case={other}'
        return {typed: Characters(self.pieces, other)}

    def to_json(self) -> dict[str, Any]:
        return {'kind': self.kind, 'vocab': self.pieces, 'lower_case': self.lower_case}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> 'Characters':
        vocab, lower_case = data['vocab'], data['lower_case']
        if not isinstance(vocab, list) or not all(isinstance(piece, str) for piece in vocab):
            raise TypeError('vocab is not a list of strings')
        if not isinstance(lower_case, bool):
            raise TypeError('lower_case must be true or false')
        return cls(vocab, lower_case)

    @classmethod
    def from_file(cls, config: TokenizerConfig) -> 'Characters':
        """The alphabet of a text file, one character a line; special tokens may be left out."""
        path = pathlib.Path(str(config.path))
        try:
            lines = formats.only_text(path).decode().split('\n')
        except (OSError, ValueError, compressed.TornError) as error:
            raise DataError(
                f'cannot read the alphabet {path} ({error}); name a text file with one character '
                'a line, or leave --config.data.tokenizer.path out and it is learnt'
            ) from error
        while lines and not lines[-1]:
            lines.pop()
        names = [] if any(map(api.is_name, lines)) else list(api.SPECIAL_NAMES)
        return cls([*names, *lines], bool(config.lower_case), str(path))

    @classmethod
    def train(
        cls, texts: Iterable[str], config: TokenizerConfig, watch: api.Watch = iter
    ) -> 'Characters':
        """The most frequent characters; special tokens have ids 0 to 4."""
        cased = [text.lower() if config.lower_case else text for text in watch(texts)]
        counts = api.count_characters(cased)
        room = (config.vocab_size or VOCAB_SIZE) - len(api.SPECIAL_NAMES)
        kept = sorted(counts.keys() - {'\n', '\r'}, key=lambda x: (-counts[x], x))[:room]
        return cls([*api.SPECIAL_NAMES, *sorted(kept)], bool(config.lower_case))

    def write_native(self, folder: pathlib.Path) -> None:
        """Writes vocab.txt, which no other program reads as an alphabet."""
        (folder / 'vocab.txt').write_bytes(''.join(f'{x}\n' for x in self.pieces).encode())
