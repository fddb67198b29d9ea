"""One piece of text to rows: the pure function that local processes and Beam's workers run.

Every draw depends on the build seed, the document and the number of the piece alone, so the rows
are the same however many workers share the pieces and however often a build restarts.
"""

import collections
import itertools
import math
import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from electra_jax.config import settings
from electra_jax.core.complaints import Complaints
from electra_jax.corpus import divide, images, layouts, sources
from electra_jax.corpus.documents import Captioned
from electra_jax.data import manifest, records
from electra_jax.tokenizers import api
from electra_jax.tokenizers.unknown import Unknown

_BATCH_CHARS = 1_000_000  # text that is tokenized at once, about
# Words are measured in so many lines of a batch, in so many characters of each.
_SAMPLED_LINES, _SAMPLED_CHARS = 64, 1000

# What is counted in every piece, and summed in corpus.json:
COUNTS = (
    'documents',  # that held text
    'held_out_documents',  # of those, the ones whose rows are the validation split
    'divided_documents',  # of those, the ones of which stretches are in the validation split
    'text_bytes',  # UTF-8 bytes of their text
    'train_rows',
    'train_tokens',  # without [CLS], [SEP] and padding; copies count
    'train_words',  # between white space; copies count
    'train_padding',  # positions
    'validation_rows',
    'validation_tokens',
    'validation_words',
    'validation_padding',
    'dropped_tokens',  # always 0: tokens of documents that are in no row
    # Of a sample, where spaces divide text into words for the tokenizer:
    'sampled_characters',  # spaces are not among them
    'long_word_characters',  # of those, the ones in words of more than `manifest.LONG_WORD`
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
    largest: float = math.inf,
) -> Iterator[BlockRows]:
    """Reads the documents of `piece`, tokenizes them and fills rows, a block at a time.

    Documents of more than `largest` bytes are divided.

    Raises:
        DataError: text cannot be read and the policy of `complaints` is 'error'.
    """
    rng = random.Random(f'{config.build_seed}:{piece.index}')
    width = records.token_bytes(tokenizer.vocab_size)
    size = config.image_size or 0
    dtype = records.row_dtype(config.row_length, width, size)
    lay = layouts.pair_rows if size else layouts.LAYOUTS[config.layout]
    for weighted in piece.open(complaints):
        if size:  # a text stays whole, with its image
            largest = math.inf
            weighted = [(images.loaded(docs, size, complaints), w) for docs, w in weighted]
        counts = dict.fromkeys(COUNTS, 0)
        streams: dict[str, list[np.ndarray]] = {split: [] for split in manifest.SPLITS}
        lengths: dict[str, list[list[int]]] = {split: [] for split in manifest.SPLITS}
        pixels: dict[str, list[np.ndarray | None]] = {split: [] for split in manifest.SPLITS}
        unknown = Unknown()
        read = _documents(weighted, piece.held_out, config, largest, counts)
        for split, copies, document, lines in _encode(read, tokenizer, unknown, counts):
            if isinstance(document, Captioned):
                pixels[split] += [document.pixels] * copies
            streams[split] += lines * copies
            lengths[split] += [[len(line) for line in lines if len(line)]] * copies
            counts[f'{split}_words'] += copies * sum(len(line.split()) for line in document)
        rows = {}
        for split in manifest.SPLITS:
            stream = np.concatenate([np.zeros(0, np.int32), *streams[split]])
            table = lay(lengths[split], config, rng)
            rows[split] = layouts.lay_out(stream, table, dtype, tokenizer.special)
            if size and table:
                ends = np.cumsum([sum(document) for document in lengths[split]])
                of_row = np.searchsorted(ends, [one.start for one in table], side='right')
                rows[split]['pixels'] = [pixels[split][number] for number in of_row]
            _count_rows(counts, split, rows[split], table, len(stream))
            if split == 'train':
                unigram = np.bincount(stream, minlength=tokenizer.vocab_size).astype(np.int64)
        yield BlockRows(rows, unigram, counts, unknown)


def _documents(
    weighted: Iterable[tuple[Iterator[list[str]], float]],
    held_out: bool,
    config: settings.DataConfig,
    largest: float,
    counts: dict[str, int],
) -> Iterator[tuple[str, int, list[str]]]:
    """Split, number of copies and lines of each document, or of each part of a divided one.

    All that is `held_out` is in the validation split.
    """
    for documents, weight in weighted:
        for lines in documents:
            size, parts = divide.divide(lines, weight, config, math.inf if held_out else largest)
            if held_out:
                parts = [('validation', min(copies, 1), lines) for _, copies, _ in parts]
            splits = {split for split, *_ in parts}
            counts['documents'] += 1
            counts['held_out_documents'] += splits == {'validation'}
            counts['divided_documents'] += len(splits) > 1
            counts['text_bytes'] += size
            yield from parts


def count_documents(
    piece: sources.Piece,
    config: settings.DataConfig,
    largest: float,
    complaints: Complaints,
    counts: dict[str, int],
) -> None:
    """Adds what documents there are to `counts`, without making rows of them."""
    for weighted in piece.open(complaints):
        for _ in _documents(weighted, piece.held_out, config, largest, counts):
            pass


def _encode(
    documents: Iterable[tuple[str, int, list[str]]],
    tokenizer: api.Tokenizer,
    unknown: Unknown,
    counts: dict[str, int],
) -> Iterator[tuple[str, int, list[str], list[np.ndarray]]]:
    """Adds the ids of their lines to documents; drops documents without copies."""
    reading: collections.deque[tuple[str, int, list[str]]] = collections.deque()

    def lines() -> Iterator[str]:
        for name, copies, texts in documents:
            if copies:
                reading.append((name, copies, texts))
                yield from texts

    def encoded(batch: list[str]) -> list[np.ndarray]:
        ids = tokenizer.encode_batch(batch)
        unknown.add(tokenizer, batch, ids)
        # One with a limit cuts at spaces first.
        if tokenizer.max_word_chars and (continues := tokenizer.continues_word()) is not None:
            _count_long_words(counts, tokenizer, continues, batch)
        return ids

    sized = ((line, len(line)) for line in lines())
    batches = sources.grouped(sized, _BATCH_CHARS)
    ids = itertools.chain.from_iterable(map(encoded, batches))
    for first in ids:
        name, copies, texts = reading.popleft()
        yield name, copies, texts, [first, *itertools.islice(ids, len(texts) - 1)]


def _count_long_words(
    counts: dict[str, int], tokenizer: api.Tokenizer, continues: np.ndarray, texts: list[str]
) -> None:
    """Counts the characters of some lines, and of words as long as those of unspaced text.

    `continues`, bool [V], has the pieces inside a word.
    """
    some = [text[:_SAMPLED_CHARS] for text in texts[:: -(-len(texts) // _SAMPLED_LINES)]]
    for ids, spans in tokenizer.encode_spans(some):
        if len(ids):
            lengths = np.add.reduceat(spans[:, 1] - spans[:, 0], np.flatnonzero(~continues[ids]))
            counts['sampled_characters'] += int(lengths.sum())
            counts['long_word_characters'] += int(lengths[lengths > manifest.LONG_WORD].sum())


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
