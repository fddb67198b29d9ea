"""A study's table from saved records, and what its rule decides."""

import csv
import json
import shutil

import pytest

from electra_jax.core.errors import ConfigError
from electra_jax.sweep import __main__ as command
from electra_jax.sweep import arms, job, records, study
from electra_jax.sweep.arms import Arm
from electra_jax.sweep.study import Rule


def arm(name, *scores):
    return Arm(name, {'score': list(scores)})


FOUND = {
    'electra': arm('electra', 50.0, 51.0, 52.0),
    'near': arm('near', 52.0, 53.0, 51.0),
    'far': arm('far', 60.0, 61.0, 62.0),
    'low': arm('low', 40.0, 41.0, 42.0),
    'mlm': arm('mlm', 60.5, 61.5, 62.5),
}


def test_the_noise_floor_is_pooled_over_arms_and_needs_three_seeds():
    unequal = [arm('a', 1.0, 3.0, 5.0), arm('b', 2.0, 2.0)]  # variances 4 (2 free) and 0 (1)
    assert arms.noise(unequal, 'score') == pytest.approx((8 / 3) ** 0.5)
    assert arms.noise([arm('a', 1.0, 3.0), arm('b', 2.0)], 'score') is None


def test_arms_differ_above_two_deviations_of_the_difference():
    # The floor is 1 and there are three seeds: the limit is 2 sqrt(2 / 3) = 1.633.
    floor = arms.noise(list(FOUND.values()), 'score')
    assert floor == pytest.approx(1.0)
    for shift, expected in ((1.6, 'alike'), (1.7, 'better'), (-1.6, 'alike'), (-1.7, 'worse')):
        moved = arm('x', *(value + shift for value in FOUND['electra'].values['score']))
        assert arms.compare(moved, FOUND['electra'], 'score', floor) == expected
    losses = Arm('x', {'eval/mlm_loss': [2.0]}), Arm('y', {'eval/mlm_loss': [5.0]})
    assert arms.compare(*losses, 'eval/mlm_loss', 1.0) == 'better'


def test_an_arm_wins_where_it_beats_its_control_too():
    rule = Rule(controls={'far': 'mlm'})
    decided = {name: study.verdict(one, FOUND, rule, 1.0) for name, one in FOUND.items()}
    assert decided == {
        'electra': 'baseline', 'near': 'alike', 'far': 'better', 'low': 'worse', 'mlm': 'wins',
    }  # fmt: skip
    assert study.verdict(FOUND['far'], FOUND, Rule(), 1.0) == 'wins'
    assert 'three seeds' in study.verdict(FOUND['far'], FOUND, Rule(), None)
    with pytest.raises(ConfigError, match='no arm gone, allowed: electra'):
        study.verdict(FOUND['far'], FOUND, Rule(baseline='gone'), 1.0)
    alone = Rule(controls={'far': 'gone', 'low': 'gone'})
    assert study.verdict(FOUND['far'], FOUND, alone, 1.0) == 'better; its control gone is not here'
    assert study.verdict(FOUND['low'], FOUND, alone, 1.0) == 'worse'


def test_arms_are_compared_with_those_of_their_budget():
    low, high = '-petaflop=0.1', '-petaflop=0.2'
    found = [
        arm(f'electra{low}', 50.0, 51.0, 52.0),
        arm(f'electra{high}', 60.0, 61.0, 62.0),
        arm(f'muon{low}', 60.0, 61.0, 62.0),
        arm(f'muon{high}', 60.0, 61.0, 62.0),
    ]
    by_name = {one.name: one for one in found}
    decided = [study.verdict(one, by_name, Rule(), 1.0) for one in found]
    assert decided == ['baseline', 'baseline', 'wins', 'alike']


def test_an_arm_of_a_budget_without_baseline_is_compared_with_one_of_more_operations():
    def of(name, petaflop, *scores):
        return Arm(name, {'score': list(scores), 'petaFLOP': [petaflop]})

    found = [
        of('electra', 0.2, 50.0, 51.0, 52.0),
        of('electra-petaflop=0.4', 0.4, 60.0, 61.0, 62.0),
        of('muon-petaflop=0.1', 0.1, 50.5, 51.5, 52.5),
        of('mlm-petaflop=0.3', 0.3, 50.0, 51.0, 52.0),
        of('mlm-petaflop=0.5', 0.5, 70.0, 71.0, 72.0),
        of('muon-petaflop=0.2', 0.2001, 50.0, 51.0, 52.0),  # but for rounding, that of `electra`
    ]
    by_name = {one.name: one for one in found}
    assert [study.verdict(one, by_name, Rule(), 1.0) for one in found] == [
        'baseline',
        'baseline',
        'alike with 50% of the operations of electra',
        'worse with 75% of the operations of electra-petaflop=0.4',
        'no electra was trained with as many operations',
        'alike with 100% of the operations of electra',
    ]


def trained(folder, name, loss, text='a', **flops):
    """The record of a run of pre-training of ten steps of 4 x 16 tokens."""
    path = folder / 'pretrain' / name
    path.mkdir(parents=True)
    config = {'total_steps': 10, 'batch_size': 4, 'data': {'row_length': 16}}
    flops = {'mfu': 1e9, 'paper': 2e9, **flops}
    about = {'config': config, 'flops_per_token': flops, 'corpora': [{'fingerprint': text}]}
    (path / 'config.json').write_text(json.dumps(about))
    line = {'step': 10, 'eval/mlm_loss': loss, 'eval/disc_auc': 0.7}
    (path / 'metrics.jsonl').write_text(json.dumps(line) + '\n')


def tuned(folder, name, task, median):
    path = folder / 'finetune' / f'{name}-{task}'
    path.mkdir(parents=True)
    config = {'init_from': f'{folder}/pretrain/{name}/checkpoints/8', 'task': {'name': task}}
    (path / 'config.json').write_text(json.dumps({'config': config}))
    headline = {'metric': 'dev/matthews', 'median': median}
    (path / 'results.json').write_text(json.dumps({'headline': headline}))


def answered(folder, name, generator, discriminator):
    lines = [
        {'id': 1, 'generator': {'right': a}, 'discriminator': {'right': b}}
        for a, b in zip(generator, discriminator, strict=True)
    ]
    (folder / 'pairs').mkdir(exist_ok=True)
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    (folder / 'pairs' / f'{name}.jsonl').write_text(text)


def test_the_table_is_made_of_the_records_by_one_command(tmp_path):
    for seed in range(3):
        for name, gain in (('electra', 0.0), ('muon', 0.2)):
            run = f'{name}-seed={seed}'
            trained(tmp_path, run, 5.0 - gain)
            tuned(tmp_path, run, 'cola', 0.1 + gain + seed / 100)
            answered(tmp_path, run, (0.5, 1.0), (0.0, 1.0))
    trained(tmp_path, 'mlm-seed=0', 4.0)  # not fine-tuned yet: it has no score
    words = [f'--study={tmp_path}', '--control', 'muon=electra']
    assert job.run(command.parse(words)) == 0
    lines = (tmp_path / 'study.md').read_text().splitlines()
    # 64 tokens a step, 10 steps of 1e9 and 2e9 operations a token.
    assert lines[0] == (
        '| arm | seeds | petaFLOP | petaFLOP (paper) | M tokens | score | cola | pairs | '
        'eval/mlm_loss | eval/disc_auc | by the rule |'
    )
    assert lines[2].startswith('| electra | 3 | 0.00064 | 0.00128 | 0.00064 | 43 (0.5) | 11 (1) |')
    assert lines[2].endswith('| baseline |') and lines[4].endswith('| wins |')
    assert lines[3].startswith('| mlm | 0 of 1 | 0.00064 |') and lines[3].endswith('|  |')
    assert any('Noise floor of score: 0.5,' in line for line in lines)
    with (tmp_path / 'study.csv').open() as file:
        rows = {(row['arm'], row['column']): row for row in csv.DictReader(file)}
    assert rows['muon', 'cola']['runs'] == '3' and float(
        rows['muon', 'cola']['mean']
    ) == pytest.approx(31)
    assert (tmp_path / 'study.png').exists()


def test_what_is_no_study_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='no runs in pretrain'):
        records.read(tmp_path)
    with pytest.raises(ConfigError, match="--control is 'muon'"):
        job.run(command.parse([f'--study={tmp_path}', '--control', 'muon']))
    with pytest.raises(ConfigError, match='--control'):
        job.run(command.parse(['--compare', str(tmp_path), '--control', 'muon=electra']))
    trained(tmp_path, 'electra-seed=0', 4.0)
    with pytest.raises(ConfigError, match=r"--metric is 'cola'.*eval/mlm_loss"):
        job.run(command.parse([f'--study={tmp_path}', '--metric=cola']))
    tuned(tmp_path, 'electra-seed=0', 'cola', 0.5)
    (tmp_path / 'finetune' / 'electra-seed=0-cola').rename(tmp_path / 'finetune' / 'other')
    tuned(tmp_path, 'electra-seed=0', 'cola', 0.6)
    with pytest.raises(ConfigError, match='second fine-tuning on cola from electra-seed=0'):
        records.read(tmp_path)


def test_records_of_runs_that_are_gone_stay_in_the_study(tmp_path):
    for seed in range(3):
        trained(tmp_path, f'electra-seed={seed}', 5.0 + seed)
        tuned(tmp_path, f'electra-seed={seed}', 'cola', 0.1 + seed / 100)
    job.run(command.parse([f'--study={tmp_path}']))
    before = (tmp_path / 'study.md').read_text(), (tmp_path / records.FILE).read_text()
    for name in ('pretrain', 'finetune'):
        shutil.rmtree(tmp_path / name)
    job.run(command.parse([f'--study={tmp_path}']))
    assert ((tmp_path / 'study.md').read_text(), (tmp_path / records.FILE).read_text()) == before
    # A run of another machine joins them; one whose numbers are others replaces its own.
    trained(tmp_path, 'muon-seed=0', 4.0)
    trained(tmp_path, 'electra-seed=0', 5.0)
    trained(tmp_path, 'electra-seed=1', 2.0)
    found = records.read(tmp_path)
    assert found['muon-seed=0'].values['eval/mlm_loss'] == 4.0
    assert found['electra-seed=0'].values['cola'] == pytest.approx(10.0)
    assert found['electra-seed=1'].values['eval/mlm_loss'] == 2.0
    assert 'cola' not in found['electra-seed=1'].values


def test_texts_that_are_mixed_have_their_weights_in_a_record(tmp_path):
    trained(tmp_path, 'electra-seed=0', 5.0)
    path = tmp_path / 'pretrain/electra-seed=0/config.json'
    about = json.loads(path.read_text())
    about['corpora'] = [{'fingerprint': x, 'weight': w} for x, w in (('a', 0.25), ('b', 0.75))]
    path.write_text(json.dumps(about))
    assert records.read(tmp_path)['electra-seed=0'].about['text'] == 'a x 0.25, b x 0.75'


def test_runs_of_an_arm_have_one_budget():
    found = {
        f'electra-seed={seed}': records.Record({'petaFLOP': cost})
        for seed, cost in enumerate((0.1, 0.1001, 0.2))
    }
    with pytest.raises(ConfigError, match=r'electra have from 0.1 to 0.2 .*electra-petaflop=N'):
        study.arms(found)
    del found['electra-seed=2']
    (arm,) = study.arms(found)
    assert arm.seeds == 2
    # By its name it has the baseline's budget, by its operations it has not.
    cheap = Arm('mlm', {'petaFLOP': [0.05], 'score': [1.0]})
    by_name = {'mlm': cheap, 'electra': Arm('electra', {'petaFLOP': [0.1], 'score': [1.0]})}
    assert (
        study.verdict(cheap, by_name, Rule(), 1.0) == 'alike with 50% of the operations of electra'
    )


def test_runs_of_other_text_and_broken_records_are_refused(tmp_path):
    trained(tmp_path, 'electra-seed=0', 5.0)
    records.write(tmp_path, records.read(tmp_path))
    shutil.rmtree(tmp_path / 'pretrain')
    trained(tmp_path, 'muon-seed=0', 4.0, text='b')
    with pytest.raises(
        ConfigError, match=r'electra-seed=0 \(a\) and muon-seed=0 \(b\) read different texts'
    ):
        records.read(tmp_path)
    broken = (
        '{"run": "x"}', '[]', '{"run', '7', '{"run": 1, "values": {}}',
        '{"run": "x", "values": [1]}', '{"run": "x", "values": {"cola": null}}',
        '{"run": "x", "values": {"cola": NaN}}',
        '{"run": "x", "text": [], "values": {}}',
    )  # fmt: skip
    for line in broken:
        (tmp_path / records.FILE).write_text(line + '\n')
        with pytest.raises(ConfigError, match=r'records.jsonl:1: not a record of a run'):
            records.read(tmp_path)
    (tmp_path / records.FILE).write_text(2 * f'{records.EXAMPLE}\n')
    with pytest.raises(ConfigError, match=r'records.jsonl:2: a second record of electra-seed=0'):
        records.read(tmp_path)
