"""A checkpoint as an object, and as the command `predict` uses it."""

import dataclasses
import inspect
import json
import pathlib
import re
import sys
import warnings

import jax
import numpy as np
import pytest
from etils import epath

import electra_jax
from electra_jax.config.resolve import stored_model
from electra_jax.core.errors import CheckpointError, ConfigError, DataError
from electra_jax.finetune import task as tasks
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.text import CLASSIFICATION
from electra_jax.inference import files, opened
from electra_jax.inference.ability import Options
from electra_jax.inference.loaded import TASKS, LoadedModel
from electra_jax.interop import projects
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.runtime import usage
from electra_jax.train import parameters
from tests.support import trained
from tests.support.loading import Known, task_of
from tests.support.trained import TOKENIZER

TEXTS = ['the film was great', 'Anna saw films here', 'they saw it']


@pytest.fixture(scope='module')
def pretrained():
    found = trained.found()
    return found, trained.networks_of(found), LoadedModel(found, 8)


@pytest.fixture(scope='module')
def tuned():
    task = dataclasses.replace(task_of('text', Known(('bad', 'good'))), row_length=16)
    return LoadedModel(trained.found(('encoder',), task), 8)


def batch_of(ids):
    """One row without padding, as a loop over texts would make it."""
    row = np.array([[TOKENIZER.special.cls, *ids, TOKENIZER.special.sep]], np.int32)
    return {
        'tokens': row,
        'documents': np.ones_like(row),
        'positions': np.arange(row.shape[1], dtype=np.int32)[None],
        'types': np.zeros_like(row),
    }


def answered(model, task, content, tmp_path, name='in.txt', **options):
    """What the command `predict` writes."""
    (tmp_path / name).write_text(content)
    words = (str(tmp_path / name), str(tmp_path / 'out.jsonl'), 'auto', Columns())
    files.answer(model, files.job(task, Options(**options), *words))
    return [json.loads(line) for line in (tmp_path / 'out.jsonl').read_text().splitlines()]


# ---------------------------------------------------------------------------------------------
# Texts


def test_vectors_are_the_means_of_the_tokens_of_each_text(pretrained):
    found, networks, model = pretrained
    vectors = model.encode(TEXTS)
    assert vectors.shape == (3, 32) and vectors.dtype == np.float32
    (ids,) = TOKENIZER.encode_batch(TEXTS[1:2])
    alone = jax.jit(networks.encode)(found.params, batch_of(ids), None)
    np.testing.assert_allclose(vectors[1], np.asarray(alone)[0, 1:-1].mean(axis=0), atol=1e-5)
    assert model.encode([]).shape == (0, 32)


def test_each_token_has_its_characters_and_its_probability(pretrained):
    params, networks, model = pretrained[0].params, *pretrained[1:]
    one = model.detect(TEXTS)[1]
    assert one.tokens == ['anna', 'saw', 'film', '##s', 'here']
    assert [TEXTS[1][begin:end] for begin, end in one.spans] == 'Anna saw film s here'.split()
    (ids,) = TOKENIZER.encode_batch(TEXTS[1:2])
    logits = jax.jit(networks.discriminate)(params, batch_of(ids), None)
    np.testing.assert_allclose(one.replaced, jax.nn.sigmoid(logits)[0, 1:-1], atol=1e-5)


def test_masks_are_filled_by_the_generators_probabilities(pretrained):
    params, networks, model = pretrained[0].params, *pretrained[1:]
    one, two = model.fill_mask(['the [MASK] was great', '[MASK] saw [MASK]'], k=3)
    assert [len(one), len(two)] == [1, 2] and len(one[0]) == 3
    the, was, great = TOKENIZER.encode_batch(['the was great'])[0]
    batch = batch_of([the, TOKENIZER.special.mask, was, great])
    softmax = jax.jit(networks.generate)(params, batch, None, None)
    features, table, bias = jax.device_get(softmax)
    logits = (features[0, 2] @ table.T + bias)[: TOKENIZER.vocab_size]
    probs = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    best = np.argsort(-probs)[:3]
    assert [filled.token for filled in one[0]] == TOKENIZER.tokens(best)
    np.testing.assert_allclose([f.probability for f in one[0]], probs[best], atol=1e-5)


def test_texts_that_cannot_be_used_are_refused_by_their_number(pretrained):
    model = pretrained[2]
    with pytest.raises(DataError, match="'the film' is one str: hand over a list"):
        model.encode('the film')
    with pytest.raises(DataError, match='text 1: in the text: the text is empty'):
        model.detect(['a', ' '])
    with pytest.raises(DataError, match=r'text 0: there is no \[MASK\] in .the film'):
        model.fill_mask(['the film'])
    with pytest.raises(ConfigError, match='k is 0'):
        model.fill_mask(['[MASK]'], k=0)
    with pytest.raises(ConfigError, match='batch_size is 0'):
        electra_jax.load('/here', batch_size=0)


def test_a_mask_is_a_masked_token_for_fill_mask_alone(pretrained):
    noted = []
    for ask in (pretrained[2].detect, pretrained[2].encode, pretrained[2].fill_mask):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            ask(['the [MASK] film'])
        noted.append(any('1 text holds [MASK]' in str(one.message) for one in caught))
    assert noted == [True, True, False]


def test_what_is_cut_or_unknown_is_a_warning(pretrained):
    model = pretrained[2]
    with pytest.warns(UserWarning, match=r'1 row has texts longer.*\(cut\): first in text 1'):
        model.encode(['a', 'the film was ' * 20])
    with pytest.warns(UserWarning, match=r'are \[UNK\]'):
        model.encode(['zebra zebra'])


# ---------------------------------------------------------------------------------------------
# Fine-tuned models, and what a checkpoint lacks


def test_parameters_are_on_the_devices_once(tuned):
    assert tuned.encode(['the film']).shape == (1, 32)
    placed, own = tuned._opened.placed, tuned._tuned.params
    assert placed and all(placed[name] is own[name] for name in own)


def test_what_a_task_is_shows_in_a_line(tuned):
    assert (
        repr(tuned.task)
        == f'<task text: classification, head {tuned.task.style}, labels bad, good>'
    )


def test_rows_are_answered_as_by_the_command(tuned, tmp_path):
    rows = tuned.predict(TEXTS)
    assert [set(row) for row in rows] == [{'id', 'text', 'prediction', 'probabilities'}] * 3
    written = answered(tuned, 'auto', '\n'.join(TEXTS) + '\n', tmp_path)
    assert [row | {'id': 0} for row in rows] == [row | {'id': 0} for row in written]
    mappings = [{'text': text, 'id': f'k{k}'} for k, text in enumerate(TEXTS)]
    lines = ''.join(json.dumps(row) + '\n' for row in mappings)
    assert tuned.predict(mappings) == answered(tuned, 'auto', lines, tmp_path, 'in.jsonl')
    assert tuned.predict([]) == []


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        (['a', ''], 'row 1: in the text: the text is empty'),
        (['a', ('a', 'b')], 'row 1: one text without a tab'),
        (['a', 7], 'row 1: 7 .int. is no text'),
        (['a', {'text': 'b'}], 'row 0 is a str'),
        ([{'text': 'a'}, {'txt': 'b'}], 'row 1: .*text'),
    ],
)
def test_rows_that_cannot_be_used_are_refused_by_their_number(tuned, rows, message):
    with pytest.raises(DataError, match=message) as found:
        tuned.predict(rows)
    assert '--config' not in str(found.value)


def test_what_a_checkpoint_lacks_is_a_sentence_that_helps(pretrained, tuned):
    with pytest.raises(
        CheckpointError, match=r'can encode, detect, fill_mask .*fine-tune it first'
    ):
        pretrained[2].predict(['a'])
    for ask in (tuned.detect, tuned.fill_mask):
        with pytest.raises(CheckpointError, match=r'name the checkpoint .* fine-tuned from$'):
            ask(['[MASK]'])


def test_the_checkpoint_that_was_fine_tuned_is_named(tuned):
    start = 'runs/mine/checkpoints/8'
    found = trained.found(('encoder',), tuned.task, init_from=start)
    with pytest.raises(CheckpointError, match=f'that it was fine-tuned from, {start}$'):
        LoadedModel(found, 8).fill_mask(['[MASK]'])


def test_a_discriminator_that_is_not_trained_yet_is_reported(pretrained, monkeypatch):
    found = pretrained[0]
    config = found.about['config']
    objective = {**config['objective'], 'name': 'two_stage', 'generator_steps': 3}
    about = {**found.about, 'steps': 3, 'config': {**config, 'objective': objective}}
    # Nothing is compiled.
    outputs = {'replaced': np.zeros(16), 'score': np.zeros(16)}
    monkeypatch.setattr(opened.Opened, 'program', lambda *_: lambda rows: [outputs] * len(rows))
    model = LoadedModel(found._replace(about=about), 8)
    for ask in (
        model.detect,
        model.classify,
        lambda texts: model.classify(texts, ['good', 'bad']),
        lambda texts: model.score(texts, 'discriminator'),
    ):
        with pytest.warns(UserWarning, match='its discriminator is not trained yet'):
            ask(TEXTS[:1])
    with warnings.catch_warnings(action='error'):
        model.score(TEXTS[:1], 'generator')


@pytest.mark.parametrize(
    ('objective', 'networks'),
    [('mlm', ('language',)), ('electric', ('discriminator',)), ('teams', ('selection',))],
)
def test_a_head_that_predicts_something_else_does_not_detect(objective, networks):
    model = LoadedModel(trained.found(networks, objective={'name': objective}), 8)
    with pytest.raises(CheckpointError, match=f"was pre-trained as '{objective}', without"):
        model.detect(['a'])
    with pytest.raises(CheckpointError, match='without a generator'):
        model.fill_mask(['[MASK]'])


# ---------------------------------------------------------------------------------------------
# The command


def test_the_command_writes_what_the_object_answers(pretrained, tmp_path):
    model, content = pretrained[2], ''.join(f'{text}\n' for text in TEXTS)
    detected = answered(model, 'auto', content, tmp_path)
    for row, found in zip(detected, model.detect(TEXTS), strict=True):
        assert (row['tokens'], row['spans']) == (found.tokens, found.spans.tolist())
        np.testing.assert_allclose(row['replaced'], found.replaced, rtol=1e-5)
    vectors = model.encode(TEXTS)
    embedded = answered(model, 'embed', content, tmp_path)
    np.testing.assert_allclose([row['vector'] for row in embedded], vectors, rtol=1e-4)
    array = str(tmp_path / 'v.npy')
    words = (str(tmp_path / 'in.txt'), array, 'auto', Columns())
    files.answer(model, files.job('embed', Options(), *words))
    np.testing.assert_array_equal(np.load(array), vectors)
    with pytest.raises(ConfigError, match='only --task=embed writes'):
        files.job('detect', Options(), *words)


@pytest.mark.parametrize(
    ('task', 'options', 'columns', 'message'),
    [
        ('detect', {}, {'text_b': 'b'}, "--columns names 'b' for text_b, which detect does not"),
        ('embed', {}, {'label': 'b'}, 'which embed does not read, allowed: text_a, id'),
        ('pairs', {}, {'question': 'b'}, 'which pairs does not read, allowed: text_a, text_b, id'),
        ('detect', {'top_k': 3}, {}, '--top_k is 3, which detect does not read'),
        ('score', {'template': 'topic'}, {}, "--template is 'topic', which score does"),
    ],
)
def test_what_a_task_does_not_read_is_refused(
    pretrained, tmp_path, task, options, columns, message
):
    (tmp_path / 'in.txt').write_text('a\n')
    words = (str(tmp_path / 'in.txt'), str(tmp_path / 'out.jsonl'), 'auto', Columns(**columns))
    with pytest.raises(ConfigError, match=message):
        files.answer(pretrained[2], files.job(task, Options(**options), *words))


def test_the_own_task_reads_the_columns_of_its_kind(tuned, tmp_path):
    (tmp_path / 'in.txt').write_text('a\n')
    words = (str(tmp_path / 'in.txt'), str(tmp_path / 'out.jsonl'), 'auto')
    with pytest.raises(ConfigError, match='for words, which the task that it was fine-tuned on'):
        files.answer(tuned, files.job('auto', Options(), *words, Columns(words='w')))
    with pytest.raises(ConfigError, match=r'--scorer is .*fine-tuned on does not read'):
        tuned.work(options=Options(scorer='generator'))


def test_the_input_is_not_overwritten(tmp_path):
    (tmp_path / 'in.txt').write_text('a\n')
    path = str(tmp_path / 'in.txt')
    with pytest.raises(ConfigError, match='which is --input too'):
        files.job('auto', Options(), path, path, 'auto', Columns())


def test_the_help_of_the_command_explains_each_task():
    path = pathlib.Path(inspect.getfile(electra_jax)).with_name('predict.py')
    text = usage.text(path.read_text(), ())
    assert [name for name in TASKS if f'{name}: ' not in text] == []


def test_a_text_without_a_mask_is_left_out_and_named(pretrained, tmp_path, capsys):
    content = 'no mask\n[MASK] saw [MASK]\n'
    (row,) = answered(pretrained[2], 'fill_mask', content, tmp_path, top_k=3)
    (masks,) = pretrained[2].fill_mask(['[MASK] saw [MASK]'], k=3)
    assert row['id'] == '1'
    assert [[one['token'] for one in mask] for mask in row['masks']] == [
        [one.token for one in mask] for mask in masks
    ]
    printed = capsys.readouterr().err
    assert re.search(r'left out: .*in\.txt:1: there is no \[MASK\]', printed)
    assert '1 bad row named above (exit status 4)' in printed


def test_rows_left_out_are_counted_for_the_exit_status(tuned, tmp_path):
    path, out = tmp_path / 'in.jsonl', str(tmp_path / 'out.jsonl')
    for content, refused in (('{"text": "a"}\n', 0), ('{"text": "a"}\n{"text": ""}\n{}\n', 2)):
        path.write_text(content)
        job = files.job('auto', Options(), str(path), out, 'auto', Columns())
        assert files.answer(tuned, job) == refused
        assert len(pathlib.Path(out).read_text().splitlines()) == 1


def test_answers_to_rows_with_labels_are_scored_as_evaluation_does(tuned, tmp_path, capsys):
    texts = [TEXTS[i % 3] + ' film' * i for i in range(5)]
    labels = ['good', 'bad', 'good', 'good', 'unheard-of']
    table = ''.join(f'{text},{label}\n' for text, label in zip(texts, labels, strict=True))
    rows = answered(tuned, 'auto', 'text,label\n' + table, tmp_path, 'in.csv')
    printed = capsys.readouterr().err
    # All are answered, and a label changes no answer; four are scored.
    assert [row['text'] for row in rows] == texts and 'label' not in rows[0]
    right = [row['prediction'] == label for row, label in zip(rows[:4], labels, strict=False)]
    assert f'4 rows with labels: in.csv/accuracy {100 * np.mean(right):.2f}  in.csv/macro_f1' in (
        printed
    )
    assert "trivial in in.csv: 'good' for every row: in.csv/accuracy 75.00" in printed
    without = 'text\n' + ''.join(f'{text}\n' for text in texts)
    assert answered(tuned, 'auto', without, tmp_path, 'in.csv') == rows
    assert 'with labels' not in capsys.readouterr().err


def test_labels_to_score_by_are_in_any_column(tuned, tmp_path, capsys):
    path, words = tmp_path / 'in.csv', (str(tmp_path / 'out.jsonl'), 'auto')
    path.write_text('text,mood\na film,good\nit saw,bad\n')
    for name, printed in ((None, ''), ('mood', '2 rows with labels: in.csv/accuracy')):
        files.answer(tuned, files.job('auto', Options(), str(path), *words, Columns(label=name)))
        assert ('with labels' in (err := capsys.readouterr().err)) == bool(name) and printed in err
    with pytest.raises(DataError, match="no row has a label in the column 'gold'"):
        files.answer(tuned, files.job('auto', Options(), str(path), *words, Columns(label='gold')))


def test_rows_with_labels_are_not_scored_where_a_package_is_missing(
    tuned, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, 'sklearn', None)
    answered(tuned, 'auto', 'text,label\na film,good\n', tmp_path, 'in.csv')
    assert "sklearn is missing: type pip install -e '.[finetune]'" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------
# Names of checkpoints


def test_a_checkpoint_has_one_name_everywhere(pretrained, tmp_path):
    found, settings = pretrained[0], opened.settings_of(8)
    parameters.write_params(epath.Path(tmp_path / 'run'), found.params, found.about)
    for name in (f'{tmp_path}/run', f'ours:{tmp_path}/run', f'{tmp_path}/run/checkpoints'):
        again = opened.read(name, settings, '--checkpoint')
        assert again.about == json.loads(json.dumps(found.about)) | {'steps': 0}
        assert not again.is_tuned
        jax.tree.map(np.testing.assert_array_equal, again.params, found.params)
    with pytest.raises(CheckpointError, match='path is /nowhere, but there is no checkpoint'):
        electra_jax.load('/nowhere')
    for name in ('config.json', 'model.safetensors'):
        (tmp_path / name).write_text('{}')
    with pytest.raises(CheckpointError, match=f"name it 'huggingface:{tmp_path}'"):
        electra_jax.load(tmp_path)


def test_a_fine_tuned_model_of_transformers_answers_by_its_name(tmp_path):
    labels = ('bad', 'good')
    task = tasks.of_kind('classification', 16, head='huggingface', labels=','.join(labels))
    found = trained.found(('encoder',), task, model={'norm': 'post'})
    networks = trained.networks_of(found)
    text = (found.params, stored_model(found.about['config']['model']), TOKENIZER)
    projects.write_huggingface(tmp_path, Checkpoint(*text, task='classification', labels=labels))
    again = opened.read(f'huggingface:{tmp_path}', opened.settings_of(8), '--checkpoint')
    assert again.is_tuned
    (row,) = LoadedModel(again, 8).predict([TEXTS[0]])
    head = networks.head(CLASSIFICATION.head(task))
    (ids,) = TOKENIZER.encode_batch(TEXTS[:1])
    logits = jax.jit(head.answers)(found.params, batch_of(ids))['logits'][0]
    wanted = dict(zip(labels, np.asarray(jax.nn.softmax(logits)).tolist(), strict=True))
    assert row['probabilities'] == pytest.approx(wanted, abs=1e-5)
    assert row['prediction'] == max(wanted, key=wanted.__getitem__)
