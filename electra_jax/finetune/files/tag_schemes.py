"""Schemes that write spans as a tag for each word: which tag may follow which, and conversion.

IOB1, IOB2 (here 'bio'), IOBES and BILOU as in Ratinov and Roth (2009), "Design challenges and
misconceptions in named entity recognition".
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

OUTSIDE = 'O'

# Scheme -> the letters before '-TYPE': of a span's first word, of one inside and, where these have
# their own, of its last and of its only word. 'plain': tags that write no spans, such as parts of
# speech.
SCHEMES = {
    'plain': (),
    'bio': ('B', 'I'),
    'iob1': ('B', 'I'),
    'iobes': ('B', 'I', 'E', 'S'),
    'bilou': ('B', 'I', 'L', 'U'),
}


class Span(NamedTuple):
    """Words `start` to `stop` (the word after the last) are a `type`."""

    type: str
    start: int
    stop: int


def problem(tags: Sequence[str], scheme: str) -> str | None:
    """What makes a sequence of tags impossible in its scheme, or None.

    >>> problem(['O', 'I-NP'], 'bio')
    "tag 2, 'I-NP', cannot follow 'O' in the scheme 'bio'"
    >>> problem(['O', 'I-NP'], 'iob1')
    """
    if scheme == 'plain':
        return None
    for i, tag in enumerate(tags):
        letter, dash, kind = tag.partition('-')
        if tag != OUTSIDE and not (dash and kind and letter in SCHEMES[scheme]):
            letters = ', '.join(f'{letter}-TYPE' for letter in SCHEMES[scheme])
            return f'tag {i + 1}, {tag!r}, is not of the scheme {scheme!r} ({letters} or O)'
    for i, (before, after) in enumerate(zip([OUTSIDE, *tags], [*tags, OUTSIDE], strict=True)):
        if not _may_follow(before, after, scheme):
            end = 'the end of the sentence' if i == len(tags) else f'tag {i + 1}, {after!r},'
            return f'{end} cannot follow {before!r} in the scheme {scheme!r}'
    return None


def _may_follow(before: str, after: str, scheme: str) -> bool:
    b_letter, _, b_type = before.partition('-')
    a_letter, _, a_type = after.partition('-')
    is_open = b_letter in ('B', 'I')
    continues = is_open and a_type == b_type
    if scheme == 'bio':
        return a_letter != 'I' or continues
    if scheme == 'iob1':
        # B- only separates two spans of one type.
        return a_letter != 'B' or continues
    _, inside, last, _ = SCHEMES[scheme]
    return is_open == (a_letter in (inside, last)) and (not is_open or continues)


def find(sequences: Iterable[Sequence[str]]) -> str:
    """The scheme of a file's tags: by their letters; of two with the same letters, one that fits.

    >>> find([['O', 'I-PER', 'I-PER']]), find([['B-PER', 'O']]), find([['DT', 'NN']])
    ('iob1', 'bio', 'plain')
    """
    sequences = list(sequences)
    scheme = of_classes({tag for tags in sequences for tag in tags})
    if scheme == 'bio' and any(problem(tags, 'bio') for tags in sequences):
        return 'bio' if any(problem(tags, 'iob1') for tags in sequences) else 'iob1'
    return scheme


def of_classes(tags: Iterable[str]) -> str:
    """The scheme that classes belong to, by their letters alone.

    >>> of_classes(['O', 'I-PER']), of_classes(['O', 'B-PER', 'E-PER']), of_classes(['O', 'NN'])
    ('iob1', 'iobes', 'plain')
    """
    parts = [tag.partition('-') for tag in tags if tag != OUTSIDE]
    letters = {letter for letter, _, _ in parts}
    if not parts or not all(kind for _, _, kind in parts):
        return 'plain'
    if letters == {'I'}:
        return 'iob1'
    return next((name for name, known in SCHEMES.items() if letters <= set(known)), 'plain')


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
    ends = SCHEMES[scheme][2:]  # letters of a last and of a single word, if there are any
    for span in spans:
        inside = range(span.start, span.stop)
        tags[span.start : span.stop] = [f'I-{span.type}'] * len(inside)
        touching = before.stop == span.start and before.type == span.type
        if scheme != 'iob1' or touching:
            tags[span.start] = f'B-{span.type}'
        if ends:
            tags[span.stop - 1] = f'{ends[len(inside) == 1]}-{span.type}'
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
    return (OUTSIDE, *(f'{letter}-{kind}' for kind in types for letter in SCHEMES[scheme]))
