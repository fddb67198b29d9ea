"""Fine-tuning from files to answers, for every kind of task, on eight devices."""

import dataclasses
import json
import shutil
import types

import jax
import numpy as np
import pytest
from etils import epath

from electra_jax.core import metric_table
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import CheckpointError, ConfigError, DataError
from electra_jax.finetune import answers, job, predict, report, results
from electra_jax.finetune.files import predict_input
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.run import open_run
from electra_jax.init_from import checked_start
from electra_jax.runtime import distributed
from electra_jax.train import clock as clocks
from electra_jax.train import parameters
from electra_jax.train import workdir as workdirs
from electra_jax.train.clock import Clock
from tests.support import fakes, task_files
from tests.support.configs import merged, settings_of, tiny_config

# Metric by which a model that has learnt its small task stands out, and what chance would give.
LEARNT = {
    'text': ('dev/accuracy', 0.9),
    'text_multi_label': ('dev/micro_f1', 0.8),
    'text_regression': ('dev/pearson', 0.9),
    'tagging': ('dev/f1', 0.9),
    'spans': ('dev/exact_match', 0.5),
    'seq2seq': ('dev/exact_match', 0.7),
    'retrieval': ('dev/recall_at_1', 0.7),
    'extractive': ('dev/rouge1', 0.9),
}


# Columns, or endings of parallel files, that are not as usual.
COLUMNS = {
    'text_regression': {'text_a': 'text_a', 'text_b': 'text_b'},
    'seq2seq': {'source': 'en', 'target': 'xx'},
}


def config_of(folder, name, **changes):
    base = {
        'job': 'finetune',
        'batch_size': 8,
        'model': {
            'size': 'tiny', 'num_layers': 1, 'hidden_size': 32, 'num_heads': 2,
            'embedding_size': 32, 'max_positions': 64, 'init_stddev': 0.2,
        },
        'data': {
            'path': str(folder),
            'row_length': 40,
            'tokenizer': {'path': str(folder / 'vocab.txt')},
        },
        'optimizer': {'learning_rate': 1e-2, 'bias_correction': True},
        'task': {
            'name': name, 'epochs': 6.0, 'beams': 4,
            'question_length': 8, 'stride': 16, 'head_dropout': 0.0,
            'decoder': {'target_length': 8}, 'decoding': {'beams': 2},
        },
        'log': {'every_steps': 10, 'trackers': ''},
    }  # fmt: skip
    base['task']['columns'] = COLUMNS.get(name, {})
    return settings_of(merged(base, changes))


def prepared(tmp_path, name):
    folder = tmp_path / 'files'
    folder.mkdir(exist_ok=True)
    task_files.WRITERS[name](folder)
    task_files.write_vocab(folder / 'vocab.txt')
    return folder


def train(config, workdir):
    run = open_run(config, epath.Path(workdir))
    job.workdir.describe(epath.Path(workdir), run.config, {})
    clock = Clock()
    trials, stopped_by = job.run_trials(run, clock)
    for name in (clocks.COMPILING, clocks.TRAINING, clocks.EVALUATING, clocks.SAVING):
        assert clock.seconds(name) > 0, name
    assert clock.step == config.trials * run.config.total_steps
    assert stopped_by is None
    return run, trials


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


SLOW = LEARNT.keys() - {'text'}


@pytest.fixture(
    scope='module',
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in LEARNT],
)
def finished(request, tmp_path_factory):
    """One trial of each kind of task."""
    tmp_path = tmp_path_factory.mktemp(request.param)
    folder = prepared(tmp_path, request.param)
    run, trials = train(config_of(folder, request.param), tmp_path / 'run')
    return request.param, folder, tmp_path / 'run', run, trials


def test_every_kind_of_task_is_learnt_and_leaves_its_files(finished):
    name, _, workdir, run, trials = finished
    metric, least = LEARNT[name]
    assert trials[0].metrics[metric] >= least
    written = lines(workdir / 'metrics.jsonl')
    unexplained = [one for one in set().union(*written) if metric_table.key_of(one) is None]
    assert unexplained == ['step']
    short = f'finetune/{name}/{metric.split("/")[1]}'
    assert [line[short] for line in written if short in line][-1] == pytest.approx(
        trials[0].metrics[metric]
    )
    assert written[-1][f'{short}_median'] == pytest.approx(trials[0].metrics[metric])
    found = json.loads((workdir / 'results.json').read_text())
    assert found['headline']['metric'] == run.task.headline and (workdir / 'results.md').exists()
    predicted = lines(workdir / 'trials' / '0' / 'predictions' / 'dev.jsonl')
    assert len(predicted) == 16
    history = json.loads((workdir / 'trials' / '0' / 'result.json').read_text())['history']
    # Written texts are scored on a sample after each epoch, and all of them at the end.
    *epochs, _ = history if name == 'seq2seq' else [*history, None]
    assert all(('dev_sample/bleu' in one) == (name == 'seq2seq') for one in epochs)
    assert len(epochs) == 6 and metric in history[-1]
    head = set() if name == 'retrieval' else {'task_head'}
    kept = set(parameters.read_params(epath.Path(workdir / 'trials' / '0'))[0])
    assert kept == {'embeddings', 'discriminator', *head}


def open_again(workdir):
    where = predict.best_folder(epath.Path(workdir))
    config = settings_of({'job': 'evaluate', 'batch_size': 8})
    start = checked_start(config, str(where), *parameters.read_params(where))
    return predict.open_predictor(start, config)


def test_the_folder_alone_answers_as_the_trial_did(finished):
    name, folder, workdir, _, trials = finished
    model = open_again(workdir)
    split = {'text': 'dev.csv', 'text_multi_label': 'dev.jsonl', 'text_regression': 'dev.tsv'}
    split |= {'tagging': 'dev.txt', 'seq2seq': 'dev.en', 'retrieval': 'dev.jsonl'}
    split |= {'extractive': 'dev.jsonl'}
    path = folder / split.get(name, 'dev.json')
    bad = Complaints('data.on_bad_row', 'skip')
    form = 'conll' if name == 'tagging' else predict_input.format_of(path)
    examples = predict_input.read(model.task, path, form, Columns(), bad)
    kind, found = KINDS[model.task.kind], model.answer(examples, bad)
    again = list(kind.to_json(found))
    before = lines(workdir / 'trials' / '0' / 'predictions' / 'dev.jsonl')
    key = 'predictions' if name == 'tagging' else 'prediction'
    assert len(again) == 16 and not bad.counts
    for mine, theirs in zip(again, before, strict=True):
        if name == 'text_regression':
            assert mine[key] == pytest.approx(theirs[key], abs=1e-3)
        else:
            assert mine[key] == theirs[key]
    # Rows with labels are scored as the trial was.
    labelled = predict_input.labelled(model.task, path, form, Columns())
    assert len(labelled) == (0 if form == 'lines' else 16)
    if labelled and not kind.together:
        pairs = [
            (labelled[predict_input.key_of(one)], x)
            for one, x in zip(examples, found.values, strict=True)
        ]
        wanted = results.scores_line(trials[0].metrics)
        assert model.scores({'dev': pairs})[0] == f'16 rows with labels: {wanted}'


def test_evaluating_again_gives_the_same_scores(finished):
    name, folder, workdir, _, trials = finished
    changes = {
        'job': 'evaluate', 'batch_size': 8, 'data': {'path': str(folder)},
        'task': {'name': name, 'columns': COLUMNS.get(name, {})},
    }  # fmt: skip
    config = settings_of(changes)
    (again,) = job.evaluate(config, epath.Path(workdir))
    before, after = (
        json.loads((workdir / place / 'results.json').read_text()) for place in ('', 'evaluation')
    )
    assert before['headline']['metric'] == after['headline']['metric']
    assert before['trivial'] == after['trivial']
    assert after['headline']['median'] == pytest.approx(before['headline']['median'], abs=1e-6)
    assert dict(again.metrics) == pytest.approx(dict(trials[0].metrics), abs=1e-6)
    assert (workdir / 'evaluation' / '0' / 'dev.jsonl').exists()


# ---------------------------------------------------------------------------------------------
# Trials: several, cut off, of a checkpoint


@pytest.fixture(scope='module')
def three(tmp_path_factory):
    """Three trials that nothing disturbed; the program has compiled what it needs."""
    tmp_path = tmp_path_factory.mktemp('three')
    folder = prepared(tmp_path, 'text')
    run, trials = train(config_of(folder, 'text', trials=3), tmp_path / 'run')
    return folder, tmp_path / 'run', run, trials


def test_all_trials_share_one_compilation_a_shape_and_differ(three):
    _, workdir, run, trials = three
    assert run.program.step._cache_size() == len(run.train.sizes) == 1
    assert run.program.answerer.answers._cache_size() == 1
    assert [one.seed for one in trials] == [0, 1, 2]
    heads = [
        parameters.read_params(epath.Path(workdir / 'trials' / k))[0]['task_head'] for k in '012'
    ]
    assert (heads[0]['output']['kernel'] != heads[1]['output']['kernel']).any()
    about = json.loads(json.dumps(job._facts(run)))
    assert about['examples']['train'] == len(run.train.loaded.examples)
    assert about['labels'] == list(run.task.labels) and about['parameters']['task_head']
    written = lines(workdir / 'metrics.jsonl')
    steps = [line['step'] for line in written]
    assert steps == sorted(steps) and steps[-1] == 3 * run.config.total_steps
    assert {f'finetune/text/accuracy_{part}' for part in ('mean', 'standard_deviation')} <= set(
        written[-1]
    )


def test_all_trials_are_scored_again_by_one_program(three, monkeypatch):
    folder, workdir, _, trials = three
    made = []

    def counted(*arguments):
        made.append(task_answerer(*arguments))
        return made[-1]

    task_answerer = answers.task_answerer
    monkeypatch.setattr(answers, 'task_answerer', counted)
    config = dataclasses.replace(config_of(folder, 'text'), job='evaluate')
    found = job.evaluate(config, epath.Path(workdir))
    assert [one.seed for one in found] == [0, 1, 2]
    assert [dict(o.metrics) for o in found] == [dict(o.metrics) for o in trials]
    assert len(made) == 1 and made[0].answers._cache_size() == 1


def test_trivial_answers_are_those_of_training_where_its_file_is(three, tmp_path, capsys):
    folder, workdir, _, _ = three
    train = (folder / 'train.csv').read_text()
    rare, usual = sorted(('good', 'bad'), key=lambda label: train.count(f',{label}'))
    other = tmp_path / 'other.csv'
    other.write_text(f'text,label\na film,{rare}\nthe film,{rare}\nit was,{usual}\n')
    for path, best, noted in ((folder, usual, False), (tmp_path, rare, True)):
        task = {'dev_file': str(other)}
        config = config_of(folder, 'text', trials=3, task=task)
        before = open_run(config, epath.Path(tmp_path / 'new')).trivial._asdict()
        data = dataclasses.replace(config.data, path=str(path))
        job.evaluate(dataclasses.replace(config, job='evaluate', data=data), epath.Path(workdir))
        after = json.loads((workdir / 'evaluation' / 'results.json').read_text())['trivial']
        assert after['answers'] == {'dev': f'{best!r} for every row'}
        assert (after == before) != noted
        assert ('note: without the training file' in capsys.readouterr().out) == noted


@pytest.mark.parametrize(
    ('task', 'error', 'message'),
    [
        ({'name': 'tagging'}, ConfigError, r"config.task.name is 'tagging', but .*'text'"),
        (
            {'dev_share': 0.5},
            ConfigError,
            r'config.task.dev_share is 0.5.*rows that it was trained',
        ),
        (
            {'dev_file': 'deb.csv'},
            DataError,
            r"config.task.dev_file is 'deb.csv', but there is no .*deb.csv; did you mean 'dev",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused_before_a_device_is_touched(
    three, monkeypatch, task, error, message
):
    folder, workdir, _, _ = three
    monkeypatch.setattr(
        predict, 'open_predictor', lambda *arguments: pytest.fail('touched a device')
    )
    config = dataclasses.replace(config_of(folder, 'text', task=task), job='evaluate')
    with pytest.raises(error, match=message):
        job.evaluate(config, epath.Path(workdir))


def test_an_evaluation_answers_in_the_way_that_it_is_asked_for(three, monkeypatch):
    folder, workdir, _, _ = three
    ways = []

    def opened(start, settings, task):
        ways.append(task.decoding)
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, 'open_predictor', opened)
    task = {'decoding': {'method': 'greedy'}}
    config = dataclasses.replace(config_of(folder, 'text', task=task), job='evaluate')
    with pytest.raises(KeyboardInterrupt):
        job.evaluate(config, epath.Path(workdir))
    assert (ways[0].method, ways[0].beams) == ('greedy', 2), 'what is not typed is as in training'


def test_a_step_that_waits_for_host_memory_is_an_error(three, tmp_path):
    # Without dropout a step does not use its seed, and JAX does not move it.
    task = {'head_dropout': 0.3, 'epochs': 0.2, 'save': 'none'}
    run = open_run(config_of(three[0], 'text', task=task), epath.Path(tmp_path))
    step = run.program.step

    def from_host(state, batch, seed, lengths):
        return step(state, batch, np.uint32(0), lengths)

    slow = run._replace(program=run.program._replace(step=from_host))
    with pytest.raises(jax.errors.JaxRuntimeError, match='Disallowed host-to-device transfer'):
        job.run_trials(slow, Clock())
    assert job.run_trials(run, Clock())[1] is None


@pytest.mark.slow
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(three, tmp_path):
    folder, workdir, _, trials = three
    config = config_of(folder, 'text', trials=3)
    run = open_run(config, epath.Path(tmp_path))
    job.workdir.describe(epath.Path(tmp_path), run.config, {})
    asked = []

    def stopping(*arguments):
        asked.append(1)
        if len(asked) == run.config.total_steps + 5:
            raise KeyboardInterrupt
        return run.program.step(*arguments)

    broken = run._replace(program=run.program._replace(step=stopping))
    with pytest.raises(KeyboardInterrupt):
        job.run_trials(broken, Clock())
    done = {child.name for child in (tmp_path / 'trials').iterdir()}
    assert done == {'0'}
    reopened = open_run(config, epath.Path(tmp_path))
    again, _ = job.run_trials(reopened, Clock())
    assert [t.metrics for t in again] == [dict(t.metrics) for t in trials]
    ours, theirs = (
        parameters.read_params(epath.Path(place / 'trials' / '1'))[0]
        for place in (tmp_path, workdir)
    )
    for name in ('kernel', 'bias'):
        np.testing.assert_array_equal(
            ours['task_head']['output'][name], theirs['task_head']['output'][name]
        )
    kept, expected = (
        [
            {name: value for name, value in line.items() if not name.startswith('speed/')}
            for line in lines(place / 'metrics.jsonl')
            if 'train/loss' in line
        ]
        for place in (tmp_path, workdir)
    )
    assert kept == expected


def test_other_rows_or_settings_are_another_run(three, tmp_path):
    folder, workdir, _, _ = three
    with pytest.raises(CheckpointError, match=r'config.optimizer.learning_rate: 0.01 there'):
        train(config_of(folder, 'text', trials=3, optimizer={'learning_rate': 0.5}), workdir)
    other = tmp_path / 'files'
    other.mkdir()
    task_files.write_text(other, (129, 16, 8))
    text = (other / 'train.csv').read_text().splitlines()
    (other / 'train.csv').write_text('\n'.join(text[:1] + text[2:]) + '\n')
    config = config_of(folder, 'text', trials=4, data={'path': str(other)})
    with pytest.raises(CheckpointError, match='was trained on other rows'):
        train(config, workdir)


def test_other_rows_to_score_are_another_run(three, tmp_path):
    """Else the median would be over trials that were scored on different files."""
    folder, workdir, _, _ = three
    text = (folder / 'dev.csv').read_text().splitlines()
    changed = text[1].replace(',good', ',?').replace(',bad', ',good').replace(',?', ',bad')
    (tmp_path / 'other.csv').write_text('\n'.join([text[0], changed, *text[2:]]) + '\n')
    config = config_of(folder, 'text', trials=4, task={'dev_file': str(tmp_path / 'other.csv')})
    with pytest.raises(CheckpointError, match=r'scored on another dev split.*other.csv') as error:
        train(config, workdir)
    assert '--config.job=evaluate' in str(error.value)


def test_tests_asked_for_later_are_not_passed_over_in_silence(three, capsys):
    folder, workdir, _, _ = three
    config = config_of(folder, 'text', trials=3, task={'predict_test': True})
    run = open_run(config, epath.Path(workdir))
    assert set(run.trivial.answers) == {'dev', 'test'}
    job.run_trials(run, Clock())
    output = capsys.readouterr().out
    assert (
        'trial 3 of 3 is done already, without predictions of test: --config.job=evaluate' in output
    )
    job.evaluate(dataclasses.replace(config, job='evaluate'), epath.Path(workdir))
    assert len(lines(workdir / 'evaluation' / '2' / 'test.jsonl')) == 8


def test_another_process_stops_a_trial(three, tmp_path, monkeypatch, capsys):
    folder, _, _, _ = three
    run = open_run(config_of(folder, 'text', trials=3), epath.Path(tmp_path))
    steps = run.config.total_steps
    monkeypatch.setattr(distributed, 'told_to_stop', lambda step: step == steps + 3)
    first, second = Clock(), Clock()
    done, stopped_by = job.run_trials(run, first)
    assert stopped_by == 'SIGTERM' and len(done) == 1
    assert job.run_trials(run, second)[1] == 'SIGTERM'
    assert [clock.starts()[-1].first for clock in (first, second)] == [0, steps]
    job.fine_tune(run)
    assert 'are kept: 1; the one under way begins again' in capsys.readouterr().out


def test_the_best_of_several_trials_is_taken(tmp_path):
    def finished(number, accuracy):
        folder = tmp_path / 'trials' / str(number)
        (folder / 'checkpoints' / '5').mkdir(parents=True)
        result = {'metrics': {'dev/f1': 1.0 - accuracy, 'dev/accuracy': accuracy},
                  'headline': 'dev/accuracy'}  # fmt: skip
        (folder / 'result.json').write_text(json.dumps(result))
        return folder

    folders = [finished(number, accuracy) for number, accuracy in enumerate((0.5, 0.7, 0.6))]
    assert str(predict.best_folder(epath.Path(tmp_path))) == str(folders[1])
    (folders[0] / 'result.json').write_text('{"metrics": {}}')
    with pytest.raises(CheckpointError, match=r'0/result.json is damaged.*name one trial'):
        predict.best_folder(epath.Path(tmp_path))


def test_a_checkpoint_gives_model_tokenizer_and_parameters(three, tmp_path):
    folder, workdir, first, _ = three
    start = str(workdir / 'trials' / '2')
    changes = {
        'job': 'finetune', 'batch_size': 8, 'init_from': start,
        'model': {'dropout': 0.2},
        'data': {'path': str(folder), 'row_length': 40},
        'task': {'name': 'text', 'epochs': 0.1},
        'log': {'trackers': ''},
    }  # fmt: skip
    config = settings_of(changes)
    run = open_run(config, epath.Path(tmp_path))
    model = run.config.model
    assert (model.hidden_size, model.num_layers, model.dropout) == (32, 1, 0.2)
    assert model.init_stddev == first.config.model.init_stddev
    current = run.program.fresh_state(run.source, np.uint32(5))
    params, _ = parameters.read_params(epath.Path(start))
    np.testing.assert_array_equal(
        current.params['embeddings']['word'], params['embeddings']['word']
    )
    line = report.origin_line(run)
    assert 'fresh: task_head' in line and 'not used: task_head' in line
    assert (current.params['task_head']['output']['kernel'] != params['task_head']['output'][
        'kernel']).any()  # fmt: skip


def test_all_trials_start_from_the_checkpoint_of_the_first(three, tmp_path):
    folder, workdir, _, _ = three
    source, tuned = tmp_path / 'source', epath.Path(tmp_path / 'tuned')
    shutil.copytree(workdir / 'trials' / '2', source)
    changes = {
        'job': 'finetune', 'batch_size': 8, 'init_from': str(source),
        'data': {'path': str(folder), 'row_length': 40},
        'task': {'name': 'text', 'epochs': 0.1},
        'log': {'trackers': ''},
    }  # fmt: skip
    first = open_run(settings_of(changes), tuned)
    assert first.config.init_from == first.start.where == f'{source}/checkpoints/0'
    assert f'from {source}/checkpoints/0: ' in report.origin_line(first)
    workdirs.describe(tuned, first.config, {})
    (source / 'checkpoints' / '0').rename(source / 'checkpoints' / '5')
    with pytest.raises(CheckpointError, match=r'checkpoints/0, which is gone.*--config.init_from'):
        open_run(settings_of(changes), tuned)
    shutil.copytree(source / 'checkpoints' / '5', source / 'checkpoints' / '0')
    assert open_run(settings_of(changes), tuned).start.where == f'{source}/checkpoints/0'


def test_a_checkpoint_can_give_its_model_and_tokenizer_alone(three, tmp_path):
    folder, workdir, _, _ = three
    start = str(workdir / 'trials' / '2')
    changes = {
        'job': 'finetune', 'batch_size': 8, 'init_from': start, 'init_network': 'none',
        'data': {'path': str(folder), 'row_length': 40},
        'task': {'name': 'text', 'epochs': 0.1},
        'log': {'trackers': ''},
    }  # fmt: skip
    config = settings_of(changes)
    run = open_run(config, epath.Path(tmp_path))
    assert run.config.model.hidden_size == 32
    words = [
        run.program.fresh_state(run.source, np.uint32(seed)).params['embeddings']['word']
        for seed in (5, 6)
    ]
    theirs, _ = parameters.read_params(epath.Path(start))
    for word_VE in words:
        assert (word_VE != theirs['embeddings']['word']).any()
    assert (words[0] != words[1]).any()
    assert 'from scratch' in report.origin_line(run) and start in report.origin_line(run)


@pytest.mark.parametrize('network', ['both', 'none'])
def test_a_trial_records_what_its_checkpoint_was_trained_on(three, tmp_path, network):
    folder, workdir, _, _ = three
    params, about = parameters.read_params(epath.Path(workdir / 'trials' / '2'))
    theirs = dataclasses.asdict(tiny_config(batch_size=4, data={'row_length': 64}))
    theirs['model'] = about['config']['model']
    corpora = [{'path': '/texts/mine', 'fingerprint': 'f00d', 'weight': 1.0}]
    before = {'config': theirs, 'steps': 5, 'corpora': corpora, 'tokens_before': 7.0}
    parameters.write_params(
        epath.Path(tmp_path / 'before'),
        {name: params[name] for name in params if name != 'task_head'},
        {'tokenizer': about['tokenizer'], **before},
    )
    changes = {
        'init_from': str(tmp_path / 'before'), 'init_network': network,
        'data': {'tokenizer': {'path': None}}, 'task': {'epochs': 0.1},
    }  # fmt: skip
    train(config_of(folder, 'text', **changes), tmp_path / 'tuned')
    _, kept = parameters.read_params(epath.Path(tmp_path / 'tuned' / 'trials' / '0'))
    if network == 'none':
        assert (kept['tokens_before'], kept['started_from']) == (0.0, None)
    else:
        assert kept['started_from'] == {'name': f'{tmp_path}/before/checkpoints/0', **before}
        assert kept['tokens_before'] == 5 * 4 * 64 + 7


def test_what_is_left_unset_suits_the_checkpoint_and_is_printed(three, tmp_path):
    folder, workdir, _, _ = three
    changes = {
        'job': 'finetune', 'init_from': str(workdir / 'trials' / '2'),
        'data': {'path': str(folder)}, 'task': {'name': 'text', 'labels': 'good,bad'},
        'optimizer': {'layer_decay': 0.9},
    }  # fmt: skip
    run = open_run(settings_of(changes), epath.Path(tmp_path))
    config, rows = run.config, len(run.train.rows)
    assert (run.task.style, config.optimizer.learning_rate, config.batch_size) == ('mean', 5e-4, 32)
    assert config.optimizer.layer_decay == 0.9 and config.task.epochs == 10
    assert config.total_steps == 10 * -(-rows // 32)
    assert config.data.row_length == 64  # of the model; the task has 128
    text = '\n'.join(report.start_lines(run))
    assert 'task.head=mean optimizer.learning_rate=0.0005 ' in text
    assert 'task.epochs=10 (what suits' in text and 'layer_decay' not in text
    assert 'rows of 64 tokens, the longest of this model; the task has 128' in text
    assert 'transformers' not in text, 'it has no class for this block'
    assert 'warning: models that have read so little text' in text


def test_a_head_that_cannot_be_converted_is_noted_before_it_is_trained():
    def line(**model):
        params = {'task_head': {'output': {}}}
        program = types.SimpleNamespace(abstract_state=types.SimpleNamespace(params=params))
        run = types.SimpleNamespace(
            program=program,
            config=types.SimpleNamespace(model=fakes.model(**model)),
            task=types.SimpleNamespace(kind='classification', style='mean'),
        )
        return report._other_head_line(run)

    assert line(norm='pre') == ''
    assert 'the head mean: ' in line() and line().endswith('type --config.task.head=huggingface')


def test_a_trial_without_progress_ends_early_and_keeps_its_best_state(three, tmp_path, capsys):
    run = three[2]
    asked = dataclasses.replace(run.config.task, patience=1, keep='best', save='none')
    rare = dataclasses.replace(run.config.log, every_steps=1000)
    config = dataclasses.replace(run.config, task=asked, trials=1, log=rare)
    short = run._replace(folder=epath.Path(tmp_path), program=run.program._replace(config=config))
    (one,), _ = job.run_trials(short, Clock())
    content = json.loads((tmp_path / 'trials' / '0' / 'result.json').read_text())
    scores = [line['dev/accuracy'] for line in content['history']]
    assert len(scores) < 6 and scores[-1] <= scores[-2] == max(scores)
    assert one.metrics['dev/accuracy'] == max(scores)
    assert 'dev/accuracy has not become better for 1 epoch (config.task' in capsys.readouterr().out
    losses = [line['step'] for line in lines(tmp_path / 'metrics.jsonl') if 'train/loss' in line]
    assert losses == [content['history'][-1]['step']]


def test_the_states_after_the_last_epochs_are_averaged(three, tmp_path):
    run, states = three[2], []
    asked = dataclasses.replace(run.config.task, average_last=2)
    config = dataclasses.replace(run.config, task=asked, trials=1)

    def step(state, *inputs):
        state, metrics = run.program.step(state, *inputs)
        states.append(jax.device_get(state.params))
        return state, metrics

    recorded = run.program._replace(config=config, step=step)
    job.run_trials(run._replace(folder=epath.Path(tmp_path), program=recorded), Clock())
    params, _ = parameters.read_params(epath.Path(tmp_path / 'trials' / '0'))
    before, last = (states[end - 1] for end in run.epoch_ends[-2:])
    mean = jax.tree.map(lambda *some: np.mean(np.float64(some), axis=0), before, last)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6), params, mean)
    assert len(states) == run.epoch_ends[-1] and (params['task_head']['output']['kernel'] != last[
        'task_head']['output']['kernel']).any()  # fmt: skip
    content = json.loads((tmp_path / 'trials' / '0' / 'result.json').read_text())
    assert len(content['history']) == 7 and content['history'][-1]['step'] == len(states)
    assert content['history'][-1]['dev/accuracy'] == content['metrics']['dev/accuracy']


@pytest.mark.slow
def test_the_best_state_of_a_trial_can_be_kept(three, tmp_path):
    folder, _, _, _ = three
    config = config_of(
        folder, 'text', task={'keep': 'best', 'epochs': 4.0, 'save': 'best'}, trials=2
    )
    _, trials = train(config, tmp_path)
    for number, one in enumerate(trials):
        content = json.loads((tmp_path / 'trials' / str(number) / 'result.json').read_text())
        best = max(line['dev/accuracy'] for line in content['history'])
        assert one.metrics['dev/accuracy'] == best
        rows = lines(tmp_path / 'trials' / str(number) / 'predictions' / 'dev.jsonl')
        right = np.mean([row['label'] == row['prediction'] for row in rows])
        assert right == pytest.approx(best)
    kept = [k for k in '01' if (tmp_path / 'trials' / k / 'checkpoints').exists()]
    assert len(kept) == 1


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        ({'task': {'name': 'sst3'}}, ConfigError, "config.task.name is 'sst3'"),
        ({'task': {'name': 'regression'}}, ConfigError, '--config.task.name=text_regression'),
        ({'data': {'tokenizer': {'path': None}}}, ConfigError, r'config.init_from is not set'),
        ({'init_from': '/nowhere'}, CheckpointError, 'no checkpoint in /nowhere'),
        ({'data': {'path': None}}, ConfigError, r'config.data.path is not set'),
        ({'data': {'path': '/nowhere'}}, DataError, "config.data.path is '/nowhere'"),
        ({'data': {'row_length': 512}}, ConfigError, r'--config.model.max_positions=512'),
        ({'task': {'class_weights': '1,2,3'}}, ConfigError, r'the 2 classes.*: bad, good'),
        ({'batch_size': 9}, ConfigError, r'config.batch_size is 9'),
        ({'task': {'average_last': 7, 'epochs': 6.0}}, ConfigError, 'is 7, but there are 6 epochs'),
        ({'total_steps': 50}, ConfigError, r'config.total_steps is 50.*--config.task.epochs='),
        ({'stop_at': 5}, ConfigError, r'config.stop_at is 5'),
        ({'replay': 'step_3.npz'}, ConfigError, r"config.replay is 'step_3.npz'"),
        ({'optimizer': {'warmup_steps': 7}}, ConfigError, r'config.optimizer.warmup_steps is 7'),
        ({'task': {'columns': {'label': 'stars'}}}, DataError, "no column 'stars'"),
        ({'task': {'labels': 'good,,bad'}}, ConfigError, r'config.task.labels is'),
        ({'task': {'labels': 'good,poor'}}, DataError, r"train.csv:\d+: the label 'bad'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_training(three, tmp_path, changes, error, message):
    folder = three[0]
    base = config_of(folder, 'text')
    tree = {'job': 'finetune', 'batch_size': 8,
            'model': {'size': 'tiny', 'max_positions': 64},
            'data': {'path': str(folder), 'row_length': 40,
                     'tokenizer': {'path': base.data.tokenizer.path}},
            'task': {'name': 'text'}}  # fmt: skip
    with pytest.raises(error, match=message):
        open_run(settings_of(merged(tree, changes)), epath.Path(tmp_path))
