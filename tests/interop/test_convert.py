"""Conversion by the command: what is typed, what is shown, what is on disk."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from etils import epath

from electra_jax import convert
from electra_jax.config.settings import LEFT_TO_DEVICES
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.finetune import task as tasks
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.interop import check, files, names, projects
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.runtime import terminal
from electra_jax.train import parameters
from tests.support import fakes
from tests.support.loading import Known, task_of


@pytest.fixture(autouse=True)
def parsed():
    """absl's flags as if the command line had been read, and put back afterwards."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(['convert'])
    with flagsaver.flagsaver():
        yield


@pytest.fixture
def ours(tmp_path):
    params, model = fakes.params(fakes.model()), fakes.model()
    found = Checkpoint(params, model, fakes.tokenizer())
    fakes.write_ours(tmp_path / 'ours', found)
    return tmp_path / 'ours'


def run(source, target, **changes):
    with flagsaver.flagsaver(source=str(source), target=str(target), **changes):
        convert.main()


def test_ours_to_hugging_face_and_back(ours, tmp_path, capsys):
    run(f'ours:{ours}', f'huggingface:{tmp_path / "hf"}')
    shown = capsys.readouterr().out
    assert 'generator separate, shared embeddings' in shown
    assert 'ElectraForPreTraining' in shown and 'ElectraForMaskedLM' in shown
    assert f"ElectraForPreTraining.from_pretrained('{tmp_path / 'hf' / 'discriminator'}')" in shown
    run(f'huggingface:{tmp_path / "hf"}', f'ours:{tmp_path / "back"}')
    shown = capsys.readouterr().out
    assert f'--config.init_from={tmp_path / "back"}' in shown
    assert '--config.model.size=tiny --config.model.num_layers=4' in shown
    assert '--config.model.norm=post' in shown and 'generator_width' not in shown  # that of tiny
    before, about = parameters.read_params(epath.Path(ours))
    after, about_after = parameters.read_params(epath.Path(tmp_path / 'back'))
    fakes.assert_same(before, after)
    assert about['tokenizer'] == about_after['tokenizer']
    sizes = ('num_layers', 'hidden_size', 'embedding_size', 'generator_width', 'generator')
    old, new = (one['config']['model'] for one in (about, about_after))
    assert {s: old[s] for s in sizes} == {s: new[s] for s in sizes}
    assert about_after['converted_from'] == f'huggingface:{tmp_path / "hf"}'
    assert (tmp_path / 'back' / 'tokenizer' / 'vocab.txt').is_file()
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith('.')]


def test_ours_to_google_and_back(ours, tmp_path, capsys):
    pytest.importorskip('tensorflow', reason='needs the tf extra')
    run(f'ours:{ours}', f'google:{tmp_path / "google"}')
    assert 'electra/embeddings/' in capsys.readouterr().out
    run(f'google:{tmp_path / "google"}', f'huggingface:{tmp_path / "hf"}')
    shown = capsys.readouterr().out
    assert 'lower-cas' not in shown and 'missing' not in shown  # tokenizer_config.json records it
    loaded = projects.read_huggingface(tmp_path / 'hf')
    fakes.assert_same(parameters.read_params(epath.Path(ours))[0], loaded.params)


def test_missing_parts_are_reported(ours, tmp_path, capsys):
    run(f'ours:{ours}', f'huggingface:{tmp_path / "hf"}')
    run(f'huggingface:{tmp_path / "hf" / "discriminator"}', f'ours:{tmp_path / "one"}')
    assert 'missing there: generator, generator_head' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('source', 'target', 'shown'),
    [
        ('', 'ours:x', "--source is '', allowed: KIND:PATH"),
        ('google', 'ours:x', "--source is 'google', allowed: KIND:PATH"),
        ('gogle:x', 'ours:y', "did you mean 'google'"),
    ],
)
def test_source_and_target_that_make_no_sense_are_refused(source, target, shown):
    with pytest.raises(ConfigError, match=shown):
        run(source, target)


def test_no_other_file_is_overwritten(ours, tmp_path):
    target = tmp_path / 'hf'
    run(f'ours:{ours}', f'huggingface:{target}')
    before = {p: p.read_bytes() for p in target.rglob('*') if p.is_file()}
    with pytest.raises(CheckpointError, match='is not empty'):
        run(f'ours:{ours}', f'huggingface:{target}')
    for taken in (ours, ours / 'checkpoints' / '99'):  # a run would take it for its own
        with pytest.raises(CheckpointError, match='is inside --source'):
            run(f'ours:{ours}', f'huggingface:{taken}')
        assert taken == ours or not taken.exists()
    assert {p: p.read_bytes() for p in target.rglob('*') if p.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ['hf', 'ours']


def test_a_full_disk_leaves_nothing_half_written(ours, tmp_path, monkeypatch):
    def fail(folder, network, dtype):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(files, 'write_network', fail)
    with pytest.raises(OSError, match='No space'):
        run(f'ours:{ours}', f'huggingface:{tmp_path / "hf"}')
    assert [p.name for p in tmp_path.iterdir()] == ['ours']


def test_a_refused_conversion_leaves_the_target_alone(ours, tmp_path):
    params, about = parameters.read_params(epath.Path(ours))
    params['discriminator']['norm'] = {'scale': np.ones(128, np.float32)}
    parameters.write_params(epath.Path(tmp_path / 'pre'), params, about)
    target = tmp_path / 'hf'
    target.mkdir()
    before = sorted(p.name for p in tmp_path.rglob('*'))
    with pytest.raises(CheckpointError, match='discriminator has norm/scale'):
        run(f'ours:{tmp_path / "pre"}', f'huggingface:{target}')
    assert sorted(p.name for p in tmp_path.rglob('*')) == before


def test_a_source_without_a_vocabulary_is_refused(ours, tmp_path):
    target = tmp_path / 'hf'
    run(f'ours:{ours}', f'huggingface:{target}')
    for name in ('vocab.txt', 'tokenizer.json'):
        (target / 'discriminator' / name).unlink()
    with pytest.raises(CheckpointError, match=r'without a vocabulary.*vocab.txt'):
        run(f'huggingface:{target / "discriminator"}', f'ours:{tmp_path / "x"}')


def test_what_a_folder_records_itself_cannot_be_typed(ours, tmp_path):
    with pytest.raises(ConfigError, match='--vocab: checkpoints of kind ours'):
        run(f'ours:{ours}', f'huggingface:{tmp_path / "hf"}', vocab='vocab.txt')


def test_a_checkpoint_of_another_version_is_refused(ours, tmp_path):
    params, about = parameters.read_params(epath.Path(ours))
    about['config']['model']['flux'] = 1
    parameters.write_params(epath.Path(tmp_path / 'other'), params, about)
    with pytest.raises(CheckpointError, match=r"'flux'.*newer version"):
        run(f'ours:{tmp_path / "other"}', f'huggingface:{tmp_path / "x"}')


def tuned(ours, folder, task, style, labels, layers, name=None, **settings):
    """Writes a fine-tuned checkpoint of ours: the encoder, a head and its task."""
    params, about = parameters.read_params(epath.Path(ours))
    random = np.random.default_rng(0)
    head = {
        name: {
            'kernel': random.standard_normal((128, width), np.float32),
            'bias': random.standard_normal(width, np.float32),
        }
        for name, width in layers
    }
    keep = ('embeddings', 'discriminator')
    params = {**{name: params[name] for name in keep}, 'task_head': head}
    scores = (0.0, 5.0) if task == 'regression' else None
    scheme = 'bio' if task == 'tagging' else None
    name, known = name or KINDS[task].own_task, Known(labels, scheme, scores)
    about['task'] = tasks.to_json(task_of(name, known, head=style, **settings))
    parameters.write_params(epath.Path(folder), params, about)
    return params


@pytest.mark.parametrize(
    ('task', 'labels', 'layers', 'shown'),
    [
        ('classification', ('bad', 'good', 'so so'), (('dense', 128), ('output', 3)), 'wrote'),
        ('multi_label', ('rude', 'loud'), (('dense', 128), ('output', 2)), 'wrote'),
        ('regression', (), (('dense', 128), ('output', 1)), 'scaled from 0..5 to 0..1'),
        ('tagging', ('O', 'B-PER', 'I-PER'), (('output', 3),), 'wrote'),
        ('spans', (), (('output', 2),), 'wrote'),
    ],
)
def test_a_fine_tuned_model_keeps_its_task_and_labels(
    ours, tmp_path, capsys, task, labels, layers, shown
):
    params = tuned(ours, tmp_path / 'tuned', task, 'huggingface', labels, layers)
    run(f'ours:{tmp_path / "tuned"}', f'huggingface:{tmp_path / "hf"}')
    assert shown in capsys.readouterr().out
    config = json.loads((tmp_path / 'hf' / 'config.json').read_text())
    assert config['architectures'] == [names.TASK_HEADS[task][0]]
    if labels:
        assert config['label2id'] == {label: i for i, label in enumerate(labels)}
    run(f'huggingface:{tmp_path / "hf"}', f'ours:{tmp_path / "back"}')
    assert f'predict --checkpoint={tmp_path / "back"}' in capsys.readouterr().out
    back, about = parameters.read_params(epath.Path(tmp_path / 'back'))
    fakes.assert_same(back, params)
    described = tasks.from_json(about['task'], 'here')
    assert (described.kind, described.labels, described.style) == (task, labels, 'huggingface')
    assert described.scheme == ('bio' if task == 'tagging' else None)
    assert described.row_length == 40  # all the positions that there are
    assert described.score_range == ((0.0, 5.0) if task == 'regression' else None)


def converted_back(ours, tmp_path, edit, **settings):
    """The task of a SQuAD 2.0 model that went through a Hugging Face folder, edited there."""
    tuned(ours, tmp_path / 'tuned', 'spans', 'huggingface', (), (('output', 2),), **settings)
    run(f'ours:{tmp_path / "tuned"}', f'huggingface:{tmp_path / "hf"}')
    path = tmp_path / 'hf' / 'config.json'
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config))
    run(f'huggingface:{tmp_path / "hf"}', f'ours:{tmp_path / "back"}')
    about = parameters.read_params(epath.Path(tmp_path / 'back'))[1]
    return tasks.from_json(about['task'], 'here')


SQUAD = {'name': 'squad2', 'null_threshold': 0.5, 'answer_length': 7, 'stride': 9, 'n_best': 3}


def test_how_questions_without_answers_are_treated_is_kept(ours, tmp_path, capsys):
    task = converted_back(ours, tmp_path, lambda config: None, **SQUAD)
    assert task == dataclasses.replace(task_of('squad2', head='huggingface', **{
        name: value for name, value in SQUAD.items() if name != 'name'
    }), row_length=40)  # fmt: skip
    assert task.unanswerable and task.null_threshold == 0.5 and not task.any_pairs


@pytest.mark.parametrize(
    ('edit', 'note'),
    [
        (lambda c: c.pop('electra_jax'), 'not recorded whether questions may have no answer'),
        (lambda c: c['electra_jax']['task'].update(stride='x'), 'left out'),
        (lambda c: c['electra_jax']['task'].update(kind='tagging'), 'about another head'),
    ],
)
def test_a_task_that_is_not_recorded_is_reported(ours, tmp_path, capsys, edit, note):
    task = converted_back(ours, tmp_path, edit, **SQUAD)
    assert note in capsys.readouterr().out
    assert not task.unanswerable and task.any_pairs


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'problem_type': 'ranking'}, "problem_type is 'ranking', allowed: single_label_"),
        ({'problem_type': 'regression'}, 'has 3 outputs, allowed: 1'),
        ({'id2label': {'0': 'a', '1': 'b', '2': 'a'}}, "the name 'a' twice"),
        ({'hidden_act': 'relu'}, "hidden_act is 'relu'"),
        ({'position_embedding_type': 'relative_key'}, 'position_embedding_type'),
        ({'pruned_heads': {'0': [1]}}, "pruned_heads is {'0'"),
    ],
)
def test_heads_that_ours_are_not_are_refused_by_name(ours, tmp_path, changes, message):
    layers = (('dense', 128), ('output', 3))
    tuned(ours, tmp_path / 'tuned', 'classification', 'huggingface', ('a', 'b', 'c'), layers)
    run(f'ours:{tmp_path / "tuned"}', f'huggingface:{tmp_path / "hf"}')
    path = tmp_path / 'hf' / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=message):
        run(f'huggingface:{tmp_path / "hf"}', f'ours:{tmp_path / "back"}')


def test_names_of_outputs_that_were_changed_elsewhere_count(ours, tmp_path, capsys):
    layers = (('dense', 128), ('output', 2))
    tuned(ours, tmp_path / 'tuned', 'classification', 'huggingface', ('0', '1'), layers)
    run(f'ours:{tmp_path / "tuned"}', f'huggingface:{tmp_path / "hf"}')
    path = tmp_path / 'hf' / 'config.json'
    named = {'id2label': {'0': 'bad', '1': 'good'}, 'label2id': {'bad': 0, 'good': 1}}
    named['pooling'] = 'max'
    path.write_text(json.dumps(json.loads(path.read_text()) | named))
    run(f'huggingface:{tmp_path / "hf"}', f'ours:{tmp_path / "back"}')
    shown = capsys.readouterr().out
    assert 'names of id2label: bad, good' in shown and 'not followed: pooling' in shown
    about = parameters.read_params(epath.Path(tmp_path / 'back'))[1]
    assert list(about['task']['labels']) == ['bad', 'good']


def test_ours_to_ours_keeps_parameters_and_all_that_is_recorded(ours, tmp_path, capsys):
    layers = (('start', 1), ('end_dense', 512))
    params = tuned(ours, tmp_path / 'spans', 'spans', 'reference', (), layers)
    run(f'ours:{tmp_path / "spans"}', f'ours:{tmp_path / "slim"}')
    assert f'predict --checkpoint={tmp_path / "slim"}' in capsys.readouterr().out
    after, about = parameters.read_params(epath.Path(tmp_path / 'slim'))
    fakes.assert_same(after, params)
    assert about == parameters.read_params(epath.Path(tmp_path / 'spans'))[1]
    assert about['task']['style'] == 'reference'


def test_the_mean_of_the_last_checkpoints_is_converted(ours, tmp_path, capsys):
    folder = epath.Path(ours)
    params, about = parameters.read_params(folder)
    every = []
    for step in range(3):
        random = np.random.default_rng(step)
        every.append(jax.tree.map(lambda x, r=random: x + r.normal(size=x.shape), params))
        every[-1] = jax.tree.map(np.float32, every[-1])
        made = tmp_path / f'made{step}'
        parameters.write_params(epath.Path(made), every[-1], about)
        shutil.copytree(made / 'checkpoints' / '0', folder / 'checkpoints' / str(10 * step + 10))
    run(f'ours:{ours}', f'ours:{tmp_path / "mean"}', average_last=3)
    assert 'the mean of those after the steps 10, 20, 30' in capsys.readouterr().out
    after, recorded = parameters.read_params(epath.Path(tmp_path / 'mean'))
    assert recorded['averaged_steps'] == [10, 20, 30]
    mean = jax.tree.map(lambda *some: np.mean(np.float64(some), axis=0), *every)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6), after, mean)
    with pytest.raises(CheckpointError, match='has 4 checkpoints, and the mean of 5 is wanted'):
        run(f'ours:{ours}', f'ours:{tmp_path / "more"}', average_last=5)
    with pytest.raises(ConfigError, match=r'--average_last is 2.*kind huggingface have one step'):
        run(f'huggingface:{ours}', f'ours:{tmp_path / "more"}', average_last=2)
    with pytest.raises(ConfigError, match=r"--average_last is 2 and --revision is 'step-10'"):
        run(f'ours:{ours}', f'ours:{tmp_path / "more"}', average_last=2, revision='step-10')
    with pytest.raises(
        ConfigError, match=r'--running_average is True.*kind huggingface have .* no running'
    ):
        run(f'huggingface:{ours}', f'ours:{tmp_path / "more"}', running_average=True)
    with pytest.raises(ConfigError, match='--average_last is 2 and --running_average is True'):
        run(f'ours:{ours}', f'ours:{tmp_path / "more"}', average_last=2, running_average=True)
    with pytest.raises(CheckpointError, match=r'without config\.optimizer\.average_decay'):
        run(f'ours:{ours}', f'ours:{tmp_path / "more"}', running_average=True)


def test_checkpoints_that_are_kept_for_good_are_no_part_of_a_mean(ours, tmp_path):
    folder = epath.Path(ours)
    params, about = parameters.read_params(folder)
    about['config']['checkpoint']['keep'] = 2
    for step, words in ((10, 1e6), (20, 2e6), (30, None), (40, 3e6)):
        made = tmp_path / f'made{step}'
        recorded = about if words is None else {**about, parameters.KEPT: words}
        parameters.write_params(epath.Path(made), params, recorded)
        shutil.copytree(made / 'checkpoints' / '0', folder / 'checkpoints' / str(step))
    shutil.rmtree(folder / 'checkpoints' / '0')
    with pytest.raises(CheckpointError, match=r'has 2 checkpoints, without those .* mean of 3'):
        run(f'ours:{ours}', f'ours:{tmp_path / "more"}', average_last=3)
    run(f'ours:{ours}', f'ours:{tmp_path / "mean"}', average_last=2)
    recorded = parameters.read_params(epath.Path(tmp_path / 'mean'))[1]
    assert recorded['averaged_steps'] == [30, 40]
    # Nor is what is written one of them.
    assert parameters.KEPT not in recorded
    run(f'ours:{ours}', f'ours:{tmp_path / "one"}', revision='step-20')
    assert parameters.KEPT not in parameters.read_params(epath.Path(tmp_path / 'one'))[1]


def test_settings_that_suit_the_devices_are_not_passed_on(ours, tmp_path, capsys):
    run(f'ours:{ours}', f'ours:{tmp_path / "slim"}')
    shown = capsys.readouterr().out
    assert 'continue_small' in shown and '--config.model.max_positions=40' in shown
    assert not [name for name in LEFT_TO_DEVICES if name in shown]


def test_heads_of_the_reference_are_refused_or_explained(ours, tmp_path, capsys):
    layers = (('start', 1), ('end_dense', 512))
    tuned(ours, tmp_path / 'spans', 'spans', 'reference', (), layers)
    with pytest.raises(CheckpointError, match=r'config.task.head=huggingface'):
        run(f'ours:{tmp_path / "spans"}', f'huggingface:{tmp_path / "hf"}')
    tuned(ours, tmp_path / 'tags', 'tagging', 'reference', ('O', 'B-X'), (('output', 2),))
    run(f'ours:{tmp_path / "tags"}', f'huggingface:{tmp_path / "hf"}')
    assert 'pass token_type_ids of ones' in capsys.readouterr().out


def test_the_best_trial_of_a_fine_tuning_workdir_is_converted(ours, tmp_path, capsys):
    layers = (('output', 2),)
    folder = tmp_path / 'tuned' / 'trials' / '1'
    params = tuned(ours, folder, 'spans', 'huggingface', (), layers)
    run(f'ours:{tmp_path / "tuned"}', f'huggingface:{tmp_path / "hf"}')
    shown = capsys.readouterr().out
    assert f'this is its best trial, {folder}' in shown
    assert f"ElectraForQuestionAnswering.from_pretrained('{tmp_path / 'hf'}')" in shown
    loaded = projects.read_huggingface(tmp_path / 'hf')
    fakes.assert_same(loaded.params, params)


@pytest.mark.slow
def test_what_is_computed_is_compared_with_transformers(ours, tmp_path, capsys):
    pytest.importorskip('torch', reason='needs the parity extra')
    run(f'ours:{ours}', f'huggingface:{tmp_path / "hf"}', check=True)
    shown = capsys.readouterr().out
    for name in ('ElectraForPreTraining', 'ElectraForMaskedLM'):
        assert f'checked {name}: the largest difference to transformers is' in shown
    assert shown.count('the likeliest answers are the same') == 2


@pytest.mark.parametrize(
    ('task', 'labels', 'layers'),
    [
        ('multi_label', ('a', 'b'), (('dense', 128), ('output', 2))),
        pytest.param('regression', (), (('dense', 128), ('output', 1)), marks=pytest.mark.slow),
        pytest.param('tagging', ('O', 'B-X'), (('output', 2),), marks=pytest.mark.slow),
        pytest.param('spans', (), (('output', 2),), marks=pytest.mark.slow),
    ],
)
def test_heads_are_compared_and_a_difference_is_refused(
    ours, tmp_path, capsys, monkeypatch, task, labels, layers
):
    pytest.importorskip('torch', reason='needs the parity extra')
    tuned(ours, tmp_path / 'tuned', task, 'huggingface', labels, layers)
    kept: list[bool] = []
    monkeypatch.setattr(check.compiled, 'keep', lambda: kept.append(True))
    monkeypatch.setattr(terminal, 'LINE_SECONDS', 0.01)
    run(f'ours:{tmp_path / "tuned"}', f'huggingface:{tmp_path / "hf"}', check=True)
    assert kept == [True]
    shown = capsys.readouterr()
    assert f'checked {names.TASK_HEADS[task][0]}' in shown.out
    assert 'comparing with transformers: ' in shown.err
    right = check._outputs

    def wrong(*arguments):
        return {name: x + 0.1 * np.abs(x).max() for name, x in right(*arguments).items()}

    monkeypatch.setattr(check, '_outputs', wrong)
    with pytest.raises(CheckpointError, match=r'allowed: 0.001; nothing was written'):
        run(f'huggingface:{tmp_path / "hf"}', f'ours:{tmp_path / "back"}', check=True)
    assert not (tmp_path / 'back').exists()
