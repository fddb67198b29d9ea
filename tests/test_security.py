"""Nothing that others wrote is ever run: no pickle, no eval, no shell; configs alone are Python."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted([*(ROOT / 'electra_jax').rglob('*.py'), *(ROOT / 'launch').rglob('*.py')])

# Modules that turn bytes into objects by running what the bytes say.
MODULES = {
    'pickle', 'cPickle', '_pickle', 'dill', 'cloudpickle', 'marshal', 'shelve', 'joblib', 'code',
    'codeop', 'pandas', 'yaml', 'ctypes',
}  # fmt: skip
CALLS = {
    'eval', 'exec', 'compile', '__import__', 'execfile', 'os.system', 'os.popen', 'torch.load',
    'runpy.run_path', 'runpy.run_module', 'importlib.import_module', 'tempfile.mktemp',
    'pickle.load', 'pickle.loads',
}  # fmt: skip
ARCHIVES = {'tarfile', 'zipfile', 'shutil.unpack_archive', 'urllib.request', 'requests', 'httpx'}
# (file, call or module) -> why it is there all the same.
ALLOWED = {
    (
        'electra_jax/runtime/malloc.py',
        'ctypes',
    ): 'malloc_trim of the C library, to give memory back',
    ('electra_jax/__main__.py', 'runpy.run_module'): 'one of the commands of a fixed table',
    ('electra_jax/config/recipe.py', 'runpy.run_path'): 'recipes are Python that the user wrote',
    (
        'electra_jax/train/replay.py',
        'zipfile',
    ): 'the error of a damaged .npz; nothing is unpacked',
    (
        'electra_jax/core/formats.py',
        'tarfile',
    ): 'members are read as streams of text; nothing is written to disk',
    ('electra_jax/core/formats.py', 'zipfile'): 'as of a tar',
    ('electra_jax/corpus/web.py', 'urllib'): 'text of a dataset that the user named, as bytes',
}


def name_of(node: ast.expr) -> str:
    """Dotted name of a called thing, as far as it has one."""
    if isinstance(node, ast.Attribute):
        return f'{name_of(node.value)}.{node.attr}'
    return node.id if isinstance(node, ast.Name) else ''


def problems(text: str, path: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or '', *(f'{node.module}.{alias.name}' for alias in node.names)]
        names = [name for name in names if (path, name.split('.')[0]) not in ALLOWED]
        found += [name for name in names if name.split('.')[0] in MODULES or name in ARCHIVES]
        if isinstance(node, ast.Call):
            called = name_of(node.func)
            if called in CALLS | ARCHIVES and (path, called) not in ALLOWED:
                found.append(called)
            for keyword in node.keywords:
                true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                if keyword.arg in ('shell', 'allow_pickle', 'trust_remote_code') and true:
                    found.append(f'{called}({keyword.arg}=True)')
            if called in ('np.load', 'numpy.load'):
                given = {k.arg for k in node.keywords}
                found += [] if 'allow_pickle' in given else [f'{called} without allow_pickle=False']
    return found


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_data_is_run(path):
    assert problems(path.read_text(), str(path.relative_to(ROOT))) == []


@pytest.mark.parametrize(
    'text',
    [
        'import pickle',
        'from pickle import loads',
        'eval("1")',
        'import numpy as np\nnp.load("x")',
        'import numpy as np\nnp.load("x", allow_pickle=True)',
        'import subprocess\nsubprocess.run("ls", shell=True)',
        'import os\nos.system("ls")',
        'import tarfile',
        'import runpy\nrunpy.run_path("x")',
    ],
)
def test_the_check_sees_it(text):
    assert problems(text, 'electra_jax/x.py')


def test_what_is_allowed_is_still_there():
    for path, call in ALLOWED:
        text = (ROOT / path).read_text()
        assert problems(text, 'elsewhere.py'), (
            f'{path} has no {call} any more: take it off the list'
        )
