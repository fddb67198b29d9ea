"""[UNK] counted: how much of a text a vocabulary does not cover, in which scripts and words."""

import collections
import dataclasses
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.tokenizers.api import Tokenizer

MANY = 0.02  # of the tokens: more [UNK] than that is worth a warning
_KEPT_WORDS = 10
# Each call of `add` looks for unknown words in so many lines, in so many characters of each.
_SAMPLED_LINES = 16
_SAMPLED_CHARS = 2000
_KEPT_CHARS, _SHOWN_CHARS = 256, 20  # of a word


@dataclasses.dataclass
class Unknown:
    """Tokens of a text and how many of them are [UNK]; and words that became [UNK], a sample.

    >>> unknown = Unknown(tokens=200, unknown=10, words={'привет': 3, 'мир': 1, 'TTAGGG': 1})
    >>> print(unknown.describe())
    5.0 % of 200 tokens are [UNK] (Cyrillic 80 %, Latin 20 %), such as 'привет', 'мир', 'TTAGGG'
    """

    tokens: int = 0
    unknown: int = 0
    words: dict[str, int] = dataclasses.field(default_factory=dict)  # -> how often it was met

    @property
    def share(self) -> float:
        """[UNK] among all tokens, 0 to 1."""
        return self.unknown / max(self.tokens, 1)

    @property
    def many(self) -> bool:
        """Whether there are so many that something is likely to be wrong."""
        return self.share > MANY

    def add(
        self, tokenizer: Tokenizer, texts: Sequence[str], encoded: Sequence[np.ndarray]
    ) -> None:
        """Counts the ids of some texts, as `encode_batch` gives them."""
        ids = np.concatenate([np.zeros(0, np.int32), *encoded])
        at = np.flatnonzero(ids == tokenizer.special.unk)
        self.tokens += len(ids)
        self.unknown += len(at)
        if len(at):
            ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
            lines = np.unique(np.searchsorted(ends, at, side='right'))
            some = lines[:: -(-len(lines) // _SAMPLED_LINES)]
            self._add_words(tokenizer, [texts[i][:_SAMPLED_CHARS] for i in some])

    def _add_words(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        for text, (ids, spans) in zip(texts, tokenizer.encode_spans(texts), strict=True):
            for begin, end in spans[ids == tokenizer.special.unk]:
                word = text[begin : min(end, begin + _KEPT_CHARS)]
                self.words[word] = self.words.get(word, 0) + 1

    def merge(self, other: 'Unknown') -> None:
        """Adds the counts of another text."""
        self.tokens += other.tokens
        self.unknown += other.unknown
        self.words = dict(collections.Counter(self.words) + collections.Counter(other.words))

    def to_json(self) -> dict[str, Any]:
        """All counts, with the most frequent words alone, and the shares."""
        words = collections.Counter(self.words).most_common(_KEPT_WORDS)
        shares = {'share': self.share, 'scripts': self.scripts()}
        return {**dataclasses.asdict(self), **shares, 'words': dict(words)}

    def scripts(self) -> dict[str, float]:
        """The share of each script in the sampled words, the largest first."""
        counts: collections.Counter[str] = collections.Counter()
        for word, number in self.words.items():
            counts[script(word)] += number
        return {name: number / counts.total() for name, number in counts.most_common()}

    def known_to(self, tokenizers: Mapping[str, Tokenizer]) -> list[tuple[str, int]]:
        """The name of each tokenizer, and how many of the words hold no [UNK] to it."""
        words = list(self.words)
        return [
            (name, sum(one.special.unk not in ids for ids in one.encode_batch(words)))
            for name, one in tokenizers.items()
        ]

    def describe(self) -> str:
        """One sentence; where there are many, with scripts and example words."""
        line = f'{self.share * 100:.1f} % of {self.tokens:,} tokens are [UNK]'
        if not self.many or not self.words:
            return line
        scripts = [f'{name} {share * 100:.0f} %' for name, share in self.scripts().items()]
        words = sorted(self.words, key=lambda word: -self.words[word])[:3]
        shown = ', '.join(
            repr(word if len(word) <= _SHOWN_CHARS else f'{word[:_SHOWN_CHARS]}...')
            for word in words
        )
        return f'{line} ({", ".join(scripts[:4])}), such as {shown}'


def count(
    tokenizer: Tokenizer, texts: Sequence[str], encoded: Sequence[np.ndarray] | None = None
) -> Unknown:
    """Counts [UNK] in some texts; `encoded`: what `encode_batch` gave for them, if it is known."""
    unknown = Unknown()
    unknown.add(tokenizer, texts, tokenizer.encode_batch(texts) if encoded is None else encoded)
    return unknown


def script(word: str) -> str:
    """The script of the first letter of a word: the first word of its Unicode name.

    >>> script('"Привет"'), script('東京'), script('42!')
    ('Cyrillic', 'CJK', 'no letters')
    """
    letter = next(filter(str.isalpha, word), None)
    if letter is None:
        return 'no letters'
    name = unicodedata.name(letter, 'unnamed').split()[0]
    return name if name == 'CJK' else name.capitalize()


def unread_line(name: str, found: Unknown) -> str | None:
    """How much of a text the model cannot read, and why, where it is much."""
    if not found.many:
        return None
    return (
        f'{name}: {found.describe()}: the model reads nothing in them, because the vocabulary of '
        'its pre-training lacks them; a model of that language and letter case is needed'
    )
