"""Artifacts: they answer as `predict` does, in a process that has none of this package's code."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from etils import epath

from electra_jax.core.errors import CheckpointError, ConfigError, UserError
from electra_jax.export import job, programs
from electra_jax.finetune import task as tasks
from electra_jax.inference.loaded import LoadedModel
from electra_jax.train import parameters
from tests.support import trained
from tests.support.configs import MODERN

TEXTS = ['the film was great', 'Anna saw films here', 'they saw it [MASK] [SEP]']
ROOT = pathlib.Path(__file__).parent.parent.parent
PAGE = ROOT / 'docs' / 'export.md'

# Runs the page's program for each folder, where nothing of this package and of what trains can be
# imported, and writes the answers.
PROGRAM = """
import json, pathlib, sys
import numpy as np

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('electra_jax', 'flax', 'optax', 'orbax', 'grain', 'absl'):
            raise ImportError(f'{name} is blocked')

sys.meta_path.insert(0, Block())
source = pathlib.Path(sys.argv[1]).read_text()
for folder, inputs, words in json.loads(sys.argv[2]):
    code = source.replace("'exported'", repr(folder))
    texts = [tuple(one) if isinstance(one, list) and not words else one for one in inputs]
    begin = code.index('encode_batch(') + len('encode_batch(')
    end = code.index(')', begin)
    code = code[:begin] + repr(texts) + (', is_pretokenized=True' if words else '') + code[end:]
    names = {}
    exec(code, names)
    answers = {name: np.asarray(x) for name, x in names['answers'].items()}
    offsets = np.array([row.offsets for row in names['rows']])
    word_ids = [[-1 if i is None else i for i in row.word_ids] for row in names['rows']]
    np.savez(f'{folder}.npz', offsets=offsets, word_ids=word_ids, **answers)
"""


def exported(tmp_path, name, found, task='auto', **options):
    """The folder of a checkpoint that is written first."""
    run = tmp_path / f'{name}_run'
    parameters.write_params(epath.Path(run), found.params, found.about)
    given = {'dtype': 'float32', 'platforms': ('cpu', 'cuda', 'tpu'), 'row_length': None} | options
    request = job.Request(str(run), tmp_path / name, task, **given)
    seen, alive = [], job.terminal.alive
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            job.terminal, 'alive', lambda what, *a: seen.append(what) or alive(what, *a)
        )
        lines = job.export(request)
    assert seen == ['making the program']
    assert f'wrote {tmp_path / name}' in lines[0]
    return tmp_path / name


def answered(tmp_path, *folders):
    """What the page's program gives for each (folder, inputs, are they words)."""
    blocks = re.findall(r'^```python\n(.*?)^```', PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (block,) = (one for one in blocks if 'jax.export' in one)
    (tmp_path / 'page.py').write_text(block)
    listed = [(str(folder), inputs, words) for folder, inputs, words in folders]
    subprocess.run(
        [sys.executable, '-c', PROGRAM, str(tmp_path / 'page.py'), json.dumps(listed)],
        cwd=tmp_path, check=True,
        env={k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | {'JAX_PLATFORMS': 'cpu'},
    )  # fmt: skip
    return [dict(np.load(f'{folder}.npz')) for folder, *_ in folders]


def task_of(kind, **settings):
    return tasks.of_kind(kind, 16, **settings)


@pytest.mark.filterwarnings('ignore::UserWarning')  # of a tiny vocabulary, and of what is cut
def test_artifacts_answer_without_the_package_as_predict_does(tmp_path):
    found = trained.found()
    tuned = trained.found(('encoder',), task_of('classification', labels='bad,good'))
    rows = [['the film', 'was great'], ['Anna saw films ' * 5, 'here'], *TEXTS]
    folders = [
        (exported(tmp_path, 'detect', found), TEXTS, False),
        (exported(tmp_path, 'classes', tuned), rows, False),
    ]
    detected, classes = answered(tmp_path, *folders)
    many = zip(
        detected['replaced'], detected['offsets'], LoadedModel(found, 8).detect(TEXTS), strict=True
    )
    for row, offsets, one in many:
        T = len(one.tokens)
        np.testing.assert_allclose(row[1 : 1 + T], one.replaced, atol=1e-5)
        np.testing.assert_array_equal(offsets[1 : 1 + T], one.spans)
    about = json.loads((folders[1][0] / job.ABOUT_FILE).read_text())
    for row, answer in zip(classes['probabilities'], predicted(tuned, rows), strict=True):
        given = dict(zip(about['labels'], row.tolist(), strict=True))
        assert given == pytest.approx(answer['probabilities'], abs=1e-5)
    # A checkpoint that does not count its steps has none.
    assert about['checkpoint']['steps'] is None
    in_page, in_folder = (
        re.findall(r'^```python\n(.*?)^```', path.read_text(), re.DOTALL | re.MULTILINE)
        for path in (PAGE, folders[1][0] / job.README_FILE)
    )
    lines = in_page[0].replace("Path('exported')", "Path('.')").partition('  # {')[0] + '\n'
    assert in_folder == [lines]
    tokens = about['inputs']['tokens']
    assert (tokens['dtype'], tokens['shape']) == ('int32', ['B', 16])
    assert about['outputs']['probabilities']['shape'] == ['B', 2]
    assert about['platforms'] == ['cpu', 'cuda', 'tpu']


def predicted(found, rows):
    """What `predict` answers; of texts and pairs alike, as a model from elsewhere does."""
    about = {**found.about, 'task': {**found.about['task'], 'any_pairs': True}}
    rows = [tuple(row) if isinstance(row, list) else row for row in rows]
    return LoadedModel(found._replace(about=about), 8).predict(rows)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::UserWarning')  # of a tiny vocabulary, and of what is cut
def test_every_kind_of_task_and_block_can_be_exported(tmp_path):
    questions = [['saw films', 'Anna saw films here'], ['great', 'the film was great they saw it']]
    sentences = [text.split() for text in TEXTS[:2]]
    cases = {
        'multi_label': (task_of('multi_label', labels='a,b,c'), TEXTS),
        'regression': (dataclasses.replace(task_of('regression'), score_range=(1.0, 5.0)), TEXTS),
        'tags': (task_of('tagging', labels='O,B-X,I-X'), sentences),
        'tags_of_theirs': (task_of('tagging', labels='O,B-X', head='huggingface'), sentences),
        'spans': (task_of('spans', head='huggingface', question_length=4), questions),
        'searched_spans': (
            task_of('spans', head='reference', beams=4, question_length=4),
            questions,
        ),
        'mean': (task_of('classification', labels='a,b', head='mean'), TEXTS),
    }
    found = {name: trained.found(('encoder',), task) for name, (task, _) in cases.items()}
    folders = [
        (exported(tmp_path, name, found[name]), rows, name.startswith('tags'))
        for name, (_, rows) in cases.items()
    ]
    modern = trained.found(model={k: v for k, v in MODERN.items() if k != 'num_layers'})
    rounded = modern._replace(
        params=jax.tree.map(lambda x: np.asarray(x.astype('bfloat16'), np.float32), modern.params)
    )
    folders.append((exported(tmp_path, 'vectors', modern, 'embed', dtype='bfloat16'), TEXTS, False))
    got = dict(zip([*cases, 'vectors'], answered(tmp_path, *folders), strict=True))
    vectors = LoadedModel(rounded, 8).encode(TEXTS)
    np.testing.assert_allclose(got['vectors']['vector'], vectors, atol=1e-5)
    kept = safetensors.numpy.load_file(tmp_path / 'vectors' / job.PARAMETERS_FILE)
    assert {x.dtype.name for x in kept.values()} == {'bfloat16'}
    assert not any(name.startswith('generator') for name in kept)
    for name, (task, rows) in cases.items():
        one = got[name]
        if task.kind in ('multi_label', 'classification'):
            wanted = [list(x['probabilities'].values()) for x in predicted(found[name], rows)]
            np.testing.assert_allclose(one['probabilities'], wanted, atol=1e-5)
        elif task.kind == 'regression':
            wanted = [x['prediction'] for x in predicted(found[name], rows)]
            np.testing.assert_allclose(one['score'], wanted, rtol=1e-5)
        elif task.kind == 'tagging':
            rows = [{'words': words} for words in rows]
            for k, answer in enumerate(LoadedModel(found[name], 8).predict(rows)):
                numbers = one['word_ids'][k].tolist()
                first = [numbers.index(word) for word in range(len(answer['words']))]
                best = one['probabilities'][k, first].max(axis=-1)
                np.testing.assert_allclose(best, answer['probabilities'], atol=1e-5)
        else:
            for k, answer in enumerate(LoadedModel(found[name], 8).predict(list(map(tuple, rows)))):
                (begin, _), (_, end) = (one['offsets'][k, one[x][k]] for x in ('start', 'end'))
                assert rows[k][1][begin:end] == answer['prediction']
                assert one['none_score'][k] == pytest.approx(answer['none_score'], abs=1e-4)


def test_what_cannot_be_exported_is_refused_by_name(tmp_path, monkeypatch):
    tuned = trained.found(('encoder',), task_of('classification', labels='bad,good'))
    with pytest.raises(CheckpointError, match='was fine-tuned, which keeps the encoder alone'):
        exported(tmp_path, 'a', tuned, 'detect')
    mlm = trained.found(('language',), objective={'name': 'mlm'})
    with pytest.raises(CheckpointError, match="was pre-trained as 'mlm', without a head"):
        exported(tmp_path, 'b', mlm)
    with pytest.raises(ConfigError, match=r"--platforms is 'gpu', allowed: cpu, cuda, rocm, tpu"):
        exported(tmp_path, 'c', tuned, platforms=('cpu', 'gpu'))
    with pytest.raises(ConfigError, match=r"--platforms is '', allowed: cpu, cuda, rocm, tpu"):
        exported(tmp_path, 'g', tuned, platforms=())
    with pytest.raises(ConfigError, match='--row_length is 17, allowed: 8 to 16'):
        exported(tmp_path, 'd', tuned, row_length=17)
    with pytest.raises(ConfigError, match=r"'seq2seq', .* cannot be exported, allowed: classif"):
        programs.of_task(task_of('seq2seq'))
    words = {'head': 'prompt', 'template': 'topic', 'words': 'bad,good'}
    with pytest.raises(ConfigError, match="'prompt', which cannot be exported"):
        programs.of_task(task_of('classification', **words))
    (tmp_path / 'e').mkdir()
    (tmp_path / 'e' / 'mine').touch()
    with pytest.raises(CheckpointError, match='is not empty: name another --target'):
        exported(tmp_path, 'e', tuned)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match='flatbuffers, which is not installed'):
        exported(tmp_path, 'f', tuned)
    assert not any((tmp_path / name).exists() for name in 'abcdfg')
