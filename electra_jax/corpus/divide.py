"""Which documents are held out: whole ones, and stretches of those that are too large for that.

Every choice is drawn from a hash of the document's text, so equal documents of `data.source` are
treated alike wherever they are: none is both in the training rows and held out.
"""

import itertools
import math
from collections.abc import Iterator

from electra_jax.config import settings
from electra_jax.corpus.documents import digest

USUAL_SHARE = 0.005  # of the text, where `data.holdout` is not set and there is no other text
_LEAST_BYTES = 32_000  # smaller documents are never divided
_STRETCH_CHARS = 1024, 16_384  # of a divided document, at least and at most, about
_STRETCHES = 4  # that are held out of a divided document, about, where they are not too short then
# Where a stretch may end, the best first: a line, a sentence, a word.
_ENDS = (('\n',), ('. ', '! ', '? ', '." ', '.” ', '。', '\uff01', '\uff1f'), (' ',))


def held_out_share(config: settings.DataConfig) -> float:
    """The share of `data.source` that is held out."""
    if config.holdout is not None:
        return config.holdout
    return USUAL_SHARE if config.validation_source is None else 0.0


def largest_whole(config: settings.DataConfig, total: int) -> float:
    """The size, in bytes, up to which a document of a source of `total` bytes is held out whole.

    One that is larger than all the text that is to be held out is divided.
    """
    return max(_LEAST_BYTES, held_out_share(config) * total)


def divide(
    lines: list[str], weight: float, config: settings.DataConfig, largest: float
) -> tuple[int, list[tuple[str, int, list[str]]]]:
    """The bytes of a document; and split, copies and lines of each of its parts.

    There is one part if it has at most `largest` bytes. A larger document is cut into stretches:
    `held_out_share` of them, evenly spaced, are held out, and those between are parts to train on.
    """
    text, share = '\n'.join(lines), held_out_share(config)
    data = text.encode()
    drawn = digest(data, config.build_seed)
    copies = _copies(drawn, weight)
    # More copies of held-out text would only weigh it differently.
    of_split = {True: ('validation', min(copies, 1)), False: ('train', copies)}
    if not share or len(data) <= largest:
        return len(data), [(*of_split[_draw(drawn[:8]) < share * 2.0**64], lines)]
    start = _draw(drawn[:8]) / 2.0**64
    least, most = _STRETCH_CHARS
    length = min(max(int(len(text) * share / _STRETCHES), least), most)
    numbered = enumerate(_stretches(text, length))
    parts = []
    for is_held_out, group in itertools.groupby(
        numbered, lambda one: math.floor(start + (one[0] + 1) * share) > start + one[0] * share
    ):
        found = [line for _, stretch in group for line in map(str.strip, stretch.split('\n'))]
        parts.append((*of_split[is_held_out], [line for line in found if line]))
    return len(data), parts


def _copies(drawn: bytes, weight: float) -> int:
    whole = int(weight)
    return whole + (_draw(drawn[8:]) < (weight - whole) * 2.0**64)


def _draw(drawn: bytes) -> int:
    """A number from 0 to 2**64 - 1 that 8 bytes of a hash stand for."""
    return int.from_bytes(drawn, 'little')


def _stretches(text: str, length: int) -> Iterator[str]:
    """A text in stretches that end where a line does, or else a sentence, or else a word."""
    start = 0
    while len(text) - start > length:
        first, last = start + length // 2, start + length
        for marks in _ENDS:
            found = (text.rfind(mark, first, last) + len(mark) for mark in marks)
            stop = max(found)
            if stop >= first:
                break
        else:
            stop = last
        yield text[start:stop]
        start = stop
    yield text[start:]
