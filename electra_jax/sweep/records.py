"""What the runs of a study cost and reached, by run.

A folder has it in three places: `pretrain/`, runs of pre-training called ARM-seed=N; `finetune/`,
runs that started from them; and `pairs/`, answers to minimal pairs by each, ARM-seed=N.jsonl. The
file `records.jsonl` keeps the numbers of all runs, one line for each, so that a study can grow over
many machines: `read` adds to it what the folder has.
"""

import collections
import json
import math
import pathlib
import statistics
from collections.abc import Mapping
from typing import NamedTuple

from electra_jax.core import files, metric_table
from electra_jax.core.errors import ConfigError
from electra_jax.sweep import table
from electra_jax.sweep.shown import Shown, scored_name
from electra_jax.train import metric_lines, workdir

FILE = 'records.jsonl'
EXAMPLE = '{"run": "electra-seed=0", "values": {"petaFLOP": 0.4, "cola": 12.5}}'
COSTS = ('petaFLOP', 'petaFLOP (paper)', 'M tokens')

Values = dict[str, float]  # of one run, by column


class Record(NamedTuple):
    """A run: what is known of it without its folder."""

    values: Values
    # 'text' (the hash of what it read), 'revision' (of the program), where they are known.
    about: Mapping[str, str] = {}


def read(folder: pathlib.Path) -> dict[str, Record]:
    """Name of a run of pre-training -> its record: the saved ones, and those of the runs here.

    What was saved of a run is left out where a run of that name here has other costs or losses.

    Raises:
        ConfigError: there are none, two runs read different texts, or a line of the file is broken.
    """
    found = _saved(folder / FILE)
    for path in sorted(path.parent for path in folder.glob(f'pretrain/*/{metric_lines.FILE}')):
        run = Shown(path.name, path)
        values, old = _trained(run), found.get(path.name, Record({}))
        is_same = all(old.values.get(column) == value for column, value in values.items())
        found[path.name] = Record({**(old.values if is_same else {}), **values}, _about(run))
    if not found:
        raise ConfigError(
            f'{folder} is not a study: it has no runs in pretrain/, and no records in {FILE}'
        )
    for name, values in _scores(folder).items():
        old = found.get(name, Record({}))
        found[name] = old._replace(values={**old.values, **values})
    texts = {record.about['text']: name for name, record in found.items() if 'text' in record.about}
    if len(texts) > 1:
        one, other = (f'{name} ({text})' for text, name in list(texts.items())[:2])
        raise ConfigError(
            f'{folder}: {one} and {other} read different texts, so that their scores cannot be '
            f'compared: keep runs of one text in a study (pretrain/, and the lines of {FILE})'
        )
    return found


def write(folder: pathlib.Path, found: Mapping[str, Record]) -> None:
    """Writes the file of records, in the order of the runs' names."""
    lines = (
        json.dumps({'run': name, **record.about, 'values': record.values})
        for name, record in sorted(found.items())
    )
    files.write_whole(folder / FILE, ''.join(f'{line}\n' for line in lines))


def _saved(path: pathlib.Path) -> dict[str, Record]:
    found: dict[str, Record] = {}
    lines = path.read_text(errors='replace').splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        record = _parsed(line)
        if record is None:
            raise ConfigError(
                f'{path}:{number}: not a record of a run, which is as {EXAMPLE}: restore the line, '
                'or delete it'
            )
        name, found_here = record
        if name in found:
            raise ConfigError(f'{path}:{number}: a second record of {name}: delete one of them')
        found[name] = found_here
    return found


def _parsed(line: str) -> tuple[str, Record] | None:
    """The name of a run and its record; None: the line is no record."""
    try:
        about = json.loads(line)
    except ValueError:
        return None
    if not isinstance(about, dict):
        return None
    name, values = about.pop('run', None), about.pop('values', None)
    texts = [name, *about.values()]
    if not isinstance(values, dict) or not all(isinstance(text, str) for text in texts):
        return None
    numbers = values.values()
    if any(isinstance(x, bool) or not isinstance(x, int | float) for x in numbers):
        return None
    return (name, Record(values, about)) if all(map(math.isfinite, numbers)) else None


def _about(run: Shown) -> dict[str, str]:
    corpora = run.read.corpora
    marks = [str(corpus.get('fingerprint') or '')[:12] for corpus in corpora]
    if len(corpora) > 1 and all(marks):
        marks = [f'{x} x {corpus.get("weight")}' for x, corpus in zip(marks, corpora, strict=True)]
    text = ', '.join(marks) if all(marks) else ''
    found = {'text': text, 'revision': run.read.about.get('revision')}
    return {key: value for key, value in found.items() if value}


def _trained(run: Shown) -> Values:
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


def _scores(folder: pathlib.Path) -> dict[str, Values]:
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
        found[path.stem]['pairs'] = 100 * _pairs(path)
    return found


def _pairs(path: pathlib.Path) -> float:
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
