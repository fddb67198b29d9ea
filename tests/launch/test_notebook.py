"""The notebook, run from top to bottom at a size that takes seconds."""

import json
import re

import pytest

from tests.support.recipes import ENVIRONMENT, LAUNCH, ROOT, write_recipe

NOTEBOOK = LAUNCH / 'colab.ipynb'


def cells():
    return json.loads(NOTEBOOK.read_text())['cells']


def test_it_holds_no_outputs_and_every_code_cell_is_explained():
    kinds = [cell['cell_type'] for cell in cells()]
    # No code cell without a text before it.
    assert all(kinds[i - 1] == 'markdown' for i, kind in enumerate(kinds) if kind == 'code')
    for cell in cells():
        if cell['cell_type'] == 'code':
            assert cell['outputs'] == [] and cell['execution_count'] is None


def test_what_is_to_be_changed_is_in_the_first_code_cell():
    code = [cell for cell in cells() if cell['cell_type'] == 'code']
    assert code[0]['metadata']['tags'] == ['parameters']
    names = re.findall(r'^(\w+) = ', ''.join(code[0]['source']), re.MULTILINE)
    assert names == ['REPOSITORY', 'USE_DRIVE', 'RUNS', 'QUICK', 'TEXT', 'STEPS', 'REAL']


@pytest.mark.slow
def test_it_runs_here_from_top_to_bottom(tmp_path, monkeypatch):
    nbformat = pytest.importorskip('nbformat')
    nbclient = pytest.importorskip('nbclient')
    recipe = write_recipe(tmp_path)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    [at] = [i for i, c in enumerate(notebook.cells) if c.metadata.get('tags') == ['parameters']]
    # Settings of a post-norm model, which is what transformers' classes hold.
    settings = [f'--config={recipe}', '--config.model.norm=post']
    changes = (
        f'RUNS = {str(tmp_path / "runs")!r}\nQUICK = {settings!r}\nREAL = [*QUICK]\nSTEPS = 4\n'
    )
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(changes))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('MPLBACKEND', 'module://matplotlib_inline.backend_inline')
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name='python3', resources={'metadata': {'path': str(ROOT)}}
    )
    client.execute()
    text = ''.join(
        output.get('text', '') for cell in notebook.cells for output in cell.get('outputs', [])
    )
    assert 'done: 2 steps' in text and 'continuing from step 2' in text and 'done: 4 steps' in text
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get('outputs', [])
        if 'image/png' in output.get('data', {})
    ]
    assert len(pictures) == 2
    assert (tmp_path / 'runs' / 'electra.zip').exists()
    assert (tmp_path / 'runs' / 'corpus' / 'corpus.json').exists()
