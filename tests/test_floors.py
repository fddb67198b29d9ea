"""The floors of the house: imports go down only, and each foreign library has its own floor."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent / 'electra_jax'

# From the ground up; packages of one floor may not import each other.
FLOORS = [
    {'core'},
    {'config'},
    {'ops', 'tokenizers'},
    {'model', 'data', 'parallel', 'optim'},
    {'objectives', 'tasks', 'interop'},
    {'train'},
    {'flags'},  # for every door: recipe and command line into a Config
    {'start'},  # what a run starts from: a checkpoint of ours or of another project
    {'run', 'finetune'},  # a config brought to life: pre-training, or the trials of a task
    {'benchmark'},  # programs timed, beside a peer
    {'main', 'prepare', 'bench', 'convert', 'predict', 'aot'},  # the doors
]
FLOOR_OF = {name: height for height, names in enumerate(FLOORS) for name in names}
# A foreign package -> the only packages of ours that may import it.
ONLY_IN = {
    'flax': {'model'},
    'absl': {'flags', *FLOORS[-1]},
    'ml_collections': {'flags'},
    'orbax': {'train'},
    'torch': {'interop'},
    'transformers': {'interop'},
    'tensorflow': {'interop'},
    'safetensors': {'interop'},
    'apache_beam': {'data'},
    'pickle': set(),
}


def part_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).with_suffix('').parts[0]


def imported(path: pathlib.Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            names += [f'{node.module}.{alias.name}' for alias in node.names]
    return names


def problems(path: pathlib.Path) -> list[str]:
    ours, found = part_of(path), []
    for name in imported(path):
        head, *rest = name.split('.')
        if head == 'electra_jax' and rest[0] != ours and FLOOR_OF[rest[0]] >= FLOOR_OF[ours]:
            found.append(f'{ours} imports {name}, which is not on a lower floor')
        if head in ONLY_IN and ours not in ONLY_IN[head]:
            found.append(f'{ours} imports {name}')
    return found


FILES = sorted(path for path in ROOT.rglob('*.py') if path != ROOT / '__init__.py')


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
    assert problems(path) == []


@pytest.mark.parametrize('path', sorted(ROOT.rglob('__init__.py')), ids=lambda p: p.parent.name)
def test_package_files_are_empty(path):
    assert path.read_text() == ''


def test_the_check_sees_a_climbing_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'ROOT', tmp_path)
    (tmp_path / 'ops').mkdir()
    bad = tmp_path / 'ops' / 'bad.py'
    bad.write_text('import flax\nfrom electra_jax.train import loop\n')
    assert len(problems(bad)) == 2
