"""Rows of prepared TensorFlow datasets that hold tasks."""

from collections.abc import Callable, Iterator
from typing import Any

from electra_jax.core import tfds
from electra_jax.core.errors import DataError, first_line
from electra_jax.finetune.files.tables import Columns, Row, Rows


def read(name: str, split: str, columns: Columns) -> Rows:
    """Rows of a split: bytes become text, classes their names (None for -1, "not given").

    `name` is that of the dataset with its config, such as 'glue/sst2', or the folder of one.
    """
    source, info = tfds.open_split(name, split)
    plain = {key: _plain_values(feature) for key, feature in info.features.items()}

    def rows() -> Iterator[Row]:
        for number in range(len(source)):
            where = f'{name}:{split}, row {number}'
            try:
                values = {key: plain[key](value) for key, value in source[number].items()}
            # Each file format has a library with errors of its own.
            except Exception as error:
                raise DataError(
                    f'{where} cannot be read ({first_line(error)}): the files of the dataset are '
                    'damaged; copy or prepare them again'
                ) from error
            yield Row(where, number, values)

    return Rows(f'{name}:{split}', tuple(info.features), rows(), columns)


def _plain_values(feature: Any) -> Callable[[Any], Any]:
    """What turns a feature's values into those that JSON would give."""
    inner = getattr(feature, 'feature', feature)  # of a sequence: the feature of its items
    class_name = getattr(inner, 'int2str', None)
    if class_name is not None and getattr(inner, 'names', None):
        return lambda value: _named(value, class_name)
    return _plain


def _named(value: Any, class_name: Callable[[int], str]) -> Any:
    if getattr(value, 'ndim', 0) or isinstance(value, list):
        return [_named(item, class_name) for item in value]
    return None if int(value) < 0 else class_name(int(value))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors='replace')
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if getattr(value, 'ndim', 0) or isinstance(value, list):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, 'item') else value
