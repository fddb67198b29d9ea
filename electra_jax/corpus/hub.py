"""Text of data sets on the Hugging Face hub: data.source='hf:OWNER/NAME[:CONFIG]:SPLIT#FIELD'.

Their Parquet files are read over the network, a range of bytes at a time. Where a data set has
none, those count that the hub has made of it, on its branch `refs/convert/parquet`.
"""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from typing import Any, NamedTuple, TypeVar

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError, DataError, UserError, first_line, nearest
from electra_jax.corpus import documents, parquet, web

KIND = 'hf'
_CONVERTED = 'refs/convert/parquet'
_REQUESTS = 16  # at a time, for the ends of files, which list their row groups
# Names of files from which configs and splits follow where the data set's card has none: those that
# `push_to_hub` writes, those of the hub's own branch, and plain ones.
_NAMES = [
    re.compile(pattern + r'\.parquet')
    for pattern in (
        r'(?:(?P<config>.+)/)?(?P<split>\w+)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?',
        r'(?P<config>[^/]+)/(?P<split>[\w.-]+)/\d+',
        r'(?:(?P<config>.+)/)?(?P<split>train|validation|valid|val|dev|test)',
    )
]
_ENTRY = re.compile(
    r'(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:]+))?(?::(?P<config>[^:]+))?:(?P<split>[^:]+)'
)
_DOWNLOADED = (
    'hf download {} --repo-type dataset --local-dir FOLDER, and here: '
    "--config.data.source='parquet:FOLDER'"
)
T = TypeVar('T')


class _NoAnswerError(DataError):
    """The hub cannot be reached."""


class Listing(NamedTuple):
    """A data set at one commit."""

    commit: str
    splits: Mapping[tuple[str, str], list[str]]  # (config, split) -> its Parquet files
    default: str  # the config that counts where none is named; '': there are several


@dataclasses.dataclass(frozen=True, kw_only=True)
class HubPart(parquet.ParquetPart):
    """One row group of a file of the hub; `version` is the commit."""

    repo: str
    path: str

    @property
    def least_bytes(self) -> int:
        return self.text_bytes

    def reader(self) -> Any:
        return _reader(self.repo, self.version, self.path)


def parts(entry: documents.Entry, piece_bytes: int, complaints: Complaints) -> Iterator[HubPart]:
    """The row groups of a split.

    Raises:
        DataError: owner, config, split or field is not there, or the hub cannot be read.
    """
    match = _parse(entry)
    repo, commit = match['name'], entry.revision or pin(entry)
    paths = _files(_listing(repo, commit), match['config'], match['split']) or []
    with futures.ThreadPoolExecutor(_REQUESTS) as pool:
        groups = [pool.submit(_row_groups, repo, commit, path, entry.field) for path in paths]
        try:
            for path, future in zip(paths, groups, strict=True):
                make = functools.partial(
                    HubPart, version=commit, repo=repo, path=path, block_bytes=piece_bytes
                )
                name = f'hf:{repo}@{commit[:12]}/{path}'
                yield from parquet.parts_of(name, future.result, entry, make, complaints)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def pin(entry: documents.Entry) -> str:
    """The commit that holds the Parquet files of a split now.

    Raises:
        DataError: there is none.
    """
    match = _parse(entry)
    repo, config, split = match['name'], match['config'], match['split']
    known: dict[tuple[str, str], list[str]] = {}
    for revision in [match['revision']] if match['revision'] else ['main', _CONVERTED]:
        listing = _listing(repo, revision)
        if listing and _files(listing, config, split):
            return listing.commit
        if listing is None and revision != _CONVERTED:
            raise DataError(f'the data set {repo} has no revision {revision!r}')
        known |= listing.splits if listing else {}
    if not known:
        raise DataError(
            f'the data set {repo} holds no Parquet files whose splits are known, nor has the hub '
            f'made any; on a machine with a network, type: {_DOWNLOADED.format(repo)}'
        )
    names = [':'.join(key) for key in known]
    wanted = f'{config}:{split}' if config else split
    near = nearest(wanted, names if config else [split for _, split in known])
    listed = ', '.join(names[:40]) + (f' and {len(names) - 40} more' if len(names) > 40 else '')
    raise DataError(
        f'the data set {repo} has no {wanted!r} in Parquet files; name one of its CONFIG:SPLIT: '
        f'{listed}{near}'
    )


def _parse(entry: documents.Entry) -> re.Match[str]:
    match = _ENTRY.fullmatch(entry.where)
    if not match:
        raise ConfigError(
            f"data.source names 'hf:{entry.where}'; write hf:OWNER/NAME:SPLIT or "
            'hf:OWNER/NAME:CONFIG:SPLIT, such as hf:wikimedia/wikipedia:20231101.en:train'
        )
    return match


def _files(listing: Listing | None, config: str | None, split: str) -> list[str] | None:
    return listing and listing.splits.get((config or listing.default, split))


@functools.lru_cache(maxsize=16)
def _listing(repo: str, revision: str) -> Listing | None:
    """What a data set holds; None: it has no such revision."""
    from_hub = _hub()

    def ask() -> tuple[Any, list[str]]:
        info = from_hub.HfApi().dataset_info(repo, revision=revision)
        root = f'datasets/{repo}@{info.sha}/'
        return info, sorted(path.removeprefix(root) for path in from_hub.HfFileSystem().find(root))

    try:
        info, paths = _asked(repo, ask)
    except from_hub.errors.RevisionNotFoundError:
        return None
    card = info.card_data.to_dict() if info.card_data else {}
    paths = [path for path in paths if path.endswith('.parquet')]
    configs = [one for one in card.get('configs') or [] if isinstance(one, dict)]
    splits = _of_card(configs, paths) or _of_names(paths)
    names = list(dict.fromkeys(config for config, _ in splits))
    flagged = [str(one.get('config_name')) for one in configs if one.get('default')]
    default = next((name for name in (*flagged, 'default') if name in names), '')
    return Listing(info.sha, splits, default or (names[0] if len(names) == 1 else ''))


def _of_card(configs: list[dict[str, Any]], paths: list[str]) -> dict[tuple[str, str], list[str]]:
    """The splits that the data set's card lists, with patterns of files."""
    from fsspec.utils import glob_translate

    found: dict[tuple[str, str], list[str]] = {}
    for config in configs:
        data = config.get('data_files') or []
        for one in data if isinstance(data, list) else [data]:
            split, patterns = 'train', one
            if isinstance(one, dict):
                split, patterns = one.get('split', 'train'), one.get('path', [])
            for pattern in [patterns] if isinstance(patterns, str) else patterns:
                folder = config.get('data_dir')
                pattern = f'{folder}/{pattern}' if folder else pattern
                matches = re.compile(glob_translate(pattern.removeprefix('./'))).match
                key = str(config.get('config_name', 'default')), str(split)
                if new := [path for path in paths if matches(path)]:
                    found[key] = sorted({*found.get(key, []), *new})
    return found


def _of_names(paths: list[str]) -> dict[tuple[str, str], list[str]]:
    """The splits that follow from the names of files, in the first way in which some do."""
    for name in _NAMES:
        found: dict[tuple[str, str], list[str]] = {}
        for path in paths:
            if match := name.fullmatch(path):
                config = match['config'] or 'default'
                key = 'default' if config == 'data' else config, match['split']
                found.setdefault(key, []).append(path)
        if found:
            return found
    return {}


def _row_groups(repo: str, commit: str, path: str, field: str) -> list[parquet.RowGroup]:
    name = f'hf:{repo}/{path}'
    with parquet.readable(name):
        return parquet.row_groups(_open(repo, commit, path), name, field)


@functools.lru_cache(maxsize=2)
def _reader(repo: str, commit: str, path: str) -> Any:
    return _open(repo, commit, path)


def _open(repo: str, commit: str, path: str) -> Any:
    def file() -> Any:
        name = f'datasets/{repo}@{commit}/{path}'
        return _hub().HfFileSystem().open(name, 'rb', cache_type='none')

    return parquet.opened(_File(repo, _asked(repo, file)), ahead=True)


class _File:
    """An open file whose errors are the user's, and not taken for damage."""

    def __init__(self, repo: str, file: Any):
        self._repo, self._file = repo, file  # a read that fails leaves its position as it was
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    @property
    def closed(self) -> bool:
        return self._file.closed

    def read(self, size: int = -1) -> bytes:
        return _asked(self._repo, lambda: self._file.read(size))


def _hub() -> Any:
    """The package huggingface_hub, imported where it is used: only this source needs it."""
    try:
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as error:
        raise DataError(
            "data.source=hf:... needs the package huggingface-hub; type: pip install -e '.[hub]'"
        ) from error
    return huggingface_hub


def _asked(repo: str, ask: Callable[[], T]) -> T:
    """The answer of the hub, which is asked again where there is none."""
    for seconds in web.FIRST_WAITS:
        try:
            with _advice(repo):
                return ask()
        except _NoAnswerError as error:
            web.wait(f'hf:{repo}', first_line(error.__cause__ or error), seconds)
    with _advice(repo):
        return ask()


@contextlib.contextmanager
def _advice(repo: str) -> Iterator[None]:
    """Turns the hub's errors into those of the user; a revision that is not there stays one."""
    errors, address = _hub().errors, _hub().constants.ENDPOINT
    token = f'type: export HF_TOKEN=... (a token of {address}/settings/tokens)'
    try:
        yield
    except (UserError, errors.RevisionNotFoundError):
        raise
    except errors.GatedRepoError as error:
        raise DataError(
            f'the data set {repo} is gated: accept its conditions at {address}/datasets/{repo}, '
            f'then {token}'
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise DataError(
            f'there is no data set {repo} at {address}, or it is private; if it is, {token}'
        ) from error
    except Exception as error:  # of any of the libraries below huggingface_hub
        raise _NoAnswerError(
            f'cannot read the data set {repo} from {address} ({type(error).__name__}: '
            f'{first_line(error)}); the same command tries again. Without a network: on a machine '
            f'that has one, {_DOWNLOADED.format(repo)}; or name other text'
        ) from error
