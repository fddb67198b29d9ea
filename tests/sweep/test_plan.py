"""Which runs a sweep has, and what is refused before any of them starts."""

import pathlib

import pytest

from electra_jax.core.errors import ConfigError
from electra_jax.sweep import job
from electra_jax.sweep.__main__ import parse
from tests.support.recipes import ROOT


def plan(*words):
    return job.plan_runs(parse(words))


def test_a_grid_is_every_value_with_every_other():
    runs = plan(
        '--config=configs/quickstart.py', '--grid', 'optimizer.learning_rate=1e-3,2e-3',
        'seed=0,1', '--set', 'total_steps=200',
    )  # fmt: skip
    assert [run.name for run in runs] == [
        'learning_rate=1e-3-seed=0', 'learning_rate=1e-3-seed=1',
        'learning_rate=2e-3-seed=0', 'learning_rate=2e-3-seed=1',
    ]  # fmt: skip
    assert runs[2].command[1:] == [
        '-m', 'electra_jax.main', '--config=configs/quickstart.py',
        '--workdir=runs/sweeps/quickstart/learning_rate=2e-3-seed=0',
        '--config.total_steps=200', '--config.optimizer.learning_rate=2e-3', '--config.seed=0',
    ]  # fmt: skip


@pytest.mark.parametrize('words', [['--config=configs/corpus/*.py'], None])
def test_recipes_are_an_axis_whether_the_shell_expands_them_or_not(words):
    files = sorted(str(p.relative_to(ROOT)) for p in (ROOT / 'configs' / 'corpus').glob('*.py'))
    runs = plan(*(words or ['--config', *files]))
    assert [run.recipe for run in runs] == files
    assert [run.name for run in runs] == [pathlib.Path(file).stem for file in files]
    assert runs[0].folder.parent == pathlib.Path('runs/sweeps/recipes')


def test_recipes_of_one_name_keep_apart(tmp_path):
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'x.py').write_text('')
    names = [run.name for run in plan('--config', f'{tmp_path}/a/x.py', f'{tmp_path}/b/x.py')]
    assert len(set(names)) == 2 and all('/' not in name for name in names)


def test_a_setting_may_be_named_by_its_last_word():
    [run] = plan('--config=configs/small.py', '--grid', 'learning_rate=1e-3')
    assert run.settings == {'optimizer.learning_rate': '1e-3'}


def test_a_list_gives_a_run_a_line(tmp_path):
    lines = tmp_path / 'runs.txt'
    lines.write_text('# rate and seed\n--config.seed=3 model.size=tiny\n\nseed=4\n')
    runs = plan('--config=configs/small.py', f'--list={lines}')
    assert [run.settings for run in runs] == [{'seed': '3', 'model.size': 'tiny'}, {'seed': '4'}]
    assert [run.name for run in runs] == ['seed=3-size=tiny', 'seed=4']


def test_long_and_odd_values_become_folder_names(tmp_path):
    text = f'data.source=text:{"/very/long" * 30}'
    [run] = plan('--config=configs/small.py', '--grid', text)
    assert len(run.name) <= 120 and '/' not in run.name
    [other] = plan('--config=configs/small.py', '--grid', text + '/other')
    assert other.name != run.name


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--grid', 'optimizer.learning_rat=1'], "did you mean 'optimizer.learning_rate'"),
        (['--set', 'seed'], 'KEY=VALUE'),
        (['--grid', 'seed=0,0'], 'seed=0,0'),
        (['--grid', 'seed=0,'], 'seed=0,'),
        (['--grid', 'seed=0', 'seed=1'], 'names seed twice'),
        (['--grid', 'seed=0,1', '--only=2'], 'allowed: 0 to 1'),
        (['--config=configs/none*.py'], 'there is no recipe configs/none'),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(words, message):
    with pytest.raises(ConfigError, match=message):
        plan('--config=configs/small.py', *words)


def test_a_bad_line_of_a_list_is_named(tmp_path):
    lines = tmp_path / 'runs.txt'
    lines.write_text('seed=1\nsede=2\n')
    with pytest.raises(ConfigError, match=r"runs.txt:2: sede is not .* mean 'seed'"):
        plan('--config=configs/small.py', f'--list={lines}')


def test_two_runs_that_are_the_same_are_refused(tmp_path):
    lines = tmp_path / 'runs.txt'
    lines.write_text('seed=0\nseed=0\n')
    with pytest.raises(ConfigError, match='two runs are called seed=0'):
        plan('--config=configs/small.py', f'--list={lines}')


def test_runs_of_several_seeds_share_a_setting():
    recipes = ['configs/base.py', 'configs/small.py']
    runs = plan('--config', *recipes, '--grid', 'seed=0,1', 'learning_rate=1e-3')
    assert runs[0].name == 'base-seed=0-learning_rate=1e-3'
    assert [run.setting(recipes) for run in runs] == [
        'base-learning_rate=1e-3', 'base-learning_rate=1e-3',
        'small-learning_rate=1e-3', 'small-learning_rate=1e-3',
    ]  # fmt: skip
    (run, _) = plan('--config=configs/small.py', '--grid', 'seed=0,1')
    assert run.setting(recipes[1:]) == 'small'
