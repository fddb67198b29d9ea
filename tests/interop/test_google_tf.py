"""Google's variables: names, round trips, the model they imply, and where their files are."""

import json

import jax
import numpy as np
import pytest

from electra_jax.config.shapes import generator_shape
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import named_leaves
from electra_jax.interop import google_tf, projects
from electra_jax.model.bind import bind
from electra_jax.tokenizers.wordpiece import Added, Rules, WordPiece
from tests.support import fakes

TWO_TOWERS = {'two_tower': {'generator': 'two_tower'}}
NO_GENERATOR = {'uniform': {'generator': 'uniform'}, 'unigram': {'generator': 'unigram'}}


def exported(model, **changes):
    params = fakes.params(model, **changes)
    variables, report = google_tf.variables_from_params(params, fakes.VOCAB_SIZE)
    assert report.left_out == {} and report.notes == []
    return params, variables


@pytest.mark.parametrize('changes', {**fakes.MODELS, **TWO_TOWERS, **NO_GENERATOR}.values())
def test_a_round_trip_changes_no_bit(changes):
    model = fakes.model(**changes)
    params, variables = exported(model)
    back, report = google_tf.params_from_variables(variables, model)
    fakes.assert_same(params, back)
    assert report.missing == [] and report.left_out == {}


DISENTANGLED = {'disentangled': {'embedding_sharing': 'disentangled'}}
VARIANTS = {**fakes.MODELS, **TWO_TOWERS, **DISENTANGLED}


@pytest.mark.parametrize('changes', VARIANTS.values(), ids=VARIANTS)
def test_the_fake_tree_is_that_of_the_model(changes):
    model = fakes.model(**changes)
    networks = ('generator', 'discriminator')
    real = jax.eval_shape(lambda: bind(model, fakes.VOCAB_SIZE).init(jax.random.key(0), networks))
    shapes = {path: leaf.shape for path, leaf in named_leaves(real)}
    assert {path: leaf.shape for path, leaf in named_leaves(fakes.params(model))} == shapes


def test_fresh_parameters_go_there_and_back():
    model = fakes.model()
    networks = ('generator', 'discriminator')
    make = jax.jit(lambda: bind(model, fakes.VOCAB_SIZE).init(jax.random.key(0), networks))
    params = jax.tree.map(np.asarray, make())
    variables, _ = google_tf.variables_from_params(params, fakes.VOCAB_SIZE)
    fakes.assert_same(params, google_tf.params_from_variables(variables, model)[0])


def test_names_shapes_and_numbers_are_googles():
    model = fakes.model()
    params, variables = exported(model)
    layers = params['discriminator']['layers']
    query = variables['electra/encoder/layer_3/attention/self/query/kernel']
    np.testing.assert_array_equal(
        query, layers['attention']['query']['kernel'][3].reshape(128, 128)
    )
    output = variables['electra/encoder/layer_1/attention/output/dense/kernel']
    np.testing.assert_array_equal(
        output, layers['attention']['output']['kernel'][1].reshape(128, 128)
    )
    shapes = {name: x.shape for name, x in variables.items()}
    assert shapes['electra/embeddings/word_embeddings'] == (fakes.VOCAB_SIZE, 24)
    assert shapes['electra/embeddings/LayerNorm/gamma'] == (24,)
    assert shapes['electra/embeddings_project/kernel'] == (24, 128)
    assert shapes['generator/embeddings_project/kernel'] == (24, 64)
    assert shapes['generator/encoder/layer_1/intermediate/dense/kernel'] == (64, 256)
    assert shapes['generator/encoder/layer_0/attention/output/LayerNorm/beta'] == (64,)
    assert shapes['generator_predictions/dense/kernel'] == (64, 24)
    assert shapes['generator_predictions/output_bias'] == (fakes.VOCAB_SIZE,)
    assert shapes['discriminator_predictions/dense_1/kernel'] == (128, 1)
    assert 'generator/embeddings/word_embeddings' not in shapes
    assert len(variables) == 5 + 2 + 4 * 16 + 2 + 2 * 16 + 5 + 4


def test_two_towers_have_a_head_of_their_own():
    _, variables = exported(fakes.model(generator='two_tower'))
    scopes = {name.split('/')[0] for name in variables}
    assert scopes == {
        'electra', 'generator_ltr', 'generator_rtl', 'cloze_predictions',
        'discriminator_predictions',
    }  # fmt: skip
    assert variables['cloze_predictions/dense/kernel'].shape == (128, 24)


@pytest.mark.parametrize('changes', {**fakes.MODELS, **TWO_TOWERS}.values())
def test_the_model_is_read_off_the_shapes(changes):
    model = fakes.model(**changes)
    _, variables = exported(model)
    found = google_tf.model_from_variables(variables)
    fields = (
        'num_layers', 'hidden_size', 'ffn_size', 'num_heads', 'embedding_size', 'max_positions',
        'type_vocab_size', 'generator', 'generator_layers', 'generator_width', 'embedding_sharing',
        'generator_embedding_size', 'norm',
    )  # fmt: skip
    assert {f: getattr(found, f) for f in fields} == {f: getattr(model, f) for f in fields}


def test_a_released_checkpoint_lacks_a_head_and_says_so():
    params, variables = exported(fakes.model(), discriminator_head=False)
    variables['global_step'] = np.array(1000)
    model = google_tf.model_from_variables(variables)
    back, report = google_tf.params_from_variables(variables, model)
    fakes.assert_same(params, back)
    assert report.missing == ['discriminator_head']
    assert report.left_out == {'global_step': 'number of steps taken'}


def test_masked_language_modelling_is_told_from_its_scopes():
    model = fakes.model(generator='tied', generator_layers=1.0, generator_width=1.0)
    params, variables = exported(model, discriminator_head=False)
    found = google_tf.model_from_variables(variables)
    assert found.generator == 'tied'
    fakes.assert_same(params, google_tf.params_from_variables(variables, found)[0])


def test_moments_and_step_of_a_training_checkpoint_are_ignored_and_reported():
    model = fakes.model()
    params, variables = exported(model)
    slots = {f'{name}/{slot}': x for name, x in variables.items() for slot in ('adam_m', 'adam_v')}
    training = {**variables, **slots, 'global_step': np.array(77, np.int64)}
    back, report = google_tf.params_from_variables(training, model)
    fakes.assert_same(params, back)
    assert set(report.left_out) == {*slots, 'global_step'}
    assert set(report.left_out.values()) == {"moments of Google's Adam", 'number of steps taken'}


def test_disentangled_tables_are_written_as_their_sum():
    model = fakes.model(embedding_sharing='disentangled')
    params = fakes.params(model)
    variables, report = google_tf.variables_from_params(params, fakes.VOCAB_SIZE)
    base, delta = params['embeddings'], params['embedding_delta']
    for name, theirs in (('word', 'word'), ('position', 'position'), ('type', 'token_type')):
        rows = fakes.VOCAB_SIZE if name == 'word' else None
        np.testing.assert_array_equal(
            variables[f'electra/embeddings/{theirs}_embeddings'], (base[name] + delta[name])[:rows]
        )
        np.testing.assert_array_equal(
            variables[f'generator/embeddings/{theirs}_embeddings'], base[name][:rows]
        )
    np.testing.assert_array_equal(
        variables['electra/embeddings/LayerNorm/gamma'], delta['norm']['scale']
    )
    np.testing.assert_array_equal(
        variables['generator/embeddings/LayerNorm/gamma'], base['norm']['scale']
    )
    assert 'disentangled' in report.notes[0]
    found = google_tf.model_from_variables(variables)
    assert (found.embedding_sharing, found.generator_embedding_size) == ('untied', 24)


def test_what_google_does_not_have_is_refused_or_named():
    params = fakes.params(fakes.model())
    norm = {'scale': np.ones(128, np.float32)}
    pre = {**params, 'discriminator': {**params['discriminator'], 'norm': norm}}
    with pytest.raises(CheckpointError, match='discriminator has norm/scale'):
        google_tf.variables_from_params(pre, fakes.VOCAB_SIZE)
    more = {**params, 'language_head': {'x': np.ones(2)}, 'task_head': {'x': np.ones(2)}}
    variables, report = google_tf.variables_from_params(more, fakes.VOCAB_SIZE)
    assert set(report.left_out) == {'language_head', 'task_head'}
    assert sorted(variables) == sorted(exported(fakes.model())[1])
    with pytest.raises(CheckpointError, match='mystery'):
        google_tf.variables_from_params({**params, 'mystery': {}}, fakes.VOCAB_SIZE)
    towers = fakes.params(fakes.model(generator='two_tower'))
    towers['generator_embeddings'] = params['embeddings']
    with pytest.raises(CheckpointError, match='generator_embeddings'):
        google_tf.variables_from_params(towers, fakes.VOCAB_SIZE)


def test_the_detector_of_teams_takes_its_head_along():
    model, networks = fakes.model(), ('generator', 'selection')
    real = jax.eval_shape(lambda: bind(model, fakes.VOCAB_SIZE).init(jax.random.key(0), networks))
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), real)
    variables, report = google_tf.variables_from_params(params, fakes.VOCAB_SIZE)
    assert set(report.left_out) == {'detector', 'selection_head', 'discriminator_head'}
    assert not [name for name in variables if name.startswith('discriminator_predictions')]


def broken(change):
    _, variables = exported(fakes.model())
    change(variables)
    google_tf.params_from_variables(variables, fakes.model())


QUERY = 'electra/encoder/layer_2/attention/self/query/kernel'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda v: v.pop(QUERY), f'only some of discriminator: {QUERY}'),
        (lambda v: v.update({QUERY: np.ones((128, 64), np.float32)}), r'\[128, 64\].*\[128, 128\]'),
        (lambda v: v.update({QUERY: np.ones((128, 128), np.int64)}), 'is int64'),
        (lambda v: v.update({'electra/pooler/kernel': np.ones(3)}), 'electra/pooler/kernel'),
        (lambda v: v.update({'bert/x/adam_mm': np.ones(3)}), 'bert/x/adam_mm'),
        (lambda v: v.pop('electra/embeddings/word_embeddings'), 'no variable electra/embeddings'),
        (
            lambda v: [v.pop(n) for n in list(v) if n.startswith('electra/e') and 'layer_3' in n],
            'only some of discriminator',
        ),
    ],
)
def test_a_broken_source_is_refused(change, message):
    with pytest.raises(CheckpointError, match=message):
        broken(change)


def test_heads_of_other_widths_need_settings():
    model = fakes.model(num_heads=4, hidden_size=144, embedding_size=144, generator_width=1.0)
    params, variables = exported(model)
    assert google_tf.model_from_variables(variables).num_heads == 2  # by the reference's rule
    found = google_tf.model_from_variables(variables, num_heads=4)
    assert found.num_heads == generator_shape(found).num_heads == 4
    fakes.assert_same(params, google_tf.params_from_variables(variables, model)[0])
    _, variables = exported(fakes.model(num_heads=5, hidden_size=320, generator_width=0.2))
    variables['electra/encoder/layer_0/attention/self/query/kernel'] = np.ones((200, 200))
    with pytest.raises(CheckpointError, match=r'--num_heads=N'):
        google_tf.model_from_variables(variables)


def test_a_generator_of_other_proportions_is_refused():
    _, variables = exported(fakes.model())
    for name in [n for n in variables if n.startswith('generator/') and 'intermediate' in n]:
        variables[name] = variables[name][..., :100]
    with pytest.raises(CheckpointError, match='ffn_size 100'):
        google_tf.model_from_variables(variables)


def test_a_smaller_vocabulary_crops_and_a_larger_one_is_refused():
    model = fakes.model()
    params, variables = exported(model)
    back, report = google_tf.params_from_variables(variables, model, fakes.VOCAB_SIZE - 6)
    assert 'have no token' in report.notes[0]
    assert not back['embeddings']['word'][fakes.VOCAB_SIZE - 6 :].any()
    assert not back['generator_head']['output_bias'][fakes.VOCAB_SIZE - 6 :].any()
    np.testing.assert_array_equal(
        back['embeddings']['word'][:80], params['embeddings']['word'][:80]
    )
    with pytest.raises(CheckpointError, match='not the vocabulary of this model'):
        google_tf.params_from_variables(variables, model, fakes.VOCAB_SIZE + 1)


def test_the_newest_checkpoint_of_a_folder_is_found(tmp_path):
    for name in ('model.ckpt-900.index', 'model.ckpt-1000.index'):
        (tmp_path / name).touch()
    (tmp_path / 'checkpoint').write_text('model_checkpoint_path: "/etc/passwd"\n')
    assert google_tf.find_checkpoint(tmp_path).name == 'model.ckpt-1000'
    assert google_tf.find_checkpoint(tmp_path / 'model.ckpt-900').name == 'model.ckpt-900'
    assert google_tf.find_checkpoint(tmp_path / 'model.ckpt-900.index').name == 'model.ckpt-900'
    (tmp_path / 'best.index').touch()
    with pytest.raises(CheckpointError, match='several checkpoints'):
        google_tf.find_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r'no file other.index'):
        google_tf.find_checkpoint(tmp_path / 'other')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(CheckpointError, match=r'no file \*.index'):
        google_tf.find_checkpoint(tmp_path / 'empty')
    (tmp_path / 'empty' / '.index').touch()  # without a prefix
    with pytest.raises(CheckpointError, match='there is no TensorFlow checkpoint'):
        google_tf.find_checkpoint(tmp_path / 'empty')


SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '<S>', '<T>', '[unused1]']


@pytest.mark.parametrize(
    ('pieces', 'lower_case', 'why'),
    [
        (['the', '中', '##ing', 'a\u200db'], True, 'no piece that lower-casing'),
        (['the', 'The'], False, "pieces such as 'The' that lower-casing"),
        (['한국', 'abc'], False, "such as '한국' that lower-casing or stripping accents changes"),
        (['ที่', 'abc'], False, "such as 'ที่' that lower-casing"),
        (['中', '京'], True, 'no piece'),
    ],
)
def test_pieces_show_how_text_was_normalized(tmp_path, pieces, lower_case, why):
    vocab = tmp_path / 'vocab.txt'
    vocab.write_text('\n'.join([*SPECIAL, *pieces]))
    tokenizer, notes = projects._google_tokenizer(vocab, None)
    assert tokenizer.lower_case == lower_case and why in notes[0] and len(notes) == 1
    (tmp_path / 'tokenizer_config.json').write_text(
        json.dumps({'do_lower_case': True, 'strip_accents': False})
    )
    tokenizer, notes = projects._google_tokenizer(vocab, None)
    assert (tokenizer.lower_case, tokenizer.strip_accents) == (True, False)
    assert bool(notes) == ('The' in pieces)
    tokenizer, notes = projects._google_tokenizer(vocab, False)
    assert not tokenizer.lower_case and 'overrides' in notes[0]


def test_native_files_keep_every_switch(tmp_path):
    rules = Rules(split_chinese=False, added=(Added('[E1]'),), special={'unk': '<none>'})
    before = WordPiece(['[PAD]', '<none>', *SPECIAL[2:], 'the'], False, True, rules=rules)
    before.write_native(tmp_path)
    after, notes = projects._google_tokenizer(tmp_path / 'vocab.txt', None)
    assert after.hash == before.hash and notes == []
