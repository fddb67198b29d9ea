"""The record of what some minutes of training gave, from the saved records of the runs.

The folder is the workdir of a run of pre-training, and has in `finetune/` those that started from
it, as launch/speedrun.sh leaves them. docs/study.md has what the record is good for.
"""

import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from etils import epath

from electra_jax.core import files, metric_table
from electra_jax.core.errors import ConfigError, DataError, UserError, unknown
from electra_jax.data import manifest
from electra_jax.runtime import terminal
from electra_jax.sweep import rank
from electra_jax.sweep.shown import cell
from electra_jax.train import clock, runs
from electra_jax.train.clock import Start
from electra_jax.train.runs import Run, within

FILE, TABLE = 'speedrun.json', 'speedrun.md'  # in the workdir
FINE_TUNED = 'finetune'  # folder of the workdir
_AGAIN = 'type the command of the speedrun again'
_TEXT = ('source', 'fingerprint', 'held_out_fingerprint', 'tokenizer_hash', 'text_bytes',
         'train_rows', 'train_tokens', 'held_out_rows')  # fmt: skip
_CURVE = ('step', 'tokens', 'petaflop', 'seconds', 'eval/mlm_loss', 'eval/disc_loss',
          'eval/disc_auc')  # fmt: skip
_TASK = ('median', 'mean', 'standard_deviation', 'one_answer')
_HOW = ('recipe', 'settings', 'rows')  # of a task: what its scores depend on next to the model
# Of a fine-tuning, settings that name folders and what its record has in other words.
_NOT_HOW = ('init_from', 'data.path', 'task.name', 'task.save', 'trials')

Record = dict[str, Any]  # as speedrun.json has it; None: not known


class Target(NamedTuple):
    """A held-out loss or score that is to be reached."""

    metric: str
    value: float


def parse_target(text: str) -> Target:
    """``Target('eval/mlm_loss', 4.5)`` from ``eval/mlm_loss=4.5``."""
    metric, _, number = text.rpartition('=')
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (metric.startswith('eval/') and rank.direction(metric) and math.isfinite(value)):
        raise ConfigError(
            f'--target is {text!r}, allowed: METRIC=VALUE, a held-out loss or score as '
            'metrics.jsonl names it, such as eval/mlm_loss=4.5 or eval/disc_auc=0.75'
        )
    return Target(metric, value)


def write(folder: pathlib.Path, target: Target | None) -> tuple[str, bool]:
    """Writes speedrun.json and speedrun.md; returns the text to print, and if the run has ended.

    Raises:
        DataError: the folder holds no run, or a damaged record.
        ConfigError: the run has no such metric as the target names.
    """
    run, *others = runs.find([folder])
    if others or run.folder != files.absolute(folder):
        raise DataError(f'{folder} is a folder of runs, allowed: the workdir of one')
    if not isinstance(run.about.get('config'), dict):
        raise DataError(
            f'config.json in {folder} is missing or damaged, and the record needs what it has'
        )
    try:
        record = made(run, target)
        text = shown(record)
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise DataError(
            f'config.json or results.json in {folder} holds something else than runs write '
            f'({error!r:.100}), and the record needs what they have'
        ) from error
    files.write_whole(folder / FILE, json.dumps(record, indent=2) + '\n')
    files.write_whole(folder / TABLE, text)
    return f'{text}\nrecord: {folder / FILE} (and {TABLE})', run.last_step >= _end(run)


def made(run: Run, target: Target | None) -> Record:
    """The record of a run; `missing` names what is not known, and what has not been done."""
    about, points, missing = run.about, curve(run), list[str]()
    if run.last_step < _end(run):
        missing.append(f'the end of pre-training: step {run.last_step:,} of {_end(run):,}')
    if not points:
        missing.append('curve: nothing was evaluated on held-out text')
    tasks, seconds = _tasks(run, missing)
    minutes = clock.timed(run.starts) / 60 if run.starts else None
    packages = about.get('packages') or {}
    facts: Record = {
        'minutes': {'budget': run.setting('minutes'), 'used': minutes, 'starts': len(run.starts)},
        'devices': about.get('devices'),
        'recipe': _recipe(about),
        'settings': runs.typed(about),
        'eval_rows': run.setting('eval.rows'),
        'steps': run.last_step,
        **_work(run, run.last_step),
        'fine_tuning_seconds': seconds,
        'text': [_text(corpus) for corpus in run.corpora] or None,
        'parameters': about.get('parameters'),
        'program': {
            **{name: packages.get(name) for name in ('electra_jax', 'jax')},
            **{name: about.get(name) for name in ('python', 'revision')},
        },
    }
    missing += [name for name, value in _lines({**facts, **_how(tasks)}) if value is None]
    if remark := run.setting('remark'):
        facts['remark'] = remark
    if target:
        facts['target'] = _reached(target, points)
    return {**facts, 'curve': points, 'tasks': tasks, 'missing': missing}


def _end(run: Run) -> int:
    return int(min(run.setting('total_steps'), run.setting('stop_at') or math.inf))


def _recipe(about: Record) -> str | None:
    """The recipe that the command line of a run names."""
    words = '='.join(map(str, about.get('command') or ())).split('=')
    return words[words.index('--config') + 1] if '--config' in words[:-1] else None


def _stages(run: Run) -> list[dict[str, float]]:
    """Operations a token in each stage of a run; none where they are not recorded."""
    stages: list[dict[str, float]] = run.about.get('flops_of_stages') or []
    whole = run.about.get('flops_per_token')
    return stages or ([whole] if whole and run.setting('objective.name') != 'two_stage' else [])


def _work(run: Run, step: int) -> Record:
    """Tokens until a step, and petaFLOP by the count of what is computed and by the paper's."""
    each = run.setting('batch_size') * run.setting('data.row_length')
    stages, first = _stages(run), step
    if len(stages) > 1:
        first = run.first_stage
    steps = (min(step, first), max(step - first, 0))
    found: Record = {'tokens': step * each}
    for key, name in (('petaflop', 'mfu'), ('petaflop_paper', 'paper')):
        flops = sum(count * one[name] for count, one in zip(steps, stages, strict=False))
        found[key] = flops * each / 1e15 if stages else None
    return found


def curve(run: Run) -> list[Record]:
    """What each evaluation found, and what had been spent until then."""
    points = {}
    for line in run.metrics:
        found = {name: value for name, value in line.items() if name.startswith('eval/')}
        if found:
            step, seconds = line['step'], _counted(line.get('speed/elapsed'), run.starts)
            points[step] = {'step': step, **_work(run, step), 'seconds': seconds, **found}
    return [points[step] for step in sorted(points)]


def _counted(elapsed: float | None, starts: list[Start]) -> float | None:
    """Seconds that count in a budget of minutes, of those that processes of the run had lived."""
    if elapsed is None or not starts:
        return None
    found, before = 0.0, 0.0
    for start in starts:
        own = min(max(elapsed - before, 0.0), start.seconds)
        found += max(own - (start.seconds - clock.timed([start])), 0.0)
        before += start.seconds
    return found


def _reached(target: Target, points: list[Record]) -> Record:
    """When a target was first reached, if it was."""
    better = rank.direction(target.metric)
    known = {name for point in points for name in point if name.startswith('eval/')}
    if points and target.metric not in known:
        raise unknown('--target', target.metric, known)
    sign = 1 if better == 'higher' else -1
    for point in points:
        value = point.get(target.metric)
        if value is not None and sign * value >= sign * target.value:
            names = ('step', 'seconds', 'tokens', 'petaflop', 'petaflop_paper')
            spent = {name: point[name] for name in names}
            return {**target._asdict(), 'reached': True, **spent, 'with': value}
    return {**target._asdict(), 'reached': False}


def _text(corpus: Record) -> Record:
    """What a run was trained on, with the seconds that building it took where they are known."""
    found = {name: corpus.get(name) for name in _TEXT}
    try:
        there = manifest.described(corpus['path'])
        is_same = there.fingerprint == found['fingerprint']
        found['build_seconds'] = there.build.get('seconds') if is_same else None
    except UserError:
        found['build_seconds'] = None
    return found


def _tasks(run: Run, missing: list[str]) -> tuple[Record, float | None]:
    """What fine-tuning reached by task, and the seconds that it took."""
    tasks: Record = {}
    starts: list[Start] = []
    for folder in sorted(path.parent for path in run.folder.glob(f'{FINE_TUNED}/*/config.json')):
        tuned = runs.read(folder)
        starts += tuned.starts
        name, results = tuned.setting('task.name') or folder.name, tuned.results
        begun = epath.Path(str(results.get('init_from'))).name
        if not (folder / 'results.json').exists():
            missing.append(f'{name}: its fine-tuning has not ended')
        elif not isinstance(results.get('headline'), dict):
            raise DataError(f'{folder}/results.json is damaged: delete {folder}, and {_AGAIN}')
        elif begun.isdecimal() and int(begun) != run.last_step:
            missing.append(
                f'{name}: it was fine-tuned from step {int(begun):,}, and the run has '
                f'{run.last_step:,}: delete {folder}, and {_AGAIN}'
            )
        else:
            tasks[name] = _scores(tuned)
    if not tasks:
        missing.append('fine-tuned scores')
    return tasks, sum(start.seconds for start in starts) if starts else None


def _scores(tuned: Run) -> Record:
    """The headline of a task over its seeds, what one answer for all rows reaches, and how."""
    results, typed = tuned.results, runs.typed(tuned.about)
    headline, metric = results['headline'], results['headline']['metric']
    return {
        'metric': metric,
        **{name: headline[name] for name in _TASK[:3]},
        'one_answer': (within(results, 'trivial.metrics') or {}).get(metric),
        'seeds': {str(one['seed']): one['metrics'].get(metric) for one in results['trials']},
        'recipe': _recipe(tuned.about),
        'settings': {name: value for name, value in typed.items() if name not in _NOT_HOW},
        'rows': results.get('rows'),  # that are scored
    }


def _how(tasks: Record) -> Record:
    return {task: {name: one[name] for name in _HOW} for task, one in tasks.items()}


def shown(record: Record) -> str:
    """The record for people, in Markdown."""
    points, tasks = record['curve'], record['tasks']
    facts = {name: record[name] for name in record if name not in ('curve', 'tasks', 'missing')}
    lines = [[name, _cell(value)] for name, value in _lines({**facts, **_how(tasks)})]
    seeds = list(dict.fromkeys(seed for one in tasks.values() for seed in one['seeds']))
    scores = [
        [task, one['metric'], *(_score(one, value) for value in _values(one, seeds))]
        for task, one in tasks.items()
    ]
    curved = [[_cell(point.get(name)) for name in _CURVE] for point in points]
    columns = ['task', 'metric', *_TASK, *(f'seed {seed}' for seed in seeds)]
    parts = [
        f'# {_cell(record["minutes"]["budget"])} minutes on {_cell(record["devices"])}\n',
        terminal.markdown(['what', 'value'], lines),
        terminal.markdown(_CURVE, curved) if curved else '',
        terminal.markdown(columns, scores) if scores else '',
        ''.join(f'- missing: {line}\n' for line in record['missing']),
    ]
    return '\n'.join(part for part in parts if part)


def _lines(tree: Record, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Names and values of all that is in a record."""
    for name, value in tree.items():
        several = dict(enumerate(value, 1)) if isinstance(value, list) else value
        if isinstance(several, dict):
            yield from _lines(several, f'{prefix}{name} ')
        else:
            yield f'{prefix}{name}', value


def _values(one: Record, seeds: Sequence[str]) -> list[float | None]:
    return [*map(one.get, _TASK), *map(one['seeds'].get, seeds)]


def _cell(value: Any) -> str:
    return 'missing' if value is None else cell(value)


def _score(found: Record, value: float | None) -> str:
    return metric_table.score(f'finetune/{found["metric"]}', value) or 'missing'
