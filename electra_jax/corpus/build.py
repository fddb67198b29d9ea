"""One piece of text to rows: the pure function that local processes and Beam's workers run.

Every draw depends on the build seed, the document and the number of the piece alone, so the rows
are the same however many workers share the pieces and however often a build restarts.
"""

import collections
import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from electra_jax.config import settings
from electra_jax.core.complaints import Complaints
from electra_jax.corpus import layouts, sources
from electra_jax.corpus.documents import digest
from electra_jax.data import manifest, records
from electra_jax.tokenizers import api
from electra_jax.tokenizers.unknown import Unknown

_BATCH_CHARS = 1_000_000  # text that is tokenized at once, about

# What is counted in every piece, and summed in corpus.json:
COUNTS = (
    'documents',  # that held text
    'held_out_documents',  # of those, the ones whose rows are the validation split
    'text_bytes',  # UTF-8 bytes of their text
    'train_rows',
    'train_tokens',  # without [CLS], [SEP] and padding; copies count
    'train_padding',  # positions
    'validation_rows',
    'validation_tokens',
    'validation_padding',
    'dropped_tokens',  # always 0: tokens of documents that are in no row
)


class BlockRows(NamedTuple):
    """What became of the text of a piece that was in memory at one time."""

    rows: dict[str, np.ndarray]  # split -> rows, `records.row_dtype` [R]
    # int64 [vocab_size], how often each token is in the training rows; 0 for [PAD], [CLS], [SEP]
    # and [MASK].
    unigram: np.ndarray
    counts: dict[str, int]  # the numbers of COUNTS
    unknown: Unknown  # of all its text


def build_piece(
    piece: sources.Piece,
    tokenizer: api.Tokenizer,
    config: settings.DataConfig,
    complaints: Complaints,
) -> Iterator[BlockRows]:
    """Reads the documents of `piece`, tokenizes them and fills rows, a block at a time.

    Raises:
        DataError: text cannot be read and the policy of `complaints` is 'error'.
    """
    rng = random.Random(f'{config.build_seed}:{piece.index}')
    width = records.token_bytes(tokenizer.vocab_size)
    dtype = records.row_dtype(config.row_length, width)
    for weighted in piece.open(complaints):
        counts = dict.fromkeys(COUNTS, 0)
        streams: dict[str, list[np.ndarray]] = {split: [] for split in manifest.SPLITS}
        lengths: dict[str, list[list[int]]] = {split: [] for split in manifest.SPLITS}
        unknown = Unknown()
        read = _documents(weighted, config, counts)
        for split, copies, lines in _encode(read, tokenizer, unknown):
            streams[split] += lines * copies
            lengths[split] += [[len(line) for line in lines if len(line)]] * copies
        rows = {}
        for split in manifest.SPLITS:
            stream = np.concatenate([np.zeros(0, np.int32), *streams[split]])
            table = layouts.LAYOUTS[config.layout](lengths[split], config, rng)
            rows[split] = layouts.lay_out(stream, table, dtype, tokenizer.special)
            _count_rows(counts, split, rows[split], table, len(stream))
            if split == 'train':
                unigram = np.bincount(stream, minlength=tokenizer.vocab_size).astype(np.int64)
        yield BlockRows(rows, unigram, counts, unknown)


def _documents(
    weighted: Iterable[tuple[Iterator[list[str]], float]],
    config: settings.DataConfig,
    counts: dict[str, int],
) -> Iterator[tuple[str, int, list[str]]]:
    """Split, number of copies and lines of each document."""
    for documents, weight in weighted:
        for lines in documents:
            split, copies, size = choose(lines, weight, config)
            counts['documents'] += 1
            counts['held_out_documents'] += split == 'validation'
            counts['text_bytes'] += size
            yield split, copies, lines


def count_documents(
    weighted: Iterable[tuple[Iterator[list[str]], float]],
    config: settings.DataConfig,
    counts: dict[str, int],
) -> None:
    """Adds what documents there are to `counts`, without making rows of them."""
    for _ in _documents(weighted, config, counts):
        pass


def choose(
    lines: Sequence[str], weight: float, config: settings.DataConfig
) -> tuple[str, int, int]:
    """The split that a document is in, how many copies of it there are, and its bytes.

    Both choices are drawn from a hash of its text, so equal documents are treated alike wherever
    they are: none is both in the training rows and held out.
    """
    text = '\n'.join(lines).encode()
    drawn = digest(text, config.build_seed)
    whole = int(weight)
    extra = int.from_bytes(drawn[8:], 'little') < (weight - whole) * 2.0**64
    copies = whole + extra
    if int.from_bytes(drawn[:8], 'little') < config.holdout * 2.0**64:
        # More copies of held-out text would only weigh it differently.
        return 'validation', min(copies, 1), len(text)
    return 'train', copies, len(text)


def _encode(
    documents: Iterable[tuple[str, int, list[str]]], tokenizer: api.Tokenizer, unknown: Unknown
) -> Iterator[tuple[str, int, list[np.ndarray]]]:
    """Replaces the lines of documents by their ids; drops documents without copies."""
    reading: collections.deque[tuple[str, int, int]] = collections.deque()

    def lines() -> Iterator[str]:
        for name, copies, texts in documents:
            if copies:
                reading.append((name, copies, len(texts)))
                yield from texts

    def encoded(batch: list[str]) -> list[np.ndarray]:
        ids = tokenizer.encode_batch(batch)
        unknown.add(tokenizer, batch, ids)
        return ids

    sized = ((line, len(line)) for line in lines())
    batches = sources.grouped(sized, _BATCH_CHARS)
    ids = itertools.chain.from_iterable(map(encoded, batches))
    for first in ids:
        name, copies, count = reading.popleft()
        yield name, copies, [first, *itertools.islice(ids, count - 1)]


def _count_rows(
    counts: dict[str, int], name: str, rows: np.ndarray, table: list[layouts.Segment], tokens: int
) -> None:
    """Counts what is in the finished rows, and what should be there but is not."""
    real = int(np.count_nonzero(rows['spans']))
    specials = sum(1 + segment.has_cls for segment in table)
    counts[f'{name}_rows'] = len(rows)
    counts[f'{name}_tokens'] = real - specials
    counts[f'{name}_padding'] = rows['spans'].size - real
    counts['dropped_tokens'] += tokens - (real - specials)
