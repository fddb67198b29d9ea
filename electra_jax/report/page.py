"""The page: one HTML file that needs nothing else, neither a network nor a library."""

import base64
import hashlib
import html
import json
import pathlib
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.report import comparison, curves, differences, facts, sentences
from electra_jax.report.cells import Cell, Table
from electra_jax.report.reference import Reference
from electra_jax.train.runs import Run

_HERE = pathlib.Path(__file__).parent
_COLOURS = 8  # that tell runs apart; further runs have the same ones with broken lines


def page(runs: Sequence[Run], reference: Reference, in_workdir: bool = False) -> str:
    """The page about one run, or about several next to each other.

    One that is kept `in_workdir`, of the run, has links to the files there.

    All text is escaped: tokens, names and settings may come from foreign files. Apart from that
    the page allows its own script alone to run, by a hash, and no address to be fetched.
    """
    style, script = ((_HERE / name).read_text() for name in ('page.css', 'page.js'))
    sections = curves.sections(runs, reference)
    texts = sentences.sentences(runs)
    title = runs[0].name if len(runs) == 1 else f'{len(runs)} runs'
    data = {
        'runs': [run.name for run in runs],
        'charts': [chart for section in sections for chart in section['charts']],
        'sentences': texts,
    }
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'"
    )
    return '\n'.join(
        [
            '<!doctype html>',
            '<html lang="en">',
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f'<title>{_text(title)} - electra_jax</title>',
            f'<style>{style}</style>',
            '<main>',
            *_header(title, runs),
            *(_sentence(runs, texts) if texts else []),
            *_charts(sections, runs, reference),
            *_tables(runs),
            *(_files(facts.outputs(runs[0])) if in_workdir else []),
            '</main>',
            f'<script type="application/json" id="data">{_json(data)}</script>',
            f'<script>{script}</script>',
            '</html>',
            '',
        ]
    )


def _hash(text: str) -> str:
    return f'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'


def _json(data: Any) -> str:
    """JSON that ends no script, whatever its texts are."""
    text = json.dumps(data, allow_nan=False, separators=(',', ':'))
    for character in '<>&':
        text = text.replace(character, f'\\u{ord(character):04x}')
    return text


def _text(value: object) -> str:
    return html.escape(str(value))


def _header(title: str, runs: Sequence[Run]) -> list[str]:
    lines = [f'<h1>{_text(title)}</h1>']
    if len(runs) > 1:
        return [*lines, _table(comparison.comparison(runs))]
    tiles = [
        f'<div><dt>{_text(name)}</dt><dd>{_text(cell.text)}</dd>'
        f'<dd class="note">{_text(cell.note)}</dd></div>'
        for name, cell in facts.tiles(runs[0])
    ]
    lines += ['<dl class="tiles">', *tiles, '</dl>']
    if remark := runs[0].setting('remark'):
        lines.append(f'<p class="note">{_text(remark)}</p>')
    if problems := facts.noticed(runs[0]):
        items = ''.join(f'<li>{_text(line)}</li>' for line in problems)
        lines.append(f'<section class="noticed"><h2>Noticed</h2><ul>{items}</ul></section>')
    return lines


def _sentence(runs: Sequence[Run], texts: Sequence[Mapping[str, Any]]) -> list[str]:
    choices = ''.join(
        f'<option value="{number}">{_text(runs[one["run"]].name)}</option>'
        for number, one in enumerate(texts)
    )
    hidden = ' hidden' if len(texts) == 1 else ''
    return [
        '<section id="sentence">',
        '<h2>Held-out text, and the doubt of the model</h2>',
        '<p class="note">The stronger the colour of a token, the more probable the model finds it '
        'that it was replaced. A token that was is underlined, with the original below it.</p>',
        '<div class="controls">',
        f'<label{hidden}>run <select id="which">{choices}</select></label>',
        '<span class="buttons" id="texts" role="group" aria-label="text"></span>',
        '<button type="button" id="play">play</button>',
        '<label class="slider"><span id="at"></span>'
        '<input type="range" id="step" min="0" value="0"></label>',
        '</div>',
        '<p id="tokens" lang=""></p>',
        '<p class="scale" aria-hidden="true"><span>0</span><i></i><span>1</span></p>',
        '<p class="note" id="counts" aria-live="polite"></p>',
        '</section>',
    ]


def _about_reference(reference: Reference, steps: int | None) -> str:
    """What a page prints about the curves behind its own."""
    words = 'what is normal: measured runs of a reference'
    if reference.total_steps:
        words += f', of {reference.total_steps:,} steps'
        if reference.tokens_per_step:
            words += f' and {reference.total_steps * reference.tokens_per_step:,} tokens'
        if steps and steps != reference.total_steps:
            words += f', stretched to {steps:,} steps: their shape counts, not their level'
    return words


def _charts(
    sections: Sequence[Mapping[str, Any]], runs: Sequence[Run], reference: Reference
) -> list[str]:
    if not sections:
        return ['<p class="note">There are no two points of a curve yet.</p>']
    lines = [
        '<noscript><p>The curves are drawn by the script of this page.</p></noscript>',
        '<div class="controls" id="axis" role="group" aria-label="horizontal axis">',
        '<span>curves over</span><span class="buttons">',
        '<button type="button" value="steps" aria-pressed="true">steps</button>',
        '<button type="button" value="time" aria-pressed="false">time</button></span>',
        '</div>',
    ]
    if reference.bands:
        words = _about_reference(reference, runs[0].setting('total_steps'))
        lines.append(f'<p class="note"><i class="swatch band"></i> {words}</p>')
    if len(runs) > 1:
        boxes = ''.join(
            f'<label><input type="checkbox" value="{number}" checked>'
            f'<i class="swatch c{number % _COLOURS}"></i>{_text(run.name)}</label>'
            for number, run in enumerate(runs)
        )
        lines.append(
            f'<div class="controls" id="runs" role="group" aria-label="runs">{boxes}</div>'
        )
    number = 0
    for section in sections:
        lines.append(f'<section><h2>{_text(section["title"])}</h2><div class="charts">')
        for chart in section['charts']:
            lines.append(_figure(number, chart))
            number += 1
        lines.append('</div></section>')
    return lines


def _figure(number: int, chart: Mapping[str, Any]) -> str:
    """The frame of a chart, whose title opens the explanation of its metrics."""
    meanings = ''.join(
        f'<dt>{_text(name)}</dt><dd>{_text(sentence)}</dd>' for name, sentence in chart['meaning']
    )
    title = f'<h3>{_text(chart["title"])}</h3>'
    if meanings:
        title = f'<details><summary>{title}</summary><dl>{meanings}</dl></details>'
    unit = chart['unit'] + (', logarithmic' if chart['unit'] and chart['log'] else '')
    unit = unit or ('logarithmic' if chart['log'] else '\N{NO-BREAK SPACE}')
    return (
        f'<figure data-chart="{number}"><figcaption>{title}</figcaption>'
        f'<p class="unit">{_text(unit)}</p><div class="plot"></div><p class="readout"></p></figure>'
    )


def _tables(runs: Sequence[Run]) -> list[str]:
    found: list[str] = []
    for run in runs:
        tables = [comparison.results(run)]
        if len(runs) == 1:
            tables += [facts.held_out(run), differences.differences(run), facts.about(run)]
        if len(runs) > 1 and tables[0]:
            found.append(f'<h2>{_text(run.name)}</h2>')
        found += [_table(table) for table in tables if table]
    return found


def _files(paths: Sequence[str]) -> list[str]:
    if not paths:
        return []
    links = (f'<li><a href="{_text(urllib.parse.quote(path))}">{_text(path)}</a>' for path in paths)
    return ['<section><h2>Files next to this page</h2><ul>', *links, '</ul></section>']


def _table(table: Table) -> str:
    """A table; on a phone each row becomes a short list."""
    head = ''.join(f'<th scope="col">{_text(name)}</th>' for name in table.columns)
    names = table.columns if len(table.columns) > 3 else [''] * len(table.columns)
    body = ''
    for first, *others in table.rows:
        cells = ''.join(map(_data, names[1:], others))
        body += f'<tr><th scope="row">{_cell(first)}</th>{cells}</tr>'
    about = f'<p class="note">{_text(table.about)}</p>' if table.about else ''
    return (
        f'<section><h2>{_text(table.title)}</h2><div class="wide"><table class="list"><thead><tr>'
        f'{head}</tr></thead><tbody>{body}</tbody></table></div>{about}</section>'
    )


def _data(name: str, cell: Cell) -> str:
    label = f' data-name="{_text(name)}"' if name else ''
    return f'<td{label}>{_cell(cell)}</td>'


def _cell(cell: Cell) -> str:
    note = f'<small>{_text(cell.note)}</small>' if cell.note else ''
    return f'{_text(cell.text)}{note}'
