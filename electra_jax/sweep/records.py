"""What the runs of a study cost and reached, by run.

A folder has it in three places: `pretrain/`, runs of pre-training called ARM-seed=N; `finetune/`,
runs that started from them; and `pairs/`, answers to minimal pairs by each, ARM-seed=N.jsonl. The
file `records.jsonl` keeps the numbers of runs that are gone, a line each, so that a study can grow
over many machines: `read` adds to it what the folder has.
"""

import collections
import json
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
COSTS = ('petaFLOP', 'petaFLOP (paper)', 'M tokens')

Values = dict[str, float]  # of one run, by column


class Record(NamedTuple):
    """A run: what is known of it without its folder."""

    values: Values
    # 'text' (the hash of what it read), 'revision' (of the program), where they are known.
    about: Mapping[str, str] = {}


def read(folder: pathlib.Path) -> dict[str, Record]:
    """Name of a run of pre-training -> its record: the saved ones, and those of the runs here.

    Raises:
        ConfigError: there are none, two runs read different texts, or a line of the file is broken.
    """
    found = _saved(folder / FILE)
    for path in sorted(path.parent for path in folder.glob(f'pretrain/*/{metric_lines.FILE}')):
        run = Shown(path.name, path)
        _add(found, path.name, _trained(run), _about(run))
    if not found:
        raise ConfigError(f'{folder} is not a study: it has no runs in pretrain/, and no {FILE}')
    for name, values in _scores(folder).items():
        _add(found, name, values, {})
    texts = {record.about['text']: name for name, record in found.items() if 'text' in record.about}
    if len(texts) > 1:
        one, other = list(texts.values())[:2]
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


def _add(found: dict[str, Record], name: str, values: Values, about: Mapping[str, str]) -> None:
    old = found.get(name, Record({}))
    found[name] = Record({**old.values, **values}, {**old.about, **about})


def _saved(path: pathlib.Path) -> dict[str, Record]:
    found = {}
    lines = path.read_text().splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            about = json.loads(line)
            name, values = about.pop('run'), about.pop('values')
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigError(
                f'{path}:{number}: not a record of a run: take the line out, or the file, which '
                'is made again of the runs that are here'
            ) from None
        found[name] = Record(values, about)
    return found


def _about(run: Shown) -> dict[str, str]:
    about = run.read.about
    texts = [str(corpus.get('fingerprint'))[:12] for corpus in run.read.corpora]
    found = {'text': '+'.join(texts), 'revision': about.get('revision')}
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
