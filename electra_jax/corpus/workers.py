"""Processes that share the pieces of a corpus between them."""

import contextlib
import functools
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import process
from multiprocessing import synchronize
from typing import Any

import numpy as np

from electra_jax.config import settings
from electra_jax.core import files
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError
from electra_jax.corpus import build, sources
from electra_jax.data import manifest, records
from electra_jax.tokenizers import api, load

PIECES_FOLDER = 'pieces'

# What this process does with a piece, where it is a worker process.
_worker: Callable[[sources.Piece], dict[str, Any]] | None = None


class Context:
    """What every piece needs: where to write, the tokenizer, the settings."""

    def __init__(
        self, folder: pathlib.Path, tokenizer: api.Tokenizer, config: settings.DataConfig
    ) -> None:
        self.folder = folder
        self.tokenizer = tokenizer
        self.config = config

    def run(
        self, piece: sources.Piece, stopped: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        """Builds a piece and writes its shards, its unigram counts and, last, its sidecar.

        Args:
            piece: to build.
            stopped: whether to give up, asked now and then; a compressed file may take hours.

        Returns:
            The sidecar.

        Raises:
            DataError: the text cannot be used, or the build was stopped.
        """
        complaints = Complaints('data.on_bad_text', self.config.on_bad_text)
        writers = {
            split: records.ShardWriter(self.folder / shard_name(split, piece.index))
            for split in manifest.SPLITS
        }
        unigram = np.zeros(self.tokenizer.vocab_size, np.int64)
        counts = dict.fromkeys(build.COUNTS, 0)
        for built in build.build_piece(piece, self.tokenizer, self.config, complaints):
            if stopped():
                raise DataError('the build was stopped')
            for split, writer in writers.items():
                writer.write(built.rows[split])
            unigram += built.unigram
            counts = {name: number + built.counts[name] for name, number in counts.items()}
        shards = {split: writer.close() for split, writer in writers.items()}
        manifest.write_array(unigram_path(self.folder, piece.index), unigram)
        sidecar = {
            'identity': identity(piece),
            'tokenizer_hash': self.tokenizer.hash,
            'shards': {split: shard and vars(shard) for split, shard in shards.items()},
            'counts': counts,
            'bad_text': complaints.counts,
        }
        manifest.write_json(sidecar_path(self.folder, piece.index), sidecar)
        return sidecar


def sidecar_path(folder: pathlib.Path, index: int) -> pathlib.Path:
    """Where the sidecar of a piece is: once it is there, the piece is finished."""
    return folder / PIECES_FOLDER / f'{index:05d}.json'


def read_sidecar(folder: pathlib.Path, index: int, vocab_size: int) -> dict[str, Any] | None:
    """The sidecar of a piece, if the piece is finished; None also where anything is damaged."""
    try:
        sidecar = files.parse_object(sidecar_path(folder, index).read_bytes())
        for split in manifest.SPLITS:
            one = sidecar['shards'][split]
            shard = None if one is None else records.shard_from_json(one)
            if shard is not None and shard.name != shard_name(split, index):
                return None
            if sidecar['counts'][f'{split}_rows'] != (shard.rows if shard else 0):
                return None
        numbers = [sidecar['counts'][name] for name in build.COUNTS]
        numbers += [number for number, _ in sidecar['bad_text'].values()]
        if sidecar['counts']['dropped_tokens'] or min(numbers) < 0:
            return None
        whole = all(type(number) is int for number in numbers)
        whole &= all(type(sidecar[name]) is kind for name, kind in _SIDECAR_TYPES.items())
        manifest.read_counts(unigram_path(folder, index), vocab_size)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError):
        # A kill cannot do this, a disk can. The piece is then built again.
        return None
    return sidecar if whole else None


_SIDECAR_TYPES = {'identity': list, 'tokenizer_hash': str, 'bad_text': dict}


def shard_name(split: str, index: int) -> str:
    """Name of the shard that a piece becomes in a split."""
    return f'{split}-{index:05d}.array_record'


def unigram_path(folder: pathlib.Path, index: int) -> pathlib.Path:
    """Where the unigram counts of a piece are."""
    return folder / PIECES_FOLDER / f'{index:05d}.npy'


def identity(piece: sources.Piece) -> list[list[object]]:
    """A JSON value that is equal exactly where the piece is made of the same text."""
    return [part.identity() for part in piece.parts]


def run_pieces(
    pieces: Iterable[sources.Piece], context: Context, workers: int
) -> Iterator[tuple[sources.Piece, dict[str, Any]]]:
    """Runs `context.run` on every piece, yielding each piece and its sidecar when it is done.

    Pieces are taken from the iterable only as workers get free. With one worker they run here.

    Args:
        pieces: to build.
        context: what each needs.
        workers: number of processes.

    Raises:
        DataError: the first that a worker raised, or a worker was killed.
    """
    if workers == 1:
        for piece in pieces:
            yield piece, context.run(piece)
        return
    spawning = multiprocessing.get_context('spawn')
    stopping = spawning.Event()
    pool = futures.ProcessPoolExecutor(
        workers,
        mp_context=spawning,
        initializer=_start_worker,
        initargs=(str(context.folder), context.tokenizer.to_json(), context.config, stopping),
    )
    try:
        yield from _keep_busy(pool, iter(pieces), workers + 1)
    except process.BrokenProcessPool as error:
        raise DataError(
            'a builder process was killed, perhaps because memory ran out; type the same command '
            'again and it goes on (with fewer processes: --config.data.workers=N)'
        ) from error
    finally:
        # Workers finish the block that they have in memory, which takes seconds.
        stopping.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _keep_busy(
    pool: futures.ProcessPoolExecutor, pieces: Iterator[sources.Piece], at_once: int
) -> Iterator[tuple[sources.Piece, dict[str, Any]]]:
    running: dict[futures.Future[dict[str, Any]], sources.Piece] = {}
    while True:
        while len(running) < at_once and (piece := next(pieces, None)) is not None:
            with _without_main():
                running[pool.submit(_run_piece, piece)] = piece
        if not running:
            return
        done, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
        for future in done:
            yield running.pop(future), future.result()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hides the main module while processes are started.

    A spawned process imports its parent's main module again. Ours need nothing from it, and it
    may be one that imports jax: seconds and hundreds of megabytes for each process.
    """
    main = sys.modules['__main__']
    sys.modules['__main__'] = types.ModuleType('__main__')
    try:
        yield
    finally:
        sys.modules['__main__'] = main


def _start_worker(
    folder: str,
    tokenizer: dict[str, Any],
    config: settings.DataConfig,
    stopping: synchronize.Event,
) -> None:
    global _worker  # set once, in a process of its own
    # Ctrl-C reaches the whole process group; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    context = Context(pathlib.Path(folder), load.from_json(tokenizer), config)
    _worker = functools.partial(context.run, stopped=stopping.is_set)


def _die_with_parent() -> None:
    """Ends this process when its parent is gone: otherwise it would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _run_piece(piece: sources.Piece) -> dict[str, Any]:
    if _worker is None:
        raise RuntimeError('a worker got a piece before it was started')
    return _worker(piece)
