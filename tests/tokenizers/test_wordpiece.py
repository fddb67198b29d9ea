"""WordPiece: ids are the library's own, whatever the cache does; bad vocabularies are refused."""

import dataclasses
import gzip
import json
import os
import pathlib
import random
import string

import pytest
import tokenizers

from electra_jax.config import settings
from electra_jax.core import errors
from electra_jax.tokenizers import api, load, wordpiece
from tests.support.threads import in_threads

SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
LETTERS = string.ascii_letters + string.digits + 'éüßàñçøαβγדא中文字'
PIECES = [
    *LETTERS,
    *('##' + c for c in LETTERS),
    *string.punctuation,
    *('the', '##ing', 'token', '##izer', 'mask', 'MASK', 'über', 'uber', '«', '—', '…', '😀'),
]
VOCAB = SPECIAL + list(dict.fromkeys(PIECES))

ADVERSARIAL = [
    '',
    ' ',
    'a  b   c ',
    'Tokenizers, tokenizing: "the" (thing)!',
    'literal [MASK] and [CLS][SEP] and [UNK], [PAD]',
    '[MASK]',
    'tab\tnew\nline\r\nreturn\x0bvertical\x0cform',
    'control\x00\x01\x1c\x1d\x1e\x1f\x7fcharacters\x85\x9f',
    'spaces\u00a0no-break\u2003em\u3000wide\u200bzero\u2028line\u2029para\ufeffbom',
    'CJK 中文字mixed文with字latin 中 文',
    'é e\u0301 ÉCOLE naïve Über ß ẞ İ \u0131 Ǆ ﬁ ΑΒΓ ς',
    'combining \u0301alone a\u0301\u0302b',
    'soft\u00adhyphen en\u2013dash em—dash « quotes » …',
    '😀 emoji 👩\u200d👩\u200d👧 \U000e0001tag',
    'x' * 199,
    'x' * 200 + ' ' + 'x' * 201,
    'é' * 250 + ' the',
    'http://a.b/' + 'c/' * 100,
    '\ufffd replacement',
    'a' * 70 + '-' + 'b' * 70,
]


def library(vocab: list[str], lower_case: bool, strip_accents: bool | None) -> tokenizers.Tokenizer:
    """BERT's pipeline as the library ships it, without the special tokens of its wrapper."""
    wrapper = tokenizers.BertWordPieceTokenizer(
        {piece: i for i, piece in enumerate(vocab)},
        lowercase=lower_case,
        strip_accents=strip_accents,
    )
    wrapper._tokenizer.model.max_input_chars_per_word = 200
    bare = tokenizers.Tokenizer(wrapper._tokenizer.model)
    bare.normalizer = wrapper._tokenizer.normalizer
    bare.pre_tokenizer = wrapper._tokenizer.pre_tokenizer
    return bare


def library_ids(bare: tokenizers.Tokenizer, texts: list[str]) -> list[list[int]]:
    return [e.ids for e in bare.encode_batch(texts, add_special_tokens=False)]


def ids(tokenizer: wordpiece.WordPiece, texts: list[str]) -> list[list[int]]:
    return [row.tolist() for row in tokenizer.encode_batch(texts)]


def random_texts(count: int) -> list[str]:
    rng = random.Random(7)
    pool = (
        LETTERS + string.punctuation + ' ' * 20 + '\t\n\x00\x1c\x7f\u00a0\u2003\u0301\u0327\u3000'
    )
    lengths = [rng.randint(0, 80) for _ in range(count)]
    planes = [rng.randrange(5) == 0 for _ in range(count)]
    return [
        ''.join(
            chr(rng.choice([rng.randint(1, 0xD7FF), rng.randint(0xE000, 0x1FFFF)]))
            if wild
            else rng.choice(pool)
            for _ in range(length)
        )
        for length, wild in zip(lengths, planes, strict=True)
    ]


@pytest.mark.parametrize(
    ('lower_case', 'strip_accents'),
    [(True, None), (True, False), (False, None), (False, True)],
)
def test_ids_are_the_librarys(lower_case, strip_accents):
    tokenizer = wordpiece.WordPiece(VOCAB, lower_case, strip_accents)
    texts = ADVERSARIAL + random_texts(3000)
    wanted = library_ids(library(VOCAB, lower_case, strip_accents), texts)
    assert ids(tokenizer, texts) == wanted
    assert ids(tokenizer, texts) == wanted  # now from the cache


def test_spans_cut_out_of_the_text_what_a_piece_was_made_of():
    tokenizer = wordpiece.WordPiece(VOCAB)
    texts = ADVERSARIAL + random_texts(300)
    found = tokenizer.encode_spans(texts)
    assert [row.tolist() for row, _ in found] == ids(tokenizer, texts)
    for text, (row, spans) in zip(texts, found, strict=True):
        assert spans.shape == (len(row), 2) and (spans >= 0).all() and (spans <= len(text)).all()
    text = 'Über (the) tokenizer, 中文'
    ((row, spans),) = tokenizer.encode_spans([text])
    pieces = [text[a:b] for a, b in spans]
    assert pieces == ['Über', '(', 'the', ')', 'token', 'izer', ',', '中', '文']
    assert tokenizer.tokens(row)[0] == 'uber'


def test_a_small_cache_changes_nothing(monkeypatch):
    monkeypatch.setattr(wordpiece, '_CACHED_CHUNKS', 5)
    tokenizer = wordpiece.WordPiece(VOCAB)
    texts = random_texts(300)
    found = [row for i in range(0, 300, 10) for row in ids(tokenizer, texts[i : i + 10])]
    assert found == library_ids(library(VOCAB, True, None), texts)


def test_the_cache_is_bounded(monkeypatch):
    monkeypatch.setattr(wordpiece, '_CACHED_CHUNKS', 50)
    tokenizer = wordpiece.WordPiece(VOCAB)
    for i in range(40):
        tokenizer.encode_batch([' '.join(f'w{i}x{j}' for j in range(10)) + ' ' + 'y' * 500])
    assert len(tokenizer._chunks) <= 60
    assert len(tokenizer._words) <= 60
    assert max(map(len, [*tokenizer._chunks, *tokenizer._words])) <= 64


def test_threads_share_a_tokenizer():
    tokenizer = wordpiece.WordPiece(VOCAB)
    texts = random_texts(400)
    wanted = library_ids(library(VOCAB, True, None), texts)
    found = in_threads(lambda i: ids(tokenizer, texts[i : i + 5]), range(0, 400, 5))
    assert [row for part in found for row in part] == wanted


@pytest.mark.parametrize('lower_case', [True, False])
def test_no_text_becomes_a_special_token(lower_case):
    tokenizer = wordpiece.WordPiece(VOCAB, lower_case)
    (found,) = ids(tokenizer, ['a [MASK] b [CLS] [SEP] [PAD]'])
    special = {tokenizer.special.mask, tokenizer.special.cls, tokenizer.special.sep}
    assert not special & set(found)
    assert tokenizer.special.pad not in found
    mask = 'mask' if lower_case else 'MASK'
    assert tokenizer.tokens(found)[1:4] == ['[', mask, ']']


def test_round_trips(tmp_path):
    tokenizer = wordpiece.WordPiece(VOCAB, lower_case=False)
    tokenizer.save(tmp_path)
    again = load.load(tmp_path)
    assert again.to_json() == tokenizer.to_json()
    assert again.hash == tokenizer.hash
    assert ids(again, ADVERSARIAL) == ids(tokenizer, ADVERSARIAL)
    assert (tmp_path / 'vocab.txt').read_text().split('\n')[:-1] == VOCAB
    config = settings.TokenizerConfig(path=str(tmp_path / 'vocab.txt'), lower_case=False)
    assert load.open_tokenizer(config).hash == tokenizer.hash


def test_the_hash_tells_switches_and_order_apart():
    hashes = {
        wordpiece.WordPiece(VOCAB).hash,
        wordpiece.WordPiece(VOCAB, lower_case=False).hash,
        wordpiece.WordPiece(VOCAB, strip_accents=False).hash,
        wordpiece.WordPiece([*VOCAB[:-2], VOCAB[-1], VOCAB[-2]]).hash,
    }
    assert len(hashes) == 4
    assert wordpiece.WordPiece(VOCAB, strip_accents=True).hash in hashes  # None: as lower_case


def test_decode_is_readable():
    tokenizer = wordpiece.WordPiece(VOCAB)
    (found,) = ids(tokenizer, ['the tokenizer'])
    special = tokenizer.special
    row = [special.cls, *found, special.mask, special.sep, special.pad]
    assert tokenizer.decode(row) == 'the tokenizer [MASK]'
    assert tokenizer.tokens([len(VOCAB) + 3]) == [f'<{len(VOCAB) + 3}>']


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n', ['lacks [MASK]']),
        (b'[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\na\n', ['line 8', "'a'", 'line 6']),
        (b'[PAD]\n[UNK]\n\n[CLS]\n', ['line 3', 'empty']),
        (b'[PAD]\n[UNK]\na\xff\n', ['line 3', 'UTF-8', '0xff']),
        (b'', ['lacks [PAD]']),
        ('\n'.join([*SPECIAL, 'か']).encode('iso2022_jp'), ['iconv']),
        (gzip.compress(b'[PAD]\n', mtime=0)[:-9], ['torn']),
    ],
)
def test_a_bad_vocabulary_is_refused(tmp_path, content, words):
    path = tmp_path / 'vocab.txt'
    path.write_bytes(content)
    with pytest.raises(errors.DataError) as raised:
        load.open_tokenizer(settings.TokenizerConfig(path=str(path)))
    assert all(word in str(raised.value) for word in [*words, str(path)])


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_other_line_ends_and_encodings_are_fine(tmp_path, end, encoding):
    path = tmp_path / 'vocab.txt'
    path.write_bytes(end.join(VOCAB).encode(encoding))
    config = settings.TokenizerConfig(path=str(path))
    assert load.open_tokenizer(config).hash == wordpiece.WordPiece(VOCAB).hash


KOREAN = [chr(0xAC00 + 28 * i) for i in range(40)]


def write_vocab(path: pathlib.Path, pieces: list[str]) -> pathlib.Path:
    path.write_text('\n'.join([*SPECIAL, *pieces]) + '\n')
    return path


@pytest.mark.parametrize(
    ('pieces', 'typed'),
    [
        (KOREAN, {'strip_accents': False}),
        (['ที่', 'เด็ก', 'น้ำ', 'บ้าน', *'ab'], {'strip_accents': False}),
        (['über', 'schön', 'haus', 'weg'], {'strip_accents': False}),
        (['The', 'Dog', 'was', 'here'], {'lower_case': False}),
        (['The', 'Été', 'was', 'here'], {'lower_case': False}),
    ],
)
def test_switches_that_lose_pieces_are_refused_with_those_that_do_not(tmp_path, pieces, typed):
    config = settings.TokenizerConfig(path=str(write_vocab(tmp_path / 'vocab.txt', pieces)))
    with pytest.raises(errors.ConfigError) as raised:
        load.open_tokenizer(config)
    message = str(raised.value)
    lost = [piece for piece in pieces if repr(piece) in message]
    assert lost and 'can never come out of a text' in message
    advice = dict(
        one.removeprefix('--config.data.tokenizer.').split('=')
        for one in message.partition(': type ')[2].split()
    )
    assert {name: advice[name] for name in typed} == {x: str(y) for x, y in typed.items()}
    following = {name: value == 'True' for name, value in advice.items()}
    tokenizer = load.open_tokenizer(dataclasses.replace(config, **following))
    assert tokenizer.lost() == []
    assert tokenizer.special.unk not in tokenizer.encode_batch([' '.join(pieces)])[0]


def test_switches_are_as_the_settings_file_next_to_a_vocabulary_has_them(tmp_path):
    path = write_vocab(tmp_path / 'vocab.txt', [*KOREAN, 'The', '中', '##中'])
    stated = {'do_lower_case': False, 'tokenize_chinese_chars': False, 'strip_accents': None}
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(stated))
    config = settings.TokenizerConfig(path=str(path))
    tokenizer = load.open_tokenizer(config)
    assert tokenizer.switches() == {'lower_case': False, 'strip_accents': False}
    assert [tokenizer.pieces[x] for x in tokenizer.encode_batch(['The 中中'])[0]] == [
        *('The', '中', '##中')
    ]


def test_a_typed_switch_is_followed_whatever_the_settings_file_says(tmp_path):
    path = write_vocab(tmp_path / 'vocab.txt', ['the', 'cafe'])
    stated = {'do_lower_case': False, 'strip_accents': False}
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(stated))
    config = settings.TokenizerConfig(path=str(path), lower_case=True)
    made = load.open_tokenizer(config)
    assert made.switches() == {'lower_case': True, 'strip_accents': True}
    kept = load.open_tokenizer(dataclasses.replace(config, strip_accents=False))
    assert kept.switches() == {'lower_case': True, 'strip_accents': False}


@pytest.mark.parametrize(
    ('stated', 'words'),
    [
        ('{"do_lower_case": "yes"}', "do_lower_case is 'yes', allowed: true, false"),
        ('{"do_lower_case"', 'not a JSON object'),
        ('{"added_tokens_decoder": {"9": {"content": "<x>"}}}', "adds '<x>' to the vocabulary"),
    ],
)
def test_a_settings_file_that_cannot_be_followed_is_refused(tmp_path, stated, words):
    path = write_vocab(tmp_path / 'vocab.txt', ['the'])
    (tmp_path / 'tokenizer_config.json').write_text(stated)
    with pytest.raises(errors.DataError, match='tokenizer_config.json.*' + words):
        load.open_tokenizer(settings.TokenizerConfig(path=str(path)))


def test_a_folder_stands_for_the_tokenizer_in_it(tmp_path):
    lower, cased = wordpiece.WordPiece(VOCAB), wordpiece.WordPiece(VOCAB, lower_case=False)
    (tmp_path / 'corpus').mkdir()
    cased.save(tmp_path / 'corpus' / 'tokenizer')
    (tmp_path / 'foreign').mkdir()
    lower.write_native(tmp_path / 'foreign')
    for name, wanted in {'corpus': cased, 'corpus/tokenizer': cased, 'foreign': lower}.items():
        config = settings.TokenizerConfig(path=str(tmp_path / name))
        assert load.open_tokenizer(config).hash == wanted.hash
    with pytest.raises(errors.DataError, match='Is a directory'):
        load.open_tokenizer(settings.TokenizerConfig(path=str(tmp_path)))


def test_few_lost_pieces_and_names_of_no_text_are_fine(tmp_path):
    pieces = ['<S>', '<T>', '[unused1]', 'が', *LETTERS.lower()[:26], *string.digits, '中', '##中']
    config = settings.TokenizerConfig(path=str(write_vocab(tmp_path / 'vocab.txt', pieces)))
    assert load.open_tokenizer(config).lost() == ['が']


@pytest.mark.parametrize('name', ['vocab_size', 'lower_case'])
def test_a_setting_that_differs_from_the_file_is_refused(tmp_path, name):
    wordpiece.WordPiece(VOCAB).save(tmp_path)
    typed = {'vocab_size': 300, 'lower_case': False}
    config = settings.TokenizerConfig(path=f'{tmp_path}/electra_tokenizer.json')
    assert load.open_tokenizer(config).vocab_size == len(VOCAB)
    with pytest.raises(errors.ConfigError, match=f'tokenizer.{name} is {typed[name]}'):
        load.open_tokenizer(dataclasses.replace(config, **{name: typed[name]}))


def test_unusual_lines_of_a_vocabulary(tmp_path):
    path = tmp_path / 'vocab.txt'
    names = ['a', '<PAD>', '<S>', '</s>', 'b ', '<UNK>', '[mask]']
    path.write_bytes('\r\n'.join(['\ufeff', *names, '', ' ', '']).encode().replace(b'\r\n', b'', 1))
    tokenizer = load.open_tokenizer(settings.TokenizerConfig(path=str(path)))
    assert tokenizer.pieces == ['a', '<PAD>', '<S>', '</s>', 'b', '<UNK>', '[mask]']
    assert tokenizer.special == api.SpecialIds(pad=1, unk=5, cls=2, sep=3, mask=6)
    path.write_text('\n'.join(f'{piece}\t7' for piece in VOCAB))
    with pytest.raises(errors.DataError, match=rf'line 1: .*tab.*cut -f1 {path}'):
        load.open_tokenizer(settings.TokenizerConfig(path=str(path)))


def test_a_missing_vocabulary_is_refused(tmp_path):
    with pytest.raises(errors.DataError, match='no-such'):
        load.open_tokenizer(settings.TokenizerConfig(path=str(tmp_path / 'no-such.txt')))


@pytest.mark.skipif('ELECTRA_DATA' not in os.environ, reason='ELECTRA_DATA is not set')
def test_wikipedia_ids_are_the_librarys():
    folder = pathlib.Path(os.environ['ELECTRA_DATA'])
    path = folder / 'vocab.txt'
    tokenizer = load.open_tokenizer(settings.TokenizerConfig(path=str(path)))
    bare = library(wordpiece.read_vocab(path), True, None)
    lines = (folder / 'wikipedia' / 'validation.txt').read_text().split('\n')
    for i in range(0, len(lines), 1000):
        part = lines[i : i + 1000]
        assert ids(tokenizer, part) == library_ids(bare, part)


def test_pieces_with_two_hashes_continue_a_word():
    pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'play', '##ing', '#', '##s']
    inside = wordpiece.WordPiece(pieces).continues_word()
    assert [piece for piece, x in zip(pieces, inside, strict=True) if x] == ['##ing', '##s']
