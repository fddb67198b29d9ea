"""Workdirs that look like those of real runs, for tests of the report."""

import dataclasses
import json
import pathlib

from etils import epath

from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.core import metric_table
from electra_jax.train import example_lines
from electra_jax.train.example_lines import Example

EVIL = '<script>alert(1)</script>'
METRICS = [name for name in metric_table.METRICS if name.startswith(('train/', 'eval/', 'speed/'))]


def write_run(
    folder: pathlib.Path, steps: int = 400, level: float = 5.0, evaluations: int = 4, **changes
) -> pathlib.Path:
    """A run with every metric and with text that would be a script; `changes` of its settings."""
    folder.mkdir(parents=True)
    lines = []
    for step in range(20, steps + 1, 20):
        values = {name: level / (1 + step / 50) + at for at, name in enumerate(METRICS)}
        times = {'speed/elapsed': step / 2, 'eval/unigram_loss': level}
        lines.append({'step': step, **values, **times})
    (folder / 'metrics.jsonl').write_text(''.join(json.dumps(x) + '\n' for x in lines) + '{"torn')
    for step in range(steps // evaluations, steps + 1, steps // evaluations):
        tokens, originals = (['[CLS]', 'the', word, '##s', '&amp;'] for word in (EVIL, 'cat'))
        example = Example(tokens, originals, [0, 0.1, 0.9, step / steps, 0])
        example_lines.add(epath.Path(folder), step, [example, example])
    settings = {'total_steps': steps, 'model': {'size': 'tiny'}, 'remark': EVIL, **changes}
    about = {
        'config': dataclasses.asdict(resolve(recipe(settings), 'cpu')),
        'command': ['main.py', '--config=configs/quickstart.py', f'--config.total_steps={steps}'],
        'python': '3.11',
        'packages': {'jax': EVIL},
        'devices': f'eight chips, {EVIL}',
        'parameters': {'generator': 7},
        'flops_per_token': {'paper': 1e6, 'mfu': 2e6},
        'corpora': [{'source': f'text:{EVIL}', 'fingerprint': 'abc', 'train_rows': 5}],
    }
    (folder / 'config.json').write_text(json.dumps(about))
    return folder


def write_results(folder: pathlib.Path) -> None:
    """Results of fine-tuning."""
    values = {'dev/accuracy': 0.8125, 'dev/mse': 0.5}
    summary = {
        name: {'median': value, 'mean': value, 'standard_deviation': None}
        for name, value in values.items()
    }
    content = {
        'task': EVIL,
        'headline': {'metric': 'dev/accuracy', 'median': 0.8125, 'trials': 1},
        'summary': summary,
        'trials': [{'seed': 3, 'metrics': values, 'notes': []}],
        'trivial': {'answers': {}, 'metrics': {'dev/accuracy': 0.5}},
    }
    (folder / 'results.json').write_text(json.dumps(content))
