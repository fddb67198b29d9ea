"""Builds a corpus: text in, a folder of shards and its corpus.json out.

The folder of a corpus:

    train-00000.array_record ...       rows, see data/records.py
    validation-00000.array_record ...  rows of held-out documents
    tokenizer/                         ours, and vocab.txt or spiece.model for other tools
    unigram.npy                        int64 [vocab_size], tokens of the training rows
    building.json                      settings, and revisions of remote text, written first: marks
                                       the folder as ours
    pieces/                            one small file a finished piece, while it is being built
    corpus.json                        written last: without it the corpus is not finished

A build that was stopped goes on when it is started again, however it was stopped, and the shards
are the same bytes as if it had never stopped.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any, TextIO

import numpy as np

from electra_jax.config import settings as schema
from electra_jax.core import files
from electra_jax.core.complaints import Complaints, counted
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.corpus import beam, build, dask_cluster, divide, messages, sample, sources, workers
from electra_jax.corpus.documents import IMAGES, LOCAL, Entry
from electra_jax.corpus.files import find_files
from electra_jax.data import manifest, records
from electra_jax.runtime import terminal
from electra_jax.tokenizers import api, load
from electra_jax.tokenizers.unknown import Unknown

MARKER_NAME = 'building.json'
_LOCK_NAME = '.lock'
_REVISIONS = 'revisions'  # of remote text, next to the settings


def build_corpus(data: schema.DataConfig, piece_bytes: int | None = None) -> manifest.Corpus:
    """Builds the corpus that `data` describes in the folder `data.path`, or opens it.

    `piece_bytes`, the text in one piece of work, about, also decides the rows; None:
    `data.piece_megabytes`.

    Raises:
        ConfigError: a setting is not possible, or the folder holds another corpus.
        DataError: text, tokenizer or folder cannot be used.
    """
    entries = _check(data)
    folder = pathlib.Path(data.path or '')
    settings = _settings(data, piece_bytes or data.piece_megabytes * 1_000_000)
    if (folder / manifest.FILE_NAME).exists():
        corpus = manifest.load_corpus(folder, data.verify, terminal.ERR.print)
        _same_settings(corpus.settings, settings, folder)
        terminal.ERR.print(
            f'{folder} is already complete: {counted(corpus.counts["train_rows"], "training rows")}'
        )
        return corpus
    if data.runner == 'beam':
        beam.check(data.runner_options)
    for entry in entries:
        # What is not there leaves no folder behind; what is in a folder is looked for later.
        if entry.kind in LOCAL and not os.path.exists(entry.where):
            find_files(entry.where, entry.kind, Complaints('data.on_bad_text', 'skip'))
    _make(folder)
    with _lock(folder):
        known = _claim(folder, settings)
        entries, revisions = sources.pin(entries, known)
        if revisions != known:
            _note(folder, settings, revisions)
            for name, revision in revisions.items():
                terminal.ERR.print(f'{name} is read over the network, at {revision}')
        if data.runner == 'beam':
            texts = [entry.where for entry in entries if entry.kind in LOCAL]
            beam.check_shared(data.runner_options, folder, filter(os.path.exists, texts))
        return _build(data, entries, revisions, folder, settings)


def _check(data: schema.DataConfig) -> list[Entry]:
    """Refuses settings that do not fit together; returns the entries of the source."""
    if not data.path:
        raise ConfigError('data.path is not set; type --config.data.path=FOLDER')
    if re.search(',|=[0-9.]+$', data.path) and not os.path.isdir(data.path):
        raise ConfigError(
            f'data.path {data.path!r} names several corpora, or weights; build each one by '
            'itself, with --config.data.path=FOLDER (if that is the name of a folder, make the '
            'folder first)'
        )
    load.find(data.tokenizer.kind)
    entries = sources.parse_source(data.source, data.document_ends)
    if data.validation_source is not None:
        entries += sources.parse_source(data.validation_source, data.document_ends, held_out=True)
    _check_images(data, entries)
    return entries


def _check_images(data: schema.DataConfig, entries: list[Entry]) -> None:
    """Refuses text without images next to them, and images of which no size is set."""
    with_images = [entry for entry in entries if entry.kind == IMAGES]
    if with_images and data.image_size is None:
        raise ConfigError(
            f'data.source names images ({with_images[0].where}), but not how large they are to be: '
            'type --config.model.image_size=32, for example, pixels along a side'
        )
    if data.image_size is not None and len(with_images) < len(entries):
        other = next(entry for entry in entries if entry.kind != IMAGES)
        raise ConfigError(
            f'config.model.image_size is {data.image_size}, but {other.kind}:{other.where} in '
            'data.source has no images: leave the size out, or name texts with images alone, as '
            'images:FOLDER/index.jsonl'
        )
    if with_images and data.layout != 'segments':
        raise ConfigError(
            f'data.layout is {data.layout!r}, but a row has one image, and so one text: type '
            '--config.data.layout=segments'
        )


def _settings(data: schema.DataConfig, piece_bytes: int) -> dict[str, Any]:
    """Everything that decides the rows, as JSON."""
    names = ['source', 'row_length', 'layout', 'holdout', 'build_seed', 'on_bad_text']
    if data.document_ends != 'blank_line':  # of which older corpora know nothing
        names += ['document_ends']
    if data.image_size is not None:
        names += ['image_size']
    elif data.layout == 'segments':
        names += ['one_segment_rate', 'short_row_rate']
    if data.validation_source is not None:
        names += ['validation_source']
    settings = {name: getattr(data, name) for name in names}
    settings['holdout'] = divide.held_out_share(data)
    config = data.tokenizer
    if config.path is not None:
        settings['tokenizer.hash'] = load.open_tokenizer(config).hash
    else:
        names = ['kind', 'vocab_size', 'lower_case', 'strip_accents', 'train_megabytes']
        usual = load.usual(config)
        settings |= {f'tokenizer.{name}': getattr(usual, name) for name in names}
    return {**settings, 'piece_bytes': piece_bytes, 'version': manifest.VERSION}


def _same_settings(
    built: Mapping[str, Any], wanted: Mapping[str, Any], folder: pathlib.Path
) -> None:
    differing = [
        f'{name} is {wanted.get(name)!r}, there {built.get(name)!r}'
        for name in sorted({*built, *wanted})
        if wanted.get(name) != built.get(name)
    ]
    if differing:
        raise ConfigError(
            f'{folder} was built with other settings: {"; ".join(differing)}; use those, or '
            f'{workers.ELSEWHERE}'
        )


def _make(folder: pathlib.Path) -> None:
    """Makes the folder, or checks that it is ours or empty."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f'cannot use the folder {folder}: {error.strerror}') from error
    foreign = any(not name.startswith((MARKER_NAME, _LOCK_NAME)) for name in names)
    if foreign and MARKER_NAME not in names:
        raise DataError(
            f'{folder} is not empty and not a corpus (it holds {", ".join(names[:3])}...); '
            f'{workers.ELSEWHERE}: nothing is ever deleted here'
        )


def _claim(folder: pathlib.Path, settings: dict[str, Any]) -> dict[str, str]:
    """Notes the settings in the folder; those of rows that are there already must be the same.

    Returns the revisions of remote text with which these rows were begun.
    """
    marker = folder / MARKER_NAME
    try:
        built = files.parse_object(marker.read_bytes()) if marker.exists() else {}
        revisions = dict(built.pop(_REVISIONS, {}))
    except (ValueError, TypeError) as error:
        raise DataError(f'{marker} is damaged ({error}); move the folder away') from error
    if settings['on_bad_text'] == 'skip' and built:  # it would have changed nothing that is built
        built['on_bad_text'] = 'skip'
    pieces = folder / workers.PIECES_FOLDER
    if any(pieces.glob('*.json')) or any(folder.glob('*.array_record')):
        _same_settings(built, settings, folder)
    elif built != settings:
        revisions = {}
        _forget_tokenizer(folder / manifest.TOKENIZER_FOLDER)
    _note(folder, settings, revisions)
    return revisions


def _note(folder: pathlib.Path, settings: dict[str, Any], revisions: dict[str, str]) -> None:
    noted = {**settings, _REVISIONS: revisions} if revisions else settings
    manifest.write_json(folder / MARKER_NAME, noted)


def _forget_tokenizer(folder: pathlib.Path) -> None:
    """Deletes the tokenizer of a build that had other settings and has made no rows."""
    path = folder / api.FILE_NAME
    if path.exists():
        terminal.ERR.print(f'{folder} was made with other settings, and no rows with it: again')
        path.unlink()
        for name in ('vocab.txt', 'tokenizer_config.json', 'spiece.model'):
            (folder / name).unlink(missing_ok=True)


def _lock(folder: pathlib.Path) -> TextIO:
    """A file that keeps a second build out of the folder until it is closed or its process ends."""
    path = folder / _LOCK_NAME
    with contextlib.ExitStack() as if_refused:
        try:
            file = if_refused.enter_context(path.open('w'))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f'another process is building {folder}; wait for it, or {workers.ELSEWHERE}'
            ) from error
        except OSError as error:
            raise DataError(
                f'cannot lock {path}: {error.strerror}; {workers.ELSEWHERE}, on another file system'
            ) from error
        if_refused.pop_all()
        return file


def _build(
    data: schema.DataConfig,
    entries: list[Entry],
    revisions: dict[str, str],
    folder: pathlib.Path,
    settings: dict[str, Any],
) -> manifest.Corpus:
    """Builds what is missing in a folder that is ours and locked."""
    started = time.monotonic()
    pieces = folder / workers.PIECES_FOLDER
    pieces.mkdir(exist_ok=True)
    finished = _times(folder)
    _delete_unfinished(folder)  # of a build that was killed
    complaints = Complaints('data.on_bad_text', data.on_bad_text)
    planned = sources.plan(entries, complaints, settings['piece_bytes'])
    size = sum(piece.read_bytes for piece in planned if not piece.held_out)
    tokenizer = _tokenizer(data, planned, folder, size, complaints)
    trained = time.monotonic()
    total = sum(piece.read_bytes for piece in planned)
    terminal.ERR.print(f'building {folder} from {data.source}, {total / 1e6:,.1f} MB')
    context = workers.Context(folder, tokenizer.hash, data, divide.largest_whole(data, size))
    with terminal.Progress('building', total / 1e6, unit='MB', console=terminal.ERR) as bar:
        sidecars = _run_pieces(context, planned, finished, bar)
    built = time.monotonic()
    if not sidecars:
        raise messages.no_rows(data, dict.fromkeys(build.COUNTS, 0), complaints)
    for sidecar in sidecars:
        complaints.add(sidecar['bad_text'])
    written = _times(folder)  # a damaged piece is built again
    ours = [s['counts'] for i, s in enumerate(sidecars) if written[i] != finished.get(i)]
    figures = {
        'seconds': round(built - started, 1),
        'tokenizer_seconds': round(trained - started, 1),
        'workers': workers.count(data) if data.runner == 'local' else None,
        'pieces_found_finished': len(sidecars) - len(ours),
        'revisions': revisions,
        'versions': {name: metadata.version(name) for name in ('numpy', 'array_record')},
    }
    unigram = np.zeros(tokenizer.vocab_size, np.int64)
    for path in pieces.glob('*.npy'):  # one at a time: a large corpus has many thousands
        unigram += np.load(path, allow_pickle=False)
    unknown = _unknown(sidecars, unigram, tokenizer)
    corpus = _joined(context, sidecars, settings, complaints, unknown, figures)
    manifest.write_array(folder / manifest.UNIGRAM_NAME, unigram)
    manifest.write_json(folder / manifest.FILE_NAME, corpus.to_json())
    _delete_unfinished(folder)  # of a worker that was killed, and others went on
    _delete(pieces, '[0-9]*.*')
    with contextlib.suppress(OSError):
        pieces.rmdir()
    messages.summary(corpus, ours, built - trained, complaints)
    terminal.ERR.print(f'  {unknown.describe()}')
    if unknown.many:
        terminal.ERR.print(f'warning: {messages.cause(unknown, tokenizer, data.tokenizer)}')
    return manifest.load_corpus(folder, 'sizes')  # each shard has been hashed here


def _times(folder: pathlib.Path) -> dict[int, int]:
    """When the sidecar of each finished piece was written, in nanoseconds."""
    return {i: one.stat().st_mtime_ns for i, one in workers.finished(folder).items()}


def _delete_unfinished(folder: pathlib.Path) -> None:
    """Deletes the temporary files of processes that are gone."""
    names = (
        '*.array_record', 'pieces/*', manifest.FILE_NAME, manifest.UNIGRAM_NAME,
        dask_cluster.SHARED_NAME,
    )  # fmt: skip
    for name in names:
        _delete(folder, f'{name}.*.tmp')


def _delete(folder: pathlib.Path, pattern: str) -> None:
    """Deletes files: only our own, by their names."""
    for path in folder.glob(pattern):
        path.unlink()


def _tokenizer(
    data: schema.DataConfig,
    planned: list[sources.Piece],
    folder: pathlib.Path,
    size: int,
    complaints: Complaints,
) -> api.Tokenizer:
    """The tokenizer to use: the one that is named, the one in the folder, or a new one.

    A new one is trained on the pieces that are not held out, of about `size` bytes. What is wrong
    with their text is one of the `complaints` only if there is nothing to train it on; otherwise it
    is reported when rows are made.
    """
    path = folder / manifest.TOKENIZER_FOLDER
    if data.tokenizer.path is not None:
        tokenizer = load.open_tokenizer(data.tokenizer)
        switches = ', '.join(f'{name}={value}' for name, value in tokenizer.switches().items())
        terminal.ERR.print(f'the tokenizer {data.tokenizer.path} has {switches}')
    elif (path / api.FILE_NAME).exists():
        return load.load(path)
    else:
        terminal.ERR.print(f'training a {data.tokenizer.kind} tokenizer')
        limit = data.tokenizer.train_megabytes * load.MEGABYTE
        pieces = [piece for piece in planned if not piece.held_out]
        with terminal.Progress(
            'reading text for the vocabulary', size / 1e6, unit='MB', console=terminal.ERR
        ) as bar:
            lines = sample.sample_lines(_watched(pieces, bar), data, size, limit)
        if not lines:
            raise _no_training_text(data, pieces, size, complaints)
        tokenizer = _learned(lines, data.tokenizer)
        _report_smaller(tokenizer, load.usual(data.tokenizer))
    tokenizer.save(path)
    return tokenizer


def _watched(pieces: list[sources.Piece], bar: terminal.Progress) -> Iterator[sources.Piece]:
    """The pieces, each of which the bar counts when it has been sampled."""
    for piece in pieces:
        yield piece
        bar.advance(piece.read_bytes / 1e6)


def _learned(lines: list[str], config: schema.TokenizerConfig) -> api.Tokenizer:
    """A tokenizer that is trained on lines of text.

    No library reports how far it is, but they read the lines: WordPiece's, nine tenths of its time
    long, SentencePiece's at once.
    """
    total, is_read = sum(map(_megabytes, lines)), False
    with terminal.Progress(
        'learning the vocabulary', total, unit='MB', console=terminal.ERR,
        detail=lambda: 'all is read, and pieces are chosen' if is_read else '',
    ) as bar:  # fmt: skip

        def watch(texts: Iterable[str]) -> Iterator[str]:
            nonlocal is_read
            read = 0.0
            for text in texts:
                yield text
                read += _megabytes(text)
                if read > total / 1000:  # a bar of each line would take longer than the line
                    bar.advance(read)
                    read = 0.0
            is_read = True
            bar.advance(read)

        return load.train_tokenizer(lines, config, watch)


def _megabytes(line: str) -> float:
    return len(line.encode(errors='replace')) / 1e6


def _report_smaller(tokenizer: api.Tokenizer, config: schema.TokenizerConfig) -> None:
    """Reports a vocabulary that is smaller than was asked for; an alphabet is as large as it is."""
    asked = config.vocab_size or 0
    if tokenizer.vocab_size < asked and config.kind != 'characters':
        terminal.ERR.print(
            f'note: the vocabulary has {tokenizer.vocab_size:,} entries, not the {asked:,} of '
            'data.tokenizer.vocab_size: this text gives no more pieces'
        )


def _no_training_text(
    data: schema.DataConfig, pieces: list[sources.Piece], size: int, complaints: Complaints
) -> DataError:
    """Why no document is for training; raises what is wrong with the text."""
    counts = dict.fromkeys(build.COUNTS, 0)
    for piece in pieces:
        build.count_documents(piece, data, divide.largest_whole(data, size), complaints, counts)
    return messages.no_rows(data, counts, complaints)


# data.runner -> (pieces, context, what to call with each when it is done) to each with its sidecar.
RUNNERS: dict[str, Callable[..., Iterator[tuple[sources.Piece, workers.Sidecar]]]] = {
    'local': workers.run_pieces,
    'beam': beam.run_pieces,
}


def _run_pieces(
    context: workers.Context,
    pieces: list[sources.Piece],
    before: Collection[int],
    bar: terminal.Progress,
) -> list[workers.Sidecar]:
    """The sidecars of all pieces, in order; those of the numbers `before` are no part of speed."""

    def done(piece: sources.Piece) -> None:
        count = bar.skip if piece.index in before else bar.advance
        count(piece.read_bytes / 1e6)

    sidecars: dict[int, workers.Sidecar] = {}
    for piece, sidecar in RUNNERS[context.config.runner](pieces, context, done):
        sidecars[piece.index] = sidecar
    if len(workers.finished(context.folder)) != len(sidecars):
        raise DataError(
            f'data.source has become smaller since {context.folder} was begun; {workers.ELSEWHERE}'
        )
    return [sidecars[i] for i in sorted(sidecars)]


def _unknown(
    sidecars: list[workers.Sidecar], unigram: np.ndarray, tokenizer: api.Tokenizer
) -> Unknown:
    """[UNK] in the training rows, and examples from all of the text."""
    total = Unknown()
    for sidecar in sidecars:
        total.merge(Unknown(words=sidecar.get('unknown', {}).get('words', {})))
    total.tokens, total.unknown = int(unigram.sum()), int(unigram[tokenizer.special.unk])
    return total


def _joined(
    context: workers.Context,
    sidecars: list[workers.Sidecar],
    settings: dict[str, Any],
    complaints: Complaints,
    unknown: Unknown,
    figures: dict[str, Any],
) -> manifest.Corpus:
    """The corpus that the pieces make together."""
    data, tokenizer = context.config, context.tokenizer
    counts = {name: sum(s['counts'][name] for s in sidecars) for name in build.COUNTS}
    if counts['dropped_tokens']:
        raise AssertionError(f'{counts["dropped_tokens"]} tokens are in no row')
    if not counts['train_rows']:
        raise messages.no_rows(data, counts, complaints)
    shards = {
        split: tuple(records.Shard(**s['shards'][split]) for s in sidecars if s['shards'][split])
        for split in manifest.SPLITS
    }
    return manifest.Corpus(
        path=context.folder,
        row_length=data.row_length,
        layout=data.layout,
        image_size=data.image_size or 0,
        token_bytes=records.token_bytes(tokenizer.vocab_size),
        vocab_size=tokenizer.vocab_size,
        tokenizer_hash=tokenizer.hash,
        special=tokenizer.special,
        shards=shards,
        counts=counts,
        source=data.source or '',
        settings=settings,
        bad_text=complaints.counts,
        unknown=unknown.to_json(),
        build=figures,
    )
