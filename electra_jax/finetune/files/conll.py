"""Sentences in words with a tag each: CoNLL files, and table rows with a sentence each.

Everywhere here `labelled` is whether every word must have a tag; None: tags are not looked at.
"""

import bisect
import collections
import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from electra_jax.core.complaints import Complaints, counted
from electra_jax.core.errors import DataError
from electra_jax.finetune.examples import TaggedExample
from electra_jax.finetune.files import lines, tables, tag_schemes, unread
from electra_jax.finetune.files.lines import Refusing, UnusableError
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import Columns, Row, Rows, is_number
from electra_jax.finetune.files.texts import composed

_NEW_DOCUMENT = '-DOCSTART-'  # of CoNLL-2003: on a line of its own, which is no word
_NUMBER = re.compile('[0-9]+([-.][0-9]+)?')
# Of columns, in the first line of many a table.
_WORDS_NAMES = {'word', 'words', 'token', 'tokens', 'form'}
_NAMES = _WORDS_NAMES | {'tag', 'tags', 'label', 'labels', 'pos', 'ner'}
_LONG_SENTENCE = 200  # words
# What other programs write where a word has none: pandas, and losses that pass over -100.
_NO_TAG = re.compile('nan|null|<na>|#n/a|-[0-9]+', re.IGNORECASE)
# .conllu: lines for several words written as one ('1-2'), and for words that are left out ('3.1').
_NO_WORD = re.compile('[0-9]+[-.][0-9]+')


class _Line(NamedTuple):
    """A line with a word: its number in the file, and its cells."""

    number: int
    cells: list[str]


def read(source: Source) -> Iterator[TaggedExample]:
    """Sentences of a file with a word a line, or of a table or dataset with a sentence a row."""
    if source.path is None or _is_table(source, source.path):
        return _from_rows(source)
    return _read_conll(source, source.path)


def _is_table(source: Source, path: pathlib.Path) -> bool:
    """Whether a row is a sentence; in a .tsv file, if its first line names words and tags."""
    columns = source.columns
    if source.ending != '.tsv':
        return source.ending in (*tables.TABLES, '.json')
    if columns.header is not None:
        return columns.header
    first = tables.first_names(path, columns.separator, '.tsv')
    given = (('words', columns.words), ('tags', columns.tags))
    words, tags = (
        name if name and not is_number(name) else tables.called(field, first)
        for field, name in given
    )
    if words not in first or tags in first:
        return words in first
    return not source.labelled and _holds_sentences(source, path, words, first.index(words))


def _holds_sentences(source: Source, path: pathlib.Path, name: str, column: int) -> bool:
    """Whether lines below one with the name of the words are sentences; it may be a word itself."""
    separator = tables.separator_of(path, source.columns.separator, '.tsv')
    read = lines.numbered(path, Complaints('data.on_bad_row', 'skip'))
    cells = [text.split(separator) if text and text.strip() else [] for _, text in read]
    while cells and not cells[-1]:
        cells.pop()
    if any(' ' in one[column].strip() for one in cells if len(one) > column):
        return True
    if [] in cells:  # a blank line between sentences
        return False
    source.complaints.note(
        f'{path}:1: {name!r} is read as the name of a column; if it is a word, give the file the '
        'ending .conll'
    )
    return True


# ---------------------------------------------------------------------------------------------
# A word a line


def _read_conll(source: Source, path: pathlib.Path) -> Iterator[TaggedExample]:
    """Sentences of a file with a word a line and a blank line between sentences.

    Tabs separate the cells if the first line of a word holds one, otherwise spaces do, and tabs
    that come later; a tab at the end of every line separates nothing. `words` and
    `tags` are numbers: 0 and -1 where they are None; in a .conllu file 1 and, to be named, `tags`.
    """
    columns, complaints, labelled = source.columns, source.complaints, source.labelled
    is_universal = source.ending == '.conllu'
    if is_universal:
        columns = dataclasses.replace(columns, words=columns.words or '1')
        if labelled is not None and columns.tags is None:
            raise DataError(
                f'{path}: a .conllu file has several columns of tags; type '
                '--config.task.columns.tags=3 for parts of speech (UPOS), or another number from 0'
            )
    lost: list[int] = []  # a line of each sentence that was left out
    texts = list(_blocks(path, complaints, lost))
    if not texts:
        return
    every = [line for block in texts for line in block]
    number, first = next((line for line in every if not line[1].startswith('#')), every[0])
    if isinstance(lines.json_of(first.strip()), dict):
        raise DataError(
            f'{path}:{number}: the line is JSON, {first!r:.60}, where a word and its tag are '
            'expected: give the file the ending .jsonl'
        )
    has_tabs = is_universal or '\t' in first
    width = len(_cells(first, has_tabs))
    cut = ([_Line(number, _cells(text, has_tabs)) for number, text in block] for block in texts)
    blocks = list(filter(None, _without_comments(list(cut), width)))
    while width > 1 and not any(line.cells[-1] for block in blocks for line in block):
        blocks = [[line._replace(cells=line.cells[:-1]) for line in block] for block in blocks]
        width -= 1
    if len(blocks) == 1 and len(blocks[0]) >= _LONG_SENTENCE:
        complaints.note(
            f'{path}: all {len(blocks[0]):,} words are read as one sentence, because no blank line '
            'stands between; if they are several, put a blank line after each'
        )
    words, tags = _word_and_tag(path, columns, width, labelled)
    # Files with other endings may have the same columns.
    numbers = (_NUMBER.fullmatch(line.cells[0]) for block in blocks for line in block)
    if is_universal or (words and all(numbers)):
        whole = ([line for line in b if not _NO_WORD.fullmatch(line.cells[0])] for b in blocks)
        blocks = list(filter(None, whole))
    if words < width - 1:
        _check_not_numbers(path, blocks, words)
    for number, block in enumerate(blocks):
        with Refusing(complaints, f'{path}:{block[0].number}'):
            where = [f'{path}:{line.number}' for line in block]
            _check_cells(block, where, width, tags)
            if number == 0:
                _check_no_header(source, blocks, words, width - 1 if tags is None else tags)
            given = None if tags is None else [line.cells[tags] for line in block]
            name = str(number + bisect.bisect(lost, block[0].number))
            yield _checked(name, [line.cells[words] for line in block], given, where)


def _blocks(
    path: pathlib.Path, complaints: Complaints, lost: list[int]
) -> Iterator[list[tuple[int, str]]]:
    """Numbered lines between blank ones.

    Blocks with a line that is not text are left out, and the number of such a line joins `lost`.
    """
    block: list[tuple[int, str]] = []
    is_whole = True
    for number, text in itertools.chain(lines.numbered(path, complaints), [(0, '')]):
        if text is None:
            if is_whole:
                lost.append(number)
            is_whole = False
        elif text.strip(' \t') and not text.startswith(_NEW_DOCUMENT):
            block.append((number, text))
        else:
            if block and is_whole:
                yield block
            block, is_whole = [], True


def _cells(text: str, has_tabs: bool) -> list[str]:
    # Not str.split(): a word may hold a no-break space.
    if has_tabs:
        return [cell.strip(' ') for cell in text.split('\t')]
    return [cell for cell in text.replace('\t', ' ').split(' ') if cell]


def _without_comments(blocks: list[list[_Line]], width: int) -> Iterator[list[_Line]]:
    """Blocks without the lines that begin with '#' and are comments.

    '#' is also a word, the pound sign of CoNLL-2000. Its line has as many cells as the others; and
    where it is the first of a sentence, one of its cells occurs with other words, too.
    """
    words = [line.cells for block in blocks for line in block if not _has_mark(line)]
    whole = [cells for cells in words if len(cells) == width]
    known = [set(column) for column in zip(*whole, strict=True)][1:]
    for block in blocks:
        block = [line for line in block if len(line.cells) == width or not _has_mark(line)]
        while block and width > 1 and _has_mark(block[0]):
            others = zip(block[0].cells[1:], known, strict=True) if known else ()
            if any(cell in column or _is_tag(cell) for cell, column in others):
                break
            del block[0]
        yield block


def _check_not_numbers(path: pathlib.Path, blocks: list[list[_Line]], words: int) -> None:
    """Refuses a column of words that holds their numbers."""
    cells = [[line.cells[words] for line in b if len(line.cells) > words] for b in blocks]
    cells = [[cell for cell in one if not _NO_WORD.fullmatch(cell)] for one in cells]
    if any(one[1:] for one in cells) and all(
        one == [str(i) for i in range(1, len(one) + 1)] for one in cells
    ):
        raise DataError(
            f'{path}: column {words} numbers the words; name that of the words, and of the tags, '
            'from 0: --config.task.columns.words=1 --config.task.columns.tags=NUMBER'
        )


def _check_no_header(source: Source, blocks: list[list[_Line]], words: int, tags: int) -> None:
    """Refuses a first line of names of columns; the tag of another word is no such name."""
    line = blocks[0][0]
    names = _NAMES.intersection(cell.casefold() for cell in line.cells)
    others = (one for block in blocks for one in block if one.cells != line.cells)
    if not names or any(one.cells[tags:][:1] == line.cells[tags:][:1] for one in others):
        return
    where = f'{source.path}:{line.number}'
    if len(names) > 1:
        raise DataError(
            f'{where}: the line looks like names of columns, not like a word and its '
            'tag: delete it; or, where each row has the number of its sentence, let the name end '
            'in .csv or .tsv, and type --config.task.columns.words=NAME '
            '--config.task.columns.tags=NAME --config.task.columns.sentence=NAME'
        )
    if line.cells[words].casefold() in _WORDS_NAMES and not _is_tag(line.cells[tags]):
        source.complaints.note(
            f'{where}: the line {" ".join(line.cells)!r:.60} is read as a word; delete it if it '
            'has the names of columns'
        )


def _is_tag(cell: str) -> bool:
    return tag_schemes.of_classes([cell]) != 'plain'


def _has_mark(line: _Line) -> bool:
    return line.cells[0].startswith('#')


def _word_and_tag(
    path: pathlib.Path, columns: Columns, width: int, labelled: bool | None
) -> tuple[int, int | None]:
    """Numbers, from 0, of the columns of words and of tags."""

    def number(field: str, column: str) -> int:
        if not is_number(column) or not -width <= int(column) < width:
            raise DataError(
                f'{path}: there is no column {column!r} for {field}; a line has {width} columns: '
                f'type --config.task.columns.{field}=NUMBER, from 0, or from the end -1, -2, ...'
            )
        return int(column) % width

    words = number('words', columns.words or '0')
    if labelled is None or (width == 1 and not labelled and columns.tags is None):
        return words, None
    tags = number('tags', columns.tags or '-1')
    if words == tags:
        raise DataError(
            f'{path}: column {words} would be both words and tags, and the file has {width}; '
            'a word and its tag stand on one line, with a space or a tab between'
        )
    return words, tags


def _check_cells(block: list[_Line], where: list[str], width: int, tags: int | None) -> None:
    """Raises UnusableError for a line without a word and a tag; `where` has a location a line."""
    for line, location in zip(block, where, strict=True):
        if len(line.cells) != width:
            shown = ' '.join(line.cells)
            cells = counted(len(line.cells), 'cells')
            problem = f'{cells} where the first line has {width}: {shown!r:.80}'
            if len(line.cells) == 1 and ' ' in shown:
                problem += ' (as in the first line, a tab must separate them)'
            raise UnusableError('bad_width', problem, location)
        if tags is not None and ' ' in line.cells[tags]:
            problem = (
                f'the tag {line.cells[tags]!r:.60} holds a space; where a row is a sentence, the '
                'first line names --config.task.columns.words=NAME and '
                '--config.task.columns.tags=NAME'
            )
            raise UnusableError('bad_tags', problem, location)


# ---------------------------------------------------------------------------------------------
# A sentence a row


def _from_rows(source: Source) -> Iterator[TaggedExample]:
    """Sentences of rows with a list of words and one of tags, or both as text with spaces."""
    rows, columns, labelled = source.rows(), source.columns, source.labelled
    fields = ['words', *(['tags'] if labelled else [])]
    fields += [field for field in ('sentence', 'id') if getattr(columns, field)]
    needed = rows.need_all(fields)
    words_key, tags_key, id_key = needed['words'], needed.get('tags'), needed.get('id')
    if labelled is False:
        tags_key = rows.find('tags')
    for field, key in needed.items() if source.split in ('train', '') else ():
        if getattr(columns, field) is None and key != field:
            source.complaints.note(f'{source.where}: the column {key!r} is read as the {field}')
    rows = rows._replace(rows=unread.noted(source, rows, {*needed.values()}))
    if columns.sentence:
        yield from _from_word_rows(source, rows, (needed['sentence'], words_key, tags_key))
        return
    sizes: collections.Counter[int] = collections.Counter()  # of sentences written as text
    row = None
    for row in rows.rows:
        with Refusing(source.complaints, row.where):
            row.check({field: needed[field] for field in ('words', 'tags') if field in needed})
            words, tags = _strings(row.values[words_key], words_key), None
            if tags_key and (labelled or row.values.get(tags_key) is not None):
                tags = _strings(row.values[tags_key], tags_key)
            if not words:
                raise UnusableError('empty_text', f'there are no words in {words_key!r}')
            sizes[len(words)] += isinstance(row.values[words_key], str)
            yield _checked(row.id(id_key), words, tags, [row.where] * len(words))
    if row and labelled and sizes[1] == sizes.total() > 1:
        named = ', '.join(map(repr, list(row.values)[:10]))
        raise DataError(
            f'{source.where}: every row holds one word; where a row is a word of a sentence, name '
            'the column that numbers the sentences, --config.task.columns.sentence=NAME (there are '
            f'{named}); where blank lines end sentences, give the file the ending .conll'
        )


def _from_word_rows(
    source: Source, rows: Rows, keys: tuple[str, str, str | None]
) -> Iterator[TaggedExample]:
    """Sentences of rows with a word each; another value under the first key begins one.

    A row that was left out may have begun a sentence: what follows it until another value is left
    out, too.
    """
    sentence_key, words_key, tags_key = keys
    block: list[Row] = []
    before, number, is_whole = '', 0, True
    for row in itertools.chain(rows.rows, [None]):
        value = str(row.values.get(sentence_key) or '').strip() if row else ''
        if block and (row is None or value not in ('', before)):
            with Refusing(source.complaints, block[0].where):
                if is_whole:
                    yield _sentence(str(number), block, words_key, tags_key)
            block, number, is_whole = [], number + 1, True
        if row is not None:
            is_whole &= not block or row.number == block[-1].number + 1
            block.append(row)
            before = value or before


def _sentence(name: str, block: list[Row], words_key: str, tags_key: str | None) -> TaggedExample:
    def cells(key: str, field: str) -> list[str]:
        return [str(row.value(key, field)).strip() for row in block]

    tags = cells(tags_key, 'tags') if tags_key else None
    return _checked(name, cells(words_key, 'words'), tags, [row.where for row in block])


def _strings(value: Any, key: str) -> list[str]:
    if isinstance(value, str):
        listed = lines.written_list(value, 'bad_tags')
        return [part for part in value.split(' ') if part] if listed is None else listed
    if not isinstance(value, list) or not all(isinstance(item, str | int) for item in value):
        raise UnusableError('bad_tags', f'{key!r} must be a list of texts, found {value!r:.60}')
    return [str(item).strip(' ') for item in value]


# ---------------------------------------------------------------------------------------------
# Checks


def _checked(
    name: str, words: list[str], tags: list[str] | None, where: list[str]
) -> TaggedExample:
    """The sentence; raises UnusableError if it is not one. `where` has a location a word."""
    for word, location in zip(words, where, strict=True):
        lines.usable_text(word, 'a word', location)
    problem = None if tags is None else _tags_problem(words, tags)
    if problem:
        raise UnusableError('bad_tags', problem)
    given = None if tags is None else tuple(map(composed, tags))
    return TaggedExample(name, tuple(words), given, where[0])


def _tags_problem(words: list[str], tags: list[str]) -> str | None:
    if len(tags) != len(words):
        return f'{len(tags)} tags for {len(words)} words ({" ".join(words)!r:.60})'
    if not all(tags):
        return f'word {tags.index("") + 1}, {words[tags.index("")]!r}, has no tag'
    for tag in set(tags):
        problem = lines.text_problem(tag)
        if _NO_TAG.fullmatch(tag):
            problem = f'{tag!r} stands for no tag'
        if problem:
            return f'in tag {tags.index(tag) + 1}: {problem}'
    return None
