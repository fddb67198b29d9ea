"""Where the files of a task are: in a folder by their names, or in a TensorFlow dataset."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from electra_jax.core import compressed, tfds
from electra_jax.core.errors import DataError
from electra_jax.finetune.files import lines
from electra_jax.finetune.files.tables import TABLES, Columns

_TFDS = 'tfds:'
_TFDS_INFO = 'dataset_info.json'  # in the folder of a prepared dataset
_TFDS_SPLITS = {'dev': 'validation'}  # our name -> theirs
_USUAL_NAMES = {
    'train': ('train',),
    'dev': ('dev', 'validation', 'valid', 'val'),
    'test': ('test',),
}


class Dataset(NamedTuple):
    """How a TensorFlow dataset holds a task."""

    columns: Columns
    splits: Mapping[str, str] = _TFDS_SPLITS  # our name -> theirs; others have the same name
    labels: Mapping[str, str] = {}  # their names of classes -> ours; others have the same name


@dataclasses.dataclass(frozen=True)
class TaskFiles:
    """Where a task's files are and how to read them."""

    # Split -> names, without ending, of the file to look for; the first that exists is read.
    names: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=_USUAL_NAMES.copy)
    columns: Columns = dataclasses.field(default_factory=Columns)
    # Field -> column: they count together, where a file has them and none of the usual ones.
    others: tuple[Mapping[str, str], ...] = ()
    split_columns: Mapping[str, Columns] = dataclasses.field(default_factory=dict)  # that differ
    folders: tuple[str, ...] = ()  # names of the task's own folder in a folder of many tasks
    endings: tuple[str, ...] = TABLES
    dataset: Dataset | None = None  # the same task as a TensorFlow dataset
    known_gaps: bool = False  # whether the official files have rows with missing cells
    parallel: bool = False  # whether two files may hold both sides, line by line


class Location(NamedTuple):
    """A file, or a split of a TensorFlow dataset."""

    path: pathlib.Path | None
    dataset: str = ''
    split: str = ''


def find(files: TaskFiles, where: str, split: str) -> Location | None:
    """Where a split, a key of `files.names`, is; None: the data does not have it.

    `where` is the task's folder, a folder of such folders, or 'tfds:NAME' for a prepared TensorFlow
    dataset.
    """
    if where.startswith(_TFDS):
        name, theirs = where.removeprefix(_TFDS), _their_name(files, split)
        held = tfds.split_names(name)
        # Where nothing is prepared, no split is known; reading one then explains what to type.
        return Location(None, name, theirs) if theirs in held or not held else None
    top = pathlib.Path(where)
    if top.is_file():
        raise DataError(
            f'config.data.path is the file {where}: name the folder that it is in, and the files '
            'with --config.task.train_file=NAME --config.task.dev_file=NAME'
        )
    if not top.is_dir():
        raise DataError(
            f'config.data.path is {where!r}, but no folder of that name is there '
            f'(looked from {pathlib.Path.cwd()})'
        )
    for folder in (*(top / name for name in files.folders), top):
        for name in files.names.get(split, ()):
            paths = _existing(folder, name, files.endings)
            if len(paths) > 1:
                listed = ' and '.join(map(str, paths))
                raise DataError(f'{listed} could both be the {split} file: keep one')
            if paths:
                return Location(paths[0])
    return None


def missing(files: TaskFiles, where: str, split: str) -> DataError:
    """The error for data that lacks a split which is needed."""
    remedy = ''
    if split == 'dev':
        remedy = (
            '; a tenth of the training rows can be held out and scored: --config.task.dev_share=0.1'
        )
    if where.startswith(_TFDS):
        held = ', '.join(map(repr, tfds.split_names(where.removeprefix(_TFDS))))
        return DataError(
            f'config.data.path is {where!r}, a data set with no split '
            f'{_their_name(files, split)!r}; it has {held}{remedy}'
        )
    path = pathlib.Path(where)
    if files.parallel:
        remedy += _of_sides(path, files.names.get(split, ()))
    is_usual = split in ('train', 'dev', 'test')
    named = f'; another file is named by --config.task.{split}_file=NAME' if is_usual else ''
    if '.conll' not in files.endings and any(map(lines.holds_tags, path.glob(f'{split}.*'))):
        named += f'. {lines.TAGGED}'
    names = ' or '.join(f'{name}{files.endings[0]}' for name in files.names.get(split, ()))
    folders = f', perhaps in a folder {" or ".join(files.folders)}' if files.folders else ''
    held = ', '.join(sorted(child.name for child in path.iterdir())[:12]) or 'nothing'
    levels = ('', '*/', '*/*/', '*/*/*/')
    prepared = next((one for level in levels for one in path.glob(level + _TFDS_INFO)), None)
    if prepared is not None:
        remedy += (
            '; a prepared TensorFlow dataset is named by its own folder: '
            f'--config.data.path=tfds:{prepared.parent}'
        )
    return DataError(
        f'config.data.path is {where!r}, which holds {held}; looked for the {split} split in '
        f'{names or "no file"}{folders} (endings: {", ".join(files.endings)}; '
        f'{", ".join(compressed.DECOMPRESSORS)} may follow){named}{remedy}'
    )


def _of_sides(folder: pathlib.Path, names: tuple[str, ...]) -> str:
    """What to type for parallel files that are there."""
    found: dict[str, list[str]] = {}
    for child in sorted(folder.iterdir()):
        stem, _, ending = child.name.partition('.')
        if stem in names and ending.isalpha():
            found.setdefault(stem, []).append(ending)
    for stem, endings in found.items():
        if len(endings) > 1:
            first, second = endings[:2]
            return (
                f'; if {stem}.{first} and {stem}.{second} are both sides, line by line: '
                f'--config.task.columns.source={first} --config.task.columns.target={second}'
            )
    return ''


def _their_name(files: TaskFiles, split: str) -> str:
    return (files.dataset.splits if files.dataset else _TFDS_SPLITS).get(split, split)


def _existing(folder: pathlib.Path, name: str, endings: tuple[str, ...]) -> list[pathlib.Path]:
    """Files of that name, whose endings may be in any letter case."""
    path, packed = folder / name, ('', *compressed.DECOMPRESSORS)
    allowed = {'', *(f'{ending}{pack}' for ending in endings for pack in packed)}
    if not path.parent.is_dir():
        return []
    here = (one for one in path.parent.iterdir() if one.name.startswith(path.name))
    return sorted(x for x in here if x.name[len(path.name) :].lower() in allowed and x.is_file())
