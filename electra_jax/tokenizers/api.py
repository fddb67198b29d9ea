"""What every tokenizer offers, so that nothing else needs to know which kind it holds."""

import abc
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from electra_jax.core import files

FILE_NAME = 'electra_tokenizer.json'


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """Ids of the five tokens that no text may produce (except `unk`, for what is not known)."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int


class Tokenizer(abc.ABC):
    """Text to ids and back. Instances are read-only and may be used from several threads.

    Attributes:
      vocab_size: number of ids, special ones included.
      special: ids of the special tokens.
    """

    vocab_size: int
    special: SpecialIds

    @abc.abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text, int32 `[tokens]` (read-only), without special tokens around them.

        A special token's name inside a text (a literal "[MASK]") is text like any other.
        """

    @abc.abstractmethod
    def encode_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ids of each text as `encode_batch` gives them, and where each piece stands in the text.

        Slower than `encode_batch`. The second array is int32 `[tokens, 2]`: first character and
        the one after the last, so that `text[begin:end]` is what a piece was made of.
        """

    @abc.abstractmethod
    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The piece of each id, for display. An id outside the vocabulary shows as `<id>`."""

    @abc.abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Readable text of `ids`; padding, [CLS] and [SEP] are left out."""

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Everything that defines this tokenizer; `load.from_json` makes an equal one."""

    @abc.abstractmethod
    def write_native(self, folder: pathlib.Path) -> None:
        """Writes the files that other tools read (vocab.txt or spiece.model) into `folder`."""

    @property
    def hash(self) -> str:
        """sha256 (hex) of `to_json`: equal exactly for tokenizers that give equal ids."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(',', ':'))
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, folder: str | pathlib.Path) -> None:
        """Writes our own complete file and the native ones into `folder`, making it if needed."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.write_native(folder)
        # Last, and in one step: `load` never sees half a tokenizer.
        files.write_whole(folder / FILE_NAME, json.dumps(self.to_json(), sort_keys=True) + '\n')
