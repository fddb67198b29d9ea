"""Prepared TensorFlow datasets, opened without TensorFlow.

`tensorflow_datasets` reads datasets that were prepared as ArrayRecord files with NumPy alone;
preparing one needs TensorFlow, once, on any machine.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from etils import epath

from electra_jax.core.errors import DataError, first_line


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
        return builder.as_data_source(split=split), builder.info


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
    # tensorflow_datasets raises different errors for different datasets; the remedy is the same.
    except Exception as error:
        name, _, split = where.partition(':')
        raise DataError(
            f'cannot read the dataset tfds:{where} ({type(error).__name__}: {first_line(error)}). '
            f'It must be prepared as ArrayRecord files. {how_to_prepare(name)} (or name the folder '
            f'itself: tfds:FOLDER/.../VERSION{":" if split else ""}{split})'
        ) from error


def how_to_prepare(name: str) -> str:
    """What to type so that a dataset is on this machine."""
    return (
        'On a machine with a network, type: pip install tensorflow tensorflow-datasets apache-beam '
        f'mwparserfromhell && tfds build {name} --file_format=array_record --data_dir=FOLDER; '
        'then here: export TFDS_DATA_DIR=FOLDER'
    )
