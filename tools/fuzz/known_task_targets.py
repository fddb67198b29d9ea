"""Files of tasks with known rows: tables, tagged sentences, questions, and new text to predict."""

import csv
import dataclasses
import functools
import io
import json
import math
import pathlib
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from electra_jax.core.complaints import Complaints
from electra_jax.finetune import split as splits
from electra_jax.finetune.examples import SpanExample, TaggedExample, TextExample
from electra_jax.finetune.files import predict_input
from electra_jax.finetune.files.locate import Location
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.kind import Task
from tests.support import loading
from tools.fuzz import writing
from tools.fuzz.target import Run, Target, check, known
from tools.fuzz.task_targets import trained_tasks

task_of = functools.cache(loading.task_of)

# What is counted without a loss.
_HARMLESS = ('blank_line', 'cut', 'guessed_encoding')


def _lost(complaints: Complaints) -> int:
    counted = sum(n for reason, (n, _) in complaints.counts.items() if reason not in _HARMLESS)
    return counted + len(getattr(complaints, 'notes', ()))


class Case(NamedTuple):
    """A file that was written, and whether every reader knows its encoding, line ends and name."""

    path: pathlib.Path
    sure: bool


def _write(
    rng: random.Random,
    folder: pathlib.Path,
    code: writing.Encoding,
    text: str,
    endings: Sequence[str],
    sure: bool = True,
    renamed: bool = True,
) -> Case:
    """Writes a file, plain or compressed, perhaps torn; `renamed`: perhaps without its ending."""
    path, data = writing.path_of(rng, folder, rng.choice(endings), plain=True), code.encode(text)
    sure = sure and code.sure
    kind = rng.random()
    if kind < 0.05:
        path = path.with_suffix(path.suffix.upper())
    elif kind < 0.1 and renamed:
        path, sure = path.with_suffix(rng.choice(('', '.data', '.TXT'))), False
    kind = rng.random()
    if kind < 0.2:
        suffix = rng.choice(sorted(writing.COMPRESS))
        data = writing.compress(rng, data, suffix)
        path = path.with_name(path.name + suffix)
        if rng.random() < 0.2:
            data, sure = writing.damaged(rng, data), False
    elif kind < 0.23:
        suffix = rng.choice(writing.ARCHIVES)
        data, sure = writing.archive(rng, [(path.name, data)], suffix), False
        path = path.with_name(path.name + suffix)
    path.write_bytes(data)
    return Case(path, sure)


def _loaded(rng: random.Random, task: Task, path: pathlib.Path, bad: list[Complaints]) -> Any:
    """The split of a file; its complaints are kept in `bad`."""
    loaded = splits.read(task, Location(path), 'train', rng.choice(('skip', 'error')))
    bad.append(loaded.complaints)
    loaded.complaints.lines()
    return loaded


# ---------------------------------------------------------------------------------------------
# Tables

_CLASSES = (
    ('no', 'yes'), ('0', '1'), ('1', '2', '3'), ('False', 'True'), ('0.0', '1.0'),
    ('A', 'b b'), ('N', 'Y'), ('good', 'bad'), ('10', '9'), ('é', '東'),
)  # fmt: skip
# What stands where a row has no label; the last one where classes are words, or numbers from 0.
NO_LABELS: tuple[Any, ...] = ('', ' ', 'nan', 'NaN', 'null', 'None', 'N/A', '-1')
# Columns of the text, the label and a second text.
_NAMES = (
    ('text', 'label', 'second'),
    ('Text', 'Class', 'Text 2'),
    ('1', '0', '2'),
    ('é', '東', 'ü'),
)
_SEPARATORS = {'.csv': ',', '.tsv': '\t'}


class Table(NamedTuple):
    """Rows as they are written, and as they must be read."""

    columns: list[str]  # of the text, the label and, of pairs, the second text
    rows: list[dict[str, Any]]  # by name of column, in the order of the file
    wanted: list[tuple[str, str | None, str]]
    missed: int  # rows that cannot be used

    @property
    def names(self) -> list[str]:
        """All columns in the order of the file."""
        return list(self.rows[0])


def _text(rng: random.Random, scripts: Sequence[str], one_line: bool) -> str:
    text = writing.line(rng, scripts)
    kind = rng.random()
    if kind < 0.3:
        at = rng.randint(0, len(text))
        marks = (',', ';', '"', "'", '""', '#', '=1+1', 'NA', 'null', ' ', '|', '\\')
        more = rng.choice(marks if one_line else (*marks, '\n', '\t', '\n\n', '"\n"'))
        text = text[:at] + more + text[at:]
    return text


def _table(rng: random.Random, scripts: Sequence[str], typed: bool, one_line: bool) -> Table:
    """`typed`: values may be of JSON's types; `one_line`: no text holds a tab or a line end."""
    ascii_only = 'han' not in scripts
    columns = list(rng.choice(_NAMES[:-1] if ascii_only else _NAMES))
    classes = rng.choice(_CLASSES[:-1] if ascii_only else _CLASSES)
    is_pair = rng.random() < 0.3
    names = [*(columns if is_pair else columns[:2]), 'extra']
    rng.shuffle(names)
    counted = set(classes) <= {'0', '1'} or not any(x[0].isdigit() for x in classes)
    rows, wanted, missed = [], [], 0
    for number in range(rng.randint(2, 8)):
        label = classes[number] if number < len(classes) else rng.choice(classes)
        first = _text(rng, scripts, one_line)
        second = _text(rng, scripts, one_line) if is_pair else None
        good = bool(first.strip())
        if rng.random() < 0.05:
            # Next to '1' alone '-1' may be a class.
            has_all = counted and {one[2] for one in wanted} == set(classes)
            label, good = rng.choice(NO_LABELS[: None if has_all else -1]), False
        if rng.random() < 0.03:
            first, good = rng.choice(('', ' ')), False
        if good:
            wanted.append((first.strip(), second and second.strip(), label))
        missed += not good
        value = _json_value(rng, label) if typed else label
        row = dict(zip([*columns, 'extra'], [first, value, second, ''], strict=True))
        rows.append({name: row[name] for name in names})
    return Table(columns if is_pair else columns[:2], rows, wanted, missed)


def _json_value(rng: random.Random, label: str) -> Any:
    """The label as the value that a program would write."""
    kinds: dict[str, Any] = {'': None, 'nan': math.nan, 'NaN': math.nan, '-1': -1, ' ': None}
    if label in kinds:
        return kinds[label]
    return int(label) if label.isdecimal() and label.isascii() and rng.random() < 0.5 else label


def _cells(
    rng: random.Random, table: Table, separator: str, quoted: bool, header: bool, ends: writing.Ends
) -> str:
    lines = [table.names] if header else []
    lines += [[str(row[name]) for name in table.names] for row in table.rows]
    if not quoted:
        return ends.join(rng, [separator.join(cells) for cells in lines], rng.random() < 0.8)
    out = io.StringIO()
    end = rng.choice(ends.choices)
    # The writer leaves a '\n' without quotes where it ends no line.
    quoting = csv.QUOTE_ALL if end == '\r' or rng.random() < 0.3 else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=end).writerows(lines)
    return out.getvalue()


def _make_tables(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> str | None:
        code, ends = writing.encoding(rng), writing.ends(rng)
        ending = rng.choice(('.csv', '.csv', '.tsv', '.jsonl'))
        settings: dict[str, Any] = {}
        table = _table(rng, code.scripts, typed=ending == '.jsonl', one_line=ending == '.tsv')
        sure = ends.simple
        columns = table.columns
        if ending == '.jsonl':
            lines = [json.dumps(row, ensure_ascii=rng.random() < 0.5) for row in table.rows]
            body = ends.join(rng, lines, rng.random() < 0.8)
        else:
            separator = _SEPARATORS[ending]
            if ending == '.csv' and rng.random() < 0.2:
                separator = rng.choice(';|\t')
                if rng.random() < 0.7:
                    settings['separator'] = separator
                else:
                    sure = False
            header = rng.random() < 0.8
            if not header:
                columns = [str(table.names.index(name)) for name in columns]
                settings['header'] = False
            body = _cells(rng, table, separator, ending == '.csv', header, ends)
        missed = table.missed
        if ending != '.jsonl' and rng.random() < 0.05:
            body += f'x{_SEPARATORS[ending]}y\n'
            missed, sure = missed + 1, False
        fields = dict(zip(('text_a', 'label', 'text_b'), columns, strict=False))
        case = _write(rng, folder, code, body, (ending,), sure)
        task = dataclasses.replace(task_of('text'), columns=Columns(**fields, **settings))
        classes = {label for *_, label in table.wanted}
        bad: list[Complaints] = []

        def read() -> Any:
            loaded = _loaded(rng, task, case.path, bad)
            strange = set(loaded.task.labels) - classes
            check(not strange & {x.strip() for x in NO_LABELS}, f'classes {loaded.task.labels}')
            return [(e.text_a, e.text_b, e.label) for e in loaded.examples]

        usable = case.sure and len(classes) > 1
        return known(table.wanted, read, usable, lambda: sum(map(_lost, bad)), missed)

    return run


# ---------------------------------------------------------------------------------------------
# Tagged sentences


class Span(NamedTuple):
    """Words `start` to `stop` of a sentence are a `type`."""

    type: str
    start: int
    stop: int


def _tags_of(spans: Sequence[Span], length: int, scheme: str, form: str) -> list[str]:
    """Tags that write spans, in a scheme and in a form of writing."""
    letters = {
        'bio': 'BIIB', 'iob1': 'IIII', 'iobes': 'BIES', 'bilou': 'BILU', 'bmes': 'BMES',
    }[scheme]  # fmt: skip
    tags, before = ['O'] * length, Span('', -1, -1)
    for span in spans:
        first, inside, last, single = letters
        size = span.stop - span.start
        chosen = single if size == 1 else first + inside * (size - 2) + last
        if scheme == 'iob1' and before.stop == span.start and before.type == span.type:
            chosen = 'B' + chosen[1:]
        for at, letter in enumerate(chosen, span.start):
            tags[at] = {
                'dash': f'{letter}-{span.type}',
                'suffix': f'{span.type}-{letter}',
                'underscore': f'{letter}_{span.type}',
                'bare': letter,
                'lower': f'{letter.lower()}-{span.type}',
            }[form]
        before = span
    return [tag.lower() if form == 'lower' else tag for tag in tags]


def _spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans that tags of the form 'B-TYPE' write, in any scheme."""
    spans: list[Span] = []
    before = 'O'
    for at, tag in enumerate([*tags, 'O']):
        letter, _, kind = tag.partition('-')
        is_new = letter in 'BSU' or before[0] in 'OESLU' or kind != before.partition('-')[2]
        if letter != 'O' and is_new:
            spans.append(Span(kind, at, at + 1))
        elif letter != 'O':
            spans[-1] = spans[-1]._replace(stop=at + 1)
        before = tag
    return spans


def _sentence(rng: random.Random, scripts: Sequence[str]) -> tuple[list[str], list[Span]]:
    words = [writing.word(rng, scripts) for _ in range(rng.randint(1, 8))]
    if rng.random() < 0.05:
        words[rng.randrange(len(words))] = rng.choice(
            ('#', '#tag', '-', '"', "'s", '1.1', '3-4', 'O')
        )
    spans, at = [], rng.randrange(3)
    while at < len(words):
        stop = min(at + rng.choice((1, 1, 2, 3)), len(words))
        spans.append(Span(rng.choice(('PER', 'LOC')), at, stop))
        at = stop + rng.choice((0, 1, 2))
    return words, spans


def _conll(
    rng: random.Random,
    sentences: Sequence[tuple[list[str], list[Span], list[str]]],
    ends: writing.Ends,
) -> tuple[str, dict[str, Any], bool]:
    """The text of a file with a word a line, its columns, and whether it is as usual."""
    separator, extra = rng.choice(('\t', '\t', ' ')), rng.choice((0, 0, 1, 2))
    comments, starts = rng.random() < 0.15, rng.random() < 0.15
    tag_first = rng.random() < 0.05
    lines: list[str] = []
    for number, (words, _, tags) in enumerate(sentences):
        lines += rng.choice(([''], [''], [''], ['', ''], [' '])) if number else []
        if starts and rng.random() < 0.5:
            cells = ['-DOCSTART-', *['-X-'] * extra, 'O']
            lines += [separator.join(cells), '']
        if comments:
            lines.append(rng.choice(('# id 3', '# sent_id = a', '# text = x y z v w', '#')))
        for word, tag in zip(words, tags, strict=True):
            cells = [word, *['NN'] * extra, tag]
            lines.append(separator.join(cells[::-1] if tag_first else cells))
    if rng.random() < 0.3:
        lines.append('')
    columns = {'words': '-1', 'tags': '0'} if tag_first else {}
    has_mark = any(word.startswith('#') for words, *_ in sentences for word in words)
    return ends.join(rng, lines), columns, not (comments or (has_mark and tag_first))


def _make_tagging(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> str | None:
        code, ends = writing.encoding(rng), writing.ends(rng)
        scheme = rng.choice(('bio', 'bio', 'bio', 'iob1', 'iobes', 'bilou', 'bmes'))
        form = rng.choice(('dash',) * 4 + ('suffix', 'underscore', 'bare', 'lower'))
        pairs = [_sentence(rng, code.scripts) for _ in range(rng.randint(2, 6))]
        # So that the letters of the scheme are all there, by which it is known.
        pairs.append((['a', 'b', 'c', 'd', 'e'], [Span('PER', 0, 3), Span('LOC', 3, 4)]))
        if form == 'bare':
            pairs = [(words, _without_type(spans)) for words, spans in pairs]
        elif form == 'lower':
            pairs = [(w, [s._replace(type=s.type.lower()) for s in spans]) for w, spans in pairs]
        sentences = [(w, spans, _tags_of(spans, len(w), scheme, form)) for w, spans in pairs]
        ending = rng.choice(('.conll', '.txt', '.bio', '.tsv', '.jsonl'))
        columns, sure = {}, ends.simple
        if ending == '.jsonl':
            rows = [{'words': words, 'tags': tags} for words, _, tags in sentences]
            body = ends.join(rng, [json.dumps(row) for row in rows])
        else:
            body, columns, usual = _conll(rng, sentences, ends)
            sure = sure and usual and ending != '.bio'
        case = _write(
            rng, folder, code, body, (ending,), sure and form == 'dash' and scheme != 'bmes'
        )
        task = dataclasses.replace(task_of('tagging'), columns=Columns(**columns))
        bad: list[Complaints] = []

        def read() -> Any:
            loaded = _loaded(rng, task, case.path, bad)
            if loaded.task.scheme == 'plain':
                return 'tags that write no spans'
            found = [(list(e.words), _spans_of(e.tags)) for e in loaded.examples]
            if form == 'bare':  # the type may have any name
                found = [(words, _without_type(spans)) for words, spans in found]
            return found

        wanted = [(words, spans) for words, spans, _ in sentences]
        return known(wanted, read, case.sure, lambda: sum(map(_lost, bad)))

    return run


def _without_type(spans: Sequence[Span]) -> list[Span]:
    return [span._replace(type='') for span in spans]


# ---------------------------------------------------------------------------------------------
# Questions


def _context(rng: random.Random, scripts: Sequence[str]) -> str:
    between = rng.choice(('\n', ' ', '  ', '\r\n'))
    text = between.join(writing.line(rng, scripts) for _ in range(rng.randint(1, 4)))
    return rng.choice(('', ' ')) + text if rng.random() < 0.2 else text


def _offset(rng: random.Random, context: str, start: int) -> int:
    """The start as a program counts it: in characters, in other units, or wrongly."""
    kind = rng.random()
    if kind < 0.85:
        return start
    if kind < 0.9:
        return len(context[:start].encode('utf-16-le')) // 2
    return len(context[:start].encode()) if kind < 0.95 else start + rng.choice((-1, 1, 5, -50))


class Asked(NamedTuple):
    """A question as it is written, and what must be read of it."""

    entry: dict[str, Any]
    answers: list[str]
    starts: list[int] | None  # None: that in the file is wrong

    def wanted(self, context: str) -> tuple:
        """Id, context, answers, starts and whether there is no answer."""
        return self.entry['id'], context, self.answers, self.starts, not self.answers


def _question(rng: random.Random, context: str, name: str, unanswerable: bool) -> Asked:
    entry: dict[str, Any] = {'id': name, 'question': writing.line(rng, ['latin'])}
    if unanswerable and rng.random() < 0.4:
        return Asked({**entry, 'is_impossible': True, 'answers': []}, [], [])
    start = rng.choice([i for i, letter in enumerate(context) if not letter.isspace()])
    text = context[start : start + rng.choice((1, 4, 9))].rstrip()
    given = _offset(rng, context, start)
    entry['answers'] = [{'text': text, 'answer_start': given}]
    if unanswerable:
        entry['is_impossible'] = False
    right = given >= 0 and context.startswith(text, given)
    return Asked(entry, [text], [given] if right else None)


def _make_questions(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> str | None:
        code, unanswerable = writing.encoding(rng), rng.random() < 0.5
        paragraphs, wanted = [], []
        for i in range(rng.randint(1, 4)):
            context = _context(rng, code.scripts)
            asked = [
                _question(rng, context, f'q{i}-{k}', unanswerable) for k in range(rng.randint(1, 3))
            ]
            paragraphs.append({'context': context, 'qas': [one.entry for one in asked]})
            wanted += [one.wanted(context) for one in asked]
        twice = rng.random() < 0.05
        if twice:
            paragraphs.append(paragraphs[0])
        ending, ends = rng.choice(('.json', '.json', '.jsonl')), writing.ends(rng)
        ascii_only, simple = rng.random() < 0.5, True
        if ending == '.json':
            tree = {'version': 'x', 'data': [{'title': 't', 'paragraphs': paragraphs}]}
            body = json.dumps(tree, ensure_ascii=ascii_only, indent=rng.choice((None, None, 1)))
            body = body.replace('\n', rng.choice(ends.choices))
        else:
            rows = [{**one, 'context': p['context']} for p in paragraphs for one in p['qas']]
            simple = ends.simple
            body = ends.join(rng, [json.dumps(row, ensure_ascii=ascii_only) for row in rows])
        case = _write(rng, folder, code, body, (ending,), simple and not twice)
        task = task_of('squad2' if unanswerable else 'spans')
        bad: list[Complaints] = []

        def read() -> Any:
            found = []
            loaded = _loaded(rng, task, case.path, bad)
            for e, one in zip(loaded.examples, wanted, strict=False):
                for text, start in e.answers:
                    check(e.context.startswith(text, start), f'{text!r} is not at {start}')
                starts = None if one[3] is None else [answer.start for answer in e.answers]
                texts = [answer.text for answer in e.answers]
                found.append((e.id, e.context, texts, starts, e.impossible))
            return found + loaded.examples[len(wanted) :]

        missed = sum(one[3] is None for one in wanted)

        def reported() -> int:
            # One note says of all starts that they count in other units.
            noted = any(complaints.notes for complaints in bad)
            return missed if noted else sum(map(_lost, bad))

        return known(wanted, read, case.sure, reported, missed)

    return run


# ---------------------------------------------------------------------------------------------
# New text


def _incoming(
    rng: random.Random, kind: str, is_pair: bool, scripts: Sequence[str], ends: writing.Ends
) -> tuple[str, str, list[Any], bool]:
    """The text of a file, its format, what must be read of it, and whether it is as usual."""
    texts = [writing.line(rng, scripts).replace('\u00a0', ' ') for _ in range(rng.randint(1, 6))]
    seconds = [writing.line(rng, scripts) for _ in texts]
    names = {'tagging': ('words', ''), 'spans': ('context', 'question')}.get(
        kind, ('text', 'text_b')
    )
    is_pair = is_pair or kind == 'spans'
    fields = [
        {names[0]: a} | ({names[1]: b} if is_pair else {})
        for a, b in zip(texts, seconds, strict=True)
    ]
    wanted: list[Any] = [(a, b) if is_pair else a for a, b in zip(texts, seconds, strict=True)]
    if kind == 'tagging':
        wanted = [text.split(' ') for text in texts]
    form = rng.choice(
        ('lines', 'lines', 'csv', 'tsv', 'jsonl', *(('conll',) if kind == 'tagging' else ()))
    )
    if form == 'lines':
        pairs = [
            f'{b}\t{a}' if kind == 'spans' else f'{a}\t{b}'
            for a, b in zip(texts, seconds, strict=True)
        ]
        lines = pairs if is_pair else texts
        blank = [x for one in lines for x in ([one, ''] if rng.random() < 0.2 else [one])]
        # One-word lines look like a file for taggers.
        return ends.join(rng, blank, rng.random() < 0.8), form, wanted, kind != 'tagging'
    if form == 'jsonl':
        lines = [json.dumps(row, ensure_ascii=rng.random() < 0.5) for row in fields]
        return ends.join(rng, lines, rng.random() < 0.8), form, wanted, True
    if form == 'conll':
        blocks = ['\n'.join(words) for words in wanted]
        lines = '\n\n'.join(blocks).split('\n')
        has_mark = any(word.startswith(('#', '-DOC')) for words in wanted for word in words)
        return ends.join(rng, lines), form, wanted, not has_mark
    table = Table(list(fields[0]), fields, [], 0)
    separator = ',' if form == 'csv' else '\t'
    return _cells(rng, table, separator, form == 'csv', True, ends), form, wanted, True


def _shown(example: Any) -> Any:
    """What an example holds, as `_incoming` wants it."""
    if isinstance(example, TaggedExample):
        return list(example.words)
    if isinstance(example, SpanExample):
        return (example.context, example.question)
    if isinstance(example, TextExample) and example.text_b is not None:
        return (example.text_a, example.text_b)
    return example.text_a


def _make_incoming(folder: pathlib.Path) -> Run:
    tasks = trained_tasks()

    def run(rng: random.Random) -> str | None:
        code, ends, task = writing.encoding(rng), writing.ends(rng), rng.choice(tasks)
        is_pair = task.usual_columns.text_b is not None
        text, form, wanted, usual = _incoming(rng, task.kind, is_pair, code.scripts, ends)
        ending = rng.choice(('.txt', '')) if form == 'lines' else f'.{form}'
        # Whatever has no ending is read as lines.
        case = _write(rng, folder, code, text, (ending,), usual and ends.simple, form == 'jsonl')
        bad = Complaints('data.on_bad_row', rng.choice(('skip', 'error')))
        columns = Columns(**_columns_to_name(task, form))

        def read() -> Any:
            guessed = predict_input.format_of(case.path)
            if guessed == 'lines':
                predict_input.check_lines(task, case.path, columns)
            examples = predict_input.read(task, case.path, guessed, columns, bad)
            return [_shown(example) for example in examples]

        return known(wanted, read, case.sure, lambda: _lost(bad))

    return run


def _columns_to_name(task: Task, form: str) -> dict[str, str]:
    if form in ('lines', 'conll') or task.kind in ('tagging', 'spans'):
        return {}
    return {'text_a': 'text'} | ({'text_b': 'text_b'} if task.usual_columns.text_b else {})


_NAMED = rf'{writing.STEM}|/case|--(columns|format)'
TARGETS = (
    Target('known_tables', _make_tables, _NAMED),
    Target('known_tagging', _make_tagging, _NAMED),
    Target('known_questions', _make_questions, _NAMED),
    Target('known_incoming', _make_incoming, _NAMED),
)
