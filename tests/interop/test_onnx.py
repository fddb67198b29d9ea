"""The program of docs/export.md for ONNX, run: ONNX Runtime computes what transformers does."""

import importlib.util
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from electra_jax.interop import projects
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.model.bind import bind
from electra_jax.model.task_heads import HeadShape
from tests.interop import test_huggingface, test_modernbert
from tests.support import fakes
from tests.support.recipes import ROOT

NEEDED = ('torch', 'transformers', 'onnxscript', 'onnxruntime')
# Behind the page's program: rows of another number and length than those that were traced.
CHECK = """
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(f'{folder}/model.onnx')
rows = tokenizer(['the new york cafe and the er', 'eating', 'of'], padding=True)
found, = session.run(None, {name: np.array(x) for name, x in rows.items()})
with torch.no_grad():
    wanted = network(**{name: torch.tensor(x) for name, x in rows.items()}).logits.numpy()
assert found.shape == (3, 3) and np.ptp(wanted) > 0.1
np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)
print('the same')
"""


def write_electra(folder):
    params, model = test_huggingface.task_params(('dense', 128), ('output', 3)), fakes.model()
    found = Checkpoint(params, model, fakes.tokenizer(), 'classification', list('abc'))
    projects.write_huggingface(folder, found)


def write_modernbert(folder):
    model = test_modernbert.model_of(
        generator='uniform', embedding_sharing='shared', generator_embedding_size=None
    )
    _, both = test_modernbert.made('plain')
    params = {part: both[part] for part in ('embeddings', 'discriminator')}
    head = bind(model, fakes.VOCAB_SIZE).head(HeadShape('row', 'modernbert', 3, dropout=0.1))
    shapes, random = jax.eval_shape(head.init, jax.random.key(0)), np.random.default_rng(1)
    params['task_head'] = jax.tree.map(
        lambda x: random.standard_normal(x.shape, np.float32), shapes
    )
    record = {'style': 'modernbert', 'head_dropout': 0.1}
    test_modernbert.write(folder, params, model, 'classification', record=record)


@pytest.mark.slow  # imports PyTorch, and traces
@pytest.mark.parametrize('write', [write_electra, write_modernbert])
def test_the_program_of_the_page_writes_onnx_that_computes_the_same(tmp_path, write):
    if lacking := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        pytest.skip(f'needs {", ".join(lacking)}')
    page = (ROOT / 'docs' / 'export.md').read_text()
    blocks = re.findall(r'^```python\n(.*?)^```', page, re.DOTALL | re.MULTILINE)
    (program,) = (one for one in blocks if 'torch.onnx' in one)
    write(tmp_path / 'converted')
    done = subprocess.run(
        [sys.executable, '-c', program + CHECK],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.endswith('the same\n'), done.stderr[-3000:]
