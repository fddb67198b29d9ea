"""The worked example of docs/python.md, run as it stands there."""

import pathlib
import re
import warnings

import electra_jax
from electra_jax.finetune.task import of_kind
from electra_jax.inference.loaded import LoadedModel
from tests.support import trained

PAGE = pathlib.Path(__file__).parent.parent.parent / 'docs' / 'python.md'


def test_the_worked_example_runs(monkeypatch):
    task = of_kind('classification', 16, labels='bad,good')
    made = {
        'runs/mine': LoadedModel(trained.found(), 8),
        'runs/reviews': LoadedModel(trained.found(('encoder',), task), 8),
    }
    monkeypatch.setattr(electra_jax, 'load', made.__getitem__)
    names: dict = {}
    for block in re.findall(r'^```python\n(.*?)^```', PAGE.read_text(), re.DOTALL | re.MULTILINE):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # the test's vocabulary is tiny
            exec(compile(block, PAGE.name, 'exec'), names)
    assert names['vectors'].shape == (2, 32)
    assert names['piece'] == '.' and 0 < names['probability'] < 1
    assert len(names['masks']) == 3 and names['best'][0] == names['masks'][0].token
    assert len(names['good'].terms) > 1
    assert names['mood'][0] in ('positive', 'negative') and 0 < names['mood'][1] < 1
    assert set(names['labels']) <= {'bad', 'good'} and set(names['sure'][0]) == {'bad', 'good'}
