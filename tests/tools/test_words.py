"""The comparison of ids on words of many scripts."""

import pytest

from electra_jax.tokenizers.wordpiece import WordPiece
from tools import words


def test_words_are_of_their_script_and_always_the_same():
    found = list(words.words('greek', 20, 0))
    assert found == list(words.words('greek', 20, 0)) != list(words.words('greek', 20, 1))
    assert any(letter in ''.join(found) for letter in words.letters('greek'))
    assert len(words.letters('cjk')) == 1000


def test_differences_are_found():
    pytest.importorskip('transformers', reason='needs the parity extra')
    from transformers import BertTokenizer

    vocab = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'cafe', 'café']
    theirs = BertTokenizer(vocab={piece: i for i, piece in enumerate(vocab)})
    ours = WordPiece(vocab, strip_accents=False)
    assert words.differences(ours, theirs, ['cafe', 'café']) == [('café', [6], [5])]


@pytest.mark.slow
def test_a_hundred_thousand_words_have_the_ids_of_transformers(monkeypatch, capsys):
    pytest.importorskip('transformers', reason='needs the parity extra')
    monkeypatch.setattr('sys.argv', ['words', '--words=100000'])
    assert words.main() == 0
    shown = capsys.readouterr().out
    assert shown.count(', 0 differ') == 2 * (len(words.SCRIPTS) + len(words.CORNERS))
