"""The record of a speedrun from saved records, and what it names as missing."""

import json

import pytest

from electra_jax.core.errors import ConfigError, DataError
from electra_jax.sweep import __main__ as command
from electra_jax.sweep import job

STAGES = [{'mfu': 3e12, 'paper': 4e12}, {'mfu': 1e12, 'paper': 2e12}]


def trained(folder, last=10, **changes):
    """The records of a run of ten steps of 4 x 16 tokens in two stages, started twice."""
    config = {
        'total_steps': 10, 'batch_size': 4, 'minutes': 2.0, 'data': {'row_length': 16},
        'objective': {'name': 'two_stage', 'generator_steps': 8}, 'eval': {'rows': 512},
    }  # fmt: skip
    about = {
        'config': config,
        'command': ['main.py', '--config=configs/own.py', '--config.minutes=2', '--workdir=runs/x'],
        'packages': {'electra_jax': '0.2.0', 'jax': '0.10.2'},
        'python': '3.11.7',
        'revision': 'abc',
        'devices': '1 x cpu',
        'parameters': {'encoder': 7},
        'flops_per_token': {'mfu': 2e12, 'paper': 3e12},
        'flops_of_stages': STAGES,
        'corpora': [{
            'path': str(folder / 'gone'), 'source': 'text:x', 'fingerprint': 'f',
            'held_out_fingerprint': 'h', 'tokenizer_hash': 't', 'text_bytes': 9, 'train_rows': 8,
            'train_tokens': 7, 'held_out_rows': 6,
        }],
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / 'config.json').write_text(json.dumps({**about, **changes}))
    found = {5: (6.0, 0.5, 40.0), 8: (5.0, 0.6, 75.0), 10: (4.0, 0.8, 90.0)}
    lines = [{'step': 4, 'train/loss': 9.0, 'speed/elapsed': 30.0}]
    for step, (loss, auc, elapsed) in found.items():
        if step <= last:
            held_out = {'eval/mlm_loss': loss, 'eval/disc_auc': auc, 'eval/fake_rate': 0.1}
            lines.append({'step': step, **held_out, 'speed/elapsed': elapsed})
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    (folder / 'metrics.jsonl').write_text(text + '{"step": 11, "eval/ml')  # torn by a crash
    starts = [
        {'first': 0, 'last': 6, 'seconds': 60.0, 'training': 40.0, 'timed': 50.0},
        {'first': 6, 'last': last, 'seconds': 35.0, 'training': 20.0, 'timed': 30.0},
    ]
    (folder / 'goodput.json').write_text(json.dumps({'starts': starts}))
    return folder


def tuned(folder, task, scores, step=10):
    path = folder / 'finetune' / f'name={task}'
    path.mkdir(parents=True)
    command = [
        'main.py', '--config=configs/finetune/task.py', f'--config.task.name={task}',
        f'--config.init_from={folder}', '--config.task.epochs=2', '--config.trials=3',
    ]  # fmt: skip
    about = {'config': {'task': {'name': task}}, 'command': command}
    (path / 'config.json').write_text(json.dumps(about))
    starts = [{'first': 0, 'last': 3, 'seconds': 20.0, 'training': 10.0}]
    (path / 'goodput.json').write_text(json.dumps({'starts': starts}))
    middle = sorted(scores)[len(scores) // 2]
    about = {'metric': 'dev/matthews', 'median': middle, 'mean': 0.2, 'standard_deviation': 0.1}
    trials = [{'seed': i, 'metrics': {'dev/matthews': one}} for i, one in enumerate(scores)]
    content = {
        'task': task, 'headline': about, 'trials': trials, 'rows': {'dev': 9},
        'trivial': {'metrics': {'dev/matthews': 0.0}},
        'init_from': str(folder / 'checkpoints' / str(step)),
    }  # fmt: skip
    (path / 'results.json').write_text(json.dumps(content))
    return path


def record(folder, *words):
    """The exit status, and the record."""
    status = job.run(command.parse([f'--speedrun={folder}', *words]))
    return status, json.loads((folder / 'speedrun.json').read_text())


def test_the_record_is_made_of_the_saved_records(tmp_path, capsys):
    folder = trained(tmp_path / 'run')
    tuned(folder, 'cola', [0.1, 0.3, 0.2])
    tuned(folder, 'rte', [0.5])
    status, found = record(folder, '--target=eval/mlm_loss=5.5')
    assert status == 0
    assert found['minutes'] == {'budget': 2.0, 'used': pytest.approx(80 / 60), 'starts': 2}
    assert (found['recipe'], found['settings']) == ('configs/own.py', {'minutes': '2'})
    assert (found['steps'], found['tokens'], found['fine_tuning_seconds']) == (10, 640, 40.0)
    # 64 tokens a step: eight steps of the first stage and two of the second.
    assert found['petaflop'] == pytest.approx(64 * (8 * 3 + 2 * 1) / 1000)
    assert found['petaflop_paper'] == pytest.approx(64 * (8 * 4 + 2 * 2) / 1000)
    assert found['program'] == {
        'electra_jax': '0.2.0', 'jax': '0.10.2', 'python': '3.11.7', 'revision': 'abc',
    }  # fmt: skip
    early, late, last = found['curve']
    # Of each start the seconds before its text was there do not count: ten, then five.
    assert [point['seconds'] for point in found['curve']] == [30.0, 60.0, 75.0]
    assert early['petaflop'] == pytest.approx(64 * 5 * 3 / 1000) and early['tokens'] == 320
    assert last['petaflop'] == found['petaflop'] and last['eval/disc_auc'] == 0.8
    assert found['target'] == {
        'metric': 'eval/mlm_loss', 'value': 5.5, 'reached': True, 'step': 8, 'with': 5.0,
        **{name: late[name] for name in ('seconds', 'tokens', 'petaflop', 'petaflop_paper')},
    }  # fmt: skip
    cola = found['tasks']['cola']
    assert cola == {
        'metric': 'dev/matthews', 'median': 0.2, 'mean': 0.2, 'standard_deviation': 0.1,
        'one_answer': 0.0, 'seeds': {'0': 0.1, '1': 0.3, '2': 0.2}, 'rows': {'dev': 9},
        'recipe': 'configs/finetune/task.py', 'settings': {'task.epochs': '2'},
    }  # fmt: skip
    assert found['eval_rows'] == 512
    assert found['missing'] == ['text 1 build_seconds']
    text = (folder / 'speedrun.md').read_text()
    assert '# 2 minutes on 1 x cpu' in text and text in capsys.readouterr().out
    assert '| cola | dev/matthews | 20.00 | 20.00 | 10.00 | 0.00 | 10.00 | 30.00 | 20.00 |' in text
    assert '| rte | dev/matthews | 50.00 |' in text and '| 50.00 | missing | missing |' in text
    assert '- missing: text 1 build_seconds' in text
    assert '| eval_rows | 512 |' in text and '| cola rows dev | 9 |' in text
    assert '| cola settings task.epochs | 2 |' in text


@pytest.mark.parametrize(
    ('target', 'step'),
    [('eval/disc_auc=0.6', 8), ('eval/disc_auc=0.81', None), ('eval/mlm_loss=3.9', None)],
)
def test_a_target_is_reached_by_what_is_at_least_as_good(tmp_path, target, step):
    found = record(trained(tmp_path), f'--target={target}')[1]['target']
    assert (found['reached'], found.get('step')) == (step is not None, step)


def test_what_is_not_known_is_named_and_never_made_up(tmp_path):
    folder = trained(
        tmp_path, last=5, revision=None, flops_of_stages=None, corpora=None, packages={}
    )
    tuned(folder, 'cola', [0.1], step=5)
    tuned(folder, 'rte', [0.1], step=4)  # from a checkpoint that is not the newest
    (tuned(folder, 'sst2', [0.1]) / 'results.json').unlink()
    (folder / 'finetune/name=cola/config.json').write_text('{"config": {"task": {"name": "cola"}}}')
    (folder / 'goodput.json').write_text('{"sta')
    status, found = record(folder)
    assert status == job.STOPPED
    assert found['petaflop'] is found['curve'][0]['petaflop'] is found['minutes']['used'] is None
    assert list(found['tasks']) == ['cola'] and 'target' not in found
    assert [line.partition(':')[0] for line in found['missing']] == [
        'the end of pre-training', 'rte', 'sst2', 'minutes used', 'petaflop', 'petaflop_paper',
        'text', 'program electra_jax', 'program jax', 'program revision', 'cola recipe',
    ]  # fmt: skip
    assert 'from step 4, and the run has 5: delete' in found['missing'][1]
    (folder / 'metrics.jsonl').write_text('{"step": 3, "train/loss": 9.0}\n')
    found = record(folder, '--target=eval/mlm_loss=5')[1]
    assert found['curve'] == [] and found['target']['reached'] is False
    assert 'curve: nothing was evaluated on held-out text' in found['missing']
    text = (folder / 'speedrun.md').read_text()
    assert '| steps | 3 |' in text and '| step |' not in text and '| task |' not in text


def test_one_kind_of_step_costs_what_a_step_costs_on_average(tmp_path):
    config = {'total_steps': 10, 'batch_size': 4, 'data': {'row_length': 16}}
    found = record(trained(tmp_path, config=config, flops_of_stages=None))[1]
    assert found['petaflop'] == pytest.approx(64 * 10 * 2 / 1000)
    assert 'minutes budget' in found['missing']


@pytest.mark.parametrize(
    ('file', 'content', 'message'),
    [
        ('config.json', '{"config": {"tot', 'config.json in .* is missing or damaged'),
        ('config.json', '{"config": {"total_steps": "ten"}}', 'holds something else than runs'),
        ('config.json', '{"config": {"total_steps": 5}}', 'holds something else than runs write'),
        ('finetune/name=cola/results.json', '{"headl', 'results.json is damaged: delete .*=cola'),
        ('finetune/name=cola/results.json', '{"headline": {}}', 'holds something else'),
    ],
)
def test_a_damaged_record_is_a_sentence(tmp_path, file, content, message):
    tuned(trained(tmp_path), 'cola', [0.1])
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match=message):
        record(tmp_path)
    assert not (tmp_path / 'speedrun.json').exists()


@pytest.mark.parametrize(
    'text', ['eval/mlm_loss', 'eval/mlm_loss=low', 'eval/mlm_loss=nan', 'train/loss=2',
             'eval/fake_rate=0.1', 'mlm_loss=4']
)  # fmt: skip
def test_a_target_that_no_run_can_reach_is_refused_before_any_is_trained(tmp_path, text):
    with pytest.raises(ConfigError, match=r'--target is .*such as eval/mlm_loss=4\.5'):
        record(tmp_path / 'none', f'--target={text}', '--dry-run')


def test_folders_and_words_that_have_no_record_are_refused(tmp_path):
    assert job.run(command.parse([f'--speedrun={tmp_path}/none', '--dry-run'])) == 0
    with pytest.raises(DataError, match='is not the workdir of a run'):
        record(tmp_path / 'none')
    trained(tmp_path / 'run')
    with pytest.raises(DataError, match='is a folder of runs, allowed: the workdir of one'):
        record(tmp_path)
    with pytest.raises(ConfigError, match="--target is 'eval/restored_accuracy', allowed: eval/"):
        record(tmp_path / 'run', '--target=eval/restored_accuracy=0.5')
    with pytest.raises(ConfigError, match='--target is of --speedrun=FOLDER alone'):
        job.run(command.parse(['--compare', str(tmp_path), '--target=eval/mlm_loss=4']))
