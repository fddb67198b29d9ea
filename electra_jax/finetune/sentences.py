"""Sentences of a text, and those of them that say most of a summary."""

import collections
import functools
import itertools
import re

# Up to a line break; to . ! ? before white space; or to those of Chinese and Japanese, after which
# there is no space: each with the quotes and brackets that close there.
_SENTENCE = re.compile(
    r'\S[^\n]*?(?:[.!?][\'")\]\u00bb\u201d\u2019]*(?=\s|$)'
    r'|[\u3002\uff01\uff1f]+[\u201d\u2019\u300d\u300f\u300b\u3011\uff09]*|(?=\n|$))'
)
_WORD = re.compile(r'\w+')


def split(text: str) -> list[str]:
    """The sentences of a text, stripped. Abbreviations are not known: 'Mr. X' is cut after 'Mr.'.

    >>> split('He said "Hello!"  It is 3.5 m\\nBest, A')
    ['He said "Hello!"', 'It is 3.5 m', 'Best, A']
    """
    return [found.strip() for found in _SENTENCE.findall(text) if found.strip()]


@functools.lru_cache(maxsize=1 << 17)  # both training and scoring ask
def oracle(text: str, summary: str) -> tuple[int, ...]:
    """The sentences, by number, that together are nearest to a summary; (): none shares a word.

    They are chosen one after another, each the one that makes the sum of the F1 of words and of
    pairs of words (ROUGE-1 and ROUGE-2, not stemmed) largest, as long as it rises (Nallapati et al.
    2017, section 3.3).
    """
    sentences = [_counts(sentence) for sentence in split(text)]
    wanted = _counts(summary)
    chosen: tuple[int, ...] = ()
    together, best = _counts(''), 0.0
    while True:
        rest = [i for i in range(len(sentences)) if i not in chosen]
        scores = {i: _f1(_sum(together, sentences[i]), wanted) for i in rest}
        top = max(scores, key=scores.__getitem__, default=None)
        if top is None or scores[top] <= best:
            return tuple(sorted(chosen))
        chosen, best = (*chosen, top), scores[top]
        together = _sum(together, sentences[top])


Counts = tuple[collections.Counter, ...]  # of words, of pairs of words


def _counts(text: str) -> Counts:
    words = _WORD.findall(text.lower())
    return collections.Counter(words), collections.Counter(itertools.pairwise(words))


def _sum(one: Counts, other: Counts) -> Counts:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _f1(found: Counts, wanted: Counts) -> float:
    """The F1 of words and that of pairs of words, added up."""
    total = 0.0
    for ours, theirs in zip(found, wanted, strict=True):
        common = (theirs & ours).total()
        total += 2 * common / (ours.total() + theirs.total()) if common else 0.0
    return total
