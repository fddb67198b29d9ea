"""A sweep in the folder of another one is refused before it starts a run."""

import dataclasses
import json

import pytest

from electra_jax.core.errors import ConfigError
from electra_jax.sweep import job, processes
from electra_jax.sweep.__main__ import parse
from tests.support.configs import tiny_config
from tests.support.recipes import write_recipe


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A sweep whose runs are only noted; the function gets the words that are typed."""
    recipe = write_recipe(tmp_path, seed=5)
    started = []
    monkeypatch.setattr(job, 'train', lambda request, runs: started.extend(runs))

    def typed(*words):
        started.clear()
        words = [f'--config={recipe}', f'--folder={tmp_path}/sweep', *words]
        job.run(parse(words))
        return list(started)

    return typed


def begin(runs, **changes):
    """Workdirs as the main job leaves them after a step."""
    for run in runs:
        run.folder.mkdir(parents=True)
        config = dataclasses.asdict(tiny_config(**changes))
        about = {'config': config, 'command': run.command[2:]}
        (run.folder / 'config.json').write_text(json.dumps(about))
        (run.folder / 'metrics.jsonl').write_text('{"step": 1}\n')


def test_another_setting_names_both_values_and_a_free_folder(sweep, tmp_path):
    begin(sweep('--set', 'total_steps=4', '--grid', 'seed=0'), total_steps=4, seed=0)
    (tmp_path / 'sweep-2').mkdir()
    with pytest.raises(ConfigError) as error:
        sweep('--set', 'total_steps=6', '--grid', 'seed=0')
    text = str(error.value)
    assert 'config.total_steps: 4 there, 6 now' in text and 'of seed=0' in text
    assert f'--folder={tmp_path}/sweep-3 for' in text and '--workdir' not in text
    assert len(sweep('--set', 'total_steps=4', '--grid', 'seed=0,1')) == 2


def test_a_setting_that_is_no_longer_typed_is_that_of_the_recipe(sweep):
    begin(sweep('--set', 'seed=7'), seed=7)
    with pytest.raises(ConfigError, match=r'config\.seed: 7 there, 5 now'):
        sweep()


def test_what_a_run_may_change_is_not_refused(sweep):
    constant = ['--set', 'optimizer.decay_power=0']
    begin(sweep(*constant), optimizer={'decay_power': 0.0}, total_steps=4, seed=5)
    longer = [*constant, 'total_steps=8', 'eval.every_steps=3', 'seed=5']
    assert len(sweep(*longer)) == 1


def test_a_run_without_a_step_may_have_other_settings(sweep):
    [run] = sweep('--set', 'seed=7')
    begin([run], seed=7)
    (run.folder / 'metrics.jsonl').unlink()
    assert sweep('--set', 'seed=8')


def test_nothing_is_known_of_a_run_that_has_no_command(sweep):
    [run] = sweep('--set', 'seed=7')
    begin([run], seed=7)
    (run.folder / processes.MARKER).write_text('{}')
    about = json.loads((run.folder / 'config.json').read_text())
    (run.folder / 'config.json').write_text(json.dumps({'config': about['config']}))
    assert sweep('--set', 'seed=8')
