"""Pieces of a corpus shared between machines by Apache Beam.

The pieces, and what becomes of each, are those of a build on this machine (`workers.Context.run`),
so the shards are the same bytes. Every worker must see the source and `data.path` under the same
names as this process, on a shared or mounted file system. `data.runner_options` names the runner;
a tokenizer is trained here, before.
"""

import functools
import json
import pathlib
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from electra_jax.config import settings
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.corpus import sources, workers
from electra_jax.tokenizers import load


def run_pieces(
    pieces: Iterable[sources.Piece], context: workers.Context, options: str | None
) -> Iterator[tuple[sources.Piece, dict[str, Any]]]:
    """Builds every piece, as `workers.run_pieces` does, on the runner that the options name.

    Args:
        pieces: all are taken before the first is built.
        context: where to write, the tokenizer, the settings.
        options: Beam's own, such as '--runner=FlinkRunner --flink_master=HOST:8081'.

    Raises:
        ConfigError: the options cannot be read.
        DataError: a piece could not be built, or Beam is not installed.
    """
    try:
        # Imported here, because a build on one machine does not need it and it takes seconds.
        import apache_beam as beam
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
    to_do = list(pieces)
    if not to_do:
        return
    tokenizer = json.dumps(context.tokenizer.to_json())
    try:
        with beam.Pipeline(options=pipeline_options) as pipeline:
            (
                pipeline
                | 'Pieces' >> beam.Create(to_do)
                # Else a runner may fuse both steps and build everything where it was listed.
                | 'SpreadOut' >> beam.Reshuffle()
                | 'Build' >> beam.Map(_build, str(context.folder), tokenizer, context.config)
            )
    except Exception as error:  # each runner wraps what a worker raised in its own way
        raise DataError(
            f'Beam could not build all pieces: {_reason(error)}; those that are finished stay, and '
            'the same command goes on (data.runner_options: '
            f'{options or "none, so Beam runs on this machine"})'
        ) from error
    for piece in to_do:
        sidecar = workers.read_sidecar(context.folder, piece.index, context.tokenizer.vocab_size)
        if sidecar is None:
            raise DataError(
                f'piece {piece.index} was built, but is not in {context.folder} as seen from here: '
                'data.path must be one folder on a file system that all workers share'
            )
        yield piece, sidecar


def _build(piece: sources.Piece, folder: str, tokenizer: str, config: settings.DataConfig) -> None:
    _context(folder, tokenizer, config).run(piece)


@functools.lru_cache(maxsize=1)
def _context(folder: str, tokenizer: str, config: settings.DataConfig) -> workers.Context:
    """The context of this worker process; opening a tokenizer takes a while."""
    return workers.Context(pathlib.Path(folder), load.from_json(json.loads(tokenizer)), config)


def _reason(error: BaseException) -> str:
    """The line of a runner's report that has our own message, else its first."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    ours = [line.partition('DataError: ')[2] for line in lines if 'DataError: ' in line]
    return next(iter(ours or lines or [type(error).__name__]))[:500]
