"""SentencePiece: specials cannot come out of text; models that lack them are refused."""

import dataclasses
import io

import numpy as np
import pytest
import sentencepiece as library

from electra_jax.config import settings
from electra_jax.core import errors
from electra_jax.tokenizers import load, sentencepiece

WORDS = 'the quick brown fox jumps over a lazy dog while masks and tokens sleep Under Trees'
WORDS = WORDS.split()
LINES = [' '.join(WORDS[(i * j) % len(WORDS)] for j in range(1, 12)) for i in range(1, 300)]


def foreign_model(lines=LINES, **options) -> bytes:
    model = io.BytesIO()
    library.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=70,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


@pytest.fixture(scope='module', params=['unigram', 'bpe'])
def tokenizer(request):
    config = settings.TokenizerConfig(kind=request.param, vocab_size=45)
    return sentencepiece.SentencePiece.train(LINES, config)


def test_special_tokens_come_first(tokenizer):
    assert tokenizer.tokens(range(5)) == ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
    assert vars(tokenizer.special) == {'pad': 0, 'unk': 1, 'cls': 2, 'sep': 3, 'mask': 4}
    assert tokenizer.vocab_size == 45


def test_text_round_trips_in_lower_case(tokenizer):
    (ids,) = tokenizer.encode_batch(['The quick  brown Fox'])
    assert tokenizer.decode([2, *ids, 3, 0]) == 'the quick brown fox'


@pytest.mark.parametrize('parts', [['the quick', ' brown fox'], ['ma', 'sks and'], ['', 'fox']])
def test_what_follows_other_text_has_a_space_before_it_only_where_one_is(tokenizer, parts):
    first, rest = tokenizer.encode_batch(parts[:1]), tokenizer.encode_rest(parts[1:])
    ids = np.concatenate([*first, *rest])
    assert tokenizer.decode(ids) == ''.join(parts)
    assert tokenizer.tokens(rest[0])[0].startswith('\u2581') == parts[1].startswith(' ')


def test_no_text_becomes_a_special_token(tokenizer):
    (ids,) = tokenizer.encode_batch(['a [MASK] b [CLS] [SEP] [PAD]'])
    assert not {0, 2, 3, 4} & set(ids.tolist())


@pytest.mark.parametrize('option', ['user_defined_symbols', 'control_symbols'])
def test_a_foreign_models_mask_cannot_come_out_of_text(option):
    model = foreign_model(**{option: ['<mask>', '[CLS]', '[SEP]']}, pad_id=3, bos_id=-1, eos_id=-1)
    tokenizer = sentencepiece.SentencePiece(model)
    assert tokenizer.tokens([tokenizer.special.mask]) == ['<mask>']
    (ids,) = tokenizer.encode_batch(['the <mask> dog [CLS]'])
    special = tokenizer.special
    assert not {special.mask, special.cls, special.sep, special.pad} & set(ids.tolist())


def test_a_model_without_a_mask_is_refused(tmp_path):
    path = tmp_path / 'foreign.model'
    path.write_bytes(foreign_model(pad_id=3))
    with pytest.raises(errors.DataError) as raised:
        load.open_tokenizer(settings.TokenizerConfig(kind='unigram', path=str(path)))
    assert all(word in str(raised.value) for word in [str(path), '[MASK] or <mask>'])
    assert '[PAD]' not in str(raised.value)


def test_switches_of_a_model_are_followed_or_refused(tmp_path):
    path = tmp_path / 'some.model'
    options = {'pad_id': 3, 'control_symbols': ['[MASK]', '[CLS]', '[SEP]']}
    config = settings.TokenizerConfig(kind='unigram', path=str(path))

    def opened(**typed):
        return load.open_tokenizer(dataclasses.replace(config, **typed))

    def lines(change):
        return [change(line) for line in LINES]

    path.write_bytes(foreign_model(lines(str.lower), **options))
    assert opened().model == opened(lower_case=False).model == path.read_bytes()
    plain, folding = opened(), opened(lower_case=True)
    assert plain.special.unk in plain.encode_batch(['THE DOG'])[0]
    assert folding.decode(folding.encode_batch(['THE DOG'])[0]) == 'the dog'
    (found,) = plain.variants().values()
    assert found.model == folding.model and not folding.variants()
    # Half of the pieces of this one would be lost.
    path.write_bytes(foreign_model(lines(str.title), **options))
    with pytest.raises(errors.ConfigError, match='can never come out'):
        opened(lower_case=True)
    path.write_bytes(foreign_model(LINES, normalization_rule_name='nmt_nfkc_cf', **options))
    opened(lower_case=True)
    with pytest.raises(errors.ConfigError, match='lower_case is False'):
        opened(lower_case=False)
    path.write_bytes(foreign_model(LINES, normalization_rule_name='identity', **options))
    with pytest.raises(errors.ConfigError, match=r"lower_case is True.*'identity'"):
        opened(lower_case=True)
    with pytest.raises(errors.ConfigError, match=r'tokenizer\.kind=unigram'):
        opened(kind='bpe')


@pytest.mark.parametrize('content', [b'', b'not a model', b'\x0a\xff\xff'])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / 'some.model'
    path.write_bytes(content)
    with pytest.raises(errors.DataError, match='not a SentencePiece'):
        load.open_tokenizer(settings.TokenizerConfig(kind='bpe', path=str(path)))


def test_a_piece_that_is_not_utf_8_is_refused(tmp_path):
    path = tmp_path / 'some.model'
    options = {'pad_id': 3, 'control_symbols': ['[MASK]', '[CLS]', '[SEP]']}
    path.write_bytes(foreign_model(**options).replace(b'quick', b'qu\xe2ck'))
    with pytest.raises(errors.DataError, match=r'some\.model is damaged: its piece .*xe2ck'):
        load.open_tokenizer(settings.TokenizerConfig(kind='unigram', path=str(path)))


def test_round_trips(tokenizer, tmp_path, request):
    tokenizer.save(tmp_path)
    again = load.load(tmp_path)
    assert again.hash == tokenizer.hash
    texts = [*LINES[:20], 'unseen wörds 中文', '']
    assert [a.tolist() for a in again.encode_batch(texts)] == [
        a.tolist() for a in tokenizer.encode_batch(texts)
    ]
    kind = request.node.callspec.params['tokenizer']
    config = settings.TokenizerConfig(kind=kind, path=str(tmp_path / 'spiece.model'))
    assert load.open_tokenizer(config).hash == tokenizer.hash


def test_spans_are_the_ids_and_where_they_stand(tokenizer):
    texts = ['The quick  brown Fox (wörld), ﬁne 中文', '', ' x']
    plain = tokenizer.encode_batch(texts)
    for text, ids, (same_ids, spans) in zip(
        texts, plain, tokenizer.encode_spans(texts), strict=True
    ):
        np.testing.assert_array_equal(ids, same_ids)
        assert spans.shape == (len(ids), 2)
        assert spans.tolist() == sorted(spans.tolist())
        if text.startswith('The'):
            pieces = [text[a:b] for a, b in spans]
            assert ''.join(pieces) == text.replace(' ', '')


@pytest.mark.parametrize('kind', ['unigram', 'bpe'])
def test_long_lines_are_cut_not_left_out(kind):
    rng = np.random.default_rng(0)
    syllables = ['กข', 'คงจ', 'จก', 'งขจ']
    lines = [''.join(rng.choice(syllables, 800)), ' '.join(WORDS * 100)]
    assert min(len(line.encode()) for line in lines) > 4192
    config = settings.TokenizerConfig(kind=kind, vocab_size=60)
    tokenizer = sentencepiece.SentencePiece.train(lines, config)
    for line in lines:
        (ids,) = tokenizer.encode_batch([line])
        assert tokenizer.special.unk not in ids


def test_pieces_without_the_mark_of_a_space_continue_a_word(tokenizer):
    inside = tokenizer.continues_word()
    assert inside.shape == (tokenizer.vocab_size,)
    for i, piece in enumerate(tokenizer.pieces):
        assert inside[i] == (not (piece.startswith('▁') or i < 5)), piece
