"""Budgets of many lengths from one run, and what a run keeps besides its parameters, on a mesh."""

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from etils import epath

from electra_jax.config.recipe import load
from electra_jax.corpus.job import build_corpus
from electra_jax.finetune.foreign import TASKS
from electra_jax.interop.convert import How, convert
from electra_jax.objectives import table
from electra_jax.pretrain import job
from electra_jax.train import metric_lines, parameters
from tests.support.recipes import write_recipe


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
    """A recipe that keeps all that a run can keep, whose rate decays in its last four steps."""
    changes = {
        'total_steps': 12,
        'batch_size': 8,
        'objective': {'masks': 'loss'},
        'optimizer': {'decay_steps': 4, 'matrices': 'muon', 'average_decay': 0.9},
        'checkpoint': {'every_steps': 4},
        'eval': {'every_steps': 6, 'rows': 16},
        'mesh': {'data': 2, 'fsdp': 2, 'tensor': 2},
    }
    return write_recipe(tmp_path_factory.mktemp('run'), 'trunk', documents=400, **changes)


def train(recipe, workdir, capsys, **changes):
    """Does the job of the recipe in a folder; returns what is printed."""
    settings = load(recipe)
    for name, value in changes.items():
        group, _, field = name.rpartition('__')
        setattr(getattr(settings, group) if group else settings, field, value)
    job.run(table.complete(settings), epath.Path(workdir), build_corpus, ())
    return capsys.readouterr().out


def saved(workdir, step, item):
    return ocp.StandardCheckpointer().restore(workdir / 'checkpoints' / str(step) / item)


def assert_same(ours, theirs):
    leaves = map(jax.tree_util.tree_leaves_with_path, (ours, theirs))
    for (path, a), (_, b) in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=str(path))


@pytest.mark.slow  # three runs
def test_a_branch_ends_with_the_bits_of_a_run_of_its_length(recipe, tmp_path, capsys):
    whole, trunk, branch = (tmp_path / name for name in ('whole', 'trunk', 'branch'))
    train(recipe, whole, capsys)
    train(recipe, trunk, capsys, total_steps=20, stop_at=8)
    kept = {'checkpoint__keep_at_words': '1'}  # the first step reads more
    out = train(recipe, branch, capsys, branch_from=f'{trunk}/checkpoints/8', **kept)
    assert f'a branch of {trunk} from step 8' in out
    assert 'at 1 words: the run goes on after them, from step 8' in out
    assert parameters.KEPT not in parameters.read_about(epath.Path(branch / 'checkpoints' / '12'))
    items = ('params', 'rest', parameters.AVERAGE)
    params, rest, average = (saved(branch, 12, item) for item in items)
    for ours, item in zip((params, rest, average), items, strict=True):
        assert_same(ours, saved(whole, 12, item))
    # What is kept has been used: masks by loss, and a mean that is not the parameters.
    before = saved(trunk, 4, 'rest')['memory']['token_loss']
    assert np.ptp(rest['memory']['token_loss'] - before) > 0
    assert np.abs(params['embeddings']['word'] - average['embeddings']['word']).max() > 0
    steps = [line['step'] for line in metric_lines.read(epath.Path(branch))]
    assert min(steps) == 9

    # The mean is evaluated where it is asked for, and taken elsewhere.
    scored = [
        train(recipe, whole, capsys, job='evaluate', eval__average=asked) for asked in (True, False)
    ]
    assert 'mlm_loss' in scored[0] and scored[0] != scored[1]
    mean = tmp_path / 'mean'
    list(convert(f'ours:{whole}', f'ours:{mean}', TASKS, {}, How(running_average=True)))
    assert_same(saved(mean, 0, 'params'), average)


@pytest.mark.slow  # three starts
def test_a_checkpoint_records_what_its_run_started_from(tmp_path, capsys):
    recipe = write_recipe(tmp_path, batch_size=8)
    first, then = tmp_path / 'first', tmp_path / 'then'
    train(recipe, first, capsys, stop_at=1)
    train(recipe, then, capsys, init_from=str(first), stop_at=1)
    train(recipe, then, capsys, init_from=str(first), stop_at=2)  # goes on by itself
    started, about = (
        parameters.read_params(epath.Path(folder), values=False)[1] for folder in (first, then)
    )
    assert started['started_from'] is None and about['steps'] == 2
    assert about['tokens_before'] == 8 * 16
    record = about['started_from']
    assert record['name'] == str(first / 'checkpoints' / '1') and record['steps'] == 1
    (corpus,) = record['corpora']
    assert corpus['fingerprint'] and corpus['source'].endswith('text.txt')
