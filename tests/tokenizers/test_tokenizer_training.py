"""Training a tokenizer: the same text gives the same one, little text is refused."""

import os
import subprocess
import sys

import pytest

from electra_jax.config import settings
from electra_jax.core import errors
from electra_jax.tokenizers import load, unknown

LINES = [f'sentence {i} speaks of {w} things and Ünïcode' for i in range(200) for w in 'abc']

PROGRAM = """
import sys
from electra_jax.config import settings
from electra_jax.tokenizers import load, unknown
lines = sys.stdin.read().split(chr(10))
config = settings.TokenizerConfig(kind=sys.argv[1], vocab_size=50)
print(load.train_tokenizer(lines, config).hash)
"""


@pytest.mark.parametrize('kind', ['wordpiece', 'unigram', 'bpe'])
def test_other_processes_train_the_same_tokenizer(kind):
    hashes = set()
    for seed in ('1', '2', '3'):
        done = subprocess.run(
            [sys.executable, '-c', PROGRAM, kind],
            input='\n'.join(LINES),
            env={**os.environ, 'PYTHONHASHSEED': seed},
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.add(done.stdout.strip())
    config = settings.TokenizerConfig(kind=kind, vocab_size=50)
    assert hashes == {load.train_tokenizer(LINES, config).hash}


def test_wordpiece_puts_special_tokens_first():
    config = settings.TokenizerConfig(vocab_size=80, lower_case=False)
    tokenizer = load.train_tokenizer(LINES, config)
    assert tokenizer.tokens(range(5)) == ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
    assert tokenizer.vocab_size <= 80
    (ids,) = tokenizer.encode_batch(['Ünïcode sentence'])
    assert tokenizer.decode(ids) == 'Ünïcode sentence'


def test_reading_stops_at_the_limit():
    read = []

    def texts():
        for i in range(1000):
            read.append(i)
            yield 'абвг ' * 20_000  # of 9 bytes

    config = settings.TokenizerConfig(vocab_size=40, train_megabytes=1)
    load.train_tokenizer(texts(), config)
    assert len(read) == 6


CHINESE = [chr(0x4E00 + i) for i in range(2000)]


def unknown_share(tokenizer, texts):
    return unknown.count(tokenizer, texts).share


def test_thousands_of_letters_get_the_pieces_that_were_asked_for():
    lines = [''.join(CHINESE[i % 2000 :: 13]) for i in range(50)]
    config = settings.TokenizerConfig(vocab_size=3000)
    tokenizer = load.train_tokenizer(lines, config)
    assert unknown_share(tokenizer, lines) < 0.001
    # No piece is spent on a Chinese character inside a word, where it never is.
    assert tokenizer.vocab_size == 2005
    few = load.train_tokenizer(lines, settings.TokenizerConfig(vocab_size=1000))
    assert few.vocab_size <= 1000 and 0.5 < unknown_share(few, lines) < 0.7


def test_rare_letters_take_no_room_from_words():
    lines = [*LINES * 10, 'and ' + ''.join(CHINESE[:20])]
    tokenizer = load.train_tokenizer(lines, settings.TokenizerConfig(vocab_size=100))
    assert not set(CHINESE) & set(tokenizer.pieces)
    assert 'sentence' in tokenizer.pieces


@pytest.mark.parametrize('kind', ['wordpiece', 'bpe'])
def test_no_text_is_refused(kind):
    with pytest.raises(errors.DataError):
        load.train_tokenizer([], settings.TokenizerConfig(kind=kind))


def test_too_little_text_is_refused():
    with pytest.raises(errors.DataError, match='vocab_size=N'):
        load.train_tokenizer(LINES, settings.TokenizerConfig(kind='unigram', vocab_size=30_000))


@pytest.mark.parametrize('size', [16, 17, 20])
def test_a_vocabulary_is_never_larger_than_asked_for(size):
    config = settings.TokenizerConfig(vocab_size=size)
    assert load.train_tokenizer(['abcdefghijklmnop'] * 9, config).vocab_size <= size
