"""Draws the pictures of the documentation: `python -m tools.pages.drawings`, into docs/drawings/.

Each is an SVG that is made of this file alone, and of the reference curves in configs/references/,
so the same program writes the same bytes. It has
colours for light and for dark, and paper of its own, so it can be read on any page. Colours are
those of Okabe and Ito, which colour-blind people can tell apart.
"""

import functools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

ROOT = pathlib.Path(__file__).parent.parent.parent
FOLDER = ROOT / 'docs' / 'drawings'
_STYLE = """
svg { --paper: #fbfcfd; --ink: #1a1d23; --muted: #565d69; --rule: #c9d0d9; --card: #eef1f5;
  --blue: #0072b2; --blue-card: #dcebf5; --orange: #a34500; --orange-card: #fbe3d3;
  --green: #00694c; --green-card: #d9efe6; font: 15px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { svg { --paper: #1b2027; --ink: #e9ebef; --muted: #a6adba;
  --rule: #465060; --card: #272e38; --blue: #7cc4f0; --blue-card: #17384d; --orange: #f5b183;
  --orange-card: #55300f; --green: #62d6b0; --green-card: #123f33; } }
.paper { fill: var(--paper); } .card { fill: var(--card); stroke: var(--rule); }
.blue { fill: var(--blue-card); stroke: var(--blue); }
.green { fill: var(--green-card); stroke: var(--green); }
.orange { fill: var(--orange-card); stroke: var(--orange); }
text { fill: var(--ink); } .muted { fill: var(--muted); font-size: 13px; }
.middle { text-anchor: middle; } .end { text-anchor: end; } .bold { font-weight: 600; }
.t-blue { fill: var(--blue); } .t-green { fill: var(--green); } .t-orange { fill: var(--orange); }
.line { stroke: var(--muted); fill: none; stroke-width: 1.5; } .head { fill: var(--muted); }
.grid { stroke: var(--rule); } .off { fill: var(--card); } .on { fill: var(--blue); }
.curve { fill: none; stroke-width: 2; }
.c-blue { stroke: var(--blue); } .between { fill: var(--blue-card); }
"""


def escaped(text: str) -> str:
    """A text as the content of an element."""
    return text.replace('&', '&amp;').replace('<', '&lt;')


def svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    """A whole drawing; `title` is what a screen reader says."""
    body = '\n'.join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">\n<title>{escaped(title)}</title>\n'
        f'<style>{_STYLE}</style>\n'
        f'<rect class="paper" width="{width}" height="{height}" rx="10"/>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, words: str, kind: str = '') -> str:
    """A line of text, whose baseline is at y."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escaped(words)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, words: str = '') -> str:
    """A rounded box with a line of text in its middle."""
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    shape = f'<rect {place} rx="6" class="{kind}"/>'
    inside = text(x + width / 2, y + height / 2 + 5, words, 'middle') if words else ''
    return shape + inside


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """A straight arrow, down or to the right."""
    if x1 == x2:
        head = f'{x2 - 5:g},{y2 - 8:g} {x2 + 5:g},{y2 - 8:g} {x2:g},{y2:g}'
    else:
        head = f'{x2 - 8:g},{y2 - 5:g} {x2 - 8:g},{y2 + 5:g} {x2:g},{y2:g}'
    return (
        f'<path class="line" d="M{x1:g} {y1:g}L{x2:g} {y2:g}"/>'
        f'<polygon class="head" points="{head}"/>'
    )


def detection() -> str:
    """Replaced-token detection on one sentence."""
    rows = (
        ('the text', ('the', 'chef', 'cooked', 'the', 'meal'), 'card card card card card'),
        (
            'what the generator reads: some tokens are masked',
            ('[MASK]', 'chef', '[MASK]', 'the', 'meal'), 'orange card orange card card',
        ),
        (
            "what the discriminator reads: the generator's samples",
            ('the', 'chef', 'ate', 'the', 'meal'), 'green card orange card card',
        ),
        (
            'what it answers for each token',
            ('original', 'original', 'replaced', 'original', 'original'),
            'green green orange green green',
        ),
    )  # fmt: skip
    parts = []
    for at, (label, words, kinds) in enumerate(rows):
        y = 20 + at * 82
        parts.append(text(20, y + 12, label, 'muted'))
        for column, (word, kind) in enumerate(zip(words, kinds.split(), strict=True)):
            parts.append(box(20 + column * 89, y + 22, 84, 34, kind, word))
        if at:
            parts.append(arrow(240, y - 22, 240, y - 4))
    note = 'A sample that is right by chance (here “the”) counts as original.'
    parts.append(text(20, 356, note, 'muted'))
    return svg('Replaced-token detection, by the example of one sentence', 480, 374, parts)


def step() -> str:
    """What one training step computes, and where its gradients go."""
    flow = (
        ('batch k', 'token ids [B, L], a function of seed and k', 'card'),
        ('mask', '15 % of the tokens, drawn from seed and step', 'card'),
        ('generator', 'logits at masked positions alone', 'blue'),
        ('sample', 'no gradient goes through it', 'card'),
        ('discriminator', 'one logit for each token', 'orange'),
    )
    parts = []
    for at, (name, about, kind) in enumerate(flow):
        y = 20 + at * 76
        parts += [
            box(20, y, 318, 54, kind),
            text(179, y + 23, name, 'middle bold'),
            text(179, y + 42, about, 'middle muted'),
        ]
        if at:
            parts.append(arrow(179, y - 22, 179, y))
    parts += [
        box(362, 100, 98, 44, 'green'), text(411, 119, 'shared', 'middle'),
        text(411, 136, 'embeddings', 'middle'),
        '<path class="line" d="M411 144V342M338 190H411M338 342H411"/>',
        box(20, 402, 150, 36, 'blue', 'mlm_loss'),
        box(188, 402, 150, 36, 'orange', '50 · disc_loss'),
        '<path class="line" d="M10 199V420M20 199H10M10 420H20"/>', arrow(263, 378, 263, 402),
        '<path class="line" d="M95 438V456H263V438"/>', arrow(179, 456, 179, 478),
        text(179, 498, 'one sum, one gradient, one update', 'middle'),
    ]  # fmt: skip
    return svg('One training step: both networks, their losses and the update', 480, 516, parts)


def rows() -> str:
    """How documents become rows of the two layouts."""

    def pieces(y: float, sizes: Sequence[tuple[str, float, str]]) -> Iterator[str]:
        x = 20.0
        for words, width, kind in sizes:
            yield box(x, y, width, 34, kind, words)
            x += width + 4

    parts = [
        text(20, 34, 'documents', 'bold'),
        *pieces(44, [('a', 192, 'blue'), ('b', 92, 'green'), ('c', 148, 'orange')]),
        text(20, 112, 'segments: one document a row', 'bold'),
        *pieces(122, [('[CLS]', 56, 'card'), ('a', 156, 'blue'), ('[SEP]', 56, 'card'),
                      ('a', 100, 'blue'), ('[SEP]', 56, 'card')]),
        *pieces(162, [('[CLS]', 56, 'card'), ('b', 56, 'green'), ('[SEP]', 56, 'card'),
                      ('b', 56, 'green'), ('[SEP]', 56, 'card'), ('padding', 140, 'card')]),
        text(20, 230, 'packed: rows are full', 'bold'),
        *pieces(240, [('a', 252, 'blue'), ('b', 120, 'green'), ('c', 60, 'orange')]),
        *pieces(280, [('c', 132, 'orange'), ('d', 304, 'card')]),
        text(20, 336, 'Attention and positions keep documents of a row apart.', 'muted'),
    ]  # fmt: skip
    return svg('Documents become rows: layouts segments and packed', 480, 354, parts)


def mesh() -> str:
    """Eight devices as data 4 x fsdp 2: what each of them holds."""
    parts = []
    for data in range(4):
        parts.append(text(112 + data * 100, 32, f'data {data}', 'middle muted'))
        for fsdp in range(2):
            x, y = 66 + data * 100, 42 + fsdp * 92
            parts += [
                box(x, y, 92, 84, 'card'),
                box(x + 6, y + 8, 80, 30, 'blue', f'rows {2 * data + fsdp}'),
                box(x + 6, y + 46, 80, 30, ('orange', 'green')[fsdp], f'half {"AB"[fsdp]}'),
            ]
    parts += [
        text(16, 90, 'fsdp 0', 'muted'), text(16, 182, 'fsdp 1', 'muted'),
        box(16, 242, 16, 16, 'blue'), text(44, 255, 'of the batch, each device has an eighth'),
        box(16, 270, 16, 16, 'orange'), box(36, 270, 16, 16, 'green'),
        text(62, 283, 'of parameters and optimizer state, half'),
    ]  # fmt: skip
    return svg('A mesh of eight devices: how batch and parameters are split', 480, 302, parts)


def windows() -> str:
    """What a token of a long row sees in a local and in a global layer."""
    cells, size = 16, 13

    def field(x: float, sees: Callable[[int, int], bool]) -> Iterator[str]:
        for row in range(cells):
            for column in range(cells):
                kind = 'on' if (row < 10) == (column < 10) and sees(row, column) else 'off'
                yield (
                    f'<rect x="{x + column * size:g}" y="{62 + row * size:g}" width="{size - 1}" '
                    f'height="{size - 1}" class="{kind}"/>'
                )

    parts = [
        text(124, 32, 'a local layer', 'middle bold'),
        text(124, 51, 'neighbours alone', 'middle muted'), *field(20, lambda i, j: abs(i - j) <= 2),
        text(356, 32, 'a global layer', 'middle bold'),
        text(356, 51, 'the whole document', 'middle muted'), *field(252, lambda i, j: True),
        text(20, 296, 'A line of a square is what one token sees;', 'muted'),
        text(20, 314, 'this packed row holds two documents.', 'muted'),
    ]  # fmt: skip
    return svg('Local and global layers: which tokens see each other', 480, 332, parts)


# Metric, title and unit of each panel of a drawing of curves.
_PANELS = (
    ('eval/mlm_loss', 'generator loss', 'nats a masked token'),
    ('eval/disc_loss', 'discriminator loss', 'nats a token'),
    ('eval/disc_auc', 'discriminator AUC', '0.5 is guessing'),
    ('eval/fake_rate', 'replaced tokens', 'share of all tokens'),
    ('eval/sampled_accuracy', 'samples that are right', 'share of masked tokens'),
    ('train/grad_norm', 'gradient norm', 'before clipping'),
)


def curves(file: pathlib.Path) -> str:
    """The curves of a file of reference curves, held out but for the gradient's."""
    content = json.loads(file.read_text())
    steps, tokens = content['total_steps'], content['total_steps'] * content['tokens_per_step']
    parts = []
    for at, (metric, title, unit) in enumerate(_PANELS):
        x, y = 56 + at % 2 * 232, 52 + at // 2 * 166
        parts += [text(x - 36, y - 28, title, 'bold'), text(x - 36, y - 11, unit, 'muted')]
        parts += _panel(x, y, steps, content['curves'][metric])
    about = f'{steps:,} steps, {tokens / 1e6:.0f} million tokens, from left to right'
    parts.append(text(20, 510, about, 'muted'))
    return svg(f'Curves of a healthy run of configs/{file.stem}.py', 480, 528, parts)


def _panel(left: float, top: float, steps: int, band: dict[str, list[float]]) -> Iterator[str]:
    """One pair of axes, 180 x 90, with a band between the lowest and the highest run."""
    width, height = 180.0, 90.0
    low, high = min(band['low']), max(band['high'])
    pad = (high - low) * 0.08 or 1.0
    low, high = max(low - pad, 0.0), high + pad

    def points(side: str, order: int = 1) -> str:
        pairs = list(zip(band['x'], band[side], strict=True))[::order]
        return ' '.join(
            f'{left + step / steps * width:.1f},'
            f'{top + height - (value - low) / (high - low) * height:.1f}'
            for step, value in pairs
        )

    for share in (0, 0.5, 1):
        y = top + height * (1 - share)
        value = low + (high - low) * share
        yield f'<path class="grid" d="M{left:g} {y:g}H{left + width:g}"/>'
        yield text(left - 5, y + 4, f'{value:.2g}', 'muted end')
    yield f'<polygon class="between" points="{points("low")} {points("high", -1)}"/>'
    yield f'<polyline class="curve c-blue" points="{points("high")}"/>'


REFERENCES = sorted((ROOT / 'configs' / 'references').glob('*.json'))
DRAWINGS: dict[str, Callable[[], str]] = {
    'detection': detection,
    'step': step,
    'rows': rows,
    'mesh': mesh,
    'windows': windows,
    **{f'curves_{file.stem}': functools.partial(curves, file) for file in REFERENCES},
}


def main() -> None:
    """Writes every drawing."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        (FOLDER / f'{name}.svg').write_text(draw())


if __name__ == '__main__':
    main()
