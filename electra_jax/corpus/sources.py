"""Where text comes from: `data.source` taken apart, and cut into pieces for the workers.

A source is a comma-separated list of `KIND:WHERE[=WEIGHT]`; the kinds are those of PARTS.

WEIGHT is the expected number of copies of each document in the training rows (default 1): with
2.5 each is there twice, and every other one once more; with 0.3 about a third of them are there.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError, unknown
from electra_jax.corpus import docstrings, documents, files, hub, images, parquet, tfds
from electra_jax.corpus.documents import Entry

PIECE_BYTES = 16_000_000  # text in one piece of work, about
_MIN_PIECE_BYTES = 1_000_000
_WITHOUT_FIELDS = (documents.TEXT, 'python-docs')  # a '#' is part of the path
T = TypeVar('T')


@dataclasses.dataclass(frozen=True)
class Piece:
    """One piece of work: what becomes one training and one held-out shard."""

    index: int  # among all pieces, from 0
    parts: tuple[documents.Part, ...]
    block_bytes: int  # how much of the text is in memory at a time, about
    held_out: bool = False  # all of it: it is of `data.validation_source`

    @property
    def read_bytes(self) -> int:
        """Bytes read from disk for it."""
        return sum(part.read_bytes for part in self.parts)

    @property
    def identity(self) -> str:
        """A hash that is equal exactly where the piece is made of the same text."""
        return documents.digest(repr(self.parts).encode()).hex()

    def open(self, complaints: Complaints) -> Iterator[list[tuple[Iterator[list[str]], float]]]:
        """Documents and weight of each block, in groups that fit into memory; mostly one group."""
        blocks = (
            ((block.documents, part.weight), block.text_bytes * max(part.weight, 1.0))
            for part in self.parts
            for block in part.open(complaints)
        )
        return grouped(blocks, self.block_bytes)


def parse_source(
    source: str | None, ends: str = 'blank_line', held_out: bool = False
) -> list[Entry]:
    """Takes `data.source`, or what is `held_out`, apart; `ends` is what ends a plain document.

    >>> parse_source('text:a,b.txt=0.5, jsonl:c=d.jsonl#body')  # doctest: +NORMALIZE_WHITESPACE
    [Entry(kind='text', where='a,b.txt', weight=0.5, field='text', ends='blank_line',
     revision=''),
     Entry(kind='jsonl', where='c=d.jsonl', weight=1.0, field='body', ends='blank_line',
     revision='')]

    Raises:
        ConfigError: it is empty, a kind is unknown, or a weight is not above 0.
    """
    if not source or not source.strip():
        raise ConfigError(f'data.source is empty. {_how_to_write()}')
    if '\0' in source:
        raise ConfigError(f'data.source is {source!r}: no name has a NUL character')
    # A comma separates only where another `kind:` follows, so paths may hold commas.
    texts = re.split(r',(?=\s*[a-z][a-z0-9_-]+:)', source)
    entries = (_parse_entry(text.strip()) for text in texts)
    return [dataclasses.replace(entry, ends=ends, held_out=held_out) for entry in entries]


def _parse_entry(text: str) -> Entry:
    kind, colon, where = text.partition(':')
    if not colon:
        found = {*pathlib.PurePath(text.partition('#')[0]).suffixes}
        meant = next((one for one, ends in files.ENDINGS.items() if found & ends), documents.TEXT)
        raise ConfigError(
            f'data.source holds {text!r} without a kind: did you mean {meant}:{text}? '
            f'{_how_to_write()}'
        )
    if kind not in PARTS:
        raise unknown(f'the kind of {text!r} in data.source', kind, PARTS)
    match = re.search(r'=([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)$', where)
    weight = 1.0
    # A folder may really be called `year=2024`.
    if match and not os.path.exists(where):
        where, weight = where[: match.start()], float(match[1])
    if weight <= 0:
        raise ConfigError(f'data.source: the weight of {text!r} must be above 0')
    field = 'text'
    if kind not in _WITHOUT_FIELDS and '#' in where:
        where, _, field = where.rpartition('#')
    return Entry(kind, where, weight, field)


def _how_to_write() -> str:
    return (
        f"Write KIND:WHERE, such as 'text:PATH' or 'tfds:wikipedia/20230601.en:train', several "
        f"separated by commas, each with '=COPIES' after it if not 1; kinds: {', '.join(PARTS)}"
    )


# Kind -> what cuts an entry into parts, each with about so many bytes of text at most.
PARTS: dict[str, Callable[[Entry, int, Complaints], Iterator[documents.Part]]] = {
    # text:PATH, a file, folder or glob: a paragraph a line, a blank line between documents. Files
    # may be compressed, archives, or UTF-16; docs/data.md has what is read of a folder.
    documents.TEXT: files.parts,
    # jsonl:PATH#FIELD, a JSON object a line, the text in FIELD (default: text); files as above.
    documents.JSONL: files.parts,
    # images:PATH#FIELD, JSON lines of images and texts about them: {"image": "a.png", "text": ...}.
    documents.IMAGES: images.parts,
    # tfds:NAME:SPLIT#FIELD, a prepared TensorFlow dataset, read without TensorFlow, from this
    # machine or from the bucket of TFDS; NAME may be the folder of a prepared one; FIELD as above.
    'tfds': tfds.parts,
    # parquet:PATH#FIELD, files, folders and globs of Parquet, the text in the column FIELD.
    documents.PARQUET: parquet.parts,
    # hf:OWNER/NAME[:CONFIG]:SPLIT#FIELD, the Parquet files of a data set of the Hugging Face hub.
    hub.KIND: hub.parts,
    # python-docs:[FOLDER], the documentation inside the installed Python packages, or in a folder.
    'python-docs': docstrings.parts,
}

# Kinds whose parts are of one file each, all of which is named; those of tfds may be slices.
_OF_FILES = (*documents.LOCAL, hub.KIND)

# Kind -> what finds the revision that the name of remote text stands for now.
PINS: dict[str, Callable[[Entry], str]] = {'tfds': tfds.pin, hub.KIND: hub.pin}


def pin(entries: list[Entry], known: Mapping[str, str]) -> tuple[list[Entry], dict[str, str]]:
    """Entries of which each stands for one revision of remote text, and these revisions by name.

    Those in `known`, the revisions of an unfinished build, stay.
    """
    revisions: dict[str, str] = {}
    for entry in entries:
        name = f'{entry.kind}:{entry.where}'
        found = known.get(name) or PINS.get(entry.kind, lambda entry: '')(entry)
        revisions |= {name: found} if found else {}
    pinned = (
        dataclasses.replace(entry, revision=revisions.get(f'{entry.kind}:{entry.where}', ''))
        for entry in entries
    )
    return list(pinned), revisions


def plan(
    entries: list[Entry], complaints: Complaints, piece_bytes: int = PIECE_BYTES
) -> list[Piece]:
    """Cuts all entries into pieces, those that are held out last; always into the same ones.

    The text of files is not read, but for where they are cut.

    Files that hold nothing, or are of another kind, are complaints, and so are those of
    `data.source` that `data.validation_source` names, too: these are only held out.

    Raises:
        DataError: an entry names nothing that is there, or it cannot be read.
    """

    def parts(held_out: bool) -> Iterator[tuple[Entry, documents.Part, float]]:
        for entry in entries:
            if entry.held_out == held_out:
                # Copies make more rows of the same text: such text is cut finer.
                copies = max(entry.weight, 1.0)
                size = min(max(int(piece_bytes / copies), _MIN_PIECE_BYTES), piece_bytes)
                for part in PARTS[entry.kind](entry, size, complaints):
                    yield entry, part, part.text_bytes * copies

    held_out = list(parts(held_out=True))
    names, left_out = {_file(entry, part) for entry, part, _ in held_out} - {None}, set()

    def training() -> Iterator[tuple[documents.Part, float]]:
        for entry, part, size in parts(held_out=False):
            if names and (name := _file(entry, part)) in names:
                if name not in left_out:
                    complaints.count('left_out:only held out', part.name)
                left_out.add(name)
            else:
                yield part, size

    groups = [(group, False) for group in grouped(training(), piece_bytes)]
    sized = ((part, size) for _, part, size in held_out)
    groups += [(group, True) for group in grouped(sized, piece_bytes)]
    return [
        Piece(index, tuple(group), piece_bytes, is_held_out)
        for index, (group, is_held_out) in enumerate(groups)
    ]


def _file(entry: Entry, part: documents.Part) -> str | None:
    """What tells a part's file from others; None: an entry may name rows from inside files."""
    if entry.kind not in _OF_FILES:
        return None
    return os.path.realpath(part.name) if entry.kind in documents.LOCAL else part.name


def grouped(items: Iterable[tuple[T, float]], most: int) -> Iterator[list[T]]:
    """Groups of consecutive items, whose sizes are at most 5/4 `most` in sum, or of one item."""
    group: list[T] = []
    total = 0.0
    for item, size in items:
        if group and total + size > most * 5 / 4:
            yield group
            group, total = [], 0.0
        group.append(item)
        total += size
    if group:
        yield group
