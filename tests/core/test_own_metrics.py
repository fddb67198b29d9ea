"""Meanings of metrics in the files of objectives and kinds of tasks."""

import time

import pytest

from electra_jax.core import own_metrics
from electra_jax.core.errors import ConfigError
from electra_jax.core.own_metrics import Metric


def written(folder, text, room='objectives'):
    (folder / room).mkdir(parents=True, exist_ok=True)
    (folder / room / 'mine.py').write_text(f'import absent\n\n{text}\n')
    return own_metrics.read(['eval/disc_auc'], folder)


def test_a_files_own_metrics_are_read_without_importing_it(tmp_path):
    text = (
        "MEANINGS = {'train/x': Metric('', 'It is x.'), 'eval/x': Metric('s', 'y.', 'lower', 0.5)}"
    )
    assert written(tmp_path, text) == {
        'train/x': Metric('', 'It is x.'),
        'eval/x': Metric('s', 'y.', 'lower', 0.5),
    }
    typed = "MEANINGS: dict[str, Metric] = {'finetune/TASK/z': Metric('', 'Z.', better='lower')}"
    found = written(tmp_path, typed, 'finetune/kinds')
    assert found['finetune/TASK/z'].better == 'lower'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("MEANINGS = {'x': Metric('', 'X.')}", r"mine.py:3: MEANINGS has 'x', .* allowed: eval, "),
        ("MEANINGS = {'eval/disc_auc': Metric('', 'X.')}", "'eval/disc_auc', .* already"),
        ("MEANINGS = {'eval/x': Metric('', compute())}", 'mine.py:3: .*read as text'),
        ("MEANINGS = {'eval/x': Metric('')}", 'mine.py:3: .*read as text'),
        ('MEANINGS = dict(x=1)', 'mine.py:3: .*read as text'),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        written(tmp_path, text)


def test_files_without_any_cost_no_time():
    began = time.process_time()
    own_metrics.read(())
    assert time.process_time() - began < 0.5
