"""From shards to batches: the same global batches on any number of hosts, from any step.

Design goals, in order:
1. Batch k is a pure function of (seed, corpora, weights, batch size, k). Nothing else decides it:
   not the number of hosts or devices, not threads, not where the run was interrupted.
2. Starting at batch k costs the same for every k: nothing is skipped through.
3. Each host reads only its own rows of each batch.

So the order of rows is an endless sequence whose items Grain computes one by one (a shuffle per
epoch that needs no table). Batch k is items k B to (k + 1) B - 1 of it, each host reads a
contiguous share of those, and the whole state of the iterator is one number.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grain
import jax
import numpy as np

from electra_jax.core.errors import DataError
from electra_jax.data.manifest import Corpus
from electra_jax.data.records import decode_rows

# int32 [rows of this host, L] each; where the rows come from: RECORDS, int64 [rows, 2]; and where
# they are asked for PIXELS, uint8 [rows, size, size, 3].
HostBatch = dict[str, np.ndarray]
RECORDS = 'records'  # (corpus, row) of each row
PIXELS = 'pixels'  # the image of each row
PADDING = (-1, -1)  # in place of (corpus, row): a row that is in no corpus
_FOREVER = 2**40  # batches; Grain needs a length


class HostRows(NamedTuple):
    """Which rows of each global batch one host reads."""

    batch_size: int  # B, of all hosts together
    host: int
    num_hosts: int

    @property
    def indices(self) -> range:
        """Indices of these rows within a global batch."""
        per_host = self.batch_size // self.num_hosts
        return range(self.host * per_host, (self.host + 1) * per_host)


def row_order(lengths: Sequence[int], weights: Sequence[float], seed: int) -> grain.MapDataset:
    """The endless order of rows as (corpus, row); each corpus is shuffled again every epoch."""
    orders = [
        _numbered(
            number, grain.MapDataset.range(length).shuffle(seed=_mixed_seed(seed, number))
        ).repeat()
        for number, length in enumerate(lengths)
    ]
    if len(orders) == 1:
        return orders[0]
    return grain.MapDataset.mix(orders, list(weights))


def _numbered(number: int, rows: grain.MapDataset) -> grain.MapDataset:
    return rows.map(lambda row: (number, row))


def _mixed_seed(seed: int, number: int) -> int:
    """A seed per corpus, far from its neighbours': Grain adds the epoch's number to it."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


class Rows:
    """One split of the corpora of a run, as rows that can be read in any order.

    `manifest.check_corpus` has checked that all share one tokenizer, row length and layout.
    """

    def __init__(self, corpora: Sequence[Corpus], split: str, images: bool = False):
        """The split of each corpus; `images`: batches have the rows' images, too."""
        first = corpora[0]
        self._readers = [corpus.reader(split) for corpus in corpora]
        self._dtypes, self._layout = [one.row_dtype for one in corpora], first.layout
        self._images = images
        self._pad_id = first.special.pad
        self.lengths = [len(reader) for reader in self._readers]

    def batch(self, sources: Sequence[tuple[int, int]]) -> HostBatch:
        """Reads rows, each given as (corpus, row); PADDING gives a row of padding."""
        by_corpus: dict[int, list[tuple[int, int]]] = collections.defaultdict(list)
        for index, (corpus, row) in enumerate(sources):
            if corpus >= 0:
                by_corpus[corpus].append((index, row))
        first = self._dtypes[0]
        shape = len(sources), *first['tokens'].shape
        tokens_BL = np.full(shape, self._pad_id, np.int32)
        spans_BL = np.zeros(shape, np.uint8)
        more = {}
        if self._images:
            more[PIXELS] = np.zeros((len(sources), *first[PIXELS].shape), np.uint8)
        for corpus, wanted in by_corpus.items():
            indices = [index for index, _ in wanted]
            records = self._readers[corpus].read([row for _, row in wanted])
            rows = decode_rows(records, self._dtypes[corpus])
            tokens_BL[indices], spans_BL[indices] = rows['tokens'], rows['spans']
            if self._images:
                more[PIXELS][indices] = rows[PIXELS]
        return {
            **to_batch(tokens_BL, spans_BL, self._layout),
            **more,
            RECORDS: np.asarray(sources, np.int64).reshape(-1, 2),
        }


def train_batches(
    rows: Rows, weights: Sequence[float], host_rows: HostRows, seed: int, prefetch: int
) -> grain.DatasetIterator:
    """Endless batches of this host's rows; its state is the number of the next batch.

    Rows are drawn from each corpus in proportion to its weight. Threads read `prefetch` batches
    ahead.
    """
    order = row_order(rows.lengths, weights, seed)

    def load(number: int) -> HostBatch:
        first = number * host_rows.batch_size
        return rows.batch([order[first + index] for index in host_rows.indices])

    batches = grain.MapDataset.range(_FOREVER).map(load)
    options = grain.ReadOptions(num_threads=min(prefetch, 4), prefetch_buffer_size=prefetch)
    return iter(batches.to_iter_dataset(options))


def held_out_batches(rows: Rows, host_rows: HostRows, row_limit: int) -> list[HostBatch]:
    """At most `row_limit` held-out rows of all hosts, the same ones in the same batches always.

    They are taken from all over the split, from each corpus in proportion to its rows; the last
    batch is completed with rows of padding.
    """
    orders = [
        _numbered(number, grain.MapDataset.range(length).shuffle(seed=0))
        for number, length in enumerate(rows.lengths)
        if length
    ]
    if not orders:
        return []
    order = grain.MapDataset.concatenate(orders)
    total = min(row_limit, len(order))
    chosen = [order[i * len(order) // total] for i in range(total)]
    chosen += [PADDING] * (-total % host_rows.batch_size)
    starts = range(0, len(chosen), host_rows.batch_size)
    return [rows.batch([chosen[start + index] for index in host_rows.indices]) for start in starts]


def to_batch(tokens_BL: np.ndarray, spans_BL: np.ndarray, layout: str) -> HostBatch:
    """Adds the document, position and type of each token; all int32 [B, L].

    `spans_BL` numbers the spans of a row from 1; 0 is padding. In 'segments' a row is one document
    whose two spans are types 0 and 1; in 'packed' each span is a document of its own, and positions
    start again at 0 in it.
    """
    spans_BL = spans_BL.astype(np.int32)
    if layout == 'segments':
        documents_BL = (spans_BL > 0).astype(np.int32)
        types_BL = (spans_BL == 2).astype(np.int32)
    else:
        documents_BL, types_BL = spans_BL, np.zeros_like(spans_BL)
    column_BL = np.broadcast_to(np.arange(tokens_BL.shape[1], dtype=np.int32), tokens_BL.shape)
    starts_BL = np.zeros_like(documents_BL, bool)
    starts_BL[:, 1:] = documents_BL[:, 1:] != documents_BL[:, :-1]
    first_BL = np.maximum.accumulate(np.where(starts_BL, column_BL, 0), axis=1)
    return {
        'tokens': tokens_BL,
        'documents': documents_BL,
        'positions': column_BL - first_BL,
        'types': types_BL,
    }


class DeviceBatches:
    """Batches on the mesh, read one ahead of the step, and the state from which to go on.

    `state` is the iterator's state after the last batch that was handed out, not after the last one
    that was read; and a batch that cannot be read is an error when it is asked for, not one batch
    before.
    """

    def __init__(
        self, batches: grain.DatasetIterator, put: Callable[[HostBatch], dict[str, jax.Array]]
    ):
        self._batches = batches
        self._put = put
        self._ahead: _Read | DataError | None = None
        self.state: dict[str, Any] = batches.get_state()
        self.host_batch: HostBatch | None = None

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on after the batch that `state` was saved after."""
        self._batches.set_state(state)
        self._ahead, self.state = None, state

    def __iter__(self) -> Iterator[dict[str, jax.Array]]:
        return self

    def __next__(self) -> dict[str, jax.Array]:
        """The next batch; its copy in host memory, with `RECORDS`, stays in `host_batch`."""
        read = self._ahead or self._read()
        if isinstance(read, DataError):
            raise read
        batch, self.host_batch, self.state = read
        self._ahead = self._read()
        return batch

    def _read(self) -> '_Read | DataError':
        try:
            host_batch = next(self._batches)
        except DataError as error:
            return error
        # An error raised in a reader thread. No type is let through: SystemExit, for one, would end
        # the run as if it were done.
        except (Exception, SystemExit) as error:
            failed = DataError(f'reading training rows has failed: {type(error).__name__}: {error}')
            failed.__cause__ = error
            return failed
        return self._put(host_batch), host_batch, self._batches.get_state()


# A batch on the mesh, the same in host memory, and the iterator's state after it.
_Read = tuple[dict[str, jax.Array], HostBatch, dict[str, Any]]
