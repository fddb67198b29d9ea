"""The interface of all tokenizers."""

import abc
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_jax.config.settings import TokenizerConfig
from electra_jax.core import files

FILE_NAME = 'electra_tokenizer.json'


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """Ids of the five special tokens; text can produce none of them but `unk` (unknown words)."""

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
        """Ids of each text, int32 [tokens] (read-only), without [CLS] and [SEP].

        The name of a special token in a text, such as "[MASK]", is encoded as ordinary text.
        """

    @abc.abstractmethod
    def encode_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ids of each text as in `encode_batch`, and the characters that each piece covers.

        Slower than `encode_batch`. The second array is int32 [tokens, 2]: a piece was made of
        `text[begin:end]`.
        """

    @abc.abstractmethod
    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The piece of each id, for display; an id outside the vocabulary is shown as `<id>`."""

    @abc.abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Readable text of some ids, without padding, [CLS] and [SEP]."""

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Everything that defines this tokenizer; the inverse is `load.from_json`."""

    @abc.abstractmethod
    def write_native(self, folder: pathlib.Path) -> None:
        """Writes the files that other programs read (vocab.txt or spiece.model)."""

    @property
    def hash(self) -> str:
        """sha256 (hex) of `to_json`: tokenizers with the same hash give the same ids."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(',', ':'))
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, folder: str | pathlib.Path) -> None:
        """Writes our own file and the native ones into a folder, which is made if needed."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.write_native(folder)
        # Last and in one step, so that `load` never sees half a tokenizer.
        files.write_whole(folder / FILE_NAME, json.dumps(self.to_json(), sort_keys=True) + '\n')


class Kind(NamedTuple):
    """A kind of tokenizer: how one is made.

    Attributes:
        stored: 'kind' in the JSON of such tokenizers.
        from_json: what `Tokenizer.to_json` gave -> the tokenizer.
        from_file: settings, whose path is a file of other programs -> the tokenizer in it.
        train: lines of text, settings -> a new tokenizer; equal texts give equal tokenizers.
    """

    stored: str
    from_json: Callable[[dict[str, Any]], Tokenizer]
    from_file: Callable[[TokenizerConfig], Tokenizer]
    train: Callable[[Iterable[str], TokenizerConfig], Tokenizer]
