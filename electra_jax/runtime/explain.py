"""`--explain`: what the numbers of a run mean, from `core.metric_table`; no device is started."""

import os
import sys
import textwrap
from collections.abc import Sequence

from electra_jax.core import errors, metric_table
from electra_jax.core.metric_table import METRICS, WORDS
from electra_jax.core.own_metrics import Metric

_FLAG = 'explain'
_WIDTH = 88
_INTERVALS = (
    'train/...: means over the steps since the line before; eval/...: on held-out text; '
    'finetune/TASK/...: scores of a task, and over its trials METRIC_median, METRIC_mean and '
    'METRIC_standard_deviation. On the terminal the last part of a name stands for the whole.'
)


def if_asked(words: Sequence[str]) -> None:
    """Prints the explanation and ends the process where a command line asks for it.

    It is called before the imports that take seconds.
    """
    for word in words:
        name, _, value = word.lstrip('-').partition('=')
        if name == _FLAG and word.startswith('-'):
            try:
                sys.stdout.write(f'{explain(value)}\n')
                sys.stdout.flush()
            except errors.ConfigError as error:
                errors.end_now(str(error))
            except BrokenPipeError:
                os._exit(1)  # the reader of the output (`| head`) has closed it
            sys.exit(0)


def explain(name: str) -> str:
    """What a metric or a word means; '': all of them.

    Raises:
        ConfigError: there is none of that name.
    """
    if not name:
        every = [_entry(key, one) for key, one in {**METRICS, **WORDS}.items()]
        return '\n'.join([textwrap.fill(_INTERVALS, _WIDTH), '', *every])
    keys = metric_table.keys_like(name)
    if not keys:
        known = [*METRICS, *(key.rpartition('/')[2] for key in METRICS), *WORDS]
        raise errors.ConfigError(
            f'--explain is {name!r}, which is not the name of a number'
            f'{errors.nearest(name, known)}; --explain without a name lists all'
        )
    return '\n'.join(_entry(key, {**METRICS, **WORDS}[key]) for key in keys)


def _entry(key: str, metric: Metric) -> str:
    notes = [metric.unit, f'{metric.better} is better' if metric.better else '']
    about = '; '.join(note for note in notes if note)
    body = textwrap.fill(metric.meaning, _WIDTH, initial_indent='    ', subsequent_indent='    ')
    return f'{key}{f"  [{about}]" if about else ""}\n{body}'


def markdown(metrics: dict[str, Metric]) -> str:
    """A table of metrics, for the documentation."""
    rows = [
        f'| `{key}` | {one.unit} | {one.meaning}{f" ({one.better} is better)" * bool(one.better)} |'
        for key, one in metrics.items()
    ]
    return '\n'.join(['| name | unit | meaning |', '| --- | --- | --- |', *rows]) + '\n'
