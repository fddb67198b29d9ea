"""BM25 (Robertson and Zaragoza 2009): what matching words reaches in retrieval."""

import collections
import re
from collections.abc import Sequence

import numpy as np

# Letters of languages that put no spaces between words are words of their own.
_ALONE = '\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff'
_WORD = re.compile(rf'[{_ALONE}]|[^\W{_ALONE}]+')


def words(text: str) -> list[str]:
    """The words of a text, in lower case.

    >>> words('The trains, 2 of them: 火车')
    ['the', 'trains', '2', 'of', 'them', '火', '车']
    """
    return _WORD.findall(text.lower())


class BM25:
    """Texts among which some are found by the words that they share with a question.

    The score of a text is the sum over the question's words of
    idf * count / (count + k1 * (1 - b + b * length / mean length)), with
    idf = log(1 + (N - n + 0.5) / (n + 0.5)) of N texts of which n have the word, as in Lucene.
    """

    def __init__(self, texts: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        counts = [collections.Counter(words(text)) for text in texts]
        lengths = np.array([one.total() for one in counts], np.float64)
        self._size = len(texts)
        self._least = k1 * (1 - b + b * lengths / max(lengths.mean(), 1.0))
        found: dict[str, tuple[list[int], list[int]]] = {}
        for number, one in enumerate(counts):
            for word, count in one.items():
                at, often = found.setdefault(word, ([], []))
                at.append(number)
                often.append(count)
        self._found = {word: self._weights(*lists) for word, lists in found.items()}

    def _weights(self, at: list[int], often: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """The texts that have a word, and what it adds to the score of each."""
        where, count = np.array(at), np.array(often, np.float64)
        idf = np.log1p((self._size - len(at) + 0.5) / (len(at) + 0.5))
        return where, idf * count / (count + self._least[where])

    def scores(self, question: str) -> np.ndarray:
        """The score of each text, float64 [texts]."""
        total = np.zeros(self._size)
        for word in words(question):
            if word in self._found:
                where, weight = self._found[word]
                total[where] += weight
        return total
