"""Hugging Face's tensors and folders: round trips, names, refusals. Needs neither torch nor tf."""

import dataclasses
import json
import math
import pathlib

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.interop import files, huggingface, projects
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.interop.files import Network
from tests.support import fakes


def networks_of(model, params=None, **more):
    params = fakes.params(model) if params is None else params
    checkpoint = Checkpoint(params, model, fakes.tokenizer(), **more)
    return params, *huggingface.networks_from_checkpoint(checkpoint)


@pytest.mark.parametrize('changes', fakes.MODELS.values())
def test_a_round_trip_changes_no_bit(changes, tmp_path):
    model = fakes.model(**changes, dropout=0.25, layer_norm_epsilon=1e-7, init_stddev=0.03)
    params = fakes.params(model)
    projects.write_huggingface(tmp_path, Checkpoint(params, model, fakes.tokenizer()))
    loaded = projects.read_huggingface(tmp_path)
    fakes.assert_same(params, loaded.params)
    fields = (
        'num_layers', 'hidden_size', 'ffn_size', 'num_heads', 'embedding_size', 'max_positions',
        'type_vocab_size', 'generator', 'generator_layers', 'generator_width', 'embedding_sharing',
        'generator_embedding_size', 'norm', 'dropout', 'attention_dropout', 'layer_norm_epsilon',
        'init_stddev',
    )  # fmt: skip
    found = loaded.model
    assert {f: getattr(found, f) for f in fields} == {f: getattr(model, f) for f in fields}
    assert loaded.tokenizer.hash == fakes.tokenizer().hash
    assert loaded.report.missing == [] and loaded.report.left_out == {}


def test_names_shapes_and_numbers_are_those_of_transformers():
    params, networks, _ = networks_of(fakes.model())
    main, small = networks['discriminator'].arrays, networks['generator'].arrays
    assert len(main) == 5 + 2 + 4 * 16 + 4 and len(small) == 5 + 2 + 2 * 16 + 5
    attention = params['discriminator']['layers']['attention']
    np.testing.assert_array_equal(
        main['electra.encoder.layer.3.attention.self.query.weight'],
        attention['query']['kernel'][3].reshape(128, 128).T,
    )
    np.testing.assert_array_equal(
        main['electra.encoder.layer.1.attention.output.dense.weight'],
        attention['output']['kernel'][1].reshape(128, 128).T,
    )
    assert main['electra.embeddings_project.weight'].shape == (128, 24)
    assert main['discriminator_predictions.dense_prediction.weight'].shape == (1, 128)
    assert small['generator_predictions.dense.weight'].shape == (24, 64)
    assert small['generator_lm_head.bias'].shape == (fakes.VOCAB_SIZE,)
    assert 'generator_lm_head.weight' not in small  # tied to the word table
    np.testing.assert_array_equal(
        main['electra.embeddings.word_embeddings.weight'],
        small['electra.embeddings.word_embeddings.weight'],
    )
    config = networks['generator'].config
    assert config['architectures'] == ['ElectraForMaskedLM']
    assert (config['hidden_size'], config['num_attention_heads']) == (64, 1)
    assert (config['num_hidden_layers'], config['intermediate_size']) == (2, 256)


def test_masked_language_modelling_is_one_folder(tmp_path):
    model = fakes.model(generator='tied', generator_layers=1.0, generator_width=1.0)
    params = fakes.params(model, discriminator_head=False)
    projects.write_huggingface(tmp_path, Checkpoint(params, model, fakes.tokenizer()))
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['architectures'] == ['ElectraForMaskedLM']
    loaded = projects.read_huggingface(tmp_path)
    fakes.assert_same(params, loaded.params)
    assert loaded.objective == 'mlm' and loaded.model.generator == 'tied'
    assert loaded.report.missing == ['discriminator_head']


def test_an_encoder_alone_is_an_electra_model():
    model = fakes.model(generator='uniform')
    params = fakes.params(model, discriminator_head=False)
    _, networks, _ = networks_of(model, params)
    network = networks['discriminator']
    assert network.config['architectures'] == ['ElectraModel']
    assert 'embeddings.word_embeddings.weight' in network.arrays
    back, _, report = huggingface.params_from_networks(networks)
    fakes.assert_same(params, back)
    assert report.missing == ['discriminator_head', 'generator', 'generator_head']
    prefixed = {f'electra.{name}': x for name, x in network.arrays.items()}
    again, _, _ = huggingface.params_from_networks(
        {'discriminator': Network(network.config, prefixed)}
    )
    fakes.assert_same(params, again)


def test_disentangled_tables_are_written_as_their_sum():
    model = fakes.model(embedding_sharing='disentangled')
    params, networks, report = networks_of(model)
    base, delta = params['embeddings'], params['embedding_delta']
    main, small = networks['discriminator'].arrays, networks['generator'].arrays
    words = (base['word'] + delta['word'])[: fakes.VOCAB_SIZE]
    np.testing.assert_array_equal(main['electra.embeddings.word_embeddings.weight'], words)
    np.testing.assert_array_equal(main['electra.embeddings.LayerNorm.bias'], delta['norm']['bias'])
    np.testing.assert_array_equal(
        small['electra.embeddings.position_embeddings.weight'], base['position']
    )
    assert 'disentangled' in report.notes[0]
    back, found, report = huggingface.params_from_networks(networks)
    assert found.embedding_sharing == 'untied' and 'different embeddings' in report.notes[0]
    np.testing.assert_array_equal(back['generator_embeddings']['word'], base['word'])


@pytest.mark.parametrize('kind', sorted(projects.WRITERS.keys() - {projects.PASSED_ON}))
def test_layers_that_no_other_project_has_are_refused_by_their_settings(kind, tmp_path):
    model = dataclasses.replace(fakes.model(), norm='pre', local_window=64, biases=False)
    there = Checkpoint(fakes.params(fakes.model()), model, fakes.tokenizer())
    with pytest.raises(CheckpointError) as refusal:
        projects.WRITERS[kind](tmp_path / 'new', there)
    message = str(refusal.value)
    for setting in ('norm=pre', 'local_window=64', 'biases=False'):
        assert f'config.model.{setting}' in message
    assert 'positions' not in message and not (tmp_path / 'new').exists()


def test_what_transformers_does_not_have_is_refused_or_named():
    params = fakes.params(fakes.model())
    norm = {'scale': np.ones(64, np.float32)}
    pre = {**params, 'generator': {**params['generator'], 'norm': norm}}
    with pytest.raises(CheckpointError, match='discriminator has norm/scale'):
        networks_of(fakes.model(), pre)
    model = fakes.model(generator='two_tower')
    towers = {**fakes.params(model), 'copy_gate': {'kernel': np.ones(2)}}
    _, networks, report = networks_of(model, towers)
    assert set(networks) == {'discriminator'}
    assert set(report.left_out) == {
        'copy_gate', 'generator_ltr', 'generator_rtl', 'generator_head'
    }  # fmt: skip
    images = dict.fromkeys(('patch', 'image_row', 'image_column'), np.ones((2, 24), np.float32))
    of_images = {**params, 'embeddings': {**params['embeddings'], **images}}
    _, networks, report = networks_of(fakes.model(), of_images)
    assert set(report.left_out) == {f'embeddings/{name}' for name in images}
    _, of_text, _ = networks_of(fakes.model(), params)
    assert networks['discriminator'].arrays.keys() == of_text['discriminator'].arrays.keys()
    with pytest.raises(CheckpointError, match='mystery'):
        networks_of(fakes.model(), {**params, 'mystery': {}})


def task_params(*layers):
    random = np.random.default_rng(3)
    params = fakes.params(fakes.model(generator='uniform'), discriminator_head=False)
    head = {
        name: {
            'kernel': random.standard_normal((128, width), np.float32),
            'bias': random.standard_normal(width, np.float32),
        }
        for name, width in layers
    }
    return {**params, 'task_head': head}


HEADS = [
    ('classification', (('dense', 128), ('output', 3)), 'ElectraForSequenceClassification'),
    ('regression', (('dense', 128), ('output', 1)), 'ElectraForSequenceClassification'),
    ('multi_label', (('dense', 128), ('output', 3)), 'ElectraForSequenceClassification'),
    ('tagging', (('output', 5),), 'ElectraForTokenClassification'),
    ('spans', (('output', 2),), 'ElectraForQuestionAnswering'),
]


@pytest.mark.parametrize(('task', 'layers', 'architecture'), HEADS)
def test_fine_tuned_heads_go_there_and_back(tmp_path, task, layers, architecture):
    params, model = task_params(*layers), fakes.model(generator='uniform')
    labels = [f'label {i}' for i in range(layers[-1][1])]
    what = Checkpoint(params, model, fakes.tokenizer(), task, labels)
    projects.write_huggingface(tmp_path, what)
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['architectures'] == [architecture]
    assert config['label2id'][labels[-1]] == len(labels) - 1
    problems = {
        'classification': 'single_label_classification',
        'regression': 'regression',
        'multi_label': 'multi_label_classification',
    }
    assert config.get('problem_type') == problems.get(task)
    loaded = projects.read_huggingface(tmp_path)
    fakes.assert_same(params, loaded.params)
    assert (loaded.task, loaded.labels) == (task, labels)


@pytest.mark.parametrize(
    ('modern', 'kind', 'layers', 'wanted'),
    [
        (False, 'classification', ['output'], 'huggingface'),
        (False, 'classification', ['dense', 'output'], None),
        (False, 'tagging', ['output'], None),
        (True, 'tagging', ['output'], 'modernbert'),
        (True, 'regression', ['output'], 'modernbert'),
        (True, 'regression', ['dense', 'norm', 'output'], None),
        (True, 'seq2seq', ['output'], None),
        (None, 'classification', ['output'], None),
    ],
)
def test_the_head_that_could_be_converted_is_known_before_it_is_trained(
    modern, kind, layers, wanted
):
    form = {
        'norm': 'pre', 'positions': 'rotary', 'skip_first_norm': True, 'type_vocab_size': 0,
        'embedding_size': 64, 'hidden_size': 64,
    }  # fmt: skip
    other = {'norm': 'pre', 'norm_type': 'rms'}  # of no class there
    model = fakes.model(**{True: form, False: {}, None: other}[modern])
    assert huggingface.head_wanted(model, kind, layers) == wanted


def test_a_head_that_is_not_theirs_is_refused():
    model = fakes.model(generator='uniform')
    flat = task_params(('output', 3))
    with pytest.raises(ConfigError, match='task of task_head'):
        networks_of(model, flat)
    with pytest.raises(CheckpointError, match=r'layers output, .*config.task.head=huggingface'):
        networks_of(model, flat, task='classification')
    with pytest.raises(CheckpointError, match='layers dense, output'):
        networks_of(model, task_params(('dense', 128), ('output', 3)), task='spans')
    with pytest.raises(ConfigError, match='3 outputs, but 2 labels'):
        networks_of(model, flat, task='tagging', labels=['a', 'b'])
    reference = task_params(('start', 1), ('end_dense', 512))
    with pytest.raises(CheckpointError, match='layers end_dense, start'):
        networks_of(model, reference, task='spans')


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    model = fakes.model()
    what = Checkpoint(fakes.params(model), model, fakes.tokenizer())
    projects.write_huggingface(tmp_path, what)
    return tmp_path


def change_config(folder, **changes):
    path = folder / 'config.json'
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'num_attention_heads': ...}, "lacks 'num_attention_heads'"),
        ({'vocab_size': ...}, "lacks 'vocab_size'"),
        ({'hidden_size': '128'}, "hidden_size is '128'"),
        ({'hidden_size': -128}, 'hidden_size is -128'),
        ({'hidden_dropout_prob': -math.inf}, 'hidden_dropout_prob is -inf, allowed: 0 to 0.99'),
        ({'layer_norm_eps': 'x'}, "layer_norm_eps is 'x', allowed: a number"),
        ({'num_hidden_layers': 10**12}, 'num_hidden_layers is 1000000000000'),
        ({'num_hidden_layers': 3}, 'num_hidden_layers 3, but the tensors are of 4 layers'),
        ({'num_hidden_layers': 10**9}, 'num_hidden_layers 1000000000, but'),
        ({'num_attention_heads': 3}, 'must be a multiple'),
        ({'intermediate_size': 500}, 'ffn_size 256, but a generator .* has 250'),
        ({'max_position_embeddings': 41}, 'position_embeddings.weight has shape'),
        ({'hidden_act': 'relu'}, "hidden_act is 'relu', allowed: 'gelu'"),
        ({'model_type': 'bert'}, "model_type is 'bert'"),
        ({'layer_norm_eps': 'x'}, 'layer_norm_eps'),
        ({'vocab_size': 80}, 'not the vocabulary|has shape'),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder, changes, message):
    for role in files.ROLES:
        (folder / role / 'tokenizer.json').unlink()
        (folder / role / 'vocab.txt').unlink()
    change_config(folder / 'discriminator', **changes)
    if 'vocab_size' in changes and changes['vocab_size'] is not ...:
        loaded = projects.read_huggingface(folder / 'discriminator')
        assert 'have no token' in loaded.report.notes[0]
        return
    with pytest.raises(CheckpointError, match=message):
        projects.read_huggingface(folder)


def change_tensors(folder, change):
    arrays = load_file(folder / 'model.safetensors')
    change(arrays)
    save_file(arrays, folder / 'model.safetensors')


NAME = 'electra.encoder.layer.1.output.dense.bias'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda a: a.pop(NAME), f'only some of discriminator: discriminator/{NAME}'),
        (lambda a: a.update({NAME: np.ones((1, 128), np.float32)}), r'\[1, 128\].*\[128\]'),
        (lambda a: a.update({NAME: np.ones(128, np.int32)}), 'is int32'),
        (lambda a: a.update({'electra.pooler.weight': np.ones(3)}), 'electra.pooler.weight'),
    ],
)
def test_tensors_that_do_not_fit_are_refused(folder, change, message):
    change_tensors(folder / 'discriminator', change)
    with pytest.raises(CheckpointError, match=message):
        projects.read_huggingface(folder)


def test_old_buffers_and_half_precision_are_read_and_reported(folder):
    def change(arrays):
        arrays['electra.embeddings.position_ids'] = np.arange(40)
        arrays[NAME] = arrays[NAME].astype(np.float16)

    change_tensors(folder / 'discriminator', change)
    loaded = projects.read_huggingface(folder / 'discriminator')
    assert list(loaded.report.left_out) == ['electra.embeddings.position_ids']
    assert loaded.report.notes == ['float16 became float32']


def test_bfloat16_is_read(folder):
    import ml_dtypes

    change_tensors(
        folder / 'generator', lambda a: a.update({NAME: a[NAME].astype(ml_dtypes.bfloat16)})
    )
    loaded = projects.read_huggingface(folder)
    assert loaded.report.notes == ['bfloat16 became float32']
    bias = loaded.params['generator']['layers']['feed_forward']['down']['bias']
    assert bias.dtype == np.float32 and bias.any()


def test_embeddings_that_differ_make_an_untied_model(folder):
    table = 'electra.embeddings.word_embeddings.weight'
    change_tensors(folder / 'generator', lambda a: a[table].__setitem__((7, 3), 1.0))
    loaded = projects.read_huggingface(folder)
    assert loaded.model.embedding_sharing == 'untied'
    assert loaded.params['generator_embeddings']['word'][7, 3] == 1.0
    assert loaded.params['embeddings']['word'][7, 3] != 1.0


def test_a_softmax_table_of_its_own_is_refused(folder):
    table = load_file(folder / 'generator' / 'model.safetensors')[
        'electra.embeddings.word_embeddings.weight'
    ]
    name = 'generator_lm_head.weight'
    change_tensors(folder / 'generator', lambda a: a.update({name: table}))
    assert 'generator_head' in projects.read_huggingface(folder).params
    change_tensors(folder / 'generator', lambda a: a.update({name: table + 1}))
    with pytest.raises(CheckpointError, match='is another table'):
        projects.read_huggingface(folder)


def test_networks_that_are_no_pair_are_refused(folder):
    change_config(folder / 'generator', type_vocab_size=3)
    change_tensors(
        folder / 'generator',
        lambda a: a.update(
            {'electra.embeddings.token_type_embeddings.weight': np.ones((3, 24), np.float32)}
        ),
    )
    with pytest.raises(
        CheckpointError,
        match=r'generator/.*token_type_embeddings.weight has shape \[3, 24\].*\[2, 24\]',
    ):
        projects.read_huggingface(folder)
    for file in (folder / 'discriminator').iterdir():
        (folder / 'generator' / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CheckpointError, match='must hold an ElectraForMaskedLM'):
        projects.read_huggingface(folder)


@pytest.mark.parametrize('size', [4, 100, 50_000])
def test_a_truncated_file_is_refused(folder, size):
    path = folder / 'discriminator' / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match='damaged or was not copied whole'):
        projects.read_huggingface(folder)


def test_damaged_json_is_refused(folder):
    (folder / 'generator' / 'config.json').write_text('{"hidden_size": ')
    with pytest.raises(CheckpointError, match=r'config.json is not JSON'):
        projects.read_huggingface(folder)
    (folder / 'generator' / 'config.json').write_text('[]')
    with pytest.raises(CheckpointError, match='a JSON object is needed, found a list'):
        projects.read_huggingface(folder)


def shard(folder):
    arrays = load_file(folder / 'model.safetensors')
    (folder / 'model.safetensors').unlink()
    for k in range(2):
        found = {name: arrays[name] for name in sorted(arrays)[k::2]}
        save_file(found, folder / f'model-0000{k + 1}-of-00002.safetensors')


def test_shards_are_read_all_or_none(folder):
    before = projects.read_huggingface(folder)
    shard(folder / 'discriminator')
    fakes.assert_same(before.params, projects.read_huggingface(folder).params)
    (folder / 'discriminator' / 'model-00001-of-00002.safetensors').unlink()
    with pytest.raises(CheckpointError, match=r'there are 1 such as model-00002-of-00002'):
        projects.read_huggingface(folder)


def test_pickles_are_never_opened(folder):
    path = folder / 'discriminator' / 'model.safetensors'
    path.rename(path.with_name('pytorch_model.bin'))
    with pytest.raises(CheckpointError, match='a pickle, which can run code'):
        projects.read_huggingface(folder / 'discriminator')
    (path.with_name('pytorch_model.bin')).unlink()
    with pytest.raises(CheckpointError, match=r'holds no model.safetensors'):
        projects.read_huggingface(folder / 'discriminator')
    with pytest.raises(CheckpointError, match='no Hugging Face model'):
        projects.read_huggingface(folder / 'nowhere')
