"""Tokenizers written for transformers and read from its folders."""

import json

import numpy as np
import pytest

from electra_jax.config.settings import TokenizerConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.interop import tokenizer as files
from electra_jax.tokenizers.sentencepiece import SentencePiece
from electra_jax.tokenizers.wordpiece import WordPiece
from tests.support import fakes

TEXT = [
    'The cat and the dog of new york, eating 123 cafes.',
    '  spaced   out\ttext  ',
    'CAFÉ naïve',
    'x' * 150,
    'x' * 250,
    '東京 is a city',
    '',
]


def trained(kind: str, lower_case: bool = True) -> SentencePiece:
    random = np.random.default_rng(0)
    words = ['the', 'cat', 'and', 'dog', 'new', 'york', 'eating', 'cafes', 'city', 'spaced', 'out']
    lines = [' '.join(random.choice(words, 8)) + '.' for _ in range(400)]
    size = {'unigram': 36, 'bpe': 60}[kind]
    config = TokenizerConfig(kind=kind, vocab_size=size, lower_case=lower_case)
    return SentencePiece.train(lines, config)


ALL = {
    'wordpiece': lambda: fakes.tokenizer(),
    'cased': lambda: fakes.tokenizer(lower_case=False),
    'accents kept': lambda: WordPiece(fakes.VOCAB, True, False),
    'unigram': lambda: trained('unigram'),
    'bpe': lambda: trained('bpe', lower_case=False),
}


@pytest.mark.parametrize('make', ALL.values(), ids=ALL)
def test_what_is_written_is_read_again(make, tmp_path):
    tokenizer = make()
    files.write_tokenizer(tokenizer, tmp_path, 128)
    found, notes = files.read_tokenizer(tmp_path)
    assert found.hash == tokenizer.hash and notes == []
    settings = json.loads((tmp_path / 'tokenizer_config.json').read_text())
    assert settings['model_max_length'] == 128 and settings['mask_token'] == '[MASK]'


@pytest.mark.parametrize('make', ALL.values(), ids=ALL)
def test_auto_tokenizer_gives_the_same_ids(make, tmp_path):
    transformers = pytest.importorskip('transformers', reason='needs the parity extra')
    tokenizer = make()
    files.write_tokenizer(tokenizer, tmp_path, 128)
    (tmp_path / 'config.json').write_text('{"model_type": "electra"}')
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    special = tokenizer.special
    for text, ids in zip(TEXT, tokenizer.encode_batch(TEXT), strict=True):
        assert theirs(text).input_ids == [special.cls, *ids.tolist(), special.sep]
    pair = theirs('the cat', 'and new york')
    first, second = tokenizer.encode_batch(['the cat', 'and new york'])
    assert pair.input_ids == [special.cls, *first, special.sep, *second, special.sep]
    assert pair.token_type_ids == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert theirs.mask_token_id == special.mask and theirs.pad_token_id == special.pad
    assert len(theirs) == tokenizer.vocab_size
    assert theirs('the [MASK]').input_ids[-2] == special.mask


def test_vocab_txt_alone_is_enough(tmp_path):
    (tmp_path / 'vocab.txt').write_text('\n'.join(fakes.VOCAB) + '\n')
    assert files.read_tokenizer(tmp_path)[0].hash == fakes.tokenizer().hash
    (tmp_path / 'tokenizer_config.json').write_text('{"do_lower_case": false}')
    assert files.read_tokenizer(tmp_path)[0].hash == fakes.tokenizer(lower_case=False).hash


def test_a_folder_without_a_tokenizer_has_none(tmp_path):
    assert files.read_tokenizer(tmp_path) == (None, [])


@pytest.fixture
def folder(tmp_path):
    files.write_tokenizer(fakes.tokenizer(), tmp_path, 128)
    return tmp_path


def change(folder, edit):
    path = folder / 'tokenizer.json'
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda d: d['normalizer'].update(type='NFC'), "normalizer.type is 'NFC'"),
        (lambda d: d.update(normalizer=None), 'normalizer.type is None'),
        (lambda d: d['normalizer'].update(handle_chinese_chars=False), 'handle_chinese_chars is F'),
        (lambda d: d['pre_tokenizer'].update(type='Whitespace'), "'Whitespace', allowed"),
        (lambda d: d['model'].update(type='WordLevel'), 'is a WordLevel tokenizer'),
        (lambda d: d['model'].update(continuing_subword_prefix='@@'), "'@@', allowed: '##'"),
        (lambda d: d['model']['vocab'].update(new=900), f'are not 0 to {fakes.VOCAB_SIZE - 1}'),
    ],
)
def test_a_pipeline_that_ours_is_not_is_refused(folder, edit, message):
    change(folder, edit)
    with pytest.raises(CheckpointError, match=message):
        files.read_tokenizer(folder)


def test_added_tokens_and_shorter_words_are_read_and_reported(folder):
    size = fakes.VOCAB_SIZE
    change(
        folder,
        lambda d: [
            d['added_tokens'].append({'id': size, 'content': '[NEW]', 'special': True}),
            d['model'].update(max_input_chars_per_word=100),
        ],
    )
    tokenizer, notes = files.read_tokenizer(folder)
    assert tokenizer.tokens([size]) == ['[NEW]'] and 'more than 100 letters' in notes[0]


def test_pieces_with_other_numbers_are_refused(tmp_path):
    files.write_tokenizer(trained('unigram'), tmp_path, 128)
    change(tmp_path, lambda d: d['model']['vocab'].reverse())
    with pytest.raises(CheckpointError, match=r'pieces.*spiece.model'):
        files.read_tokenizer(tmp_path)


@pytest.mark.parametrize('vocab', [None, 7, [1], [['a']], {'a': 'b'}])
def test_damaged_pieces_are_refused(tmp_path, vocab):
    files.write_tokenizer(trained('unigram'), tmp_path, 128)
    change(tmp_path, lambda d: d['model'].update(vocab=vocab))
    with pytest.raises(CheckpointError, match=r'tokenizer.json'):
        files.read_tokenizer(tmp_path)


def test_a_pipeline_with_other_ids_is_not_written(tmp_path, monkeypatch):
    other = files.fast_tokenizer(fakes.tokenizer(lower_case=False))
    monkeypatch.setattr(files, 'fast_tokenizer', lambda tokenizer: other)
    with pytest.raises(CheckpointError, match='The quick brown fox'):
        files.write_tokenizer(fakes.tokenizer(), tmp_path, 128)
