"""Characters: any alphabet, learnt or given; long lines are fast."""

import dataclasses
import time

import numpy as np
import pytest

from electra_jax.config import settings
from electra_jax.core import errors
from electra_jax.interop import tokenizer as interop
from electra_jax.tokenizers import api, characters, load

CONFIG = settings.TokenizerConfig(kind='characters')
SMILES = ['CC(=O)Oc1ccccc1', 'c1ccccc1 Br', 'N[C@@H](C)C(=O)O']


def test_an_alphabet_is_learnt_and_keeps_case():
    tokenizer = load.train_tokenizer(SMILES, CONFIG)
    assert tokenizer.pieces[:5] == list(api.SPECIAL_NAMES)
    assert set(tokenizer.pieces[5:]) == set(''.join(SMILES))
    for text, ids in zip(SMILES, tokenizer.encode_batch(SMILES), strict=True):
        assert tokenizer.tokens(ids) == list(text)
        assert tokenizer.decode([2, *ids, 3, 0]) == text
    (ids,) = tokenizer.encode_batch(['C東[MASK]\U0001f600'])
    unk = tokenizer.special.unk
    assert ids.dtype == np.int32 and (ids == unk).nonzero()[0].tolist() == [1, 3, 4, 5, 6, 8]


def test_the_most_frequent_characters_are_kept():
    config = dataclasses.replace(CONFIG, vocab_size=16)
    tokenizer = load.train_tokenizer(['ACGT' * 9 + 'abcdefghijk' + 'N' * 3], config)
    assert tokenizer.vocab_size == 16 and set('ACGTN') < set(tokenizer.pieces)


def test_lower_case_is_followed():
    tokenizer = load.train_tokenizer(['ACGTacgt'], dataclasses.replace(CONFIG, lower_case=True))
    assert tokenizer.pieces[5:] == list('acgt')
    (ids,) = tokenizer.encode_batch(['GATtaca'])
    assert tokenizer.decode(ids) == 'gattaca'
    (found, spans), (_, two) = tokenizer.encode_spans(['TaİC', ''])
    assert spans.tolist() == [[0, 1], [1, 2], [2, 3], [2, 3], [3, 4]] and two.shape == (0, 2)
    assert tokenizer.tokens(found)[-1] == 'c'


def test_an_alphabet_of_a_file(tmp_path):
    path = tmp_path / 'dna.txt'
    path.write_bytes(b'A\r\nC\r\nG\r\nT\r\n \r\n\r\n')
    config = dataclasses.replace(CONFIG, path=str(path))
    tokenizer = load.open_tokenizer(config)
    assert tokenizer.pieces == [*api.SPECIAL_NAMES, *'ACGT ']
    tokenizer.save(tmp_path / 'saved')
    again = load.load(tmp_path / 'saved')
    assert again.hash == tokenizer.hash
    native = dataclasses.replace(config, path=str(tmp_path / 'saved' / 'vocab.txt'))
    assert load.open_tokenizer(native).hash == tokenizer.hash
    with pytest.raises(errors.ConfigError, match=r'never come out.*lower_case=False'):
        load.open_tokenizer(dataclasses.replace(config, lower_case=True))


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'A\nCG\n', 'line 7.*CG'),
        (b'A\nA\n', 'twice'),
        (b'[PAD]\nA\n', 'lacks'),
        (b'\xff', 'UTF-8'),
    ],
)
def test_a_bad_alphabet_is_refused(tmp_path, content, words):
    path = tmp_path / 'dna.txt'
    path.write_bytes(content)
    with pytest.raises(errors.DataError, match=words):
        load.open_tokenizer(dataclasses.replace(CONFIG, path=str(path)))


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-8-sig'])
def test_an_alphabet_in_another_encoding_is_read(tmp_path, encoding):
    path = tmp_path / 'dna.txt'
    path.write_bytes('A\r\nC\r\nG\r\nT\r\n'.encode(encoding))
    tokenizer = load.open_tokenizer(dataclasses.replace(CONFIG, path=str(path)))
    assert tokenizer.pieces == [*api.SPECIAL_NAMES, *'ACGT']


def test_a_long_line_is_encoded_at_once():
    tokenizer = characters.Characters([*api.SPECIAL_NAMES, *'ACGT'])
    text = 'ACGT' * 1_000_000
    began = time.monotonic()
    (ids,) = tokenizer.encode_batch([text])
    assert time.monotonic() - began < 2
    assert len(ids) == 4_000_000 and ids[:4].tolist() == [5, 6, 7, 8]


def test_it_is_not_written_for_transformers(tmp_path):
    tokenizer = characters.Characters([*api.SPECIAL_NAMES, *'ACGT'])
    with pytest.raises(errors.CheckpointError, match="kind='characters'"):
        interop.write_tokenizer(tokenizer, tmp_path, 128)
