"""Runs of a sweep in which a few lines of Python stand in for the main job."""

import pathlib
import sys

from electra_jax.sweep.plan import Planned

# Trains like the main job as far as a sweep can see: files, last words, exit status, SIGTERM.
STAND_IN = """
import json, os, pathlib, shutil, signal, sys, time
folder, behaviour, steps = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print('begun', os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True)
if behaviour == 'fail':
    sys.exit('error: config.seed is -1, allowed: 0 to 4294967295')
if behaviour == 'build':
    time.sleep(0.5)
if behaviour == 'delete':
    shutil.rmtree(folder)
    sys.exit(1)
signal.signal(signal.SIGTERM, lambda *_: print('stopped by SIGTERM') or sys.exit(0))
total = 2 * steps if behaviour == 'hang' else steps
steps = total if (folder / 'go').exists() else steps
beat = {'pid': os.getpid(), 'phase': 'training', 'step': steps}
about = {'config': {'total_steps': total, 'batch_size': 4, 'data': {'row_length': 16}},
         'flops_per_token': {'mfu': 1e6, 'paper': 2e6}}
(folder / 'written').write_text(json.dumps(about))  # whole or not at all, as the main job does
(folder / 'written').rename(folder / 'config.json')
(folder / 'heartbeat.json').write_text(json.dumps(beat))
with (folder / 'metrics.jsonl').open('w') as file:
    for step in range(1, steps + 1):
        line = {'step': step, 'train/loss': 8.0 / step, 'speed/steps_per_second': 4.0}
        file.write(json.dumps(line) + '\\n')
    file.write(json.dumps({'step': steps, 'eval/disc_auc': 0.75}) + '\\n')
if behaviour == 'hang' and not (folder / 'go').exists():
    time.sleep(60)
print('done')
"""


class StandIn(Planned):
    """A run of the stand-in; its behaviour is the setting 'seed'."""

    @property
    def command(self):
        behaviour = self.settings.get('seed', 'train')
        return [sys.executable, '-c', STAND_IN, str(self.folder), behaviour, '4']


def stand_ins(folder: pathlib.Path, behaviours: list[str]) -> list[StandIn]:
    recipe = folder / 'recipe.py'
    recipe.write_text('# a recipe\n')
    return [
        StandIn(f'run{i}', str(recipe), {'seed': seed}, {'seed': seed}, folder / f'run{i}')
        for i, seed in enumerate(behaviours)
    ]
