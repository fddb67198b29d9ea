"""[UNK] is counted, with the scripts and words that it stands for."""

from electra_jax.tokenizers import unknown, wordpiece

VOCAB = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'the', 'dog', '##s', '.']


def test_unknown_words_are_counted_where_they_stand():
    tokenizer = wordpiece.WordPiece(VOCAB)
    texts = ['the dogs.', '', 'the собака собака.', 'Étranger', '']
    found = unknown.count(tokenizer, texts)
    assert (found.tokens, found.unknown) == (9, 3)
    assert found.words == {'собака': 2, 'Étranger': 1}
    assert list(found.scripts()) == ['Cyrillic', 'Latin']
    assert found.many and all(word in found.describe() for word in ('33.3 %', 'Cyrillic 67 %'))


def test_nothing_is_unknown():
    found = unknown.count(wordpiece.WordPiece(VOCAB), ['the dogs.'])
    assert (found.share, found.words, found.many) == (0.0, {}, False)
    assert unknown.count(wordpiece.WordPiece(VOCAB), []).share == 0.0


def test_a_long_text_is_counted_whole_and_its_words_are_a_sample():
    tokenizer = wordpiece.WordPiece(VOCAB)
    texts = ['the ' * 1000 + 'x' * 10, *['the dog xyz'] * 500]
    found = unknown.count(tokenizer, texts)
    assert found.unknown == 501
    assert sum(found.words.values()) <= 16


def test_counts_are_added_and_stored_with_few_words():
    tokenizer = wordpiece.WordPiece(VOCAB)
    one = unknown.count(tokenizer, [f'the x{i}y' for i in range(16)])
    one.merge(unknown.count(tokenizer, ['the x3y']))
    assert (one.tokens, one.unknown, one.words['x3y']) == (34, 17, 2)
    stored = one.to_json()
    assert len(stored['words']) == 10 and next(iter(stored['words'])) == 'x3y'
    assert (stored['tokens'], stored['unknown'], stored['share']) == (34, 17, 0.5)
    assert stored['scripts'] == {'Latin': 1.0}
