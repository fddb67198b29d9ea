"""Exported folders in transformers: the same numbers, and nothing missing or unexpected."""

import contextlib
import dataclasses
import io
import itertools
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config.settings import TokenizerConfig
from electra_jax.interop import projects, transfer
from electra_jax.interop import tokenizer as huggingface_tokenizer
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.tokenizers.sentencepiece import SentencePiece
from electra_jax.tokenizers.wordpiece import WordPiece
from tests.support import compiled, fakes

torch = pytest.importorskip('torch', reason='needs the parity extra')
transformers = pytest.importorskip('transformers', reason='needs the parity extra')

TOLERANCE = 1e-4
ENCODER = ('embeddings', 'embedding_delta', 'discriminator')
TEXTS = ['the new york cafe [MASK] and', 'eating 12 cafes.']


MODELS = {
    name: fakes.MODELS[name]
    for name in ('projected', 'as_wide_as_embeddings', 'tied', 'untied_narrow')
}
DISENTANGLED = {'embedding_sharing': 'disentangled'}


@pytest.fixture(scope='module', params=[*MODELS, 'disentangled'])
def pair(request, tmp_path_factory):
    """(folder, our parameters, model) of a pair in which every number is its own."""
    model = fakes.model(**{**MODELS, 'disentangled': DISENTANGLED}[request.param])
    # Small weights and norms around 1: logits of ordinary size.
    params = jax.tree_util.tree_map_with_path(
        lambda path, x: 0.1 * x + np.float32(path[-1].key == 'scale'), fakes.params(model)
    )
    folder = tmp_path_factory.mktemp(request.param)
    projects.write_huggingface(folder, Checkpoint(params, model, fakes.tokenizer()))
    return folder, params, model


def load_exactly(name, folder):
    """A class of transformers from a folder, with no key missing, unexpected or of other shape."""
    network, info = getattr(transformers, name).from_pretrained(
        str(folder), output_loading_info=True
    )
    assert not any(info.values()), info
    return network.eval()


def as_rows(theirs):
    """transformers' batch as ours."""
    tokens_BL = theirs['input_ids'].numpy().astype(np.int32)
    documents_BL = theirs['attention_mask'].numpy().astype(np.int32)
    positions_BL = np.broadcast_to(np.arange(tokens_BL.shape[1], dtype=np.int32), tokens_BL.shape)
    return {
        'tokens': tokens_BL,
        'documents': documents_BL,
        'positions': positions_BL,
        'types': theirs['token_type_ids'].numpy().astype(np.int32),
    }


def batch_of(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    theirs = tokenizer(TEXTS, ['of', 'the er'], padding=True, return_tensors='pt')
    return theirs, as_rows(theirs)


def test_the_discriminator_gives_the_same_logits(pair):
    folder, params, model = pair
    theirs, ours = batch_of(folder / 'discriminator')
    network = load_exactly('ElectraForPreTraining', folder / 'discriminator')
    with torch.no_grad():
        expected_BL = network(**theirs).logits.numpy()
    logits_BL = compiled.networks(model, fakes.VOCAB_SIZE).discriminate(params, ours, None)
    real_BL = ours['documents'] > 0
    assert np.ptp(expected_BL[real_BL]) > 0.1  # not all alike
    np.testing.assert_allclose(logits_BL[real_BL], expected_BL[real_BL], atol=TOLERANCE, rtol=0)


def generator_logits(model, params, ours):
    L = ours['tokens'].shape[1]
    every_BP = np.broadcast_to(np.arange(L, dtype=np.int32), ours['tokens'].shape)
    features_BPE, table_VE, bias_V = compiled.networks(model, fakes.VOCAB_SIZE).generate(
        params, ours, every_BP, None
    )
    logits_BPV = jnp.einsum('BPE,VE->BPV', features_BPE, table_VE) + bias_V[None, None]
    return np.asarray(logits_BPV)[..., : fakes.VOCAB_SIZE]


def test_the_generator_gives_the_same_logits(pair):
    folder, params, model = pair
    theirs, ours = batch_of(folder / 'generator')
    network = load_exactly('ElectraForMaskedLM', folder / 'generator')
    with torch.no_grad():
        expected_BLV = network(**theirs).logits.numpy()
    real_BL = ours['documents'] > 0
    found_BLV = generator_logits(model, params, ours)
    assert np.ptp(expected_BLV[real_BL]) > 0.1
    np.testing.assert_allclose(found_BLV[real_BL], expected_BLV[real_BL], atol=TOLERANCE, rtol=0)


def test_fill_mask_answers_as_our_generator_does(pair):
    folder, params, model = pair
    fill = transformers.pipeline('fill-mask', str(folder / 'generator'), device='cpu')
    answers = fill(TEXTS[0], top_k=5)
    theirs = fill.tokenizer(TEXTS[:1], return_tensors='pt')
    ours = as_rows(theirs)
    at = ours['tokens'][0].tolist().index(fakes.tokenizer().special.mask)
    logits_V = generator_logits(model, params, ours)[0, at]
    probs_V = np.exp(logits_V - logits_V.max())
    probs_V /= probs_V.sum()
    best = np.argsort(-probs_V)[:5]
    assert [answer['token'] for answer in answers] == best.tolist()
    scores = [answer['score'] for answer in answers]
    np.testing.assert_allclose(scores, probs_V[best], atol=TOLERANCE, rtol=0)


def test_transformers_own_folders_are_read(pair, tmp_path):
    folder, params, _ = pair
    for role, name in (
        ('discriminator', 'ElectraForPreTraining'),
        ('generator', 'ElectraForMaskedLM'),
    ):
        network = load_exactly(name, folder / role)
        network.save_pretrained(tmp_path / role)
        ours, theirs = (sorted(keys(place / role)) for place in (folder, tmp_path))
        assert ours == theirs
    fakes.assert_same(projects.read_huggingface(tmp_path).params, transfer.fold_embeddings(params))


def test_shards_of_transformers_are_read(pair, tmp_path):
    folder, params, _ = pair
    network = load_exactly('ElectraForPreTraining', folder / 'discriminator')
    network.save_pretrained(tmp_path, max_shard_size='200KB')
    assert (tmp_path / 'model.safetensors.index.json').is_file()
    loaded = projects.read_huggingface(tmp_path)
    parts = ('embeddings', 'discriminator', 'discriminator_head')
    folded = transfer.fold_embeddings(params)
    fakes.assert_same(loaded.params, {part: folded[part] for part in parts})


def keys(folder):
    from safetensors import safe_open

    with safe_open(folder / 'model.safetensors', 'np') as file:
        return [(name, file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118


def test_a_bare_encoder_gives_the_same_states(pair, tmp_path):
    _, params, model = pair
    only = {part: params[part] for part in ENCODER if part in params}
    uniform = dataclasses.replace(model, generator='uniform')
    projects.write_huggingface(tmp_path, Checkpoint(only, uniform, fakes.tokenizer()))
    theirs, ours = batch_of(tmp_path)
    with torch.no_grad():
        expected_BLD = load_exactly('ElectraModel', tmp_path)(**theirs).last_hidden_state.numpy()
    hidden_BLD = compiled.networks(model, fakes.VOCAB_SIZE).encode(params, ours, None)
    real_BL = ours['documents'] > 0
    np.testing.assert_allclose(hidden_BLD[real_BL], expected_BLD[real_BL], atol=TOLERANCE, rtol=0)


HEADS = {
    'classification': ('ElectraForSequenceClassification', 3),
    'tagging': ('ElectraForTokenClassification', 5),
    'spans': ('ElectraForQuestionAnswering', 2),
}


@pytest.mark.parametrize('task', HEADS)
def test_fine_tuned_heads_reach_the_right_places(pair, tmp_path, task):
    _, params, model = pair
    architecture, C = HEADS[task]
    random = np.random.default_rng(0)

    def dense(inputs, outputs):
        kernel = random.standard_normal((inputs, outputs), np.float32) * 0.1
        return {'kernel': kernel, 'bias': random.standard_normal(outputs, np.float32)}

    head = {'dense': dense(128, 128)} if task == 'classification' else {}
    head['output'] = dense(128, C)
    tuned = {part: params[part] for part in ENCODER if part in params} | {'task_head': head}
    what = Checkpoint(
        tuned, dataclasses.replace(model, generator='uniform'), fakes.tokenizer(), task
    )
    projects.write_huggingface(tmp_path, what)
    network = load_exactly(architecture, tmp_path)
    theirs, ours = batch_of(tmp_path)
    with torch.no_grad():
        outputs = network(**theirs)
    x_BLD = np.asarray(compiled.networks(model, fakes.VOCAB_SIZE).encode(params, ours, None))
    if task == 'classification':
        x_BD = x_BLD[:, 0] @ head['dense']['kernel'] + head['dense']['bias']
        x_BLD = np.asarray(jax.nn.gelu(x_BD, approximate=False))[:, None]
    logits_BLC = x_BLD @ head['output']['kernel'] + head['output']['bias']
    if task == 'spans':
        found = torch.stack([outputs.start_logits, outputs.end_logits], -1).numpy()
    else:
        found = outputs.logits.numpy()
        found = found[:, None] if task == 'classification' else found
    real_BL = ours['documents'][:, : found.shape[1]] > 0
    np.testing.assert_allclose(found[real_BL], logits_BLC[real_BL], atol=TOLERANCE, rtol=0)


@pytest.mark.skipif('ELECTRA_DATA' not in os.environ, reason='needs ELECTRA_DATA')
@pytest.mark.parametrize('lower_case', [True, False])
def test_ids_of_real_sentences_are_the_same(tmp_path, lower_case):
    data = pathlib.Path(os.environ['ELECTRA_DATA'])
    tokenizer = WordPiece.from_file(
        TokenizerConfig(path=str(data / 'vocab.txt'), lower_case=lower_case)
    )
    assert_same_ids(tokenizer, real_lines(data, 500), tmp_path)


@pytest.mark.skipif('ELECTRA_DATA' not in os.environ, reason='needs ELECTRA_DATA')
def test_ids_of_a_bpe_model_are_the_same_on_real_sentences(tmp_path):
    lines = real_lines(pathlib.Path(os.environ['ELECTRA_DATA']), 600)
    config = TokenizerConfig(kind='bpe', vocab_size=1500, lower_case=False)
    assert_same_ids(SentencePiece.train(lines[:300], config), lines[300:], tmp_path)


def real_lines(data, count):
    with open(data / 'wikipedia' / 'validation.txt', encoding='utf-8') as file:
        return [line.rstrip('\n') for line in itertools.islice(file, count)]


def assert_same_ids(tokenizer, lines, folder):
    huggingface_tokenizer.write_tokenizer(tokenizer, folder, 100_000)
    (folder / 'config.json').write_text('{"model_type": "electra"}')
    with contextlib.redirect_stderr(io.StringIO()):
        theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
    special = tokenizer.special
    for line, ids in zip(lines, tokenizer.encode_batch(lines), strict=True):
        assert theirs(line).input_ids == [special.cls, *ids.tolist(), special.sep], line
