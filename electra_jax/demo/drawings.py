"""Answers of a model as HTML. Every text comes from people or from a vocabulary, so it is escaped.

Colours are those of Okabe and Ito, which colour-blind people can tell apart; each also stands for
something that is written next to it, and all text is dark on light.
"""

import html
import itertools
from collections.abc import Mapping, Sequence

STYLE = """
.gradio-container { max-width: 860px !important; margin: 0 auto !important;
  width: 100% !important; min-width: 0 !important; }
.gradio-container .tabs, .gradio-container .tab-wrapper { min-width: 0 !important; }
.electra { background: #fff; color: #1a1a1a; border: 1px solid #d0d0d0; border-radius: 8px;
  padding: 16px; line-height: 2; overflow-wrap: anywhere; }
.electra p { margin: 0 0 8px; color: #1a1a1a; }
.electra .quiet { color: #595959; font-size: 0.9em; line-height: 1.5; }
.electra mark { color: #1a1a1a; padding: 2px 1px; border-radius: 3px; }
.electra .tag { border-bottom: 3px solid; padding: 0 2px; }
.electra .tag small { font-weight: 600; margin-left: 4px; }
.electra .scale { display: inline-block; width: 96px; height: 12px; margin: 0 6px;
  vertical-align: middle; border: 1px solid #d0d0d0;
  background: linear-gradient(to right, #fff, #e69f00); }
.electra table { border-collapse: collapse; width: 100%; line-height: 1.6; margin: 0 0 12px;
  color: #1a1a1a; }
.electra td { padding: 2px 8px 2px 0; color: #1a1a1a; }
.electra td.name { width: 1%; white-space: nowrap; max-width: 16em; overflow: hidden;
  text-overflow: ellipsis; }
.electra table, .electra tr, .electra td { border: 0 !important; }
.electra td.share { width: 4em; text-align: right; font-variant-numeric: tabular-nums; }
.electra .bar { background: #0072b2; height: 12px; border-radius: 2px; min-width: 1px; }
.electra .answer { font-size: 1.2em; font-weight: 600; }
"""
_ORANGE = '230, 159, 0'
_TAGS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')


def card(*parts: str) -> str:
    """The frame of an answer."""
    return f'<div class="electra">{"".join(parts)}</div>'


def sentence(text: str) -> str:
    """A plain sentence, such as why there is no answer."""
    return f'<p>{html.escape(text)}</p>'


def notes(lines: Sequence[str]) -> str:
    """What must be known of an answer, such as that a text was cut."""
    return ''.join(f'<p class="quiet">{html.escape(line)}</p>' for line in lines)


def answer(text: str) -> str:
    """The answer itself."""
    return f'<p class="answer">{html.escape(text)}</p>'


def heat(text: str, spans: Sequence[Sequence[int]], shares: Sequence[float]) -> str:
    """A text whose tokens, `text[begin:end]` each, are as orange as their `shares` are large."""
    parts, done = [], 0
    for (begin, end), share in zip(spans, shares, strict=True):
        if end <= begin:
            continue
        parts.append(html.escape(text[done:begin]))
        parts.append(
            f'<mark style="background: rgba({_ORANGE}, {share:.3f})" title="{share:.1%}">'
            f'{html.escape(text[begin:end])}</mark>'
        )
        done = end
    left = html.escape(text[done:])
    scale = '<p class="quiet">original<span class="scale"></span>replaced</p>'
    return f'<p>{"".join(parts)}{left}</p>{scale}'


def bars(shares: Mapping[str, float]) -> str:
    """Shares of names, the largest first."""
    rows = [
        f'<tr><td class="name" title="{html.escape(name)}">{html.escape(name)}</td>'
        f'<td><div class="bar" style="width: {share:.1%}"></div></td>'
        f'<td class="share">{share:.1%}</td></tr>'
        for name, share in sorted(shares.items(), key=lambda item: -item[1])
    ]
    return f'<table>{"".join(rows)}</table>'


def tags(words: Sequence[str], names: Sequence[str], shares: Sequence[float]) -> str:
    """Words with their tags; `O`, which means none, is left out."""
    types = dict.fromkeys(_type(name) for name in names if name != 'O')
    colours = dict(zip(types, itertools.cycle(_TAGS), strict=False))
    parts = []
    for word, name, share in zip(words, names, shares, strict=True):
        shown = html.escape(word)
        if name != 'O':
            shown = (
                f'<span class="tag" style="border-color: {colours[_type(name)]}" '
                f'title="{share:.1%}">{shown}<small>{html.escape(name)}</small></span>'
            )
        parts.append(shown)
    return f'<p>{" ".join(parts)}</p>'


def _type(tag: str) -> str:
    """The type of a tag such as B-PER.

    >>> _type('B-PER'), _type('NOUN')
    ('PER', 'NOUN')
    """
    return tag.partition('-')[2] or tag
