"""Corpora of known documents, written as people write them: files, archives, JSON lines."""

import json
import pathlib
import random
from collections.abc import Sequence
from typing import Any

from electra_jax.core.complaints import Complaints
from tools.fuzz import writing
from tools.fuzz.target import Run, Target, known
from tools.fuzz.text_targets import read_all

# What is counted without a loss of text.
_HARMLESS = ('guessed_encoding', 'json_as_text')


def lost(complaints: Complaints) -> int:
    """How many complaints there are about text that was left out or changed."""
    return sum(n for reason, (n, _) in complaints.counts.items() if reason not in _HARMLESS)


def _policy(rng: random.Random) -> Complaints:
    return Complaints('data.on_bad_text', rng.choice(('skip', 'error')))


def documents(rng: random.Random, scripts: Sequence[str], most: int = 6) -> list[list[str]]:
    """Documents of some lines each."""
    return [
        [writing.line(rng, scripts) for _ in range(rng.randint(1, 4))]
        for _ in range(rng.randint(1, most))
    ]


def as_text(rng: random.Random, texts: list[list[str]], ends: writing.Ends) -> str:
    """One or two blank lines between documents, and lines with spaces around them."""
    lines: list[str] = []
    for number, document in enumerate(texts):
        if number:
            lines += rng.choice(([''], [''], ['', ''], [' ']))
        lines += [rng.choice(('', '', '', ' ', '\t')) + one for one in document]
    return ends.join(rng, lines, last=rng.random() < 0.8)


def _read(rng: random.Random, source: str, complaints: Complaints) -> list[list[str]]:
    return [lines for lines, _ in read_all(source, rng, complaints)]


def _source(rng: random.Random, kind: str, path: pathlib.Path) -> tuple[str, bool]:
    """The file as a source: by its own name, that of its folder or a pattern; whether it is sure.

    In a folder a file may be left out, which is counted.
    """
    by = rng.random()
    if by < 0.75:
        return f'{kind}:{path}', True
    return (f'{kind}:{path.parent}' if by < 0.9 else f'{kind}:{path.parent}/*'), False


def _written(
    rng: random.Random, path: pathlib.Path, members: list[tuple[str, bytes]]
) -> tuple[pathlib.Path, bool]:
    """Writes one file of some members: packed in any way, perhaps damaged; whether it is whole."""
    kind = rng.random()
    if len(members) > 1 or kind < 0.1:
        suffix = rng.choice(writing.ARCHIVES)
        packed = writing.archive(rng, members, suffix)
    elif kind < 0.4:
        suffix = rng.choice(sorted(writing.COMPRESS))
        packed = writing.compress(rng, members[0][1], suffix)
    else:
        path.write_bytes(members[0][1])
        return path, True
    # The sum of a plain .tar covers its heads alone.
    whole = suffix == '.tar' or rng.random() < 0.75
    if not whole or rng.random() < 0.9:  # otherwise only the content shows what it is
        path = path.with_name(path.name + suffix)
    path.write_bytes(packed if whole else writing.damaged(rng, packed))
    return path, whole


def _make_text(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> str | None:
        code, ends = writing.encoding(rng), writing.ends(rng)
        texts = documents(rng, code.scripts)
        count = rng.choice((1, 1, 1, 1, 2, 3))
        groups = [texts[i::count] for i in range(count)]
        members = [
            (f'{writing.STEM}-{i}.txt', code.encode(as_text(rng, group, ends)))
            for i, group in enumerate(groups)
            if group
        ]
        path, whole = _written(rng, writing.path_of(rng, folder, '.txt'), members)
        source, named = _source(rng, 'text', path)
        complaints = _policy(rng)
        return known(
            [document for group in groups for document in group],
            lambda: _read(rng, source, complaints),
            sure=code.sure and ends.sure and whole and named,
            reported=lambda: lost(complaints),
        )

    return run


# ---------------------------------------------------------------------------------------------
# JSON lines

# Values of the field of the text that are none, and lines that are no object with it.
_NO_TEXT: tuple[Any, ...] = (None, 3, 1.5, True, [], ['a'], {}, {'text': 'x'}, '', ' \n ')
_NO_OBJECT = (
    '{"text": "torn',
    '["text"]',
    '"text"',
    '3',
    'null',
    '{"other": "x"}',
    '{}',
    'text',
    '{]',
)


def _rows(rng: random.Random, scripts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines of JSON, good and bad ones; and the texts of the good ones."""
    lines, texts = [], []
    ascii_only = rng.random() < 0.5
    for number in range(rng.randint(1, 6)):
        kind = rng.random()
        if kind < 0.08:
            lines.append(rng.choice(_NO_OBJECT))
            continue
        between = rng.choice(('\n', '\n', '\r\n', '\r', '\n\n', '\u2028', '\t'))
        text: Any = between.join(writing.line(rng, scripts) for _ in range(rng.randint(1, 3)))
        if kind < 0.16:
            text = rng.choice(_NO_TEXT)
        else:
            texts.append(text)
        row = {
            'text': text,
            'n': number,
            'more': rng.choice(('x', None, float('nan'), [1], {'a': 1})),
        }
        names = rng.sample(list(row), len(row))
        one = json.dumps({name: row[name] for name in names}, ensure_ascii=ascii_only)
        lines.append(one.replace('\u2028', r'\u2028') if scripts else one)
    return lines, texts


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _make_jsonl(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> str | None:
        code, ends = writing.encoding(rng), writing.ends(rng)
        lines, texts = _rows(rng, code.scripts)
        sure = True
        if rng.random() < 0.1:
            body = '[' + rng.choice((', ', ',\n', ',\r\n')).join(lines) + ']'
            sure = lines[0].startswith('{') and _is_json(body)
        elif rng.random() < 0.05:
            sure, body = False, '\n'.join(lines).replace(', ', ',\n  ').replace('{', '{\n  ')
        else:
            blank = [
                one for line in lines for one in ([line, ''] if rng.random() < 0.1 else [line])
            ]
            body = ends.join(rng, blank, last=rng.random() < 0.8)
        members = [(f'{writing.STEM}.jsonl', code.encode(body))]
        ending = rng.choice(('.jsonl', '.jsonl', '.json', '.ndjson'))
        path, whole = _written(rng, writing.path_of(rng, folder, ending), members)
        source, named = _source(rng, 'jsonl', path)
        complaints = _policy(rng)
        return known(
            [text.split() for text in texts],
            lambda: [' '.join(one).split() for one in _read(rng, source, complaints)],
            sure=sure and code.sure and ends.sure and whole and named,
            reported=lambda: lost(complaints),
            missed=len(lines) - len(texts),
        )

    return run


TARGETS = (
    Target('known_text', _make_text, rf'{writing.STEM}|/case'),
    Target('known_jsonl', _make_jsonl, rf'{writing.STEM}|/case'),
)
