"""Ways in which files write the tags of spans: all are read as 'B-PER', 'I-PER' and 'O'."""

import re
from collections.abc import Iterable, Mapping

from electra_jax.finetune.files.tag_schemes import OUTSIDE, of_classes

# BMES and BMEWO call the inside of a span its middle, and a single word a whole span.
_LETTERS = {letter: letter for letter in 'BIESLU'} | {'M': 'I', 'W': 'S'}
_LETTER = f'(?P<letter>[{"".join(_LETTERS)}])'
# Name -> what a tag other than "outside" looks like, in upper or lower case. The first that fits
# all tags of a file counts; 'TYPE' ("IO") looks like any tags, so it must be asked for.
WRITINGS = {
    'B-TYPE': re.compile(f'{_LETTER}[-_:/.|](?P<type>.+)', re.IGNORECASE),
    'TYPE-B': re.compile(f'(?P<type>.+)[-_:/.|]{_LETTER}', re.IGNORECASE),
    'B': re.compile(_LETTER, re.IGNORECASE),
    'TYPE': re.compile('(?P<type>.+)'),
}
_FOUND = ('B-TYPE', 'TYPE-B', 'B')
_OUTSIDE = ('o', 'other', 'out', 'outside', '0', '_', '-', '*')
_ONLY_TYPE = 'SPAN'  # of a file that names none


def standard(tag: str, writing: str) -> str | None:
    """A tag of a span as 'B-TYPE', or 'O'; None: it is not written so.

    >>> standard('per_i', 'TYPE-B'), standard('m', 'B'), standard('o', 'B'), standard('NN', 'B')
    ('I-per', 'I-SPAN', 'O', None)
    """
    if tag.casefold() in _OUTSIDE:
        return OUTSIDE
    match = WRITINGS[writing].fullmatch(tag)
    if match is None:
        return None
    parts = match.groupdict()
    return f'{_LETTERS[parts.get("letter", "I").upper()]}-{parts.get("type", _ONLY_TYPE)}'


def find(tags: Iterable[str]) -> str | None:
    """How a file writes its spans, if all its tags are of spans.

    >>> find(['O', 'PER-B']), find(['o', 'b', 'i']), find(['O', 'NN', 'B-X'])
    ('TYPE-B', 'B', None)
    """
    tags = set(tags)
    return next((name for name in _FOUND if _fits(tags, name)), None)


def nearest(tags: Iterable[str]) -> str:
    """How most tags are written."""
    tags = set(tags)
    return max(_FOUND, key=lambda name: sum(standard(tag, name) is not None for tag in tags))


def _fits(tags: set[str], writing: str) -> bool:
    read = [standard(tag, writing) for tag in tags]
    known = [tag for tag in read if tag is not None]
    if len(known) < len(tags) or read.count(OUTSIDE) > 1 or of_classes(known) == 'plain':
        return False
    # Single words alone may be anything, unless they are written as everywhere.
    return known == list(tags) or any(tag[0] in 'BI' for tag in known)


def doubt(counts: Mapping[str, int]) -> str | None:
    """What to know of tags that are read as classes and may be those of spans; None: nothing.

    >>> doubt({'NN': 3, 'VB': 2}), doubt({'O': 9, 'PER': 2})[:34]
    (None, "'O' is the most frequent tag, and ")
    """
    tags = sorted(counts)
    if all(re.fullmatch('-?[0-9]+', tag) for tag in tags):
        names = ['O', 'B-X', 'I-X', *(f'TAG{i}' for i in range(3, len(tags)))]
        return (
            f'the tags are the numbers {", ".join(tags[:4])}, ... without names, and are scored by '
            'accuracy alone: if they write spans, type all names in the order of the numbers, as '
            f'in --config.task.labels={",".join(names[: len(tags)])}'
        )
    brackets = [tag for tag in tags if '*' in tag and ('(' in tag or ')' in tag)]
    if brackets:
        return (
            f'{brackets[0]!r} looks like the bracket of a span, which is not read as one: all tags '
            'are scored by accuracy alone; write B-TYPE, I-TYPE and O to have spans scored'
        )
    writing = nearest(tags)
    # A letter alone is also the name of many a part of speech.
    spans = [tag for tag in tags if len(tag) > 1 and standard(tag, writing) not in (None, OUTSIDE)]
    others = [tag for tag in tags if standard(tag, writing) is None]
    if spans:
        return (
            f'{spans[0]!r} looks like the tag of a span, and '
            f'{f"{others[0]!r} does not" if others else "the tags follow no scheme that is known"}:'
            ' all are scored by accuracy alone; to see the lines that do not fit, and to score '
            'spans, type --config.task.scheme=bio (or iobes, bilou, ...)'
        )
    common = max(tags, key=counts.__getitem__)
    if common.casefold() in _OUTSIDE and len(tags) > 1:
        return (
            f'{common!r} is the most frequent tag, and all are scored by accuracy alone: if the '
            'others name spans, which reach as far as the tag stays the same, type '
            '--config.task.scheme=io'
        )
    return None
