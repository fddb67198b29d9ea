"""Predictions for the judge of GLUE, https://gluebenchmark.com."""

import pathlib
from collections.abc import Sequence

from electra_jax.core import files
from electra_jax.core.errors import DataError
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.kinds.kind import Predictions


def write(folder: pathlib.Path, split: str, predictions: Predictions, texts: Sequence[str]) -> None:
    """Writes the file that GLUE wants for a split, if any; `texts` are the predictions in it."""
    name = predictions.task.spec.submissions.get(split)
    if name is None:
        return
    pairs = sorted(zip(predictions.examples, texts, strict=True), key=lambda pair: _index(pair[0]))
    lines = [f'{example.id}\t{text}\n' for example, text in pairs]
    folder.mkdir(parents=True, exist_ok=True)
    files.write_whole(folder / name, ''.join(['index\tprediction\n', *lines]))


def check_whole(examples: Sequence[TextExample]) -> None:
    """Refuses, before training, a test file that GLUE would refuse the predictions of.

    Raises:
        DataError: rows are missing, or not numbered from 0.
    """
    for number, example in enumerate(sorted(examples, key=_index)):
        if _index(example) != number:
            raise DataError(
                f'{example.where}: GLUE wants one prediction for every row of the test file, '
                f'numbered from 0, and where number {number} should be the file has '
                f'{example.id!r}; use the official file whole (--config.data.on_bad_row=error)'
            )


def _index(example: TextExample) -> int:
    return int(example.id) if example.id.isdecimal() else -1
