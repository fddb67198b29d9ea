"""Draws a pre-training run: its curves, and held-out text coloured by the model's doubt.

    python -m tools.picture --workdir=runs/quickstart --output=docs/run.png

Reads metrics.jsonl, the newest checkpoint and the corpus that the run was trained on; it needs the
extra `plots`. A token's colour is the probability that the discriminator gives to "replaced";
tokens that were replaced have a frame, and below them is the original. Training curves are means
of neighbouring lines of metrics.jsonl.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import jax
import matplotlib
import numpy as np
from etils import epath

matplotlib.use('Agg')  # no window
from matplotlib import colors, patches
from matplotlib import pyplot as plt

from electra_jax.config.fields import Settings
from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.config.settings import LEFT_TO_DEVICES
from electra_jax.core import rng
from electra_jax.core.errors import DataError, UserError
from electra_jax.data import pipeline
from electra_jax.objectives import table
from electra_jax.pretrain import curves
from electra_jax.pretrain import text as texts
from electra_jax.runtime import terminal
from electra_jax.train import checkpoint, metric_lines

CURVES = (
    # Title, training metric, evaluation metric, a level to compare with and its name.
    ('generator: nats a masked token', 'train/mlm_loss', 'eval/mlm_loss', 'eval/unigram_loss'),
    ('discriminator: nats a token', 'train/disc_loss', 'eval/disc_loss', None),
    ('discriminator: held-out AUC', None, 'eval/disc_auc', 0.5),
)
LEVELS = {'eval/unigram_loss': 'word frequencies', 0.5: 'chance'}
BLUE, ORANGE, GREY = '#3b6ea8', '#d1495b', '0.55'
DOUBT = colors.LinearSegmentedColormap.from_list('doubt', ['#ffffff', '#fbd5c5', '#e2604a'])
ROWS = 80  # held-out rows to choose from, spread over all of them
DARKEST = 0.6  # p(replaced) from which a token has the darkest colour
POINTS = 25  # of a training curve, at most
COLUMNS = 92  # characters in a line of text
LINES = 7


class Token(NamedTuple):
    """One piece of text as the discriminator reads it.

    Attributes:
        text: what it reads.
        original: what was there before; the same where nothing was replaced.
        doubt: the probability that it was replaced.
        begins: whether a space comes before it.
    """

    text: str
    original: str
    doubt: float
    begins: bool


def read_metrics(workdir: pathlib.Path) -> list[dict]:
    """The lines of metrics.jsonl.

    Raises:
        DataError: there are none.
    """
    lines = metric_lines.read(workdir)
    if not lines:
        path = workdir / metric_lines.FILE
        raise DataError(f'no metrics in {path}: name the workdir of a run with --workdir')
    return lines


def read_text(workdir: pathlib.Path, row: int, data_path: str | None = None) -> list[Token]:
    """A held-out row with replaced tokens, and the newest checkpoint's doubt about each.

    Args:
        workdir: of a run of pre-training.
        row: which of ROWS held-out rows.
        data_path: the corpus, where it has moved.

    Raises:
        UserError: there is no checkpoint, or no such row.
    """
    params, about = checkpoint.read_params(epath.Path(workdir))
    config = resolve(settings_of(about['config'], data_path), jax.devices()[0].platform)
    text = texts.open_text(config, _no_corpus)
    rows = pipeline.Rows(text.corpora, 'validation')
    batches = pipeline.held_out_batches(rows, pipeline.HostRows(1, 0, 1), ROWS)
    if row >= len(batches):
        raise DataError(f'--row={row}: held-out rows are 0 to {len(batches) - 1}')
    batch = {name: x for name, x in batches[row].items() if name != pipeline.RECORDS}
    objective = table.build(config, texts.vocabulary(config, text))
    keys = rng.step_keys(rng.root_key(config.seed), 0)
    run = jax.jit(lambda params, batch: objective.example(params, objective.draw(batch, keys, 0)))
    shown, doubt = run(params, batch)
    real = batch['documents'][0] > 0
    pieces = [text.tokenizer.tokens(np.asarray(x)[0][real]) for x in (shown, batch['tokens'])]
    return tokens_of(*pieces, np.asarray(doubt)[0][real].tolist())


def settings_of(stored: dict, data_path: str | None) -> Settings:
    """The settings of a run, without those that suit the devices it had."""
    model = {name: x for name, x in stored['model'].items() if name not in LEFT_TO_DEVICES}
    data = {**stored['data'], 'path': data_path or stored['data']['path']}
    return recipe({**stored, 'model': model, 'data': data, 'mesh': {}})


def _no_corpus(data: object) -> None:
    raise DataError('the corpus of the run is not where it was: name it with --data_path=FOLDER')


def tokens_of(
    shown: Sequence[str], originals: Sequence[str], doubt: Sequence[float]
) -> list[Token]:
    """Pieces without the marks by which tokenizers join them.

    >>> tokens_of(['[CLS]', 'un', '##do'], ['[CLS]', 'un', '##do'], [0, 0.1, 0.9])
    ... # doctest: +NORMALIZE_WHITESPACE
    [Token(text='un', original='un', doubt=0.1, begins=True),
     Token(text='do', original='do', doubt=0.9, begins=False)]
    """
    wordpiece = any(piece.startswith('##') for piece in originals)
    found = []
    for piece, original, p in zip(shown, originals, doubt, strict=True):
        if original in ('[CLS]', '[SEP]', '[PAD]'):
            continue
        begins = not piece.startswith('##') if wordpiece else piece.startswith('▁')
        found.append(Token(_plain(piece), _plain(original), p, begins))
    return found


def _plain(piece: str) -> str:
    return piece.removeprefix('##').removeprefix('▁')


def check_curves(workdir: pathlib.Path, metrics: list[dict]) -> None:
    """Refuses a run of which no curve has two points."""
    names = {name for curve in CURVES for name in curve[1:3] if name}
    steps = {name: {line['step'] for line in metrics if name in line} for name in names}
    if max(map(len, steps.values())) < 2:
        raise DataError(
            f'{workdir / metric_lines.FILE} has no curve with two points: train for more steps, or '
            'write them more often with --config.log.every_steps=10'
        )


def draw(metrics: list[dict], tokens: list[Token], output: pathlib.Path) -> None:
    """Writes the picture."""
    shown = [c for c in CURVES if any(c[2] in line for line in metrics)]
    lines = broken(tokens, COLUMNS)[:LINES]
    figure = plt.figure(figsize=(10.5, 3.1 + 0.42 * len(lines)))
    grid = figure.add_gridspec(2, len(shown), height_ratios=[2.1, 0.42 * len(lines) + 0.35])
    for column, curve in enumerate(shown):
        _draw_curve(figure.add_subplot(grid[0, column]), metrics, *curve)
    _draw_text(figure.add_subplot(grid[1, :]), lines)
    figure.subplots_adjust(left=0.05, right=0.985, top=0.92, bottom=0.02, hspace=0.33, wspace=0.18)
    figure.savefig(output, dpi=110)
    plt.close(figure)


def _draw_curve(
    axes: plt.Axes, metrics: list[dict], title: str, train: str | None, held_out: str, level: object
) -> None:
    for name, style, label in ((train, BLUE, 'training'), (held_out, ORANGE, 'held out')):
        points = metric_lines.series(metrics, name) if name else []
        if name == train:
            points = curves.thinned(points, POINTS)
        if points:
            mark = 'o-' if name == held_out else '-'
            axes.plot(*zip(*points, strict=True), mark, color=style, label=label, ms=3.5, lw=1.4)
    value = metrics_level(metrics, level)
    if value is not None:
        axes.axhline(value, color=GREY, ls='--', lw=1)
        axes.annotate(
            LEVELS[level], (0.985, value), xycoords=('axes fraction', 'data'), ha='right',
            xytext=(0, 3), textcoords='offset points', color='0.35', fontsize=8,
        )  # fmt: skip
    axes.set_title(title, fontsize=10)
    axes.set_xlabel('step', fontsize=8, labelpad=1)
    axes.tick_params(labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc='best')


def metrics_level(metrics: list[dict], level: object) -> float | None:
    """The value to compare a curve with: a number, or the last value of a metric."""
    if isinstance(level, str):
        return metric_lines.last(metrics, level)
    return level


def broken(tokens: Sequence[Token], columns: int) -> list[list[tuple[float, Token]]]:
    """Lines of (column at which it begins, token); a token is as wide as its longer text."""
    lines: list[list[tuple[float, Token]]] = [[]]
    at = 0.0
    for token in tokens:
        width = _width(token)
        gap = 0.7 if token.begins and at else 0.12
        if at + gap + width > columns and at:
            lines.append([])
            at, gap = 0.0, 0.0
        lines[-1].append((at + gap, token))
        at += gap + width
    return lines


def _width(token: Token) -> float:
    replaced = len(token.original) * 0.72 if token.original != token.text else 0
    return max(len(token.text), replaced) + 0.3


def _draw_text(axes: plt.Axes, lines: list[list[tuple[float, Token]]]) -> None:
    axes.set_xlim(0, COLUMNS + 1)
    axes.set_ylim(len(lines) + 0.1, -0.75)
    axes.axis('off')
    axes.text(
        0, -0.42, 'Held-out text after replacement. Frame: was replaced; below it the original. '
        'Colour: p(replaced)', fontsize=9, color='0.25', va='center',
    )  # fmt: skip
    for step in range(7):
        p = step / 10
        axes.add_patch(
            patches.Rectangle((72 + 2 * step, -0.62), 2, 0.36, facecolor=DOUBT(p / DARKEST), lw=0)
        )
    axes.text(71.5, -0.42, '0', fontsize=8, color='0.35', ha='right', va='center')
    axes.text(86.5, -0.42, f'{DARKEST:g} or more', fontsize=8, color='0.35', va='center')
    for number, line in enumerate(lines):
        for at, token in line:
            replaced = token.text != token.original
            box = patches.FancyBboxPatch(
                (at, number + 0.08), _width(token) - 0.06, 0.46,
                boxstyle='round,pad=0,rounding_size=0.12', mutation_aspect=0.3,
                facecolor=DOUBT(token.doubt / DARKEST), lw=1.1,
                edgecolor='0.1' if replaced else 'none',
            )  # fmt: skip
            axes.add_patch(box)
            middle = at + _width(token) / 2
            word = {'ha': 'center', 'va': 'center', 'family': 'monospace'}
            axes.text(middle, number + 0.32, _safe(token.text), fontsize=9.5, **word)
            if replaced:
                below = {'fontsize': 7, 'color': '0.35', 'style': 'italic'}
                axes.text(middle, number + 0.70, _safe(token.original), **word, **below)


def _safe(text: str) -> str:
    return text.replace('$', r'\$')


def main(words: Sequence[str] | None = None) -> None:
    """Draws the run that the command line names."""
    parser = argparse.ArgumentParser(
        'python -m tools.picture', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument('--workdir', type=pathlib.Path, default='runs/quickstart')
    parser.add_argument('--output', type=pathlib.Path, default='run.png')
    parser.add_argument(
        '--row', type=int, default=0, help=f'which of {ROWS} held-out rows is shown'
    )
    parser.add_argument('--data_path', help='the corpus, where it has moved')
    asked = parser.parse_args(words)
    try:
        metrics = read_metrics(asked.workdir)
        check_curves(asked.workdir, metrics)
        tokens = read_text(asked.workdir, asked.row, asked.data_path)
        draw(metrics, tokens, asked.output)
    except UserError as error:
        sys.exit(f'error: {error}')
    terminal.OUT.print(f'picture: {asked.output}')


if __name__ == '__main__':
    main()
