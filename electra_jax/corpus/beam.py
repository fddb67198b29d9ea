"""Pieces of a corpus shared between machines by Apache Beam.

Each worker runs `workers.Context.build`, as a build on this machine does, so the shards are the
same bytes. Every worker must see the source and `data.path` under the same names as this process,
on a shared or mounted file system. `data.runner_options` names the runner; a tokenizer is trained
here, before.

The pipeline is three steps that every runner has, and gives nothing back: what was built is read
from the folder, and counted there as it appears.
"""

import contextlib
import difflib
import pathlib
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from electra_jax.core.errors import ConfigError, DataError
from electra_jax.corpus import dask_cluster, messages, sources, workers

_LOOK_SECONDS = 2.0  # between two looks at the folder while pieces are built
_SHORT_NAMES = dict.fromkeys(('dask', 'daskrunner'), dask_cluster.RUNNER)


def check(options: str | None) -> None:
    """Refuses what would end a build before its first piece.

    Raises:
        ConfigError: the options cannot be read, or name no runner.
        DataError: Beam is not installed, or the cluster that they name cannot be used.
    """
    read = _read(options)
    if _runner(read) == dask_cluster.RUNNER:
        dask_cluster.check(read)


def check_shared(options: str | None, folder: pathlib.Path, texts: Iterable[str]) -> None:
    """Refuses workers that do not see `folder` or `texts`, where the runner can ask each of them.

    Raises:
        DataError: names the worker and what it does not see.
    """
    read = _read(options)
    if _runner(read) == dask_cluster.RUNNER:
        dask_cluster.check_shared(read, folder, texts)


def _read(options: str | None) -> Any:
    """The options as Beam has them, with what we set for the runner."""
    try:
        # Imported here, because a build on one machine does not need it and it takes seconds.
        with messages.without('root', 'apitools not found'):  # BigQuery has no part in a corpus
            import apache_beam  # noqa: F401
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise DataError(
            "data.runner is 'beam', which needs Apache Beam: type pip install -e '.[beam]' (the "
            'workers need the same), or --config.data.runner=local'
        ) from error
    if 'dask' in (options or '').lower():
        dask_cluster.add_options()
    try:
        read = PipelineOptions(shlex.split(options or ''))
        # Only this reads the words; a pipeline warns of those that are unknown.
        read.get_all_options(retain_unknown_options=True)
    except (ValueError, SystemExit) as error:  # an unclosed quote; argparse gives up
        raise ConfigError(
            f'data.runner_options is {options!r}: it is read as the words of a command line, such '
            "as '--runner=FlinkRunner --flink_master=HOST:8081'"
        ) from error
    if not (name := _runner(read)):
        return read
    if name == dask_cluster.RUNNER:
        # Our own error names what is unknown.
        with messages.without('apache_beam.options.pipeline_options', 'Discarding'):
            dask_cluster.complete(read)
    else:
        read.get_all_options()  # warns of unknown ones before anything is built
    _set_runner(read, name)
    return read


def _set_runner(options: Any, name: str) -> None:
    """Sets the runner, which must be one that is known and installed."""
    from apache_beam.options.pipeline_options import StandardOptions
    from apache_beam.runners import runner

    options.view_as(StandardOptions).runner = name
    try:
        runner.create_runner(name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f'--runner={name} in data.runner_options: {error}') from error
    except ValueError as error:
        dask = dask_cluster.RUNNER.rpartition('.')[2]  # which Beam does not list
        known = sorted({*StandardOptions.KNOWN_RUNNER_NAMES, dask})
        close = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(
            f'--runner={name} in data.runner_options is no runner of Beam'
            f'{f"; did you mean {close[0]}?" if close else ""}; allowed: {", ".join(known)}, or '
            'the whole name of a class, with its modules'
        ) from error


def _runner(options: Any) -> str | None:
    """The name of the runner, of Dask's the whole name, by which Beam knows it."""
    from apache_beam.options.pipeline_options import StandardOptions

    name = options.view_as(StandardOptions).runner
    return _SHORT_NAMES.get((name or '').lower(), name)


def run_pieces(
    pieces: Iterable[sources.Piece],
    context: workers.Context,
    done: Callable[[sources.Piece], None],
) -> Iterator[tuple[sources.Piece, workers.Sidecar]]:
    """Builds every piece, as `workers.run_pieces` does, on the runner of `data.runner_options`.

    All pieces are taken before the first is built.

    Raises:
        ConfigError: the options cannot be read.
        DataError: a piece could not be built, Beam is not installed, or the cluster is gone.
    """
    options = context.config.runner_options
    pipeline_options = _read(options)
    import apache_beam as beam

    to_do = list(pieces)
    pipeline = beam.Pipeline(options=pipeline_options)
    with dask_cluster.watched(pipeline), _counted(to_do, context, done) as uncounted:
        try:
            with pipeline:
                (
                    pipeline
                    | 'Pieces' >> beam.Create(to_do)
                    # Else a runner may fuse both steps and build everything where it was listed.
                    | 'SpreadOut' >> beam.Reshuffle()
                    | 'Build' >> beam.FlatMap(_build, context)
                )
        except Exception as error:  # each runner wraps what a worker raised in its own way
            raise DataError(
                f'Beam could not build all pieces: {_reason(error)}; those that are finished stay, '
                'and the same command continues (data.runner_options: '
                f'{options or "none, so Beam runs on this machine"})'
            ) from error
    for piece in to_do:
        sidecar = context.read(piece)
        if sidecar is None:
            raise DataError(
                f'piece {piece.index} was built, but is not in {context.folder} as seen from here: '
                'data.path must be one folder on a file system that all workers share'
            )
        if uncounted.pop(piece.index, None):
            done(piece)
        yield piece, sidecar


@contextlib.contextmanager
def _counted(
    pieces: Iterable[sources.Piece],
    context: workers.Context,
    done: Callable[[sources.Piece], None],
) -> Iterator[dict[int, sources.Piece]]:
    """Calls `done` with each piece soon after its file appears; yields the others, by number.

    Runners report single elements each in its own way, or not at all.
    """
    left, over = {piece.index: piece for piece in pieces}, threading.Event()

    def look() -> None:
        seconds = _LOOK_SECONDS
        while not over.wait(seconds):
            began = time.monotonic()
            with contextlib.suppress(OSError):  # of a network, which the build itself reports
                for index in left.keys() & workers.finished(context.folder).keys():
                    done(left.pop(index))
            # A list of many thousands takes long on a network: it must not be all that this does.
            seconds = max(_LOOK_SECONDS, 10 * (time.monotonic() - began))

    thread = threading.Thread(target=look, name='pieces', daemon=True)
    thread.start()
    try:
        yield left
    finally:
        over.set()
        thread.join()


def _build(piece: sources.Piece, context: workers.Context) -> list[int]:
    """Builds a piece. Its sidecar is in the folder: nothing is sent back."""
    context.build(piece)
    return []


def _reason(error: BaseException) -> str:
    """The line of a runner's report that has our own message, else its first."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    ours = [line.partition('DataError: ')[2] for line in lines if 'DataError: ' in line]
    return next(iter(ours or lines or [type(error).__name__]))[:500]
