"""Pieces of a corpus: what each becomes in the folder, and processes that share them."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import multiprocessing
import os
import pathlib
import platform
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import process
from multiprocessing import connection
from typing import Any

import numpy as np

from electra_jax.config import settings
from electra_jax.core import files
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError
from electra_jax.corpus import build, sources
from electra_jax.data import manifest, records
from electra_jax.tokenizers import api, load
from electra_jax.tokenizers.unknown import Unknown

ELSEWHERE = 'name another folder with --config.data.path=FOLDER'
PIECES_FOLDER = 'pieces'
Sidecar = dict[str, Any]  # of a finished piece: its text, shards and counts, as JSON


@dataclasses.dataclass(frozen=True)
class Context:
    """What every piece needs."""

    folder: pathlib.Path  # of the corpus, with its tokenizer
    tokenizer_hash: str
    config: settings.DataConfig
    largest: float = math.inf  # bytes; larger documents are divided

    @property
    def tokenizer(self) -> api.Tokenizer:
        return _tokenizer(self)

    def build(self, piece: sources.Piece) -> Sidecar:
        """The sidecar of a piece; it is built if no earlier run has.

        Raises:
            DataError: the text cannot be used, or has changed since it was built.
        """
        sidecar = self.read(piece)
        if sidecar is None:
            return self._run(piece)
        if sidecar['identity'] != piece.identity:
            raise DataError(
                f'the text of data.source has changed since {self.folder} was begun (piece '
                f'{piece.index}, {piece.parts[0].name}); {ELSEWHERE}'
            )
        for shard in filter(None, sidecar['shards'].values()):
            file = self.folder / shard['name']
            # A power cut or a disk can damage what a kill cannot.
            if not file.is_file() or records.file_sha256(file) != shard['sha256']:
                return self._run(piece)
        return sidecar

    def _run(self, piece: sources.Piece) -> Sidecar:
        """Writes a piece's shards, its unigram counts and, last, its sidecar."""
        complaints = Complaints('data.on_bad_text', self.config.on_bad_text)
        writers = {
            split: records.ShardWriter(self.folder / f'{split}-{piece.index:05d}.array_record')
            for split in manifest.SPLITS
        }
        unigram = np.zeros(self.tokenizer.vocab_size, np.int64)
        counts, unknown = dict.fromkeys(build.COUNTS, 0), Unknown()
        for built in build.build_piece(
            piece, self.tokenizer, self.config, complaints, self.largest
        ):
            for split, writer in writers.items():
                writer.write(built.rows[split])
            unigram += built.unigram
            unknown.merge(built.unknown)
            counts = {name: number + built.counts[name] for name, number in counts.items()}
        shards = {split: writer.close() for split, writer in writers.items()}
        manifest.write_array(self._path(piece, '.npy'), unigram)
        sidecar = {
            'identity': piece.identity,
            'shards': {split: shard and vars(shard) for split, shard in shards.items()},
            'counts': counts,
            'bad_text': complaints.counts,
            'unknown': unknown.to_json(),
        }
        manifest.write_json(self._path(piece, '.json'), {**sidecar, 'seal': self._seal(sidecar)})
        return sidecar

    def read(self, piece: sources.Piece) -> Sidecar | None:
        """The sidecar of a piece that is finished, built with this tokenizer, and not damaged."""
        try:
            sidecar = files.parse_object(self._path(piece, '.json').read_bytes())
            seal = sidecar.pop('seal')
            manifest.read_counts(self._path(piece, '.npy'), self.tokenizer.vocab_size)
        except (OSError, ValueError, KeyError, DataError):
            return None  # A kill cannot do this, a disk can. The piece is then built again.
        return sidecar if seal == self._seal(sidecar) else None

    def _seal(self, sidecar: Sidecar) -> str:
        text = self.tokenizer_hash + json.dumps(sidecar, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _path(self, piece: sources.Piece, suffix: str) -> pathlib.Path:
        return self.folder / PIECES_FOLDER / f'{piece.index:05d}{suffix}'


def finished(folder: pathlib.Path) -> dict[int, os.DirEntry[str]]:
    """The sidecars in the folder of a corpus, whole or damaged, by the numbers of their pieces."""
    with os.scandir(folder / PIECES_FOLDER) as there:
        return {int(one.name[:-5]): one for one in there if one.name.endswith('.json')}


@functools.lru_cache(maxsize=1)
def _tokenizer(context: Context) -> api.Tokenizer:
    """Read once by each process, for all its pieces."""
    folder = context.folder / manifest.TOKENIZER_FOLDER
    tokenizer = load.load(folder)
    if tokenizer.hash != context.tokenizer_hash:
        raise DataError(
            f'the tokenizer in {folder} on {platform.node()} (hash {tokenizer.hash[:12]}) is not '
            f'the one this build began with ({context.tokenizer_hash[:12]}): every worker must see '
            f'the same folder under this name; or {ELSEWHERE}'
        )
    return tokenizer


def count(config: settings.DataConfig) -> int:
    """How many processes build."""
    return config.workers or len(os.sched_getaffinity(0)) or 1


def run_pieces(
    pieces: Iterable[sources.Piece], context: Context, done: Callable[[sources.Piece], None]
) -> Iterator[tuple[sources.Piece, Sidecar]]:
    """Runs `context.build` on every piece, yielding each and its sidecar.

    Pieces are taken from the iterable only as workers get free. With one worker they run here.
    `done` is called with each as soon as it is finished.

    Raises:
        DataError: the first that a worker raised, or a worker was killed.
    """
    workers = count(context.config)
    if workers == 1:
        for piece in pieces:
            sidecar = context.build(piece)
            done(piece)
            yield piece, sidecar
        return
    spawning = multiprocessing.get_context('spawn')
    # When this process closes its end or is gone, the workers end: what they were building is built
    # again by the next run.
    theirs, ours = spawning.Pipe(duplex=False)
    pool = futures.ProcessPoolExecutor(
        workers, mp_context=spawning, initializer=_start_worker, initargs=(theirs,)
    )
    try:
        for piece, sidecar in _keep_busy(pool, context, iter(pieces), workers + 1):
            done(piece)
            yield piece, sidecar
    except process.BrokenProcessPool as error:
        raise DataError(
            'a builder process was killed, perhaps because memory ran out; type the same command '
            'again to continue (with fewer processes: --config.data.workers=N)'
        ) from error
    finally:
        ours.close()
        pool.shutdown(wait=True, cancel_futures=True)


def _keep_busy(
    pool: futures.ProcessPoolExecutor,
    context: Context,
    pieces: Iterator[sources.Piece],
    at_once: int,
) -> Iterator[tuple[sources.Piece, Sidecar]]:
    running: dict[futures.Future[Sidecar], sources.Piece] = {}
    while True:
        while len(running) < at_once and (piece := next(pieces, None)) is not None:
            with _without_main():
                running[pool.submit(context.build, piece)] = piece
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


def _start_worker(parent: connection.Connection) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: connection.Connection) -> None:
    connection.wait([parent])
    os._exit(1)
