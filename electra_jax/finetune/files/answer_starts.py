"""What a file's starts of answers count: characters, or what other programs count instead."""

from collections.abc import Iterable
from typing import Any, NamedTuple

CHARACTERS = 'characters'
_LEAST = 3  # answers that show a unit
# What starts may count -> an encoding, and the bytes of a unit in it. Java and JavaScript count
# halves of UTF-16.
_UNITS = {'halves of UTF-16': ('utf-16-le', 2), 'bytes of UTF-8': ('utf-8', 1)}


class Given(NamedTuple):
    """An answer as a file gives it."""

    context: str
    text: str
    start: int


def find_unit(answers: Iterable[Given]) -> tuple[str, str | None]:
    """What starts count, by how many answers stand there, and what to know of it.

    >>> find_unit([Given('é, or e', 'e', 7)] * 3)[0], find_unit([Given('é, or e', 'e', 6)] * 3)[0]
    ('bytes of UTF-8', 'characters')
    """
    # A character of ASCII is one everywhere.
    wide = [one for one in answers if not one.context.isascii()]
    fitting = {CHARACTERS: sum(_stands(one, one.start) for one in wide)}
    if fitting[CHARACTERS] < len(wide):
        for unit in _UNITS:
            starts = ((one, in_characters(one.context, one.start, unit)) for one in wide)
            fitting[unit] = sum(_stands(*pair) for pair in starts)
    best = max(fitting, key=fitting.__getitem__)  # the first of those that fit equally often
    # A wrong start may by chance be right in another unit: all must be, and several only there.
    if fitting[best] < len(wide) or fitting[best] - fitting[CHARACTERS] < _LEAST:
        return CHARACTERS, None
    return best, (
        f'starts of answers are read as numbers of {best}: so {fitting[best]:,} answers stand at '
        f'their starts, and {fitting[CHARACTERS]:,} if these count characters'
    )


def in_characters(context: str, start: Any, unit: str) -> Any:
    """A start in characters; as it is given, if no character begins there or it is no number."""
    if unit == CHARACTERS or type(start) is not int or start < 0:
        return start
    encoding, width = _UNITS[unit]
    before = context.encode(encoding, 'surrogatepass')[: start * width]
    try:
        return len(before.decode(encoding, 'surrogatepass'))
    except UnicodeDecodeError:
        return start


def _stands(answer: Given, start: int) -> bool:
    return start >= 0 and answer.context.startswith(answer.text, start)
