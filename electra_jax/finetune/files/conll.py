"""Sentences in words with a tag each: CoNLL files, and rows that hold lists."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

from electra_jax.core import errors
from electra_jax.finetune.bad_rows import BadRows
from electra_jax.finetune.examples import TaggedExample
from electra_jax.finetune.files import tables as rows_of
from electra_jax.finetune.files import tag_schemes
from electra_jax.finetune.files.columns import Columns, column_value, is_number, resolve, row_id
from electra_jax.finetune.files.tables import Row, Rows, text_problem

_NEW_DOCUMENT = '-DOCSTART-'  # of CoNLL-2003: a line of its own, no word
_CONLL = ('.txt', '.conll', '.conllu')
_BESIDE = re.compile('[0-9]+[-.][0-9]+')  # .conllu: numbers of words written as one, of ellipses
_SHOWN = 20


def read(
    path: pathlib.Path,
    columns: Columns,
    bad: BadRows,
    labelled: bool | None,
    ending: str | None = None,
) -> Iterator[TaggedExample]:
    """Sentences of a file with a word a line, or of one with a sentence a row.

    Args:
      path: the file, perhaps compressed.
      columns: `words` and `tags`, by name or by number.
      bad: sentences that cannot be used are refused or counted here.
      labelled: whether every word must have a tag; None: tags are not looked at.
      ending: to go by instead of the name's.

    Raises:
      errors.DataError: the file cannot be read, or has no such column.
    """
    ending = ending or rows_of.kind_of(path)
    if has_word_a_line(path, columns, labelled, ending):
        return _read_conll(path, columns, bad, labelled, ending)
    header = columns.header is not False
    rows = rows_of.read(path, bad, header, columns.separator, ending=ending)
    return from_rows(rows, columns, bad, labelled)


def has_word_a_line(
    path: pathlib.Path, columns: Columns, labelled: bool | None, ending: str
) -> bool:
    """Whether a file is one of CoNLL's; a .tsv file is where its first line names no columns."""
    if ending != '.tsv':
        return ending in _CONLL
    if columns.header is not None:
        return not columns.header
    given = [columns.words, columns.tags][: 2 if labelled else 1]
    usual = zip(given, ('words', 'tags'), strict=False)
    names = {name if name and not is_number(name) else other for name, other in usual}
    return not names <= set(rows_of.first_cells(path, columns.separator, ending))


def _read_conll(
    path: pathlib.Path, columns: Columns, bad: BadRows, labelled: bool | None, ending: str
) -> Iterator[TaggedExample]:
    """Sentences of a file with a word a line and a blank line between sentences.

    Cells are separated by tabs where the first line holds any, otherwise by spaces. `words` and
    `tags` are numbers; 0 and -1 where None, in .conllu files 1 and never None.
    """
    universal = ending == '.conllu'
    if universal:
        columns = _universal(path, columns, labelled)
    tabs = universal or _has_tabs(path)
    sentences = (_words(block, tabs, universal) for block in _blocks(path, bad))
    places = None
    for number, cells in enumerate(filter(None, sentences)):
        if places is None:
            width = len(cells[0][1])
            places = _places(path, columns, width, labelled)
        example = _sentence(path, str(number), cells, width, places, bad)
        if example is not None:
            yield example


def _has_tabs(path: pathlib.Path) -> bool:
    """Whether tabs separate the cells, by the first line that can be no comment."""
    lines = (text for _, text in rows_of.lines(path, BadRows(skip=True)))
    beside = (_NEW_DOCUMENT, '#')
    first = (text for text in lines if text.strip(' \t') and not text.startswith(beside))
    return '\t' in next(first, '')


def _universal(path: pathlib.Path, columns: Columns, labelled: bool | None) -> Columns:
    """The columns of a file as Universal Dependencies have them."""
    if labelled is not None and columns.tags is None:
        raise errors.DataError(
            f'{path}: a .conllu file has several columns of tags; type '
            '--config.task.columns.tags=3 for parts of speech (UPOS), or another number from 0'
        )
    return dataclasses.replace(columns, words=columns.words or '1')


def _blocks(path: pathlib.Path, bad: BadRows) -> Iterator[list[tuple[int, str]]]:
    """Numbered lines between blank ones; blocks that lost a line (it was no text) are left out."""
    block: list[tuple[int, str]] = []
    whole = True
    for number, text in rows_of.lines_and_gaps(path, bad):
        if text is None:
            whole = False
        elif text.strip(' \t') and not text.startswith(_NEW_DOCUMENT):
            block.append((number, text))
        else:
            if block and whole:
                yield block
            block, whole = [], True
    if block and whole:
        yield block


def _words(
    block: list[tuple[int, str]], tabs: bool, universal: bool
) -> list[tuple[int, list[str]]]:
    """The cells of a sentence's lines, each with its line's number, but for lines of no word."""
    found = [(number, _cells(text, tabs)) for number, text in block]
    if tabs:
        # '#' is also a word (the pound sign of CoNLL-2000), but then the line has its cells.
        found = [one for one in found if len(one[1]) > 1 or not one[1][0].startswith('#')]
    if universal:
        found = [one for one in found if not _BESIDE.fullmatch(one[1][0])]
    return found


def _cells(text: str, tabs: bool) -> list[str]:
    # Not str.split(): a word may hold a no-break space.
    return text.split('\t') if tabs else [cell for cell in text.split(' ') if cell]


def _places(
    path: pathlib.Path, columns: Columns, width: int, labelled: bool | None
) -> tuple[int, int | None]:
    """Numbers, from 0, of the columns of words and of tags."""
    words = _place(path, 'words', columns.words or '0', width)
    if labelled is None or (width == 1 and not labelled and columns.tags is None):
        return words, None
    tags = _place(path, 'tags', columns.tags or '-1', width)
    if words == tags:
        raise errors.DataError(
            f'{path}: column {words} would be both words and tags, and the file has {width}; '
            'a word and its tag stand on one line, with a space or a tab between'
        )
    return words, tags


def _place(path: pathlib.Path, part: str, column: str, width: int) -> int:
    if not is_number(column) or not -width <= int(column) < width:
        raise errors.DataError(
            f'{path}: no column {column!r} for {part}; a line has {width} columns: type '
            f'--config.task.columns.{part}=NUMBER, from 0, or from the end -1, -2, ...'
        )
    return int(column) % width


def _sentence(
    path: pathlib.Path,
    number: str,
    cells: list[tuple[int, list[str]]],
    width: int,
    places: tuple[int, int | None],
    bad: BadRows,
) -> TaggedExample | None:
    for line, found in cells:
        if len(found) != width:
            shown = ' '.join(found)
            problem = f'{len(found)} cells where the first line has {width}: {shown!r:.80}'
            bad.refuse('bad_width', f'{path}:{line}', problem)
            return None
    words = [found[places[0]] for _, found in cells]
    tags = None if places[1] is None else [found[places[1]] for _, found in cells]
    where = [f'{path}:{line}' for line, _ in cells]
    for tag, place in zip(tags or (), where, strict=False):
        if ' ' in tag:
            problem = (
                f'the tag {tag!r:.60} holds a space; where a row is a sentence, the first line '
                'names --config.task.columns.words=NAME and --config.task.columns.tags=NAME'
            )
            bad.refuse('bad_tags', place, problem)
            return None
    return _checked(number, words, tags, where, bad)


def from_rows(
    rows: Rows, columns: Columns, bad: BadRows, labelled: bool | None
) -> Iterator[TaggedExample]:
    """Sentences of rows with a list of words and one of tags, or both as text with spaces.

    Arguments as for `read`.
    """
    words_key = resolve(rows, columns.words or 'words', 'words')
    tags_key = resolve(rows, columns.tags or 'tags', 'tags', bool(labelled))
    id_key = columns.id and resolve(rows, columns.id, 'id')
    for row in rows.rows:
        words = _strings(row, words_key, bad)
        if words is None:
            continue
        tags = None
        if labelled or (labelled is False and row.values.get(tags_key) is not None):
            tags = _strings(row, str(tags_key), bad)
            if tags is None:
                continue
        if not words:
            bad.refuse('empty_text', row.where, f'no words in {words_key!r}')
            continue
        name = row_id(row, id_key, bad)
        if name is None:
            continue
        example = _checked(name, words, tags, [row.where] * len(words), bad)
        if example is not None:
            yield example


def _strings(row: Row, key: str, bad: BadRows) -> list[str] | None:
    found, problem = column_value(row, key)
    if problem:
        bad.refuse('missing_field', row.where, problem)
        return None
    if isinstance(found, str):
        return [part for part in found.split(' ') if part]
    if not isinstance(found, list) or not all(isinstance(item, str | int) for item in found):
        problem = f'{key!r} must be a list of texts, found {found!r:.60}'
        bad.refuse('bad_tags', row.where, problem)
        return None
    return [str(item) for item in found]


def _checked(
    name: str,
    words: list[str],
    tags: list[str] | None,
    where: list[str],
    bad: BadRows,
) -> TaggedExample | None:
    """The sentence, unless something is wrong with it; `where` has a place for each word."""
    for word, place in zip(words, where, strict=True):
        problem = text_problem(word)
        if problem:
            bad.refuse('not_text' if word.strip() else 'empty_text', place, f'in a word: {problem}')
            return None
    problem = None if tags is None else _tags_problem(words, tags)
    if problem:
        bad.refuse('bad_tags', where[0], problem)
        return None
    return TaggedExample(name, tuple(words), None if tags is None else tuple(tags), where[0])


def _tags_problem(words: list[str], tags: list[str]) -> str | None:
    if len(tags) != len(words):
        return f'{len(tags)} tags for {len(words)} words ({" ".join(words)!r:.60})'
    if not all(tags):
        return f'word {tags.index("") + 1}, {words[tags.index("")]!r}, has no tag'
    for tag in set(tags):
        problem = text_problem(tag)
        if problem:
            return f'in tag {tags.index(tag) + 1}: {problem}'
    return None


def fitting(
    examples: Iterable[TaggedExample], scheme: str, bad: BadRows
) -> Iterator[TaggedExample]:
    """Those whose tags are possible in their scheme; the others are refused or counted."""
    for example in examples:
        problem = example.tags and tag_schemes.problem(example.tags, scheme)
        if problem:
            bad.refuse('bad_tags', example.where, f'{problem} ({" ".join(example.words)!r:.60})')
        else:
            yield example


def known(
    examples: Iterable[TaggedExample], classes: Sequence[str], bad: BadRows
) -> Iterator[TaggedExample]:
    """Those whose tags are all among the task's."""
    more = ', ...' if len(classes) > _SHOWN else ''
    listed = ', '.join(map(repr, classes[:_SHOWN])) + more
    for example in examples:
        strange = sorted(set(example.tags or ()) - set(classes))
        if strange:
            problem = f'the tag {strange[0]!r} is not one of the task: {listed}'
            bad.refuse('bad_tags', example.where, problem)
        else:
            yield example
