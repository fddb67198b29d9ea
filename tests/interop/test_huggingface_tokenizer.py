"""Tokenizers written for transformers and read from its folders."""

import json

import numpy as np
import pytest

from electra_jax.config.settings import TokenizerConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.interop import probes
from electra_jax.interop import tokenizer as files
from electra_jax.tokenizers import load
from electra_jax.tokenizers.sentencepiece import SentencePiece
from electra_jax.tokenizers.wordpiece import Rules, WordPiece
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
    bert = Rules(max_word_chars=100)  # as transformers' classes have it
    (tmp_path / 'vocab.txt').write_text('\n'.join(fakes.VOCAB) + '\n')
    found = files.read_tokenizer(tmp_path)[0]
    assert found.hash == WordPiece(fakes.VOCAB, rules=bert).hash and found.fits(fakes.tokenizer())
    (tmp_path / 'tokenizer_config.json').write_text('{"do_lower_case": false}')
    found = files.read_tokenizer(tmp_path)[0]
    assert found.hash == WordPiece(fakes.VOCAB, False, rules=bert).hash
    assert not found.fits(fakes.tokenizer())


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
        (lambda d: d['normalizer'].update(clean_text=False), 'normalizer.clean_text is False'),
        (lambda d: d['normalizer'].update(lowercase=False), 'lowercase is False in tokenizer.json'),
        (lambda d: d.update(post_processor=None), 'its post_processor'),
        (lambda d: d['post_processor']['pair'].pop(), 'its post_processor'),
        (lambda d: d.update(truncation={'direction': 'Left'}), 'truncation.direction is Left'),
        (lambda d: d['pre_tokenizer'].update(type='Whitespace'), "'Whitespace', allowed"),
        (lambda d: d['model'].update(type='WordLevel'), 'is a WordLevel tokenizer'),
        (lambda d: d['model'].update(continuing_subword_prefix='@@'), "'@@', allowed: '##'"),
        (lambda d: d['model'].update(unk_token='[GONE]'), r'cannot cut the text .*\[UNK\]'),
        (lambda d: d['model']['vocab'].update(new=900), f'are not 0 to {fakes.VOCAB_SIZE - 1}'),
    ],
)
def test_a_pipeline_that_ours_is_not_is_refused(folder, edit, message):
    change(folder, edit)
    with pytest.raises(CheckpointError, match=message):
        files.read_tokenizer(folder)


NEW = {'single_word': False, 'lstrip': False, 'rstrip': False, 'normalized': True}


def test_what_tokenizer_json_states_is_followed(folder):
    size = fakes.VOCAB_SIZE
    new = {'id': size, 'content': '[NEW]', 'special': False, **NEW}
    change(
        folder,
        lambda d: [
            d['added_tokens'].append(new),
            d['model'].update(max_input_chars_per_word=100),
            d['normalizer'].update(handle_chinese_chars=False),
        ],
    )
    tokenizer, notes = files.read_tokenizer(folder)
    assert tokenizer.tokens([size]) == ['[NEW]'] and not notes
    assert not tokenizer.rules.split_chinese and tokenizer.rules.max_word_chars == 100
    (ids,) = tokenizer.encode_batch(['the[new]cat the'])
    assert ids.tolist().count(size) == 1
    files.write_tokenizer(tokenizer, folder, 128)
    assert files.read_tokenizer(folder)[0].hash == tokenizer.hash
    assert load.from_json(json.loads(json.dumps(tokenizer.to_json()))).hash == tokenizer.hash


def plain(folder, vocab=None, extra=None, **settings):
    """A folder as transformers' own class writes it, without tokenizer.json."""
    folder.mkdir(exist_ok=True)
    (folder / 'vocab.txt').write_text(''.join(f'{x}\n' for x in vocab or fakes.VOCAB))
    settings = {'tokenizer_class': 'ElectraTokenizer', **settings}
    for name, value in {'tokenizer_config.json': settings, **(extra or {})}.items():
        (folder / name).write_text(json.dumps(value))
    (folder / 'config.json').write_text('{"model_type": "electra"}')
    return folder


FOLDERS = {
    'chinese': {'tokenize_chinese_chars': False},
    'cased, accents stripped': {'do_lower_case': False, 'strip_accents': True},
    'unusual names': {
        'vocab': ['<none>', *fakes.VOCAB[1:]],
        'extra': {'special_tokens_map.json': {'pad_token': '<none>'}},
    },
    'added by class': {'additional_special_tokens': ['the', '[E1]']},
    'added_tokens.json': {'extra': {'added_tokens.json': {'newword': fakes.VOCAB_SIZE}}},
    'added, whole words': {
        'added_tokens_decoder': {
            str(fakes.VOCAB_SIZE): {**NEW, 'content': 'Cat', 'single_word': True, 'special': False}
        }
    },
}


@pytest.mark.parametrize('case', FOLDERS.values(), ids=FOLDERS)
def test_settings_of_the_class_are_followed_as_transformers_does(case, tmp_path):
    pytest.importorskip('transformers', reason='needs the parity extra')
    tokenizer, notes = files.read_tokenizer(plain(tmp_path, **case))
    assert notes == []
    assert 'checked' in probes.against_transformers(tmp_path, tokenizer)
    written = tmp_path / 'written'
    written.mkdir()
    files.write_tokenizer(tokenizer, written, 128)
    (written / 'config.json').write_text('{"model_type": "electra"}')
    again, notes = files.read_tokenizer(written)
    assert again.hash == tokenizer.hash and notes == []
    assert 'tokenizer checked' in probes.against_transformers(written, again)


@pytest.mark.parametrize(
    ('case', 'message'),
    [
        ({'tokenizer_class': 'BertJapaneseTokenizer'}, 'BertJapaneseTokenizer'),
        ({'word_tokenizer_type': 'mecab'}, "word_tokenizer_type is 'mecab'"),
        ({'do_basic_tokenize': False}, 'do_basic_tokenize is False'),
        ({'never_split': ['the']}, 'never_split'),
        ({'truncation_side': 'left'}, 'truncation_side'),
        ({'wordpieces_prefix': '@@'}, 'wordpieces_prefix'),
        ({'model_input_names': ['input_ids']}, 'token_type_ids'),
        ({'extra': {'added_tokens.json': {'new': 900}}}, "'new' has id 900"),
        ({'added_tokens_decoder': {'999': {'content': 'a b'}}}, 'has id 999'),
        ({'do_lower_case': 'yes'}, "do_lower_case is 'yes'"),
        ({'model_input_names': 5}, 'model_input_names is 5, allowed: a list'),
        ({'added_tokens_decoder': []}, r'added_tokens_decoder is \[\], allowed: an object'),
        ({'tokenizer_class': ['BertTokenizer']}, 'tokenizer_class is .*, allowed: a text'),
        ({'extra_special_tokens': 'x'}, "extra_special_tokens is 'x', allowed: a list or an objec"),
        (
            {'extra': {'special_tokens_map.json': {'mask_token': ['[MASK]']}}},
            r'special_tokens_map.json: mask_token is .*, allowed: a text or an object',
        ),
        ({'mask_token': '<m>', 'extra': {'special_tokens_map.json': {'mask_token': 'x'}}}, "'<m>'"),
    ],
)
def test_settings_that_ours_lacks_are_refused_by_name(case, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        files.read_tokenizer(plain(tmp_path, **case))


def test_unknown_settings_are_reported_and_contradictions_refused(tmp_path):
    folder = plain(tmp_path, spelling='old')
    assert 'spelling' in files.read_tokenizer(folder)[1][0]
    files.write_tokenizer(fakes.tokenizer(lower_case=False), folder, 128)
    (folder / 'tokenizer_config.json').write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(CheckpointError, match='do_lower_case is unset'):
        files.read_tokenizer(folder)
    (folder / 'vocab.txt').write_text('\n'.join(reversed(fakes.VOCAB)))
    with pytest.raises(CheckpointError, match='differ: id 0'):
        files.read_tokenizer(folder)


def test_other_ids_than_those_of_transformers_are_refused(tmp_path):
    pytest.importorskip('transformers', reason='needs the parity extra')
    folder = plain(tmp_path, do_lower_case=False)
    with pytest.raises(CheckpointError, match=r'Café.*\d+.*transformers'):
        probes.against_transformers(folder, WordPiece(fakes.VOCAB, False, True))


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
