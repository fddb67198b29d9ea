"""Training a tokenizer: the same text gives the same one, little text is refused."""

import os
import subprocess
import sys

import pytest

from electra_jax.config import settings
from electra_jax.core import errors
from electra_jax.tokenizers import load

LINES = [f'sentence {i} speaks of {w} things and Ünïcode' for i in range(200) for w in 'abc']

PROGRAM = """
import sys
from electra_jax.config import settings
from electra_jax.tokenizers import load
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
            yield 'abcd ' * 20_000

    config = settings.TokenizerConfig(vocab_size=40, train_megabytes=1)
    load.train_tokenizer(texts(), config)
    assert len(read) == 10


@pytest.mark.parametrize('kind', ['wordpiece', 'bpe'])
def test_no_text_is_refused(kind):
    with pytest.raises(errors.DataError):
        load.train_tokenizer([], settings.TokenizerConfig(kind=kind))


def test_too_little_text_is_refused():
    with pytest.raises(errors.DataError, match='vocab_size=N'):
        load.train_tokenizer(LINES, settings.TokenizerConfig(kind='unigram', vocab_size=30_000))
