"""The documentation inside Python and its installed packages, as text to train on.

Every machine that can run this project has some megabytes of English prose: the docstrings,
READMEs and descriptions of Python and of the packages it needs. It is enough to try everything on.
"""

import ast
import email
import functools
import hashlib
import inspect
import os
import pathlib
import re
import sysconfig
import warnings
from collections.abc import Iterator

from electra_jax.core import errors
from electra_jax.data import documents

_PROSE_SUFFIXES = {'.md', '.rst', '.txt'}
_MAX_FILE_BYTES = 2_000_000  # larger ones are generated
_MIN_DOCUMENT_CHARS = 150  # shorter ones say little: "See base class."
_MIN_PARAGRAPH_CHARS = 20
_SKIPPED_FOLDERS = {'tests', 'test', 'licenses', '__pycache__', 'site-packages', 'dist-packages'}
_FOLDERS = ('stdlib', 'purelib', 'platlib')  # names that sysconfig knows
_SKIPPED_FILES = re.compile(r'(?i)(licen[cs]e|copying|notice|third.?party|authors|requirements)')

# A paragraph is English prose if enough of its words are among the commonest ones.
_COMMON_WORDS = frozenset(
    re.findall(
        '[a-z]+',
        'a about all also an and any are as at be been but by can could do does each for from had '
        'has have if in into is it its may more must no not of on one only or other should so some '
        'such than that the their them then there these they this to use used using was we were '
        'what when where which will with would you your',
    )
)
_MIN_COMMON_SHARE = 0.2
_MIN_LETTER_SHARE = 0.7

_WORD = re.compile(r"[A-Za-z']+")
_DIRECTIVE = re.compile(r'^\s*(\.\. |:[a-z]+:|>>>|\.\.\. |```|~~~|={3,}|-{3,}|\||<)')
_BULLET = re.compile(r'^\s*([-*+•]|\d+[.)])\s+')
_MARKUP = re.compile(r'``?|\*\*|:[a-z]+:(?=`)')
_LINK = re.compile(r'!?\[([^\]]*)\]\([^)]*\)')


def blocks(where: str | None, weight: float, piece_bytes: int) -> Iterator[documents.Block]:
    """The documentation in a folder of packages, as blocks of plain text.

    Args:
      where: a folder such as .../site-packages; None: those of this Python.
      weight: expected copies of each document.
      piece_bytes: size of a block, about.

    Raises:
      errors.DataError: there is no such folder, or nothing in it.
    """
    # A set, because the last two are often the same folder; sorted, because sets are not.
    folders = [where] if where else sorted({sysconfig.get_path(name) for name in _FOLDERS})
    texts = _all_documents(tuple(folders))
    if not texts:
        raise errors.DataError(f'python-docs: found no documentation in {", ".join(folders)}')
    waiting: list[bytes] = []
    size = offset = 0
    for i, text in enumerate(texts):
        waiting.append(text.encode(errors='replace'))
        size += len(waiting[-1])
        if size >= piece_bytes or i == len(texts) - 1:
            data = b'\n\n'.join(waiting) + b'\n'
            yield documents.Block(
                documents.TEXT,
                weight,
                data=data,
                origin='python-docs',
                offset=offset,
                read_bytes=len(data),
            )
            offset += len(data)
            waiting, size = [], 0


@functools.lru_cache(maxsize=1)
def _all_documents(folders: tuple[str, ...]) -> list[str]:
    """Every document, a paragraph a line. Kept, because training a tokenizer reads it too."""
    seen: set[bytes] = set()
    found: list[str] = []
    for folder in folders:
        if not pathlib.Path(folder).is_dir():
            raise errors.DataError(f'python-docs: there is no folder {folder}')
        for path in _walk(pathlib.Path(folder)):
            for text in _texts(path):
                fresh = [line for line in _paragraphs(text) if _is_new(line, seen)]
                if sum(map(len, fresh)) >= _MIN_DOCUMENT_CHARS:
                    found.append('\n'.join(fresh))
    return found


def _is_new(paragraph: str, seen: set[bytes]) -> bool:
    """Whether a paragraph is met for the first time; packages copy much from one another."""
    words = ' '.join(_WORD.findall(paragraph.lower()))
    digest = hashlib.blake2b(words.encode(), digest_size=8).digest()
    if digest in seen:
        return False
    seen.add(digest)
    return True


def _walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Files that may hold documentation, in an order that depends on their names alone."""
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            path = pathlib.Path(top, name)
            prose = path.suffix in _PROSE_SUFFIXES and not _SKIPPED_FILES.search(name)
            if not (prose or path.suffix == '.py' or name == 'METADATA') or path.is_symlink():
                continue
            if path.stat().st_size <= _MAX_FILE_BYTES:
                yield path


def _texts(path: pathlib.Path) -> list[str]:
    """The documents of one file."""
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
    found = [_own_docstring(tree)]
    for node in tree.body:
        if isinstance(node, _HAS_DOCSTRING):
            found.append('\n\n'.join(filter(None, map(_own_docstring, _with_members(node)))))
    return [text for text in found if text]


_HAS_DOCSTRING = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _with_members(node: ast.stmt) -> Iterator[ast.AST]:
    yield node
    if isinstance(node, ast.ClassDef):
        for child in node.body:
            if isinstance(child, _HAS_DOCSTRING):
                yield from _with_members(child)


def _own_docstring(node: ast.AST) -> str:
    text = ast.get_docstring(node, clean=False)
    return inspect.cleandoc(text) if text else ''


def _paragraphs(text: str) -> Iterator[str]:
    """Prose of a document, unwrapped to one paragraph a line, without code and tables."""
    waiting: list[str] = []
    for line in [*text.replace('\r', '').split('\n'), '']:
        skip = not line.strip() or _DIRECTIVE.match(line)
        if skip or _BULLET.match(line):
            paragraph = _clean(' '.join(waiting))
            if _is_prose(paragraph):
                yield paragraph
            waiting = []
        if not skip:
            waiting.append(line.strip())


def _clean(paragraph: str) -> str:
    return ' '.join(_MARKUP.sub('', _LINK.sub(r'\1', _BULLET.sub('', paragraph))).split())


def _is_prose(paragraph: str) -> bool:
    if len(paragraph) < _MIN_PARAGRAPH_CHARS:
        return False
    letters = sum(map(len, _WORD.findall(paragraph))) + paragraph.count(' ')
    words = paragraph.lower().split()
    common = sum(word.strip('.,;:()') in _COMMON_WORDS for word in words)
    return letters >= _MIN_LETTER_SHARE * len(paragraph) and common >= _MIN_COMMON_SHARE * len(
        words
    )
