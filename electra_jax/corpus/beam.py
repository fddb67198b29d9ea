"""Pieces of a corpus shared between machines by Apache Beam.

The pieces, and what becomes of each, are the very ones of a build on this machine
(`workers.Context.run`), so the shards are the same bytes. This process cuts the text into pieces
and hands out their places, not the text; every worker must see the source and `data.path` under
the same names as this process, on a shared or mounted file system.
"""

import pathlib
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from electra_jax.config import settings
from electra_jax.core import errors
from electra_jax.corpus import sources, workers
from electra_jax.tokenizers import load


def run_pieces(
    pieces: Iterable[sources.Piece], context: workers.Context, options: str | None
) -> Iterator[tuple[sources.Piece, dict[str, Any]]]:
    """As `workers.run_pieces`, on whatever runner the options name.

    Args:
      pieces: all are taken before the first is built.
      context: where to write, the tokenizer, the settings.
      options: Beam's own, such as '--runner=FlinkRunner --flink_master=HOST:8081'.

    Raises:
      errors.ConfigError: the options cannot be read.
      errors.DataError: a piece could not be built, or Beam is not installed.
    """
    beam, pipeline_options = _apache_beam()
    to_do = list(pieces)
    if not to_do:
        return
    asked = _asked(pipeline_options, options)
    job = _Job(str(context.folder), context.tokenizer.to_json(), context.config)
    try:
        with beam.Pipeline(options=asked) as pipeline:
            (
                pipeline
                | 'Pieces' >> beam.Create(to_do)
                # Else a runner may fuse both steps and build everything where it was listed.
                | 'SpreadOut' >> beam.Reshuffle()
                | 'Build' >> beam.Map(_build, job=job)
            )
    except Exception as error:  # each runner wraps what a worker raised in its own way
        raise errors.DataError(
            f'Beam could not build all pieces: {_reason(error)}; those that are finished stay, and '
            'the same command goes on (data.runner_options: '
            f'{options or "none, so Beam runs on this machine"})'
        ) from error
    for piece in to_do:
        sidecar = workers.read_sidecar(context.folder, piece.index, context.tokenizer.vocab_size)
        if sidecar is None:
            raise errors.DataError(
                f'piece {piece.index} was built, but is not in {context.folder} as seen from here: '
                'data.path must be one folder on a file system that all workers share'
            )
        yield piece, sidecar


class _Job:
    """What a worker needs; its context is made once in each process that gets a copy."""

    def __init__(self, folder: str, tokenizer: dict[str, Any], config: settings.DataConfig) -> None:
        self._made_of = (folder, tokenizer, config)
        self._context: workers.Context | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {'_made_of': self._made_of, '_context': None}

    def context(self) -> workers.Context:
        if self._context is None:
            folder, tokenizer, config = self._made_of
            self._context = workers.Context(pathlib.Path(folder), load.from_json(tokenizer), config)
        return self._context


def _asked(pipeline_options: Any, options: str | None) -> Any:
    """Beam's options of the text that the user gave."""
    try:
        asked = pipeline_options(shlex.split(options or ''))
        asked.get_all_options()  # reads the words, which waits until someone asks
    except (ValueError, SystemExit) as error:  # a quote that stays open; argparse gives up
        raise errors.ConfigError(
            f'data.runner_options is {options!r}: it is read as the words of a command line, such '
            "as '--runner=FlinkRunner --flink_master=HOST:8081'"
        ) from error
    return asked


def _build(piece: sources.Piece, job: _Job) -> int:
    job.context().run(piece)
    return piece.index


def _reason(error: BaseException) -> str:
    """The line of a runner's report that says what our own code raised, else its first."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    ours = [line.partition('DataError: ')[2] for line in lines if 'DataError: ' in line]
    return next(iter(ours or lines or [type(error).__name__]))[:500]


def _apache_beam() -> tuple[Any, Any]:
    try:
        # Here, because a build on one machine does not need it and it takes seconds.
        import apache_beam
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise errors.DataError(
            "data.runner is 'beam', which needs Apache Beam: type pip install -e '.[beam]' (the "
            'workers need the same), or --config.data.runner=local'
        ) from error
    return apache_beam, pipeline_options.PipelineOptions
