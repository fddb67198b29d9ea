"""Where text comes from: `data.source` taken apart, and cut into pieces for the workers.

A source is a comma-separated list of `KIND:WHERE[=WEIGHT]`:

    text:PATH         a file, folder or glob of .txt (also .gz .xz .zst): a paragraph a line, a
                      blank line between documents
    jsonl:PATH#FIELD  a JSON object a line (also compressed), the text in FIELD (default: text);
                      in a folder a compressed file belongs to one of both by its name, where
                      that tells (a.txt.gz, b.jsonl.gz), and those left out are counted
    tfds:NAME:SPLIT#FIELD    a prepared TensorFlow dataset, read without TensorFlow; NAME may be
                      the folder of a prepared one; FIELD as above
    python-docs:      the documentation inside the installed Python packages (or in a folder)

WEIGHT is the expected number of copies of each document in the training rows (default 1): with
2.5 each is there twice, and every other one once more; with 0.3 about a third of them are there.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Iterator

from electra_jax.core import errors
from electra_jax.core.complaints import Complaints
from electra_jax.corpus import docstrings, documents, files, tfds

PIECE_BYTES = 16_000_000  # text in one piece of work, about
_MIN_PIECE_BYTES = 1_000_000

_EXAMPLES = (
    "'text:PATH', 'jsonl:PATH#FIELD', 'tfds:wikipedia/20230601.en:train' or 'python-docs:', "
    "several separated by commas, each with '=COPIES' after it if not 1"
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One `KIND:WHERE[=WEIGHT]` of a source."""

    kind: str
    where: str
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class Piece:
    """One piece of work: what becomes one training and one held-out shard."""

    index: int
    parts: tuple[documents.Part, ...]


def parse_source(source: str | None) -> list[Entry]:
    """Takes `data.source` apart.

    >>> parse_source('text:a,b.txt=0.5, jsonl:c=d.jsonl#body')  # doctest: +NORMALIZE_WHITESPACE
    [Entry(kind='text', where='a,b.txt', weight=0.5),
     Entry(kind='jsonl', where='c=d.jsonl#body', weight=1.0)]

    Raises:
      errors.ConfigError: it is empty, a kind is unknown, or a weight is not above 0.
    """
    if not source or not source.strip():
        raise errors.ConfigError(f'data.source is empty; it may be {_EXAMPLES}')
    # A comma separates only where another `kind:` follows, so paths may hold commas.
    return [_parse_entry(text.strip()) for text in re.split(r',(?=\s*[a-z][a-z0-9_-]+:)', source)]


def _parse_entry(text: str) -> Entry:
    kind, colon, where = text.partition(':')
    if not colon:
        raise errors.ConfigError(f'data.source holds {text!r} without a kind; write {_EXAMPLES}')
    if kind not in PARTS:
        raise errors.unknown(f'the kind of {text!r} in data.source', kind, PARTS)
    match = re.search(r'=([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)$', where)
    # A folder may really be called `year=2024`.
    if not match or os.path.exists(where):
        return Entry(kind, where)
    weight = float(match[1])
    if weight <= 0:
        raise errors.ConfigError(f'data.source: the weight of {text!r} must be above 0')
    return Entry(kind, where[: match.start()], weight)


def _split_field(where: str) -> tuple[str, str]:
    path, mark, field = where.rpartition('#')
    return (path, field) if mark else (where, 'text')


def _text_parts(entry: Entry, complaints: Complaints, piece_bytes: int) -> Iterator[documents.Part]:
    template = documents.Block(documents.TEXT, entry.weight)
    _tell_other_kinds(entry.where, files.TEXT_SUFFIXES, complaints)
    for path in files.find_files(entry.where, files.TEXT_SUFFIXES):
        yield from files.cut_file(path, template, complaints, piece_bytes)


def _jsonl_parts(
    entry: Entry, complaints: Complaints, piece_bytes: int
) -> Iterator[documents.Part]:
    where, field = _split_field(entry.where)
    template = documents.Block(documents.JSONL, entry.weight, field)
    _tell_other_kinds(where, files.JSON_SUFFIXES, complaints)
    for path in files.find_files(where, files.JSON_SUFFIXES):
        yield from files.cut_file(path, template, complaints, piece_bytes)


def _tell_other_kinds(where: str, suffixes: frozenset[str], complaints: Complaints) -> None:
    for path in files.other_kinds(where, suffixes):
        complaints.count('other_kind', str(path))


def _tfds_parts(entry: Entry, complaints: Complaints, piece_bytes: int) -> Iterator[documents.Part]:
    del complaints
    where, field = _split_field(entry.where)
    return tfds.cut_dataset(where, field, entry.weight, piece_bytes)


def _python_docs_parts(
    entry: Entry, complaints: Complaints, piece_bytes: int
) -> Iterator[documents.Part]:
    del complaints
    return docstrings.blocks(entry.where or None, entry.weight, piece_bytes)


# Kind -> what cuts an entry into parts, each with about so many bytes of text at most.
PARTS: dict[str, Callable[[Entry, Complaints, int], Iterator[documents.Part]]] = {
    'text': _text_parts,
    'jsonl': _jsonl_parts,
    'tfds': _tfds_parts,
    'python-docs': _python_docs_parts,
}


def plan(
    entries: list[Entry], complaints: Complaints, piece_bytes: int = PIECE_BYTES
) -> Iterator[Piece]:
    """Cuts all entries into pieces; the same source always gives the same pieces.

    Raises:
      errors.DataError: an entry names nothing that is there, or it cannot be read.
    """
    index, parts, size = 0, [], 0.0
    for entry in entries:
        # Copies make more rows of the same text: such text is cut finer.
        size_here = max(int(piece_bytes / max(entry.weight, 1.0)), _MIN_PIECE_BYTES)
        for part in PARTS[entry.kind](entry, complaints, min(size_here, piece_bytes)):
            cost = part.text_bytes * max(entry.weight, 1.0)
            if parts and size + cost > piece_bytes * 5 / 4:
                yield Piece(index, tuple(parts))
                index, parts, size = index + 1, [], 0.0
            parts.append(part)
            size += cost
    if parts:
        yield Piece(index, tuple(parts))


def total_bytes(entries: list[Entry]) -> int:
    """What `Part.read_bytes` will add up to over all of `plan`, without reading the text."""
    suffixes = {'text': files.TEXT_SUFFIXES, 'jsonl': files.JSON_SUFFIXES}
    total = 0
    for entry in entries:
        if entry.kind in suffixes:
            where = _split_field(entry.where)[0] if entry.kind == 'jsonl' else entry.where
            total += sum(map(files.size_of, files.find_files(where, suffixes[entry.kind])))
        else:
            parts = PARTS[entry.kind](entry, Complaints('data.on_bad_text'), PIECE_BYTES)
            total += sum(part.read_bytes for part in parts)
    return total
