"""A study: arms of equal compute with several seeds each, their scores, and what a rule decides.

Everything is read from the records of runs, which a folder has in three places: `pretrain/`, runs
of pre-training called ARM-seed=N; `finetune/`, runs that started from them; and `pairs/`, answers
to minimal pairs by each, ARM-seed=N.jsonl. docs/study.md has the rule.
"""

import collections
import csv
import json
import pathlib
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from electra_jax.core import metric_table
from electra_jax.core.errors import ConfigError, unknown
from electra_jax.runtime import terminal
from electra_jax.sweep import table
from electra_jax.sweep.arms import Arm, compare, noise
from electra_jax.sweep.shown import Shown, cell, scored_name
from electra_jax.train import metric_lines, workdir

SCORE = 'score'  # the mean over tasks and minimal pairs, times 100
COSTS = ('petaFLOP', 'petaFLOP (paper)', 'M tokens')
_SEED = re.compile(r'-?\bseed=\d+')
_BUDGET = re.compile(r'-?\bpetaflop=[\d.e+-]+')

Values = dict[str, float]  # of one run, by column


class Rule(NamedTuple):
    """What an arm is compared with."""

    metric: str = SCORE
    baseline: str = 'electra'
    controls: Mapping[str, str] = {}  # arm -> the arm that has all of it but what is claimed


def arms(folder: pathlib.Path) -> list[Arm]:
    """The arms of a study, in the order of their names.

    Raises:
        ConfigError: the folder has no run of pre-training.
    """
    workdirs = sorted(path.parent for path in folder.glob(f'pretrain/*/{metric_lines.FILE}'))
    if not workdirs:
        raise ConfigError(f'{folder} is not a study: it has no runs in pretrain/')
    runs = {path.name: trained(Shown(path.name, path)) for path in workdirs}
    for name, found in scores(folder).items():
        runs.setdefault(name, {}).update(found)
    tasks = _tested(runs)
    grouped: dict[str, dict[str, list[float]]] = collections.defaultdict(dict)
    for name, run in runs.items():
        if tasks and tasks <= run.keys():
            run[SCORE] = statistics.fmean(run[task] for task in tasks)
        for column, value in run.items():
            grouped[_SEED.sub('', name) or name].setdefault(column, []).append(value)
    return [Arm(name, values) for name, values in sorted(grouped.items())]


def trained(run: Shown) -> Values:
    """What a run of pre-training cost, and its newest held-out metrics."""
    cost, about = table.costs(run), run.read.about
    steps, config = run.read.last_step, about.get('config')
    found: Values = {}
    if config and 'GFLOP/step' in cost:
        each = [cost['GFLOP/step'], cost['GFLOP/step (paper)']]
        found |= {name: one * steps / 1e6 for name, one in zip(COSTS, each, strict=False) if one}
        found[COSTS[2]] = steps * config['batch_size'] * config['data']['row_length'] / 1e6
    for name in ('eval/mlm_loss', 'eval/disc_auc'):
        value = run.read.last(name)
        if value is not None:
            found[name] = value
    return found


def scores(folder: pathlib.Path) -> dict[str, Values]:
    """Name of a run of pre-training -> task -> the median of its trials; and pairs; for people."""
    found: dict[str, Values] = collections.defaultdict(dict)
    for path in sorted(folder.glob('finetune/*/results.json')):
        run = Shown(path.parent.name, path.parent)
        config = run.read.about.get('config', {})
        start = pathlib.Path(workdir.without_step(str(config.get('init_from') or ''))).name
        median = run.headline.get('median')
        if median is None:
            continue
        task = config['task']['name']
        if task in found[start]:
            raise ConfigError(
                f'{path.parent} is a second fine-tuning on {task} from {start}: keep one of them '
                'in the study'
            )
        scale = metric_table.scale(scored_name(run.headline, 'median'))
        found[start][task] = scale * float(median)
    for path in sorted(folder.glob('pairs/*.jsonl')):
        found[path.stem]['pairs'] = 100 * pairs(path)
    return found


def pairs(path: pathlib.Path) -> float:
    """The share of minimal pairs that are right, by the best of the checkpoint's scorers."""
    right: dict[str, list[float]] = collections.defaultdict(list)
    for line in path.read_text().splitlines():
        answer = json.loads(line)
        by = {'': answer} if 'right' in answer else answer
        for name, one in by.items():
            if isinstance(one, dict) and 'right' in one:
                right[name].append(one['right'])
    if not right:
        raise ConfigError(f'{path} has no answers to minimal pairs')
    return max(statistics.fmean(values) for values in right.values())


def _tested(runs: Mapping[str, Values]) -> set[str]:
    """Columns that are scores of tasks."""
    return {c for run in runs.values() for c in run if '/' not in c and c not in (*COSTS, SCORE)}


def seeds(arm: Arm, metric: str) -> str:
    """How many runs an arm has, as '3'; '2 of 3' where only so many have the metric."""
    having = len(arm.values.get(metric, ()))
    return str(having) if having == arm.seeds else f'{having} of {arm.seeds}'


def verdict(arm: Arm, found: Mapping[str, Arm], rule: Rule, floor: float | None) -> str:
    """What the rule decides about an arm, against arms of the same budget.

    An arm whose control is not there cannot win.

    Raises:
        ConfigError: the baseline is not among the arms.
    """
    kind = _BUDGET.sub('', arm.name)
    if kind == rule.baseline:
        return 'baseline'
    budget = arm.name.removeprefix(kind)
    baseline = f'{rule.baseline}{budget}'
    control = f'{rule.controls.get(kind, rule.baseline)}{budget}'
    if baseline not in found:
        raise ConfigError(f'there is no arm {baseline}, allowed: {", ".join(found)}')
    if floor is None:
        return f'no noise floor: no arm has a {rule.metric} of three seeds'
    first = compare(arm, found[baseline], rule.metric, floor)
    if first != 'better':
        return first
    if control not in found:
        return f'better; its control {control} is not here'
    return 'wins' if compare(arm, found[control], rule.metric, floor) == 'better' else 'better'


def write(folder: pathlib.Path, rule: Rule) -> str:
    """Writes study.md, study.csv and study.png into the folder; returns the text to print.

    Raises:
        ConfigError: no arm has the metric or the name of the rule, or the folder is no study.
    """
    found = arms(folder)
    by_name, floor = {arm.name: arm for arm in found}, noise(found, rule.metric)
    columns = list(dict.fromkeys(column for arm in found for column in arm.values))
    if rule.metric not in (SCORE, *columns):
        raise unknown('--metric', rule.metric, columns)
    columns.sort(key=lambda name: (name not in COSTS, name != SCORE, '/' in name))
    head, rows = ['arm', 'seeds', *columns, 'by the rule'], []
    for arm in found:
        cells = [arm.name, seeds(arm, rule.metric)]
        for column in columns:
            cells.append(cell(arm.mean(column)))
            deviation = arm.deviation(column)
            if column not in COSTS and deviation is not None:
                cells[-1] += f' ({cell(deviation)})'
        rows.append([*cells, verdict(arm, by_name, rule, floor)])
    text = terminal.markdown(head, rows)
    if floor is not None:
        text += (
            f'\nNoise floor of {rule.metric}: {cell(floor)}, the standard deviation over '
            f'seeds, pooled over arms. {rule.baseline} is the baseline; better and worse are more '
            'than two standard deviations of the difference; wins: better than its control, too.\n'
        )
    (folder / 'study.md').write_text(text)
    with (folder / 'study.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['arm', 'column', 'mean', 'standard deviation', 'runs'])
        for arm in found:
            for column, values in arm.values.items():
                row = [arm.name, column, arm.mean(column), arm.deviation(column), len(values)]
                writer.writerow(row)
    picture = draw(found, rule.metric, folder / 'study.png')
    return f'{text}\ntable: {folder / "study.md"} (and study.csv)\n{picture}'


def draw(found: Sequence[Arm], metric: str, path: pathlib.Path) -> str:
    """Draws the metric of each arm against its operations, with deviations over seeds.

    Budgets of one arm (ARM-petaflop=N) are one line. Returns a line for the terminal.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return 'no plot: matplotlib is not installed'
    lines: dict[str, list[tuple[float, float, float]]] = collections.defaultdict(list)
    for arm in found:
        cost, mean = arm.mean(COSTS[0]), arm.mean(metric)
        if cost is not None and mean is not None:
            point = (cost, mean, arm.deviation(metric) or 0.0)
            lines[_BUDGET.sub('', arm.name)].append(point)
    figure = Figure(figsize=(8, 5), layout='tight')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, points in lines.items():
        x, y, deviation = zip(*sorted(points), strict=True)
        axes.errorbar(x, y, yerr=deviation, fmt='o-', capsize=3, label=name)
    axes.set(xlabel='petaFLOP of pre-training (matrix products)', ylabel=metric)
    if lines:
        axes.legend(fontsize=7, loc='center left', bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120)
    return f'plot: {path}'
