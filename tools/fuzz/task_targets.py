"""Files of tasks, and what people pipe into `predict`: tables, JSON lines, CoNLL, SQuAD, lines."""

import csv
import dataclasses
import io
import json
import pathlib
import random
import sys
import types

import numpy as np

from electra_jax.core.complaints import Complaints
from electra_jax.finetune import split as splits
from electra_jax.finetune.files import lines, predict_input
from electra_jax.finetune.files.locate import Location
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS
from tests.support import fakes
from tests.support.loading import Known, task_of
from tools.fuzz import mutate
from tools.fuzz.target import Run, Target, check, fresh
from tools.fuzz.text_targets import COMPRESS

_USED_ANYWAY = (
    'moved_answer', 'known_gap', 'torn_file', 'double_id', 'first_answer', 'quoted', 'stray_return',
)  # fmt: skip


def _left_out(bad: Complaints) -> int:
    return sum(number for kind, (number, _) in bad.counts.items() if kind not in _USED_ANYWAY)


def text_rows(rng: random.Random, scored: bool) -> list[dict]:
    """Rows of texts with a class or a score."""
    return [
        {
            'text': mutate.words(rng, rng.randint(1, 6)),
            'second': mutate.words(rng, rng.randint(1, 6)),
            'label': round(rng.uniform(0, 5), 2) if scored else rng.choice(('yes', 'no')),
            'id': f'r{i}',
        }
        for i in range(rng.randint(2, 8))
    ]


def as_table(rows: list[dict], separator: str) -> bytes:
    """A table of rows with a header; quoted where it is CSV."""
    out = io.StringIO()
    if separator == ',':
        writer = csv.writer(out, lineterminator='\n')
        writer.writerow(list(rows[0]))
        writer.writerows(row.values() for row in rows)
    else:
        lines = [list(rows[0]), *(list(map(str, row.values())) for row in rows)]
        out.write(''.join(separator.join(line) + '\n' for line in lines))
    return out.getvalue().encode()


def as_lines(rng: random.Random, rows: list[dict]) -> bytes:
    """JSON lines, some of them damaged as JSON."""
    return b''.join(
        (
            mutate.spoil_json(rng, row, 1).replace(b'\n', b' ')
            if rng.random() < 0.15
            else json.dumps(row).encode()
        )
        + b'\n'
        for row in rows
    )


def _write(rng: random.Random, path: pathlib.Path, data: bytes) -> tuple[pathlib.Path, bytes]:
    """Writes damaged data, at times compressed; returns the file and what it unpacks to."""
    if rng.random() < 0.75:
        data = mutate.spoil(rng, data)
    if rng.random() < 0.1:
        suffix = rng.choice(sorted(COMPRESS))
        path = path.with_name(path.name + suffix)
        packed = COMPRESS[suffix](data)
        if rng.random() < 0.3:
            packed, data = mutate.spoil(rng, packed, 1), b''
        path.write_bytes(packed)
    else:
        path.write_bytes(data)
    return path, data


def _lines(data: bytes) -> list[bytes]:
    """Lines that end in a line feed; or, where most do, in a carriage return alone."""
    if data.count(b'\r') - data.count(b'\r\n') > data.count(b'\n'):
        data = data.replace(b'\r', b'\n')
    return data.split(b'\n')


def _filled(data: bytes) -> int:
    """Lines that are not white space alone."""
    # Of Unicode's white space, too.
    return sum(1 for line in _lines(data) if line.decode(errors='replace').strip())


def _tsv_rows(data: bytes) -> int:
    """Lines after the header; one of empty cells is a row, which is counted as a bad one."""
    return (
        sum(1 for line in _lines(data) if line.decode(errors='replace').strip() or b'\t' in line)
        - 1
    )


def _examples(
    rng: random.Random, name: str, path: pathlib.Path, **columns
) -> tuple[list, Complaints]:
    """A file read as a task's; examples are also turned into rows, as training would."""
    settings = {'question_length': 8, 'stride': 4, 'unanswerable': rng.choice((None, True, False))}
    task = dataclasses.replace(
        task_of(name, **settings), columns=Columns(**columns), row_length=rng.choice((16, 64))
    )
    split = rng.choice(('train', 'train', 'dev'))
    policy = 'skip' if rng.random() < 0.7 else 'error'
    loaded = splits.read(task, Location(path), split, policy)
    loaded.complaints.lines()
    rows = KINDS[task.kind].features(fakes.tokenizer(), loaded.examples, loaded.task)
    lengths = np.asarray(rows.tokens.lengths())
    check(len(lengths) >= len(loaded.examples), 'examples without a row')
    check(lengths.max() <= task.row_length, 'a row that is too long')
    return loaded.examples, loaded.complaints


def _make_tables(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> None:
        scored = rng.random() < 0.4
        rows = text_rows(rng, scored)
        ending = rng.choice(('csv', 'tsv', 'jsonl'))
        if ending in ('csv', 'tsv'):
            data = as_table(rows, ',' if ending == 'csv' else '\t')
        else:
            data = as_lines(rng, rows)
        path, data = _write(rng, fresh(folder / 'case') / f'table.{ending}', data)
        columns = {'text_a': 'text', 'label': 'label'}
        if rng.random() < 0.3:
            columns |= {'text_b': 'second', 'id': 'id'}
        name = 'text_regression' if scored else 'text'
        examples, bad = _examples(rng, name, path, **columns)
        if ending in ('tsv', 'jsonl') and data and not bad.counts.get('torn_file'):
            wanted = _tsv_rows(data) if ending == 'tsv' else _filled(data)
            count = len(examples) + _left_out(bad)
            check(count == wanted, f'{wanted} rows, {count} read or counted: {bad.counts}')

    return run


def conll(rng: random.Random, separator: str) -> bytes:
    """Sentences with a word and its tag a line."""
    blocks = []
    for _ in range(rng.randint(1, 5)):
        tags, before = [], 'O'
        for _ in range(rng.randint(1, 8)):
            choices = ['O', 'B-PER', 'B-LOC'] + ([f'I-{before[2:]}'] if before != 'O' else [])
            before = rng.choice(choices)
            tags.append(before)
        words = [rng.choice(mutate.WORDS[:9]) for _ in tags]
        blocks.append(
            ''.join(f'{word}{separator}{tag}\n' for word, tag in zip(words, tags, strict=True))
        )
    return '\n'.join(blocks).encode()


def _sentences(data: bytes) -> int:
    """Blocks of lines between blank ones, by a simple reading of the format."""
    count, inside = 0, False
    for raw in _lines(data.removeprefix(b'\xef\xbb\xbf')):
        # A mark in the middle, where files were joined, is dropped.
        line = raw.removesuffix(b'\r').removeprefix(b'\xef\xbb\xbf')
        blank = not line.strip(b' \t') or line.startswith(b'-DOCSTART-')
        count += not blank and not inside
        inside = not blank
    return count


def _make_tagging(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> None:
        ending = rng.choice(('conll', 'txt', 'jsonl'))
        if ending == 'jsonl':
            count = rng.randint(1, 6)
            rows = [{'words': ['new', 'york'], 'tags': ['B-LOC', 'I-LOC']} for _ in range(count)]
            data = as_lines(rng, rows)
        else:
            data = conll(rng, rng.choice(' \t'))
        path, data = _write(rng, fresh(folder / 'case') / f'tags.{ending}', data)
        examples, bad = _examples(rng, 'tagging', path)
        simple = data and b'#' not in data and 'not_text' not in bad.counts
        if simple and not bad.counts.get('torn_file'):
            wanted = _filled(data) if ending == 'jsonl' else _sentences(data)
            count = len(examples) + _left_out(bad)
            check(count == wanted, f'{wanted} sentences, {count} read or counted: {bad.counts}')

    return run


def squad(rng: random.Random) -> dict:
    """A file as SQuAD's."""
    paragraphs = []
    for i in range(rng.randint(1, 4)):
        context = mutate.words(rng, rng.randint(3, 40))
        at = rng.randrange(len(context) - 1)
        answer = {'text': context[at : at + 5], 'answer_start': at}
        qas = [
            {'id': f'q{i}-{k}', 'question': 'what is it?', 'answers': [answer]}
            for k in range(rng.randint(1, 3))
        ]
        paragraphs.append({'context': context, 'qas': qas})
    return {'version': '1.1', 'data': [{'title': 't', 'paragraphs': paragraphs}]}


def _questions(data: bytes) -> int | None:
    """Questions in a SQuAD file; None where it is not whole."""
    try:
        tree = json.loads(data.removeprefix(b'\xef\xbb\xbf'))
        return sum(len(p['qas']) for article in tree['data'] for p in article['paragraphs'])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _make_questions(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> None:
        ending = rng.choice(('json', 'json', 'jsonl', 'mrqa'))
        tree = squad(rng)
        if ending == 'json':
            data = mutate.spoil_json(rng, tree) if rng.random() < 0.7 else json.dumps(tree).encode()
        else:
            rows = []
            for paragraph in tree['data'][0]['paragraphs']:
                if ending == 'mrqa':
                    answers = [{'text': 'x', 'char_spans': [[0, 3]]}]
                    qas = [
                        {'qid': one['id'], 'question': 'what?', 'detected_answers': answers}
                        for one in paragraph['qas']
                    ]
                    rows.append({'context': paragraph['context'], 'qas': qas})
                else:
                    for one in paragraph['qas']:
                        rows.append({**one, 'context': paragraph['context']})
            data = as_lines(rng, rows)
        name = 'questions.json' if ending == 'json' else 'questions.jsonl'
        path, data = _write(rng, fresh(folder / 'case') / name, data)
        examples, bad = _examples(rng, 'spans', path)
        wanted = _questions(data) if ending == 'json' and data else None
        if wanted is not None:
            count = len(examples) + _left_out(bad)
            check(count == wanted, f'{wanted} questions, {count} read or counted: {bad.counts}')

    return run


def trained_tasks() -> list[Task]:
    """A trained task of each kind."""
    known = {
        'text': Known(('no', 'yes')),
        'text_regression': Known(score_range=(0.0, 5.0)),
        'tagging': Known(('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER'), 'bio'),
        'spans': Known(),
        'mrpc': Known(('0', '1')),
    }
    settings = {'question_length': 8, 'stride': 4, 'head': 'huggingface'}
    return [
        dataclasses.replace(task_of(name, one, **settings), row_length=24)
        for name, one in known.items()
    ]


def _incoming(rng: random.Random) -> tuple[bytes, str]:
    """What someone might pipe in, and a format that --format might name for it."""
    rows = text_rows(rng, False)
    for row in rows:
        row |= {'context': row['text'], 'question': 'who?', 'words': row['text']}
    data = rng.choice(
        (
            lambda: as_table(rows, ','),
            lambda: as_table(rows, '\t'),
            lambda: as_lines(rng, rows),
            lambda: json.dumps(rows).encode(),
            lambda: conll(rng, ' '),
            lambda: json.dumps(squad(rng)).encode(),
            lambda: '\n'.join(row['text'] for row in rows).encode(),
            lambda: '\n'.join(f'{row["text"]}\t{row["second"]}' for row in rows).encode(),
        )
    )()
    return data, rng.choice(('auto', 'auto', 'auto', *predict_input.FORMATS))


def read_incoming(rng: random.Random, folder: pathlib.Path, task: Task, bad: Complaints) -> list:
    """Examples of a damaged file or of standard input, by the steps of the command."""
    data, form = _incoming(rng)
    columns = Columns(text_a='text') if rng.random() < 0.3 else Columns()
    case = fresh(folder / 'case')
    if rng.random() < 0.3:
        typed = types.SimpleNamespace(buffer=io.BytesIO(mutate.spoil(rng, data)))
        kept, sys.stdin = sys.stdin, typed
        try:
            if form == 'auto':
                form = predict_input.format_of(lines.STANDARD_INPUT)
            return predict_input.read(task, lines.STANDARD_INPUT, form, columns, bad)
        finally:
            sys.stdin = kept
    ending = rng.choice(('', '.txt', '.csv', '.tsv', '.jsonl', '.json', '.conll'))
    path, _ = _write(rng, case / f'input{ending}', data)
    if form == 'auto':
        form = predict_input.format_of(path)
    return predict_input.read(task, path, form, columns, bad)


def _make_incoming(folder: pathlib.Path) -> Run:
    tasks = trained_tasks()

    def run(rng: random.Random) -> None:
        task = rng.choice(tasks)
        bad = Complaints('data.on_bad_row', 'skip' if rng.random() < 0.8 else 'error')
        examples = read_incoming(rng, folder, task, bad)
        check(bool(examples), 'no example and no complaint')
        KINDS[task.kind].features(fakes.tokenizer(), examples, task)

    return run


TARGETS = (
    Target('tables', _make_tables, r'table\.'),
    Target('tagging', _make_tagging, r'tags\.'),
    Target('questions', _make_questions, r'questions\.'),
    Target('incoming', _make_incoming, r'input|<stdin>|--(columns|format)'),
)
