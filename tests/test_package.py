"""The package as others install it: one command for all, and what a wheel holds."""

import pathlib
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest
import yaml

from electra_jax import __main__ as program
from electra_jax.config import recipe
from electra_jax.core.errors import ConfigError
from electra_jax.report import reference

ROOT = pathlib.Path(__file__).parent.parent


def test_every_command_of_the_package_is_a_subcommand(monkeypatch, capsys):
    package = ROOT / 'electra_jax'
    files = {path.stem for path in package.glob('*.py') if 'early.begin' in path.read_text()}
    folders = {path.parent.name for path in package.glob('*/__main__.py')}
    assert set(program.COMMANDS) == files | folders
    monkeypatch.setattr(sys, 'argv', ['electra-jax'])
    program.main()
    shown = capsys.readouterr().out
    assert '  convert   Converts checkpoints of ELECTRA' in shown
    monkeypatch.setattr(sys, 'argv', ['electra-jax', 'predcit'])
    with pytest.raises(SystemExit, match=r"'predcit' is no command.*did you mean predict"):
        program.main()


def test_a_subcommand_is_the_command():
    words = [sys.executable, '-m', 'electra_jax', 'predict', '--help']
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.startswith('Trained models answer text')


def test_recipes_of_an_installed_package_are_found_by_their_names(tmp_path, monkeypatch):
    shutil.copytree(ROOT / 'configs', tmp_path / 'recipes')
    monkeypatch.setattr(recipe, 'INSTALLED', tmp_path / 'recipes')
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    assert recipe.find('configs/finetune/task.py') == tmp_path / 'recipes' / 'finetune' / 'task.py'
    assert recipe.load('configs/small.py').model.size == 'small'
    with pytest.raises(ConfigError, match=r'no recipe configs/smal.py; did you mean configs/small'):
        recipe.find('configs/smal.py')
    normal = tmp_path / 'recipes' / 'references' / 'normal.json'
    normal.parent.mkdir(exist_ok=True)
    curve = '{"x": [1], "low": [2], "high": [3]}'
    normal.write_text(f'{{"format": "electra_jax reference curves", "curves": {{"a": {curve}}}}}')
    assert reference.read('configs/references/normal.json').bands['a'].high == [3]
    (tmp_path / 'elsewhere' / 'configs').mkdir()
    own = pathlib.Path('configs/small.py')
    own.touch()
    assert recipe.find('configs/small.py') == own


def test_a_recipe_of_a_checkout_works_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = recipe.load('configs/laptop.py').log.reference
    assert reference.read(named).bands


def test_the_oldest_and_the_newest_python_of_the_metadata_are_checked():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    versions = [
        one.rpartition(' :: ')[2] for one in project['classifiers'] if ':: Python :: 3.' in one
    ]
    assert project['requires-python'] == f'>={versions[0]}' and versions == sorted(versions)
    workflow = yaml.safe_load((ROOT / '.github' / 'workflows' / 'check.yml').read_text())
    job = workflow['jobs']['check']
    assert job['strategy']['matrix']['python'] == [versions[0], versions[-1]]
    assert [step['run'] for step in job['steps'] if 'run' in step] == ['.ci/run']
    assert (ROOT / '.ci' / 'run').stat().st_mode & 0o111
    cited = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert (cited['version'], cited['license']) == (project['version'], project['license'])
    cuda = {f'cuda{number}': [f'jax[cuda{number}]>=0.10.2,<0.13'] for number in (12, 13)}
    assert cuda.items() <= project['optional-dependencies'].items()


@pytest.mark.slow
def test_a_wheel_of_the_sdist_holds_the_package_and_its_recipes_and_runs_anywhere(tmp_path):
    source = tmp_path / 'source'
    listed = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard'],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--quiet']
    program = f'from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})'
    made = subprocess.run(
        [sys.executable, '-W', 'error::UserWarning', '-c', program],
        cwd=source, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 'warning: ' not in made.stderr.replace('warning: no previously-included', '')
    (sdist,) = tmp_path.glob('*.tar.gz')
    with tarfile.open(sdist) as archive:
        packed = {name.partition('/')[2] for name in archive.getnames()}
    assert {'LICENSE', 'README.md', 'CHANGELOG.md', 'CITATION.cff', 'configs/small.py'} <= packed
    assert not [name for name in packed if name.startswith('tests/')]
    subprocess.run([*pip, 'wheel', '--no-deps', '-w', str(tmp_path), str(sdist)], check=True)
    (wheel,) = tmp_path.glob('*.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f'electra_jax/recipes/{p.relative_to(ROOT / "configs")}'
               for p in (ROOT / 'configs').rglob('*.py')}  # fmt: skip
    tracked = [name for name in listed.stdout.splitlines() if name.startswith('electra_jax/')]
    others = {name for name in tracked if (ROOT / name).is_file()}
    assert recipes | others <= names
    tops = {name.partition('/')[0] for name in names}
    assert {name for name in tops if not name.endswith('.dist-info')} == {'electra_jax'}
    target = tmp_path / 'installed'
    subprocess.run([*pip, 'install', '--no-deps', '--target', str(target), str(wheel)], check=True)
    assert (target / 'bin' / 'electra-jax').is_file()
    # It gets as far as looking for text, with the recipe of the wheel.
    words = ['--config.data.path=none', '--config.data.source=text:absent.txt', '--workdir=run']
    done = subprocess.run(
        [sys.executable, '-m', 'electra_jax', 'main', '--config=configs/small.py', *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={'PYTHONPATH': str(target), 'JAX_PLATFORMS': 'cpu'},
    )  # fmt: skip
    assert done.returncode == 1 and 'absent.txt' in done.stderr and 'Traceback' not in done.stderr
