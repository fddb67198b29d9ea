"""The layers of the package: imports go down only; each foreign library has its own importers."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent / 'electra_jax'

# From the ground up; packages of one layer may not import each other.
LAYERS = [
    {'core'},
    {'config'},
    {'runtime', 'ops', 'tokenizers'},
    {'model', 'data', 'parallel', 'optim'},
    {'objectives'},
    {'train'},
    {'interop'},
    {'init_from'},  # where parameters start: a checkpoint of ours or of another project
    {'pretrain', 'finetune', 'corpus'},  # the jobs
    {'aot', 'bench', 'sweep', 'report', 'inference'},  # tools that look at the jobs from above
    {'demo', 'export'},  # what shows a trained model, or takes it elsewhere
    {'main', 'prepare', 'convert', 'predict', '__main__'},  # the commands
]
LAYER_OF = {name: height for height, names in enumerate(LAYERS) for name in names}
# A foreign package -> the only modules of ours that may import it.
ONLY_IN = {
    'flax': {'model'},
    'absl': {'runtime/cli', 'main', 'prepare', 'convert', 'predict', '*/__main__'},
    'ml_collections': {'config/recipe', 'runtime/cli'},
    'orbax': {'train'},
    'torch': {'interop', 'bench'},
    'transformers': {'interop', 'bench'},
    'tensorflow': {'interop'},
    'safetensors': {'interop'},
    'apache_beam': {'corpus'},
    'gradio': {'demo'},
    'rich': {'runtime/terminal'},  # one display for all commands
    'tqdm': set(),
    'pickle': set(),
}


def place_of(path: pathlib.Path) -> pathlib.PurePath:
    return path.relative_to(ROOT).with_suffix('')


def imported(path: pathlib.Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            names += [f'{node.module}.{alias.name}' for alias in node.names]
    return names


def may_import(place: pathlib.PurePath, allowed: set[str]) -> bool:
    return any(place.match(pattern) or place.parts[0] == pattern for pattern in allowed)


def problems(path: pathlib.Path) -> list[str]:
    place, found = place_of(path), []
    ours = place.parts[0]
    for name in imported(path):
        head, *rest = name.split('.')
        if head == 'electra_jax' and rest[0] != ours and LAYER_OF[rest[0]] >= LAYER_OF[ours]:
            found.append(f'{ours} imports {name}, which is not in a lower layer')
        if head in ONLY_IN and not may_import(place, ONLY_IN[head]):
            found.append(f'{place} imports {name}')
    return found


FILES = sorted(path for path in ROOT.rglob('*.py') if path != ROOT / '__init__.py')


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
    assert problems(path) == []


PACKAGES = sorted(path for path in ROOT.rglob('__init__.py') if path.parent != ROOT)


@pytest.mark.parametrize('path', PACKAGES, ids=lambda path: path.parent.name)
def test_package_files_hold_no_code(path):
    body = ast.parse(path.read_text()).body
    assert all(isinstance(node, ast.Expr) for node in body)


def test_the_package_itself_imports_nothing_of_weight():
    """`import electra_jax` is immediate; `load` imports what it needs."""
    body = ast.parse((ROOT / '__init__.py').read_text()).body
    names = [one.name for node in body if isinstance(node, ast.Import) for one in node.names]
    assert names == ['os', 'typing']
    assert not any(isinstance(node, ast.ImportFrom) for node in body)
    assert [node.name for node in body if isinstance(node, ast.FunctionDef)] == ['load']


def module_name(path: pathlib.Path) -> str:
    return '.'.join(('electra_jax', *place_of(path).parts)).removesuffix('.__init__')


def test_no_import_cycle():
    """Imports inside functions are counted, too."""
    modules = {module_name(path): path for path in ROOT.rglob('*.py')}
    graph = {
        name: {m for one in imported(path) for m in (one, one.rpartition('.')[0]) if m in modules}
        for name, path in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, ' -> '.join((*trail, name))
        if name not in done:
            for other in graph[name] - {name}:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_check_sees_a_climbing_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'ROOT', tmp_path)
    (tmp_path / 'ops').mkdir()
    bad = tmp_path / 'ops' / 'bad.py'
    bad.write_text('import flax\nfrom electra_jax.train import loop\n')
    assert len(problems(bad)) == 2
