"""Where prepared TensorFlow datasets are: folders of this machine, and the bucket of TFDS."""

import contextlib
import functools
import math
import os
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from etils import epath

from electra_jax.core import files, tfds
from electra_jax.core.errors import DataError, first_line, unknown
from electra_jax.corpus import web

# Where TFDS keeps datasets that it has prepared. A mirror has the same files below `datasets`.
BUCKET_VARIABLE = 'ELECTRA_TFDS_URL'
BUCKET = 'https://storage.googleapis.com/tfds-data'

_INFO, _FEATURES = 'dataset_info.json', 'features.json'
_TEMPLATE = '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'
_SPLIT = re.compile(r'(\w+)(?:\[(-?\d+%?)?:(-?\d+%?)?\])?')
_VERSION = re.compile(r'\d+\.\d+\.\d+')


class Disk:
    """Folders of this machine, or of the user's own bucket (gs://...); a path is a whole one."""

    def read(self, path: str) -> bytes | None:
        """The content of a file; None: there is none."""
        with _readable(path):
            try:
                return epath.Path(path).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder."""
        with _readable(path):
            inside = epath.Path(path).iterdir() if self.is_folder(path) else ()
            return sorted(one.name for one in inside if one.is_dir())

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder of that name."""
        with _readable(path):
            return epath.Path(path).is_dir()

    def chunks(self, path: str) -> Iterator[bytes]:
        """A file, piece by piece."""
        with epath.Path(path).open('rb') as file:
            yield from iter(functools.partial(file.read, web.CHUNK_BYTES), b'')


def _readable(path: str) -> contextlib.AbstractContextManager[None]:
    return files.explained('read', path, (Exception,))  # each storage raises its own


class Bucket:
    """Folders of the bucket of TFDS; a path begins below its `datasets`."""

    def __init__(self) -> None:
        self.url = os.environ.get(BUCKET_VARIABLE, BUCKET).rstrip('/')

    def read(self, path: str) -> bytes | None:
        try:
            return _read(self._address(path))
        except web.MissingError:
            return None

    def folders(self, path: str) -> list[str]:
        from xml.etree import ElementTree

        # The listing that Google Cloud Storage and Amazon S3 share; a thousand names are enough.
        query = urllib.parse.urlencode({'prefix': f'datasets/{path}/', 'delimiter': '/'})
        try:
            listing = ElementTree.fromstring(_read(f'{self.url}?{query}'))
        except web.MissingError:
            return []  # a mirror without listings
        except ElementTree.ParseError as error:
            raise DataError(f'{self.url} lists no folders: {first_line(error)}') from error
        prefixes = [one.text or '' for one in listing.findall('{*}CommonPrefixes/{*}Prefix')]
        return sorted(prefix.rstrip('/').rpartition('/')[2] for prefix in prefixes)

    def chunks(self, path: str) -> Iterator[bytes]:
        return web.stream(self._address(path))

    def _address(self, path: str) -> str:
        return f'{self.url}/datasets/{urllib.parse.quote(path)}'


# Each small file is asked for once in a process, though a dataset is pinned before it is planned.
_read = functools.lru_cache(maxsize=64)(web.read)


class Shard(NamedTuple):
    """One file of a split, and which of its rows are wanted."""

    path: str
    rows: int
    first: int
    last: int  # exclusive
    text_bytes: int  # of the wanted rows, about


class Dataset(NamedTuple):
    """A prepared dataset that was found."""

    place: Disk | Bucket
    path: str  # of its folder
    info: dict[str, Any]  # dataset_info.json

    @property
    def file_format(self) -> str:
        return self.info.get('fileFormat') or 'tfrecord'

    def shards(self, split: str) -> list[Shard]:
        """The files of a split such as 'train' or 'train[:10%]'."""
        match = _SPLIT.fullmatch(split)
        if not match:
            raise DataError(
                f'the split {split!r} of tfds:{self.path} is not understood; write NAME, or '
                'NAME[FROM:TO] with rows or percent, such as train[:10%]'
            )
        name, begin, end = match.groups()
        try:
            splits = {one['name']: one for one in self.info['splits']}
            if name not in splits:
                raise DataError(str(unknown(f'the split of tfds:{self.path}', name, splits)))
            lengths = [int(length) for length in splits[name]['shardLengths']]
            size = int(splits[name]['numBytes'])
            template = splits[name].get('filepathTemplate') or _TEMPLATE
            fields = _Fields(DATASET=self.info['name'], SPLIT=name, FILEFORMAT=self.file_format)
            names = _numbered(template.format_map(fields), len(lengths))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f'{self.path}/{_INFO} is damaged ({error!r:.200})') from error
        wanted = _range(begin, end, sum(lengths))
        shards, before = [], 0
        for file, rows in zip(names, lengths, strict=True):
            first, last = (min(max(row - before, 0), rows) for row in (wanted.start, wanted.stop))
            before += rows
            if first < last:
                share = (last - first) / sum(lengths)
                path = f'{self.path}/{file}'
                shards.append(Shard(path, rows, first, last, math.ceil(size * share)))
        return shards

    def text_fields(self) -> list[str] | None:
        """The features that hold one text each; None: that is not known."""
        try:
            features = files.parse_object(self.place.read(f'{self.path}/{_FEATURES}') or b'')
            return sorted(_text_fields(features['featuresDict']['features']))
        except (KeyError, TypeError, AttributeError, ValueError):
            return None


class _Fields(dict):
    """The values of a template's fields; others stay."""

    def __missing__(self, key: str) -> str:
        return f'{{{key}}}'


def _numbered(stem: str, count: int) -> list[str]:
    """The names of so many files; a ValueError for those of no file in a folder."""
    digits = max(5, len(str(count)))
    n, numbers = f'{count:0{digits}}', [f'{index:0{digits}}' for index in range(count)]
    names = [stem.format(SHARD_X_OF_Y=f'{i}-of-{n}', SHARD_INDEX=i, NUM_SHARDS=n) for i in numbers]
    if wrong := [name for name in names if '/' in name or '\0' in name]:
        raise ValueError(f'{wrong[0]!r:.80} is not the name of a file')
    ''.join(names).encode()  # a ValueError where half a character is among them
    return names


def _range(first: str | None, last: str | None, count: int) -> range:
    """Rows of '[first:last]', where a number may be of percent or from the end."""

    def row(text: str | None) -> int | None:
        if text is None or not text.endswith('%'):
            return text if text is None else int(text)
        return round(int(text[:-1]) * count / 100)

    return range(count)[row(first) : row(last)]


def _text_fields(features: dict[str, Any], prefix: str = '') -> Iterator[str]:
    for name, feature in features.items():
        tensor = feature.get('tensor', {})
        if 'text' in feature or (tensor.get('dtype') == 'string' and not tensor.get('shape')):
            yield prefix + name
        if 'featuresDict' in feature:
            yield from _text_fields(feature['featuresDict']['features'], f'{prefix}{name}/')


def find(name: str, pinned: str = '') -> Dataset:
    """The dataset of a name such as 'wikipedia/20230601.en', or in a folder.

    What is on this machine comes first, in $TFDS_DATA_DIR. The newest version counts where the name
    has none. `pinned` is the folder in the bucket that the name stood for before.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    if Disk().is_folder(name):
        return _open(Disk(), name) or _refuse(name, f'it holds no {_INFO}')
    name = name.replace(':', '/')  # TFDS also writes NAME:VERSION
    folder = os.environ.get('TFDS_DATA_DIR') or os.path.expanduser('~/tensorflow_datasets')
    if not pinned and (found := _open(Disk(), f'{folder}/{name}')):
        return found
    bucket = Bucket()
    try:
        found = _open(bucket, pinned or name)
    except web.UnreachableError as error:
        raise DataError(
            f'tfds:{name} is not in {folder}, and {bucket.url} cannot be read ({error.reason}): '
            'without a network, name text that is here: --config.data.source=text:FOLDER, or a '
            'prepared dataset: --config.data.source=tfds:FOLDER:SPLIT (docs/data.md)'
        ) from error
    except DataError as error:
        _refuse(name, f'it is not in {folder}, and {error}')
    where = f'{folder} and {bucket.url}/datasets'
    return found or _refuse(name, f'it is neither in {where} (with a version, {name}/1.0.0?)')


def _refuse(name: str, problem: str) -> NoReturn:
    raise DataError(
        f'cannot read the dataset tfds:{name}: {problem}. {tfds.how_to_prepare(name)}, or name '
        'other text with --config.data.source'
    )


def _open(place: Disk | Bucket, path: str) -> Dataset | None:
    content = place.read(f'{path}/{_INFO}')
    if content is not None:
        try:
            return Dataset(place, path, files.parse_object(content))
        except ValueError as error:
            raise DataError(f'{path}/{_INFO} is damaged: {error}') from error
    inside = place.folders(path)
    versions = [name for name in inside if _VERSION.fullmatch(name)]
    if versions:
        newest = max(versions, key=lambda name: [int(number) for number in name.split('.')])
        return _open(place, f'{path}/{newest}')
    try:
        about = files.parse_object(place.read(f'{path}/.config/metadata.json') or b'{}')
    except ValueError:
        about = {}
    default = about.get('default_config_name')
    if default in inside:
        return _open(place, f'{path}/{default}')
    if visible := [name for name in inside if not name.startswith('.')]:
        raise DataError(f'{path} has no {_INFO}, but folders: name one of {", ".join(visible)}')
    return None
