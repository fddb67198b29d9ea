"""Prepared TensorFlow datasets, opened without TensorFlow.

`tensorflow_datasets` reads datasets that were prepared as ArrayRecord files with NumPy alone, and
the examples of TFRecord files, whose records are read here. Preparing a dataset needs TensorFlow,
once, on any machine.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from etils import epath

from electra_jax.core import tfrecord
from electra_jax.core.compressed import TornError
from electra_jax.core.errors import DataError, first_line

_CHUNK_BYTES = 1 << 20


def split_names(name: str) -> tuple[str, ...]:
    """The splits of a dataset; () where it is known and nothing of it is prepared."""
    with _advice(name):
        return tuple(_builder(name).info.splits)


def open_split(name: str, split: str) -> tuple[Any, Any]:
    """The rows of a split, a sequence that reads them one by one, and the dataset's `DatasetInfo`.

    A `name` is such as 'glue/sst2', or a folder; a `split` such as 'train' or 'validation[:10%]'.
    """
    with _advice(f'{name}:{split}'):
        builder = _builder(name)
        if builder.info.file_format.value == 'tfrecord':
            return _Examples(builder, split), builder.info
        return builder.as_data_source(split=split), builder.info


class _Examples:
    """The rows of a split in TFRecord files, which are in memory as they are there."""

    def __init__(self, builder: Any, split: str) -> None:
        self._parse: Callable[[bytes], Any] = builder.info.features.deserialize_example_np
        self._records: list[bytes] = []
        for file in builder.info.splits[split].file_instructions:
            found = _records(file.filename, file.skip, file.examples_in_shard)
            self._records += found if file.take == -1 else found[: file.take]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: int) -> Any:
        return self._parse(self._records[number])


def _records(path: str, first: int, size: int) -> list[bytes]:
    """The records of a file of `size` records, from the `first` on."""
    with epath.Path(path).open('rb') as file:
        chunks = iter(functools.partial(file.read, _CHUNK_BYTES), b'')
        found = []
        try:
            for data in tfrecord.records(chunks):
                if data is None:
                    raise TornError('the checksum of a record is not that of its data')
                found.append(data)
            if len(found) != size:
                raise TornError(f'it holds {len(found)} records of {size}')
        except TornError as error:
            raise DataError(f'{path}: {error}; copy or prepare the dataset again') from error
    return found[first:]


def _builder(name: str) -> Any:
    # Imported here, because only this source needs it and it takes half a second.
    import tensorflow_datasets

    if epath.Path(name).is_dir():
        return tensorflow_datasets.builder_from_directory(name)
    return tensorflow_datasets.builder(name)


@contextlib.contextmanager
def _advice(where: str) -> Iterator[None]:
    """Turns any error inside into one that explains how to prepare the dataset."""
    try:
        yield
    except ImportError as error:
        raise DataError(
            f"tfds:{where} needs the package tensorflow-datasets; type: pip install -e '.[tfds]'"
        ) from error
    except DataError:
        raise
    # tensorflow_datasets raises different errors for different datasets; the remedy is the same.
    except Exception as error:
        name, _, split = where.partition(':')
        raise DataError(
            f'cannot read the dataset tfds:{where} ({type(error).__name__}: {first_line(error)}). '
            f'It must be prepared first. {how_to_prepare(name)} (or name the folder '
            f'itself: tfds:FOLDER/.../VERSION{":" if split else ""}{split})'
        ) from error


def how_to_prepare(name: str) -> str:
    """What to type so that a dataset is on this machine."""
    return (
        'Where there is a network, with tensorflow and tensorflow-datasets, type: tfds build '
        f'{name} --file_format=array_record --data_dir=FOLDER; then here: export '
        'TFDS_DATA_DIR=FOLDER'
    )
