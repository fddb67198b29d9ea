"""ModernBERT's block in transformers' folders: there and back, and the same numbers there."""

import copy
import dataclasses
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config import resolve
from electra_jax.core.errors import CheckpointError
from electra_jax.finetune import foreign
from electra_jax.interop import check, projects
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.interop.convert import convert
from electra_jax.interop.tokenizer import write_tokenizer
from electra_jax.model.bind import bind
from electra_jax.model.task_heads import HeadShape
from tests.support import fakes

TOLERANCE = 1e-5  # of the largest number

# The form, as the recipes for beginners have it.
FORM = {
    'size': 'tiny',
    'num_layers': 4,
    'hidden_size': 32,
    'ffn_size': 48,
    'num_heads': 2,
    'embedding_size': 32,
    'generator': 'separate',
    'generator_width': 1.0,
    'generator_layers': 0.5,
    'embedding_sharing': 'untied',
    'generator_embedding_size': 32,
    'max_positions': 40,
    'positions': 'rotary',
    'local_window': 3,
    'global_every': 2,
    'skip_first_norm': True,
    'type_vocab_size': 0,
    'discriminator_head_norm': True,
    'scan_unroll': 1,
}
MODELS = {
    'plain': {},
    'gated': {
        'biases': False,
        'feed_forward': 'geglu',
        'fused_qkv': True,
        'layer_norm_epsilon': 1e-5,
        'rotary_base': 160_000.0,
        'local_rotary_base': 500.0,
    },
}


def model_of(**changes):
    return resolve.model_of({**FORM, **changes})


def random_params(model, networks=('generator', 'discriminator'), seed=0):
    """Every number its own, but for what stands in no file: padding, and the first norm."""
    made = bind(model, fakes.VOCAB_SIZE)
    shapes = jax.eval_shape(lambda: made.init(jax.random.key(0), networks))
    random = np.random.default_rng(seed)

    def number(path, leaf):
        names = [key.key for key in path]
        x = 0.3 * random.standard_normal(leaf.shape) + (names[-1] == 'scale')
        if names[-1] in ('word', 'output_bias'):
            x[fakes.VOCAB_SIZE :] = 0
        if 'attention_norm' in names:
            x[0] = names[-1] == 'scale'
        return np.asarray(x, np.float32)

    return jax.tree_util.tree_map_with_path(number, shapes)


def write(folder, params, model, task=None, **about):
    found = Checkpoint(params, model, fakes.tokenizer(), task, **about)
    return found, projects.write_huggingface(folder, found)


@functools.cache
def made(name):
    """A model of `MODELS` and parameters of both networks."""
    model = model_of(**MODELS[name])
    return model, random_params(model)


@pytest.fixture(scope='module')
def discriminator(tmp_path_factory):
    """A folder of one network."""
    model, params = made('plain')
    folder = tmp_path_factory.mktemp('discriminator')
    kept = ('embeddings', 'discriminator', 'discriminator_head')
    write(folder, {part: params[part] for part in kept}, model)
    return folder


@pytest.mark.parametrize('name', MODELS)
def test_there_and_back_every_number_is_the_same(tmp_path, name):
    model, params = made(name)
    _, report = write(tmp_path, params, model)
    assert not report.left_out
    back = projects.read_huggingface(tmp_path)
    (note,) = back.report.notes
    assert 'each keeps its own' in note and not back.report.missing
    changed = {
        field.name
        for field in dataclasses.fields(model)
        if getattr(model, field.name) != getattr(back.model, field.name)
    }
    assert changed <= {'fused_qkv', 'scan_unroll'}
    if name == 'plain':  # queries, keys and values come back as one map
        params = copy.deepcopy(params)
        for encoder in ('generator', 'discriminator'):
            attention = params[encoder]['layers']['attention']
            maps = [attention.pop(one) for one in ('query', 'key', 'value')]
            attention['qkv'] = {
                leaf: np.stack([one[leaf] for one in maps], axis=-3) for leaf in maps[0]
            }
    fakes.assert_same(back.params, params)


def test_the_command_writes_it_and_names_the_class_that_loads_it(tmp_path):
    model, params = made('gated')
    found = Checkpoint(params, model, fakes.tokenizer())
    fakes.write_ours(tmp_path / 'ours', found)
    target = f'huggingface:{tmp_path / "theirs"}'
    *_, last = convert(f'ours:{tmp_path / "ours"}', target, foreign.TASKS, {})
    folder = tmp_path / 'theirs' / 'discriminator'
    assert f"ModernBertForTokenClassification.from_pretrained('{folder}')" in last
    *_, last = convert(target, f'ours:{tmp_path / "back"}', foreign.TASKS, {})
    for word in ('skip_first_norm=True', 'type_vocab_size=0', 'local_rotary_base=500.0'):
        assert f'--config.model.{word}' in last


def test_another_block_is_refused_with_what_to_type(tmp_path):
    model = model_of(skip_first_norm=False, type_vocab_size=2, qk_norm=True)
    with pytest.raises(CheckpointError, match=r'config\.model\.qk_norm=True') as caught:
        write(tmp_path, made('plain')[1], model)
    for words in ('qk_norm=false', 'skip_first_norm=true', 'type_vocab_size=0'):
        assert f'--config.model.{words}' in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_the_classes_have_no_place_for_is_named(tmp_path):
    model = model_of(
        discriminator_head_norm=False,
        generator_width=0.5,
        embedding_sharing='shared',
        generator_embedding_size=None,
    )
    _, report = write(tmp_path, made('plain')[1], model)
    assert 'discriminator_head_norm=true' in report.left_out['discriminator_head']
    assert '32 numbers and its layers 16' in report.left_out['generator']
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['architectures'] == ['ModernBertModel']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'hidden_activation': 'silu'}, "hidden_activation is 'silu'"),
        ({'architectures': ['ModernBertForThings']}, 'ModernBertForThings'),
        ({'layer_types': ['sliding_attention', *['full_attention'] * 3]}, 'layer_types is'),
        ({'rope_parameters': {'full_attention': {'rope_type': 'yarn'}}}, 'positions are scaled'),
        ({'model_type': 'bert'}, "model_type is 'bert'"),
        ({'classifier_dropout': 'high'}, "classifier_dropout is 'high'"),
    ],
)
def test_networks_that_ours_are_not_are_refused_by_name(discriminator, tmp_path, changes, message):
    shutil.copytree(discriminator, tmp_path, dirs_exist_ok=True)
    path = tmp_path / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=message):
        projects.read_huggingface(tmp_path)


def test_a_dropout_that_is_null_is_the_usual_one(discriminator, tmp_path):
    shutil.copytree(discriminator, tmp_path, dirs_exist_ok=True)
    path = tmp_path / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {'classifier_dropout': None}))
    assert projects.read_huggingface(tmp_path).head_dropout == 0.0


# ---------------------------------------------------------------------------------------------
# What transformers computes


@pytest.fixture(scope='module')
def libraries():
    torch = pytest.importorskip('torch', reason='needs the parity extra')
    return torch, pytest.importorskip('transformers', reason='needs the parity extra')


def load_exactly(transformers, folder):
    """The folder's class, with no key missing, unexpected or of another shape."""
    name = json.loads((folder / 'config.json').read_text())['architectures'][0]
    network, info = getattr(transformers, name).from_pretrained(
        str(folder), output_loading_info=True
    )
    assert not any(info.values()), info
    return network.eval()


def assert_the_same(libraries, folder, compute, params):
    """What `compute` gives for rows of the folder's own tokenizer, where there is a token."""
    torch, transformers = libraries
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    given = tokenizer(
        ['the new york cafe [MASK] and', 'eating 12 cafes.', 'of'],
        ['of the er', 'the', 'and new york'],
        padding=True,
        return_tensors='pt',
    )
    assert 'token_type_ids' not in given
    with torch.no_grad():
        theirs = load_exactly(transformers, folder)(**given)
    theirs = (theirs.logits if 'logits' in theirs else theirs.last_hidden_state).numpy()
    tokens_BL = given['input_ids'].numpy().astype(np.int32)
    batch = {
        'tokens': tokens_BL,
        'documents': given['attention_mask'].numpy().astype(np.int32),
        'positions': np.broadcast_to(np.arange(tokens_BL.shape[1]), tokens_BL.shape),
        'types': np.zeros_like(tokens_BL),
    }
    with jax.default_matmul_precision('highest'):
        ours = np.asarray(jax.jit(compute)(params, batch))
    theirs = theirs[..., 0] if theirs.ndim > ours.ndim else theirs
    ours = ours[..., : theirs.shape[-1]]
    if theirs.shape[:2] == tokens_BL.shape:
        real_BL = batch['documents'] > 0
        ours, theirs = ours[real_BL], theirs[real_BL]
    assert np.ptp(theirs) > 0.1  # not all alike
    scale = max(1.0, np.abs(theirs).max())
    np.testing.assert_allclose(ours / scale, theirs / scale, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize('name', ['plain', pytest.param('gated', marks=pytest.mark.slow)])
def test_both_networks_give_the_same_logits(libraries, tmp_path, name):
    model, params = made(name)
    write(tmp_path, params, model)
    ours = bind(model, fakes.VOCAB_SIZE)

    def generate(params, batch):
        features_BPE, table_VE, bias_V = ours.generate(params, batch, None, None)
        return jnp.einsum('BPE,VE->BPV', features_BPE, table_VE) + bias_V[None, None]

    def discriminate(params, batch):
        return ours.discriminate(params, batch, None)

    assert_the_same(libraries, tmp_path / 'discriminator', discriminate, params)
    assert_the_same(libraries, tmp_path / 'generator', generate, params)


def test_an_encoder_alone_gives_the_same_states(libraries, tmp_path):
    model = model_of(generator='uniform', embedding_sharing='shared', generator_embedding_size=None)
    _, both = made('plain')
    params = {part: both[part] for part in ('embeddings', 'discriminator')}
    write(tmp_path, params, model)
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['architectures'] == ['ModernBertModel']

    def encode(params, batch):
        return bind(model, fakes.VOCAB_SIZE).encode(params, batch, None)

    assert_the_same(libraries, tmp_path, encode, params)


HEADS = [
    ('classification', 'row', 'modernbert', 3),
    pytest.param('classification', 'row', 'modernbert_cls', 3, marks=pytest.mark.slow),
    pytest.param('regression', 'row', 'modernbert', 1, marks=pytest.mark.slow),
    pytest.param('multi_label', 'row', 'modernbert', 3, marks=pytest.mark.slow),
    pytest.param('tagging', 'token', 'modernbert', 5, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(('task', 'form', 'style', 'C'), HEADS)
def test_fine_tuned_models_give_the_same_logits(libraries, tmp_path, task, form, style, C):
    model = model_of(generator='uniform', embedding_sharing='shared', generator_embedding_size=None)
    _, both = made('plain')
    params = {part: both[part] for part in ('embeddings', 'discriminator')}
    head = bind(model, fakes.VOCAB_SIZE).head(HeadShape(form, style, C, dropout=0.1))
    shapes = jax.eval_shape(head.init, jax.random.key(0))
    random = np.random.default_rng(1)
    params['task_head'] = jax.tree.map(
        lambda leaf: random.standard_normal(leaf.shape, np.float32), shapes
    )
    record = {'style': style, 'head_dropout': 0.1}
    write(tmp_path, params, model, task, record=record)
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['classifier_pooling'] == ('cls' if style.endswith('cls') else 'mean')

    def answer(params, batch):
        return head.outputs(params, batch, None)['logits']

    assert_the_same(libraries, tmp_path, answer, params)
    back = projects.read_huggingface(tmp_path)
    assert (back.task, back.head_style, back.head_dropout) == (task, style, 0.1)


@pytest.mark.slow
def test_a_folder_of_transformers_own_is_read_and_computes_alike(libraries, tmp_path):
    torch, transformers = libraries
    torch.manual_seed(0)
    config = transformers.ModernBertConfig(
        vocab_size=fakes.VOCAB_SIZE, hidden_size=32, intermediate_size=48, num_hidden_layers=4,
        num_attention_heads=2, max_position_embeddings=64, global_attn_every_n_layers=2,
        local_attention=6, pad_token_id=0, cls_token_id=2, sep_token_id=3, bos_token_id=2,
        eos_token_id=3, initializer_range=0.3,
    )  # fmt: skip
    transformers.ModernBertForMaskedLM(config).save_pretrained(tmp_path)
    write_tokenizer(fakes.tokenizer(), tmp_path, 64, has_types=False)
    found = projects.read_huggingface(tmp_path)
    assert not found.report.notes
    assert found.objective == 'mlm' and not found.model.biases
    assert (found.model.local_window, found.model.local_rotary_base) == (3, 10_000.0)
    (line,) = check.against_transformers(tmp_path, found)
    assert line.startswith('checked ModernBertForMaskedLM')
