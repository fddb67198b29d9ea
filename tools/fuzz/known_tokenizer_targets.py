"""Vocabularies and folders of tokenizers, whose ids a second tokenizer gives as well."""

import json
import os
import pathlib
import random
import string
import unicodedata
from collections.abc import Sequence
from typing import Any

from electra_jax.config.settings import TokenizerConfig
from electra_jax.core.errors import DataError
from electra_jax.interop import tokenizer as folders
from electra_jax.tokenizers import load
from tools.fuzz import writing
from tools.fuzz.target import Run, Target, check, fresh, known

_SPECIAL = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
_LONGEST = 200  # letters of a word that is not unknown
_CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def reference_ids(vocab: Sequence[str], text: str, lower_case: bool, strip: bool) -> list[int]:
    """WordPiece as the BERT paper has it, a letter at a time; `strip` takes accents away."""
    ids = {piece: number for number, piece in enumerate(vocab)}
    letters = []
    for letter in text:
        if letter in '\t\n\r' or unicodedata.category(letter) == 'Zs':
            letters.append(' ')
        elif unicodedata.category(letter)[0] == 'C' or letter == '\ufffd':
            continue
        elif any(first <= ord(letter) <= last for first, last in _CHINESE):
            letters.append(f' {letter} ')
        else:
            letters.append(letter)
    clean = _normal(''.join(letters), lower_case, strip)
    spaced = ''.join(f' {letter} ' if _is_mark(letter) else letter for letter in clean)
    return [number for one in spaced.split() for number in _pieces(ids, one)]


def _normal(text: str, lower_case: bool, strip: bool) -> str:
    if strip:
        text = unicodedata.normalize('NFD', text)
        text = ''.join(letter for letter in text if unicodedata.category(letter) != 'Mn')
    return ''.join(letter.lower() for letter in text) if lower_case else text


def _is_mark(letter: str) -> bool:
    return letter in string.punctuation or unicodedata.category(letter)[0] == 'P'


def _pieces(ids: dict[str, int], word: str) -> list[int]:
    """The longest pieces from the left; [UNK] where one is missing."""
    found, start = [], 0
    while start < len(word):
        for stop in range(len(word), start, -1):
            piece = ('##' if start else '') + word[start:stop]
            if piece in ids and len(word) <= _LONGEST:
                found.append(ids[piece])
                start = stop
                break
        else:
            return [ids['[UNK]']]
    return found


def _vocab(rng: random.Random, scripts: Sequence[str]) -> list[str]:
    """The special pieces in any position, letters of the scripts and some words."""
    letters = [x for name in scripts for x in writing.SCRIPTS[name] if rng.random() < 0.8]
    words = [writing.word(rng, scripts).replace('\u200d', '') for _ in range(30)]
    every = [*letters, *words]
    pieces = [*every, *(f'##{piece}' for piece in every if rng.random() < 0.7), *'abc.,!', '##a']
    pieces = [p for p in pieces if p.strip() == p and p.strip('#')]
    rng.shuffle(pieces)
    pieces = [*_SPECIAL, *pieces] if rng.random() < 0.7 else [*pieces, *_SPECIAL]
    return list(dict.fromkeys(pieces))


def _texts(rng: random.Random, scripts: Sequence[str]) -> list[str]:
    return ['', 'x' * 250, *(writing.line(rng, scripts) for _ in range(4))]


def _make_vocab(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> str | None:
        code, ends = writing.encoding(rng), writing.ends(rng)
        scripts = rng.sample(list(code.scripts), min(3, len(code.scripts)))
        vocab, lower = _vocab(rng, scripts), rng.random() < 0.5
        strip = rng.choice((None, True, False))
        strips = lower if strip is None else strip
        usual = code.codec.startswith('utf') and rng.random() < 0.7
        if usual:  # pieces that a text can have after its normalization
            pieces = (
                p if p in _SPECIAL else _normal(p, lower, strips).replace('\u200d', '')
                for p in vocab
            )
            vocab = list(dict.fromkeys(p for p in pieces if p.strip('#')))
        lines, missed = list(vocab), 0
        kind = rng.random()
        if kind < 0.05:
            lines.remove(rng.choice(_SPECIAL))
            missed = 1
        elif kind < 0.1:
            lines.insert(rng.randint(0, len(lines)), rng.choice(lines))
            missed = 1
        elif kind < 0.15:
            lines.insert(rng.randrange(len(lines)), '')
            missed = 1
        path = writing.path_of(rng, folder, '.txt', plain=True)
        path.write_bytes(code.encode(ends.join(rng, lines, last=rng.random() < 0.8)))
        config = TokenizerConfig(path=str(path), lower_case=lower, strip_accents=strip)
        texts = _texts(rng, scripts)
        sure = code.codec == 'utf-8' and ends.sure and usual

        def read() -> Any:
            made = load.open_tokenizer(config)
            check(not missed, f'a vocabulary with a bad line is read: {len(made.pieces)} pieces')
            return [ids.tolist() for ids in made.encode_batch(texts)]

        wanted = [reference_ids(vocab, text, lower, strips) for text in texts]
        return known(wanted, read, sure, lambda: 0, missed)

    return run


# ---------------------------------------------------------------------------------------------
# Folders

_ADDED = ('newword', '[NEW]', '<ent>', 'Cat', 'ab', 'é', '東京')
# Settings that a folder may state, each with values that programs and people write.
_SETTINGS: dict[str, tuple[Any, ...]] = {
    'tokenizer_class': ('ElectraTokenizer', 'BertTokenizer', 'ElectraTokenizerFast', None),
    'do_lower_case': (True, False),
    'strip_accents': (True, False, None),
    'tokenize_chinese_chars': (True, False),
    'model_max_length': (512, 10**30),
    'do_basic_tokenize': (True, True, False),
    'never_split': (None, ['abc']),
    'additional_special_tokens': (['<ent>'], []),
    'unk_token': ('[UNK]', '<unk>'),
    'clean_up_tokenization_spaces': (True, False),
    'spelling': ('old',),
}


def _folder(rng: random.Random, case: pathlib.Path, vocab: list[str]) -> None:
    """Writes a tokenizer as a program or a person would, from one to five files."""
    import tokenizers

    settings = {
        name: rng.choice(values) for name, values in _SETTINGS.items() if rng.random() < 0.35
    }
    added = rng.sample(_ADDED, rng.choice((0, 0, 0, 1, 2)))
    first = len(vocab)
    extra: dict[str, Any] = {'config.json': {'model_type': 'electra'}}
    if added and rng.random() < 0.5:
        extra['added_tokens.json'] = {token: first + i for i, token in enumerate(added)}
    elif added:
        settings['added_tokens_decoder'] = {
            str(first + i): {
                'content': token,
                'single_word': rng.random() < 0.2,
                'lstrip': rng.random() < 0.2,
                'rstrip': rng.random() < 0.2,
                'normalized': rng.random() < 0.5,
                'special': rng.random() < 0.5,
            }
            for i, token in enumerate(added)
        }
    if rng.random() < 0.2:
        extra['special_tokens_map.json'] = {'unk_token': '[UNK]', 'pad_token': '[PAD]'}
    if rng.random() < 0.9:
        extra['tokenizer_config.json'] = {k: v for k, v in settings.items() if v is not None}
    if rng.random() < 0.85:
        end = rng.choice(('\n', '\n', '\r\n'))
        text = ''.join(piece + end for piece in vocab)
        (case / 'vocab.txt').write_bytes(text.encode())
    if rng.random() < 0.35:
        library = tokenizers.Tokenizer(
            tokenizers.models.WordPiece(
                vocab={piece: i for i, piece in enumerate(vocab)},
                unk_token='[UNK]',
                max_input_chars_per_word=rng.choice((100, 200)),
            )
        )
        library.normalizer = tokenizers.normalizers.BertNormalizer(
            lowercase=settings.get('do_lower_case', rng.random() < 0.8),
            strip_accents=settings.get('strip_accents'),
            handle_chinese_chars=settings.get('tokenize_chinese_chars', True),
        )
        library.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        library.add_special_tokens(list(_SPECIAL))
        library.add_tokens(added)
        library.save(str(case / 'tokenizer.json'))
    for name, value in extra.items():
        mark = b'\xef\xbb\xbf' if rng.random() < 0.02 else b''
        (case / name).write_bytes(mark + json.dumps(value).encode())


def _make_folders(folder: pathlib.Path) -> Run:
    os.environ['HF_HUB_OFFLINE'] = '1'
    os.environ['TRANSFORMERS_VERBOSITY'] = 'error'
    from transformers import AutoTokenizer

    def run(rng: random.Random) -> str | None:
        case = fresh(folder / 'case' / writing.STEM)
        scripts = rng.sample(sorted(writing.SCRIPTS), 3)
        vocab = _vocab(rng, scripts)
        _folder(rng, case, vocab)
        texts = [*_texts(rng, scripts), 'the newword Catabé 東京', '[NEW] <ent>x ABC']
        try:
            theirs = AutoTokenizer.from_pretrained(str(case), local_files_only=True)
            wanted = [theirs.encode(text, add_special_tokens=False) for text in texts]
        except Exception:  # of any kind: transformers cannot use the folder either
            wanted = []
        notes: list[str] = []

        def read() -> Any:
            made, more = folders.read_tokenizer(case)
            if made is None:
                raise DataError(f'{case} holds no tokenizer')
            notes.extend(more)
            ids = [ids.tolist() for ids in made.encode_batch(texts)]
            return ids if wanted else []

        return known(wanted, read, False, lambda: len(notes))

    return run


TARGETS = (
    Target('known_vocab', _make_vocab, writing.STEM),
    Target('known_folders', _make_folders, writing.STEM),
)
