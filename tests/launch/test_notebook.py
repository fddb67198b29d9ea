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


def test_what_is_to_be_changed_is_at_the_top_of_a_cell():
    code = [cell for cell in cells() if cell['cell_type'] == 'code']
    assert code[0]['metadata']['tags'] == ['parameters']
    tagged = {tag: cell for cell in code for tag in cell['metadata'].get('tags', ())}
    names = {
        tag: re.findall(r'^(\w+) = ', ''.join(cell['source']), re.MULTILINE)
        for tag, cell in tagged.items()
    }
    assert names == {
        'parameters': ['REPOSITORY', 'USE_DRIVE', 'RUNS', 'QUICK'],
        'real': ['TEXT', 'STEPS', 'REAL'],
    }


def test_no_page_names_an_owner_that_there_is_not():
    pages = [*ROOT.glob('docs/**/*.md'), *ROOT.glob('*.md'), ROOT / 'mkdocs.yml', NOTEBOOK]
    assert [page for page in pages if 'github.com/OWNER' in page.read_text()] == []
    first = next(''.join(cell['source']) for cell in cells() if cell['cell_type'] == 'code')
    assert "REPOSITORY = ''  # CHANGE" in first and 'assert REPOSITORY,' in first


def test_two_cells_train_a_model():
    first, second, *_ = (''.join(cell['source']) for cell in cells() if cell['cell_type'] == 'code')
    assert "'pip', 'install'" in first and "'electra_jax.main'" in second
    text = ''.join(''.join(cell['source']) for cell in cells() if cell['cell_type'] == 'markdown')
    assert '## On a TPU' in text


@pytest.mark.slow
def test_it_runs_here_from_top_to_bottom(tmp_path, monkeypatch):
    nbformat = pytest.importorskip('nbformat')
    nbclient = pytest.importorskip('nbclient')
    recipe = write_recipe(tmp_path)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # Settings of a post-norm model, which is what transformers' classes hold.
    settings = [f'--config={recipe}', '--config.model.norm=post', '--config.eval.every_steps=2']
    changes = {
        'parameters': f'RUNS = {str(tmp_path / "runs")!r}\nQUICK = {settings!r}\n',
        'real': 'REAL = [*QUICK]\nSTEPS = 4\n',
    }
    for at, cell in reversed(list(enumerate(notebook.cells))):
        for tag in cell.metadata.get('tags', ()):
            notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(changes[tag]))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('MPLBACKEND', 'module://matplotlib_inline.backend_inline')
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name='python3', resources={'metadata': {'path': str(ROOT)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', [])]
    text = ''.join(output.get('text', '') for output in outputs)
    assert 'done: 2 steps' in text and 'continuing from step 2' in text and 'done: 4 steps' in text
    shown = [output.get('data', {}) for output in outputs]
    assert len([data for data in shown if 'image/png' in data]) == 2
    sentences = [data['text/html'] for data in shown if '<span style="background' in str(data)]
    assert len(sentences) == 2 and all('after step 4</b>' in one for one in sentences)
    assert (tmp_path / 'runs' / 'electra.zip').exists()
    assert (tmp_path / 'runs' / 'corpus' / 'corpus.json').exists()
