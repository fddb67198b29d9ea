"""Text to train a tokenizer on: a sample in proportion over all of the corpus.

Documents are cut into short stretches, and of these a share is kept that is spread evenly over
everything that was read. However the text is packed and however large its files and documents are,
each stretch of the training rows has the same chance.
"""

import heapq
import itertools
import math
import random
from collections.abc import Iterable, Iterator

from electra_jax.config import settings
from electra_jax.core.complaints import Complaints
from electra_jax.corpus import divide, sources
from electra_jax.tokenizers import api

_STRETCH_CHARS = 1024
# Of a corpus of up to so many bytes everything is read, else as much from the start of each block.
_READ_BYTES = 256_000_000
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


def sample_lines(
    pieces: Iterable[sources.Piece], config: settings.DataConfig, total: int, limit: int
) -> list[str]:
    """Lines of training documents, at most `limit` UTF-8 bytes of them, in their order.

    `total` is the size of `data.source`, about; a compressed file may count as its packed bytes.
    """
    share = min(1.0, max(_READ_BYTES, 2 * limit) / max(total, 1))
    # Multiples of the golden ratio, modulo 1, are spread most evenly at every length; those below a
    # bound that falls as text comes in are an even choice of all stretches, known in one reading.
    start = random.Random(f'{config.build_seed}:tokenizer').random()
    kept: list[tuple[float, int, int, str]] = []
    size, bound = 0, 1.0
    largest = divide.largest_whole(config, total)
    found = _stretches(pieces, config, share, largest)
    for number, (stretch, stretch_bytes) in enumerate(found):
        draw = (start + number * _GOLDEN_RATIO) % 1.0
        if draw >= bound:
            continue
        heapq.heappush(kept, (-draw, number, stretch_bytes, stretch))
        size += stretch_bytes
        while size > limit:
            draw, _, dropped, _ = heapq.heappop(kept)
            size, bound = size - dropped, -draw
    kept.sort(key=lambda entry: entry[1])
    return [line for *_, stretch in kept for line in stretch.split('\n')]


def _stretches(
    pieces: Iterable[sources.Piece], config: settings.DataConfig, share: float, largest: float
) -> Iterator[tuple[str, int]]:
    """Stretches of training documents from the first `share` of each block, and their bytes.

    Of remote text as much is read, in whole blocks from the start of every so many parts.
    """
    complaints = Complaints('data.on_bad_text', 'skip')
    due = 0.0  # bytes of remote text
    for part in itertools.chain.from_iterable(piece.parts for piece in pieces):
        remote = share < 1 and part.least_bytes > 0
        due += share * part.text_bytes if remote else 0
        if remote and due < part.least_bytes:
            continue
        for block in part.open(complaints):
            left = share * block.text_bytes if share < 1 else math.inf
            if remote:
                left = min(due, block.text_bytes)
                due -= left
            for stretch, copies in _cut(block.documents, part.weight, config, largest):
                size = len(stretch.encode())
                yield from itertools.repeat((stretch, size), copies)
                left -= size
                if left <= 0:
                    break
            if remote and due < part.least_bytes:
                break


def _cut(
    documents: Iterable[list[str]], weight: float, config: settings.DataConfig, largest: float
) -> Iterator[tuple[str, int]]:
    """Stretches of documents, and how often each is in the training rows."""
    for document in documents:
        for split, copies, lines in divide.divide(document, weight, config, largest)[1]:
            for stretch in api.cut_text('\n'.join(lines), _STRETCH_CHARS):
                yield stretch, copies if split == 'train' else 0
