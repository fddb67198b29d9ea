"""Meanings of metrics in the files of objectives and kinds of tasks."""

import sys
import time

import pytest

from electra_jax.core import metric_table, own_metrics
from electra_jax.core.errors import ConfigError
from electra_jax.core.own_metrics import Metric
from electra_jax.runtime import cli


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
        ("MEANINGS = {'eval/x': Metric('', compute())}", "mine.py:3: .*'eval/x', which is read as"),
        ("MEANINGS = {'eval/x': Metric('')}", 'mine.py:3: .*read as text'),
        ("MEANINGS = {'eval/x': Metric('', 'X.', 'smaller')}", "'eval/x'.*'lower', 'higher' or ''"),
        ("MEANINGS = {'eval/x': Metric(3, 'X.')}", "'eval/x'.* of strings"),
        ("MEANINGS = {'eval/x': Metric('', 'X.', '', [1])}", "'eval/x'.* TRIVIAL a number"),
        ("MEANINGS = {3: Metric('', 'X.')}", 'mine.py:3: MEANINGS has 3'),
        ('MEANINGS = {**OTHERS}', 'mine.py:3: .*read as text'),
        ("MEANINGS = {'eval/x' Metric('', 'X.')}", 'mine.py:3: not Python'),
        ('MEANINGS = dict(x=1)', 'mine.py:3: .*read as text'),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        written(tmp_path, text)


def test_a_command_refuses_it_in_plain_words(monkeypatch, capsys):
    def read(shipped):
        raise ConfigError('mine.py:3: MEANINGS')

    monkeypatch.setattr(own_metrics, 'read', read)
    for hook in ('excepthook', 'unraisablehook'):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))  # restored afterwards
    monkeypatch.setattr(cli, 'METRICS', type(metric_table.METRICS)())
    monkeypatch.setattr(cli.app, 'run', lambda main, flags_parser: main(['command']))
    monkeypatch.setattr(cli.interrupt, 'watch', lambda: None)
    monkeypatch.setattr(cli.errors, 'end_now', sys.exit)
    with pytest.raises(SystemExit, match=r'mine\.py:3: MEANINGS'):
        cli.run_without_recipe(lambda: print('begun'))
    assert 'begun' not in capsys.readouterr().out


def test_files_without_any_cost_no_time():
    began = time.process_time()
    own_metrics.read(())
    assert time.process_time() - began < 0.5
