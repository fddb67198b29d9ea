"""Schemes that write spans as a tag for each word: which tag may follow which, and conversion.

IOB1, IOB2 (here 'bio'), IOBES and BILOU as in Ratinov and Roth (2009), "Design challenges and
misconceptions in named entity recognition"; 'iobe' and 'iobs' have one of IOBES's two ends.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

OUTSIDE = 'O'

# Scheme -> the letters before '-TYPE' of a span's first word, of one inside, of its last and of its
# only word. 'plain': tags that write no spans, such as parts of speech.
SCHEMES: dict[str, tuple[str, ...]] = {
    'plain': (),
    'bio': ('B', 'I', 'I', 'B'),
    'iob1': ('I', 'I', 'I', 'I'),  # and B where a span of the same type ends before
    'iobes': ('B', 'I', 'E', 'S'),
    'bilou': ('B', 'I', 'L', 'U'),
    'iobe': ('B', 'I', 'E', 'B'),
    'iobs': ('B', 'I', 'I', 'S'),
}


class Span(NamedTuple):
    """Words `start` to `stop` (the word after the last) are a `type`."""

    type: str
    start: int
    stop: int


def problem(tags: Sequence[str], scheme: str) -> str | None:
    """What makes a sequence of tags impossible in its scheme, or None.

    >>> problem(['O', 'I-NP'], 'bio')
    "tag 2, 'I-NP', would be 'B-NP' in the scheme 'bio'"
    >>> problem(['O', 'I-NP'], 'iob1')
    """
    if scheme == 'plain':
        return None
    allowed = letters(scheme)
    for i, tag in enumerate(tags):
        letter, dash, kind = tag.partition('-')
        if tag != OUTSIDE and not (dash and kind and letter in allowed):
            listed = ', '.join(f'{letter}-TYPE' for letter in allowed)
            return f'tag {i + 1}, {tag!r}, is not of the scheme {scheme!r} ({listed} or O)'
    # Tags are possible if the scheme writes their spans so.
    for i, (tag, wanted) in enumerate(zip(tags, convert(tags, scheme), strict=True)):
        if tag != wanted:
            return f'tag {i + 1}, {tag!r}, would be {wanted!r} in the scheme {scheme!r}'
    return None


def letters(scheme: str) -> tuple[str, ...]:
    """The letters of a scheme, each once."""
    return ('B', 'I') if scheme == 'iob1' else tuple(dict.fromkeys(SCHEMES[scheme]))


def find(sequences: Iterable[Sequence[str]]) -> str:
    """The scheme of a file's tags: the first one with their letters, if one fits that fits.

    >>> find([['O', 'I-PER', 'I-PER']]), find([['B-PER', 'O']]), find([['DT', 'NN']])
    ('iob1', 'bio', 'plain')
    """
    sequences = list(sequences)
    possible = _with_letters({tag for tags in sequences for tag in tags})
    fitting = (one for one in possible if not any(problem(tags, one) for tags in sequences))
    return next(fitting, possible[0])


def of_classes(tags: Iterable[str]) -> str:
    """The scheme that classes belong to, by their letters alone.

    >>> of_classes(['O', 'I-PER']), of_classes(['O', 'B-PER', 'E-PER']), of_classes(['O', 'NN'])
    ('iob1', 'iobes', 'plain')
    """
    return _with_letters(tags)[0]


def _with_letters(tags: Iterable[str]) -> list[str]:
    """The schemes that have all letters of tags; 'plain' alone where none has."""
    parts = [tag.partition('-') for tag in tags if tag != OUTSIDE]
    used = {letter for letter, _, _ in parts}
    if not parts or not all(kind for _, _, kind in parts):
        return ['plain']
    if used == {'I'}:
        return ['iob1']
    return [name for name in SCHEMES if used <= set(letters(name))] or ['plain']


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans that tags of any scheme write, read as leniently as conlleval does.

    >>> spans(['B-NP', 'I-NP', 'I-VP', 'O'])
    [Span(type='NP', start=0, stop=2), Span(type='VP', start=2, stop=3)]
    """
    complete: list[Span] = []
    kind, start = '', 0
    for i, tag in enumerate([*tags, OUTSIDE]):
        letter, _, new = tag.partition('-')
        before = tags[i - 1][0] if i else OUTSIDE
        if kind and (new != kind or letter in 'BSUO' or before in 'ESLU'):
            complete.append(Span(kind, start, i))
            kind = ''
        if not kind and tag != OUTSIDE:
            kind, start = new, i
    return complete


def write(spans: Iterable[Span], length: int, scheme: str) -> tuple[str, ...]:
    """Tags of `length` words that write spans which do not overlap; the reverse of `spans`.

    >>> write([Span('NP', 0, 2), Span('VP', 2, 3)], 4, 'iobes')
    ('B-NP', 'E-NP', 'S-VP', 'O')
    """
    tags = [OUTSIDE] * length
    before = Span('', -1, -1)
    first, inside, last, single = SCHEMES[scheme]
    for span in spans:
        words = span.stop - span.start
        chosen = single if words == 1 else f'{first}{inside * (words - 2)}{last}'
        if scheme == 'iob1' and before.stop == span.start and before.type == span.type:
            chosen = f'B{chosen[1:]}'
        tags[span.start : span.stop] = [f'{letter}-{span.type}' for letter in chosen]
        before = span
    return tuple(tags)


def convert(tags: Sequence[str], scheme: str) -> tuple[str, ...]:
    """Tags of another scheme for the same spans.

    >>> convert(['B-NP', 'I-NP', 'O'], 'iobes')
    ('B-NP', 'E-NP', 'O')
    """
    return write(spans(tags), len(tags), scheme)


def classes(sequences: Iterable[Sequence[str]], scheme: str) -> tuple[str, ...]:
    """All tags of the types that a training file holds, also those that the file does not use.

    >>> classes([['B-NP', 'O']], 'bio')
    ('O', 'B-NP', 'I-NP')
    """
    used = {tag for tags in sequences for tag in tags}
    if scheme == 'plain':
        return tuple(sorted(used))
    types = sorted({tag.partition('-')[2] for tag in used if tag != OUTSIDE})
    return (OUTSIDE, *(f'{letter}-{kind}' for kind in types for letter in letters(scheme)))
