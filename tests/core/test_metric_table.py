"""The table of metrics: complete, in the documentation, and printed by --explain at once."""

import pathlib
import subprocess
import sys
import time

import pytest

from electra_jax.core import metric_table
from electra_jax.core.errors import ConfigError
from electra_jax.core.metric_table import GROUPS, METRICS, WORDS
from electra_jax.finetune.kinds import seq2seq
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.known import TASKS
from electra_jax.runtime import explain
from electra_jax.train import log

ROOT = pathlib.Path(__file__).parent.parent.parent


def test_the_documentation_has_each_table_as_it_is_here():
    page = (ROOT / 'docs' / 'metrics.md').read_text()
    for group, metrics in GROUPS.items():
        whole = {f'{group}/{name}': one for name, one in metrics.items()}
        assert explain.markdown(whole) in page, (
            f'copy this into the page:\n{explain.markdown(whole)}'
        )
    assert explain.markdown(WORDS) in page


def test_every_score_of_every_task_is_explained():
    named = {name for kind in KINDS.values() for name in kind.own_spec.metrics}
    named |= {name for task in TASKS.values() for name in task.metrics}
    named |= set(seq2seq.METRICS)
    assert named <= metric_table.names('finetune/TASK')


def test_what_a_progress_line_shows_is_explained():
    assert set(log._SHOWN) <= set(METRICS)


def test_each_meaning_is_a_sentence():
    for name, one in {**METRICS, **WORDS}.items():
        assert one.meaning.endswith('.') and (one.meaning[0].isupper() or one.meaning[0].isdigit())
        assert one.better in ('', 'lower', 'higher'), name


def test_a_name_of_the_terminal_stands_for_all_that_end_in_it():
    assert metric_table.keys_like('mlm_loss') == ['train/mlm_loss', 'eval/mlm_loss']
    assert metric_table.keys_like('finetune/cola/matthews_median') == ['finetune/TASK/matthews']
    assert metric_table.keys_like('dev/matthews') == metric_table.keys_like('matthews') != []
    assert 'Of the positions' in explain.explain('full')
    with pytest.raises(ConfigError, match=r"'disc_acu'.*did you mean 'disc_auc'"):
        explain.explain('disc_acu')


@pytest.mark.parametrize('words', [['--explain'], ['--config=configs/small.py', '--explain=full']])
def test_the_command_explains_before_it_imports_anything_slow(words):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, '-X', 'importtime', '-m', 'electra_jax.main', *words],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and 'Of the positions' in done.stdout
    assert ' jax\n' not in done.stderr and ' absl\n' not in done.stderr
    assert time.monotonic() - began < 20
