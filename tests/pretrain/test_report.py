"""What pre-training prints at its start and its end."""

import dataclasses
import json
import math
import pathlib
import types

import pytest
from etils import epath

from electra_jax.config.settings import EvalConfig
from electra_jax.data import manifest
from electra_jax.objectives import table
from electra_jax.pretrain import examples, report
from electra_jax.pretrain.text import Text
from electra_jax.train.example_lines import Example
from tests.support.configs import tiny_config
from tests.support.corpora import build


def test_an_evaluation_reports_what_was_scored_on_what_and_how_well(tmp_path):
    corpus = types.SimpleNamespace(
        path='corpora/mine', shards={'validation': [types.SimpleNamespace(rows=1200)]}
    )
    config = dataclasses.replace(tiny_config(), eval=EvalConfig(rows=1000))
    metrics = {'mlm_loss': 5.0, 'unigram_loss': 5.5, 'disc_auc': math.nan}
    found = 7, metrics, config, Text([corpus], [1.0], None), epath.Path(tmp_path)
    out = report.scored(*found)
    assert list(tmp_path.iterdir()) == []  # the text alone
    assert (
        f'step 7 of {tmp_path}\n' in out and '1,000 of 1,200 held-out rows of corpora/mine' in out
    )
    assert 'mlm_loss 5.0000\n' in out and 'mlm_loss is 0.5000 below' in out
    path = tmp_path / report.EVALUATION_FILE
    assert out.endswith(f'files: {path}') and 'warning' not in out
    report.write_scored(*found)
    written = json.loads(path.read_text())
    assert written['metrics'] == {'mlm_loss': 5.0, 'unigram_loss': 5.5, 'disc_auc': None}
    assert (written['step'], written['rows'], written['corpora']) == (7, 1000, ['corpora/mine'])
    metrics['mlm_loss'] = 6.0
    out = report.scored(*found)
    assert 'warning: mlm_loss (6.0000) is not below' in out and 'is 0.5000 above' in out


def test_a_loss_that_will_rise_is_announced():
    settings = tiny_config().objective
    assert report.rising(settings) == []
    falling = dataclasses.replace(settings, temperature=2.0, temperature_end=1.0)
    (line,) = report.rising(falling)
    assert 'falls from 2 to 1' in line and 'will rise' in line
    (line,) = report.rising(dataclasses.replace(settings, mask_rate_end=0.4))
    assert 'mask rate rises from 0.15 to 0.4' in line
    colder = dataclasses.replace(settings, temperature=1.0, temperature_end=2.0, mask_rate_end=0.1)
    assert report.rising(colder) == []


def test_a_falling_temperature_is_announced_only_where_a_generator_samples(monkeypatch):
    falling = dataclasses.replace(tiny_config().objective, temperature=2.0, temperature_end=1.0)
    row = table.OBJECTIVES['electra']._replace(generators=())
    monkeypatch.setitem(table.OBJECTIVES, 'electra', row)
    assert report.rising(falling) == []


def test_an_example_says_whether_tokens_were_replaced():
    (title, *_) = examples.text([Example(['a', 'c'], ['a', 'b'], [0.1, 0.9])]).splitlines()
    assert 'with replaced tokens' in title
    (title, *_) = examples.text([Example(['a', 'b'], ['a', 'b'], [0.1, 0.9])]).splitlines()
    assert 'nothing is replaced' in title


def test_a_mask_rate_that_changes_costs_as_much_as_its_highest():
    settings = tiny_config().objective
    assert report.spared(settings) == []
    assert report.spared(dataclasses.replace(settings, mask_rate_end=0.15)) == []
    (line,) = report.spared(dataclasses.replace(settings, mask_rate=0.3, mask_rate_end=0.15))
    assert 'highest mask rate needs (0.3)' in line


def test_a_first_stage_is_announced():
    assert report.stages(tiny_config()) == []
    settings = dataclasses.replace(tiny_config().objective, name='two_stage', generator_steps=3_600)
    (line,) = report.stages(
        dataclasses.replace(tiny_config(), objective=settings, total_steps=6_000)
    )
    assert 'until step 3,600 of 6,000 only the generator' in line and 'disc_' in line


@pytest.mark.parametrize(
    ('name', 'total', 'warmup', 'shown'),
    [
        ('electra', 60, 31, 'warmup_steps is 31, and the run has 60 steps'),
        ('electra', 60, 30, None),
        ('two_stage', 60, 11, 'warmup_steps is 11, and a stage of the run has 20 steps'),
        ('two_stage', 60, 10, None),
    ],
)
def test_a_rate_that_rises_for_most_of_a_run_is_a_warning(name, total, warmup, shown):
    config = tiny_config(optimizer={'warmup_steps': warmup})
    settings = dataclasses.replace(config.objective, name=name, generator_steps=40)
    lines = report.long_warmup(dataclasses.replace(config, objective=settings, total_steps=total))
    assert [shown in line and 'warmup_share=0.1' in line for line in lines] == [True] * bool(shown)


@pytest.mark.parametrize(
    ('first', 'minutes', 'share', 'short'),
    [
        (160, 30.0, 0.75, True),
        (120, 30.0, 0.75, False),
        (150, 30.0, None, True),
        (160, None, 0.75, False),
    ],
)
def test_a_second_stage_that_got_little_of_its_share_is_reported(first, minutes, share, short):
    config = tiny_config(total_steps=170, minutes=minutes)
    objective = dataclasses.replace(
        config.objective, name='two_stage', generator_steps=first, generator_share=share
    )
    config = dataclasses.replace(config, objective=objective)
    lines = report._result(170, {}, config)
    assert any(f'trained for {170 - first} steps of 170' in line for line in lines) == short


def test_a_model_that_knows_only_frequencies_is_told_to_train_longer():
    config, poor = tiny_config(), {'mlm_loss': 6.5, 'unigram_loss': 6.4}
    (line,) = report.too_short(config, poor)
    assert 'mlm_loss (6.5000) is not below unigram_loss (6.4000)' in line and 'longer' in line
    assert 'no better than their frequencies' in line
    assert report.too_short(config, {**poor, 'mlm_loss': 6.3}) == []
    assert report.too_short(config, {'mlm_loss': 6.5}) == report.too_short(config, {}) == []
    # Its loss is that of frequencies by its making.
    unigram = dataclasses.replace(config.model, generator='unigram')
    assert report.too_short(dataclasses.replace(config, model=unigram), poor) == []


@pytest.mark.parametrize(('objective', 'task'), [('electra', ''), ('mlm', ' --task=embed')])
def test_what_a_pretrained_model_is_for_comes_next(objective, task):
    config = tiny_config()
    named = dataclasses.replace(config.objective, name=objective)
    folder = epath.Path('runs/my own')
    text = report.following(dataclasses.replace(config, objective=named), folder)
    assert text.startswith('next: python -m electra_jax.main --config=configs/finetune/own_text.py')
    assert "--config.init_from='runs/my own'" in text
    assert "--workdir='runs/my own-tuned'\n" in text  # the usual one may hold another run
    assert f"--checkpoint='runs/my own'{task} --input=" in text


def with_counts(corpus: manifest.Corpus, **counts: int) -> manifest.Corpus:
    return dataclasses.replace(corpus, counts={**corpus.counts, **counts})


def test_what_is_held_out_is_noted(tmp_path: pathlib.Path):
    corpus = build(tmp_path, 'some', documents=1200)
    assert manifest.warnings(corpus) == []
    (line,) = manifest.warnings(with_counts(corpus, documents=5, text_bytes=15_000_000))
    assert 'is made of 5 documents of 3.0 MB' in line
    none = dataclasses.replace(corpus, shards={**corpus.shards, 'validation': ()})
    (line,) = manifest.warnings(none)
    assert 'nothing is held out' in line and 'config.data.validation_source' in line


def test_the_end_of_a_run_is_printed_again_from_its_metrics(tmp_path):
    (tmp_path / 'metrics.jsonl').write_text(
        '{"step": 4, "eval/mlm_loss": 7.0}\n{"step": 8, "eval/mlm_loss": 6.0, "eval/x": null}\n'
    )
    folder, text = epath.Path(tmp_path), Text([], [], None)
    lines = report.finished(8, tiny_config(log={'trackers': ''}), text, folder).splitlines()
    assert lines[0] == 'done: 8 steps, mlm_loss 6.0000, x nan'
    assert 'metrics.jsonl' in lines[1] and 'tensorboard' not in lines[1]
    assert 'tensorboard/' in report.finished(8, tiny_config(), text, folder)


def test_settings_typed_for_a_run_that_is_over_are_named(tmp_path):
    before = tiny_config(optimizer={'warmup_steps': 1})
    (tmp_path / 'config.json').write_text(json.dumps({'config': dataclasses.asdict(before)}))
    now = tiny_config(optimizer={'warmup_steps': 1, 'warmup_share': 0.1}, seed=before.seed)
    typed = ('optimizer.warmup_share', 'seed')
    (line,) = report.not_used(now, epath.Path(tmp_path), typed)
    assert 'over' in line and 'config.optimizer.warmup_share=0.1 (it had None)' in line
    assert 'seed' not in line
    assert not report.not_used(now, epath.Path(tmp_path), ())


def test_a_warm_up_that_cannot_be_changed_any_more_is_no_warning(tmp_path):
    config, folder = (
        tiny_config(total_steps=10, optimizer={'warmup_steps': 9}),
        epath.Path(tmp_path),
    )
    assert report.long_warmup(config, folder)
    assert not report.long_warmup(dataclasses.replace(config, branch_from='runs/trunk'), folder)
    (tmp_path / 'config.json').write_text(json.dumps({'config': dataclasses.asdict(config)}))
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1}\n')
    assert not report.long_warmup(config, folder)
