"""The documentation inside Python and its installed packages, as text to train on.

Every machine that can run this project has some megabytes of English: the docstrings, READMEs and
descriptions of Python and of the packages it needs. It is enough to try everything on. Documents
are kept once each, but documentation repeats itself (the same argument described in twenty
functions), so a held-out part of it is easier than unrelated text would be.
"""

import ast
import dataclasses
import email
import os
import pathlib
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError
from electra_jax.corpus import documents

_PROSE_SUFFIXES = {'.md', '.rst', '.txt'}
_MAX_CODE_BYTES = 2_000_000  # larger ones are generated
_MAX_PROSE_BYTES = 200_000  # larger ones are data
_MIN_DOCUMENT_CHARS = 150  # shorter ones hold little: "See base class."
_SKIPPED_FOLDERS = {'tests', 'test', 'licenses', '__pycache__', 'site-packages', 'dist-packages'}
_FOLDERS = ('stdlib', 'purelib', 'platlib')  # names that sysconfig knows
_Documented: TypeAlias = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_SKIPPED_FILES = re.compile(r'(?i)(licen[cs]e|copying|notice|third.?party|authors|requirements)')


@dataclasses.dataclass(frozen=True, kw_only=True)
class DocstringPart(documents.Part):
    """Documentation that has been collected; the only part that carries its text."""

    text: bytes
    offset: int  # of the text among all

    def open(self, complaints: Complaints) -> Iterator[documents.Block]:
        texts = documents.plain_texts(
            self.text, documents.Origin(self.name, self.offset), 'blank_line', complaints
        )
        yield documents.block_of(len(self.text), texts, complaints)


def parts(
    entry: documents.Entry, piece_bytes: int, complaints: Complaints
) -> Iterator[DocstringPart]:
    """The documentation in a folder such as .../site-packages, or in those of this Python.

    Raises:
        DataError: there is no such folder, or nothing in it.
    """
    del complaints  # every text has been decoded
    # A set, because the last two are often the same folder; sorted, because sets are not.
    installed = sorted({sysconfig.get_path(name) for name in _FOLDERS})
    folders = [entry.where] if entry.where else installed
    texts = _all_documents(folders)
    if not texts:
        raise DataError(f'python-docs: there is no documentation in {", ".join(folders)}')
    waiting: list[bytes] = []
    size = offset = 0
    for i, text in enumerate(texts):
        waiting.append(text.encode(errors='replace'))
        size += len(waiting[-1])
        if size >= piece_bytes or i == len(texts) - 1:
            data = b'\n\n'.join(waiting) + b'\n'
            yield DocstringPart(
                name='python-docs',
                weight=entry.weight,
                text_bytes=len(data),
                text=data,
                offset=offset,
            )
            offset += len(data)
            waiting, size = [], 0


def _all_documents(folders: list[str]) -> list[str]:
    """Every document, without blank lines."""
    seen: set[bytes] = set()
    texts: list[str] = []
    for folder in folders:
        if not pathlib.Path(folder).is_dir():
            raise DataError(f'python-docs: there is no folder {folder}')
        for path in _walk(pathlib.Path(folder)):
            for text in _texts(path):
                document = '\n'.join(line.strip() for line in text.split('\n') if line.strip())
                text_hash = documents.digest(document.encode(errors='replace'))
                # Packages copy much from one another.
                if len(document) >= _MIN_DOCUMENT_CHARS and text_hash not in seen:
                    seen.add(text_hash)
                    texts.append(document)
    return texts


def _walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Files that may hold documentation, in an order that depends on their names alone."""
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            path = pathlib.Path(top, name)
            prose = path.suffix in _PROSE_SUFFIXES and not _SKIPPED_FILES.search(name)
            if not (prose or path.suffix == '.py' or name == 'METADATA') or path.is_symlink():
                continue
            if path.stat().st_size <= (_MAX_PROSE_BYTES if prose else _MAX_CODE_BYTES):
                yield path


def _texts(path: pathlib.Path) -> list[str]:
    try:
        text = path.read_text('utf-8')
    except (OSError, UnicodeDecodeError):
        return []
    if path.name == 'METADATA':
        description = email.message_from_string(text).get_payload()
        return [description] if isinstance(description, str) else []
    return _docstrings(text) if path.suffix == '.py' else [text]


def _docstrings(source: str) -> list[str]:
    """One document for a module's own docstring and for each of its functions and classes."""
    if '"""' not in source and "'''" not in source:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of invalid escapes in other people's code
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return []
    outer = [node for node in tree.body if isinstance(node, _Documented)]
    groups: list[Iterable[ast.Module | _Documented]] = [[tree], *map(_with_members, outer)]
    texts = ('\n\n'.join(filter(None, map(ast.get_docstring, group))) for group in groups)
    return [text for text in texts if text]


def _with_members(node: _Documented) -> Iterator[_Documented]:
    yield node
    if isinstance(node, ast.ClassDef):
        for child in node.body:
            if isinstance(child, _Documented):
                yield from _with_members(child)
