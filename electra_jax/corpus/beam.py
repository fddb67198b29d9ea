"""Pieces of a corpus shared between machines by Apache Beam.

Each worker runs `workers.Context.build`, as a build on this machine does, so the shards are the
same bytes. Every worker must see the source and `data.path` under the same names as this process,
on a shared or mounted file system. `data.runner_options` names the runner; a tokenizer is trained
here, before.
"""

import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from electra_jax.core.errors import ConfigError, DataError
from electra_jax.corpus import sources, workers


def check(options: str | None) -> Any:
    """The options of the pipeline; refuses those that cannot be read, and a missing Beam."""
    try:
        # Imported here, because a build on one machine does not need it and it takes seconds.
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise DataError(
            "data.runner is 'beam', which needs Apache Beam: type pip install -e '.[beam]' (the "
            'workers need the same), or --config.data.runner=local'
        ) from error
    try:
        pipeline_options = PipelineOptions(shlex.split(options or ''))
        pipeline_options.get_all_options()  # only this reads the words
    except (ValueError, SystemExit) as error:  # an unclosed quote; argparse gives up
        raise ConfigError(
            f'data.runner_options is {options!r}: it is read as the words of a command line, such '
            "as '--runner=FlinkRunner --flink_master=HOST:8081'"
        ) from error
    return pipeline_options


def run_pieces(
    pieces: Iterable[sources.Piece], context: workers.Context
) -> Iterator[tuple[sources.Piece, workers.Sidecar]]:
    """Builds every piece, as `workers.run_pieces` does, on the runner of `data.runner_options`.

    All pieces are taken before the first is built.

    Raises:
        ConfigError: the options cannot be read.
        DataError: a piece could not be built, or Beam is not installed.
    """
    options = context.config.runner_options
    pipeline_options = check(options)
    import apache_beam as beam

    to_do = list(pieces)
    try:
        with beam.Pipeline(options=pipeline_options) as pipeline:
            (
                pipeline
                | 'Pieces' >> beam.Create(to_do)
                # Else a runner may fuse both steps and build everything where it was listed.
                | 'SpreadOut' >> beam.Reshuffle()
                | 'Build' >> beam.Map(context.build)
            )
    except Exception as error:  # each runner wraps what a worker raised in its own way
        raise DataError(
            f'Beam could not build all pieces: {_reason(error)}; those that are finished stay, and '
            'the same command continues (data.runner_options: '
            f'{options or "none, so Beam runs on this machine"})'
        ) from error
    for piece in to_do:
        sidecar = context.read(piece)
        if sidecar is None:
            raise DataError(
                f'piece {piece.index} was built, but is not in {context.folder} as seen from here: '
                'data.path must be one folder on a file system that all workers share'
            )
        yield piece, sidecar


def _reason(error: BaseException) -> str:
    """The line of a runner's report that has our own message, else its first."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    ours = [line.partition('DataError: ')[2] for line in lines if 'DataError: ' in line]
    return next(iter(ours or lines or [type(error).__name__]))[:500]
