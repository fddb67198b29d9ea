"""WordPiece as in BERT and ELECTRA: the `tokenizers` library with a cache in front of it.

Ids are those of the reference (electra, tokenization.py). The cache rests on one fact: neither
BERT's normalization nor WordPiece looks across a space. The ids of a line are therefore the ids of
its space-separated chunks one after another, and each distinct chunk is encoded only once.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import re
import shlex
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers

from electra_jax.config.settings import VOCAB_SIZE, TokenizerConfig
from electra_jax.core import compressed, files, formats
from electra_jax.core.errors import DataError
from electra_jax.tokenizers import api

_COMMON_LETTERS = 1000  # so many letters are in the alphabet anyway, as in BERT's trainer
_LETTER_COVERAGE = 0.9999  # more of them are, until they cover so much of the text
MAX_WORD_CHARS = 200  # longer words become [UNK] (electra, tokenization.py:264)

SETTINGS_FILE = 'tokenizer_config.json'  # of transformers, next to a vocab.txt
SWITCHES = ('do_lower_case', 'strip_accents', 'tokenize_chinese_chars')  # in it

_CACHED_CHUNKS = 400_000  # about 80 MB; then the cache is cleared
_CACHED_CHARS = 64  # longer chunks are rare and not worth keeping

# In printable ASCII a run of letters and digits is a word; every other character is punctuation,
# a token of its own (BERT's definition of punctuation covers all of them).
_ASCII_WORDS = re.compile('[A-Za-z0-9]+|[^A-Za-z0-9]')


@dataclasses.dataclass(frozen=True)
class Added:
    """A token that is searched for in the text itself, as transformers' added tokens are."""

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = True
    special: bool = False


@dataclasses.dataclass(frozen=True)
class Rules:
    """What other programs state about a vocabulary, and its usual values."""

    split_chinese: bool = True  # whether each Chinese character is a word
    max_word_chars: int = MAX_WORD_CHARS
    # Field of `SpecialIds` -> the name of its piece, where that is not a usual one.
    special: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # Those that the vocabulary lacks follow it, in their order.
    added: tuple[Added, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields that differ: a usual tokenizer keeps its hash."""
        usual, values = dataclasses.asdict(_USUAL), dataclasses.asdict(self)
        return {name: value for name, value in values.items() if value != usual[name]}


_USUAL = Rules()


class WordPiece(api.Tokenizer):
    """Lower-casing, accent stripping, splitting at punctuation, then greedy longest match."""

    kind = 'wordpiece'

    def __init__(
        self,
        vocab: Sequence[str],
        lower_case: bool = True,
        strip_accents: bool | None = None,
        where: str = 'the WordPiece vocabulary',
        rules: Rules = _USUAL,
    ) -> None:
        """A tokenizer of pieces in id order; a piece that continues a word starts with '##'.

        Accents are stripped as text is lower-cased, unless `strip_accents` differs. Messages name
        the vocabulary by `where`.
        """
        self.vocab, self.rules = list(vocab), rules
        known = set(self.vocab)
        self.pieces = [*self.vocab, *(a.content for a in rules.added if a.content not in known)]
        self.lower_case = lower_case
        self.strip_accents = lower_case if strip_accents is None else strip_accents
        ids = {piece: i for i, piece in enumerate(self.pieces)}
        if len(ids) != len(self.pieces):
            raise DataError(f'{where} holds the same piece twice')
        advice = 'add a line for each at the end of the file, or rename unused lines'
        self.special = api.special_ids(self.pieces, where, advice, rules.special)
        self._library = self.pipeline()
        for added in rules.added:
            content = added.content
            if not content.strip() or len(content.split()) > 1 or content.strip() != content:
                raise DataError(f'{where}: the added token {content!r} holds a space')
            if self._library.token_to_id(content) != ids[content]:
                raise DataError(
                    f'{where}: the added token {content!r} cannot have id {ids[content]}'
                )
        self._chunks: dict[str, bytes] = {}
        self._words: dict[str, bytes] = {}
        self._lock = threading.Lock()  # the threads of a process share the cache

    def pipeline(self) -> tokenizers.Tokenizer:
        """The library's tokenizer of the same ids; it knows no special tokens."""
        library = make_pipeline(
            {piece: i for i, piece in enumerate(self.vocab)},
            self.lower_case,
            self.strip_accents,
            self.pieces[self.special.unk],
            self.rules,
        )
        library.add_tokens(
            [tokenizers.AddedToken(**dataclasses.asdict(added)) for added in self.rules.added]
        )
        return library

    @property
    def max_word_chars(self) -> int:
        return self.rules.max_word_chars

    def switches(self) -> dict[str, bool]:
        return {'lower_case': self.lower_case, 'strip_accents': self.strip_accents}

    def continues_word(self) -> np.ndarray:
        return np.array([piece.startswith('##') for piece in self.pieces])

    def changed(self) -> list[str]:
        """Pieces that normalization changes, so that no text is cut into them."""
        return [piece for piece in self.vocab if self._normalized(piece) != piece]

    def lost(self) -> list[str]:
        known = set(self.vocab)
        return [piece for piece in self.vocab if self._normalized(piece) not in known]

    def _normalized(self, piece: str) -> str:
        if api.is_name(piece):
            return piece
        body = piece.removeprefix('##')
        # Normalization puts spaces around Chinese characters.
        normal = ''.join(self._library.normalizer.normalize_str(body).split())
        return piece[: len(piece) - len(body)] + normal

    def variants(self) -> dict[str, api.Tokenizer]:
        return {
            _typed(lower_case, strip_accents): WordPiece(
                self.vocab, lower_case, strip_accents, rules=self.rules
            )
            for lower_case, strip_accents in itertools.product((True, False), (True, False))
            if (lower_case, strip_accents) != (self.lower_case, self.strip_accents)
        }

    def fits(self, other: api.Tokenizer) -> bool:
        """As for every tokenizer; the limit for long words may differ."""
        sides = (self.to_json(), other.to_json())
        return len({json.dumps(one | {'max_word_chars': 0}, sort_keys=True) for one in sides}) == 1

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text; memory grows with the text, so pass a few MB at a time."""
        # BERT treats a new line as white space.
        split = [text.replace('\n', ' ').split(' ') for text in texts]
        with self._lock:
            too_long = self._cache(set(itertools.chain.from_iterable(split)))
            look_up = self._chunks.__getitem__
            joined = [b''.join(map(look_up, chunks)) for chunks in split]
            for chunk in too_long:
                del self._chunks[chunk]
        return [np.frombuffer(ids, np.int32) for ids in joined]

    def _cache(self, chunks: set[str]) -> list[str]:
        """Puts chunks into the cache; returns those that are too long to be kept there."""
        if len(self._chunks) > _CACHED_CHUNKS:
            self._chunks.clear()
            self._words.clear()
        missing = chunks.difference(self._chunks)
        # Added tokens may stand inside a chunk, which the library alone sees.
        seen = () if self.rules.added else missing
        plain = [chunk for chunk in seen if chunk.isascii() and chunk.isprintable()]
        self._chunks.update(zip(plain, self._encode_plain(plain), strict=True))
        other = list(missing.difference(plain))
        self._chunks.update(zip(other, self._encode_by_library(other), strict=True))
        return [chunk for chunk in missing if len(chunk) > _CACHED_CHARS]

    def _encode_plain(self, chunks: Sequence[str]) -> list[bytes]:
        """Ids of chunks of printable ASCII; the library encodes only words not in the cache."""
        cased = [chunk.lower() for chunk in chunks] if self.lower_case else chunks
        split = [_ASCII_WORDS.findall(chunk) for chunk in cased]
        words = self._words
        missing = list(set(itertools.chain.from_iterable(split)).difference(words))
        words.update(zip(missing, self._encode_by_library(missing), strict=True))
        look_up = words.__getitem__
        encoded = [b''.join(map(look_up, pieces)) for pieces in split]
        for word in missing:
            if len(word) > _CACHED_CHARS:
                del words[word]
        return encoded

    def _encode_by_library(self, texts: list[str]) -> list[bytes]:
        encodings = self._library.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, np.int32).tobytes() for encoding in encodings]

    def encode_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        encodings = self._library.encode_batch(list(texts), add_special_tokens=False)
        return [
            (np.array(e.ids, np.int32), np.array(e.offsets, np.int32).reshape(-1, 2))
            for e in encodings
        ]

    def decode(self, ids: Sequence[int]) -> str:
        return ' '.join(self._visible_tokens(ids)).replace(' ##', '')

    def to_json(self) -> dict[str, Any]:
        return {
            'kind': self.kind,
            'vocab': self.vocab,
            'lower_case': self.lower_case,
            'strip_accents': self.strip_accents,
            **self.rules.to_json(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> 'WordPiece':
        vocab, lower_case = data['vocab'], data['lower_case']
        strip_accents = data['strip_accents']
        if not isinstance(vocab, list) or not all(isinstance(piece, str) for piece in vocab):
            raise TypeError('vocab is not a list of strings')
        if not isinstance(lower_case, bool) or not isinstance(strip_accents, bool | None):
            raise TypeError('lower_case and strip_accents must be true or false')
        return cls(vocab, lower_case, strip_accents, rules=_rules(data))

    @classmethod
    def from_file(cls, config: TokenizerConfig) -> 'WordPiece':
        """The tokenizer of a vocab.txt, one piece a line, with the switches of its folder."""
        path, vocab = str(config.path), read_vocab(str(config.path))
        stated = stated_switches(pathlib.Path(path).parent, vocab)
        lower_case = config.lower_case
        if lower_case is None:
            lower_case = stated.get('do_lower_case', True)
        strip_accents = config.strip_accents
        if strip_accents is None and lower_case == stated.get('do_lower_case', True):
            strip_accents = stated.get('strip_accents')
        rules = Rules(split_chinese=stated.get('tokenize_chinese_chars', True))
        return cls(vocab, lower_case, strip_accents, path, rules)

    @classmethod
    def train(
        cls, texts: Iterable[str], config: TokenizerConfig, watch: api.Watch = iter
    ) -> 'WordPiece':
        """Learns at most `config.vocab_size` pieces; special tokens have ids 0 to 4.

        The lines of text are kept in memory.
        """
        texts, vocab_size = list(texts), config.vocab_size or VOCAB_SIZE
        switches = (config.lower_case is not False, config.strip_accents)
        library = make_pipeline({api.UNK: 0}, *switches, api.UNK)
        alphabet, apart = _alphabet(texts, library.normalizer, vocab_size)
        trainer = tokenizers.trainers.WordPieceTrainer(
            vocab_size=vocab_size,
            # Otherwise the library numbers the ##letters in the order of a hash map and breaks ties
            # between merges by these numbers, so that every run learns another vocabulary.
            special_tokens=[*api.SPECIAL_NAMES, *(f'##{x}' for x in alphabet if x not in apart)],
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
        )
        library.train_from_iterator(watch(texts), trainer)
        ids = library.get_vocab(with_added_tokens=True)
        return cls(sorted(ids, key=ids.__getitem__), *switches)

    def write_native(self, folder: pathlib.Path) -> None:
        """Writes vocab.txt, and tokenizer_config.json with the normalization for Hugging Face."""
        text = ''.join(piece + '\n' for piece in self.vocab)
        (folder / 'vocab.txt').write_bytes(text.encode())
        config = {'tokenizer_class': 'ElectraTokenizer', **self.foreign_settings()}
        (folder / SETTINGS_FILE).write_text(json.dumps(config, indent=2) + '\n')

    def foreign_settings(self) -> dict[str, Any]:
        """What transformers calls the switches; those with their usual values are left out."""
        rules, ids = self.rules, {piece: i for i, piece in enumerate(self.pieces)}
        settings: dict[str, Any] = {
            'do_lower_case': self.lower_case,
            'strip_accents': self.strip_accents,
            **{f'{field}_token': piece for field, piece in rules.special.items()},
        }
        if not rules.split_chinese:
            settings['tokenize_chinese_chars'] = False
        if rules.added:
            listed = {str(ids[added.content]): dataclasses.asdict(added) for added in rules.added}
            settings['added_tokens_decoder'] = listed
        return settings


def read_vocab(path: str | pathlib.Path) -> list[str]:
    """The pieces of a vocab.txt in id order; DataError where it cannot be used."""
    try:
        raw = formats.only_text(pathlib.Path(path))
    except OSError as error:
        raise DataError(
            f'cannot read the vocabulary {path} ({error.strerror}); give a vocab.txt with '
            '--config.data.tokenizer.path=FILE, or leave it out and one is trained'
        ) from error
    except (compressed.TornError, ValueError) as error:
        raise DataError(
            f'cannot use the vocabulary {path}: {error} (for a SentencePiece model type '
            '--config.data.tokenizer.kind=unigram or bpe)'
        ) from error
    try:
        lines = raw.decode().split('\n')
    except UnicodeDecodeError as error:
        line = raw.count(b'\n', 0, error.start) + 1
        raise DataError(
            f'{path}, line {line}: not UTF-8 (byte {raw[error.start]:#04x}); a vocab.txt is a '
            'UTF-8 text file with one piece a line'
        ) from error
    # Pieces hold no spaces, which the reference strips, too (electra, tokenization.py).
    vocab = [line.strip(' ') for line in lines]
    while vocab and not vocab[-1]:
        vocab.pop()
    known: set[str] = set()
    for number, piece in enumerate(vocab, start=1):
        if '\t' in piece:
            raise DataError(
                f'{path}, line {number}: {piece!r:.60} holds a tab; each line must hold a piece '
                f'and nothing else, as written by: cut -f1 {shlex.quote(str(path))} > NEW.txt '
                '(of SentencePiece name the .model, not the .vocab)'
            )
        if not piece or piece in known:
            found = f'{piece!r} is already on line {vocab.index(piece) + 1}' if piece else 'empty'
            raise DataError(f'{path}, line {number}: {found}; each line must hold another piece')
        known.add(piece)
    return vocab


def stated_switches(folder: pathlib.Path, vocab: Sequence[str]) -> dict[str, bool]:
    """The switches that a folder's tokenizer_config.json states, by the names they have there.

    Raises:
        DataError: The file is damaged, a switch is not true or false, or it adds tokens that the
            vocabulary lacks.
    """
    path = folder / SETTINGS_FILE
    try:
        stated = files.parse_object(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f'cannot read {path}, which is next to the vocabulary: {error}') from error
    switches = {name: stated[name] for name in SWITCHES if stated.get(name) is not None}
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise DataError(f'{path}: {name} is {value!r:.60}, allowed: true, false')
    listed = stated.get('added_tokens_decoder')
    listed = listed.values() if isinstance(listed, dict) else []
    contents = {token.get('content') for token in listed if isinstance(token, dict)}
    if added := sorted(map(repr, contents - set(vocab))):
        raise DataError(
            f'{path} adds {", ".join(added[:3])} to the vocabulary, which is a line for each in a '
            'vocab.txt: add them there, or name a copy of it in a folder of its own'
        )
    return switches


def _typed(lower_case: bool, strip_accents: bool) -> str:
    """The words to type for two switches."""
    words = f'--config.data.tokenizer.lower_case={lower_case}'
    if strip_accents == lower_case:  # which is its default
        return words
    return f'{words} --config.data.tokenizer.strip_accents={strip_accents}'


def _rules(data: Mapping[str, Any]) -> Rules:
    """The rules among a tokenizer's JSON; a TypeError or ValueError if they are damaged."""
    fields = (field.name for field in dataclasses.fields(Rules))
    given = {name: data[name] for name in fields if name in data}
    for name, value in given.items():
        if type(value) is not type(getattr(_USUAL, name)) and name != 'added':
            raise TypeError(f'{name} is {value!r:.60}')
    given['added'] = tuple(Added(**one) for one in given.get('added', ()))
    return Rules(**given)


def make_pipeline(
    ids: dict[str, int],
    lower_case: bool,
    strip_accents: bool | None,
    unk: str,
    rules: Rules = _USUAL,
) -> tokenizers.Tokenizer:
    """The library's BERT pipeline, without special tokens, so that no text can produce them."""
    # One thread: the corpus builder runs one process for each core, and threads in each of them
    # would only compete. The library reads this variable at its first batch.
    os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
    model = tokenizers.models.WordPiece(
        vocab=ids, unk_token=unk, max_input_chars_per_word=rules.max_word_chars
    )
    library = tokenizers.Tokenizer(model)
    library.normalizer = tokenizers.normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=rules.split_chinese,
        lowercase=lower_case,
        strip_accents=strip_accents,
    )
    library.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return library


def _alphabet(
    texts: Sequence[str], normalizer: tokenizers.normalizers.Normalizer, vocab_size: int
) -> tuple[list[str], set[str]]:
    """The most frequent characters after normalization, and those that are always words alone.

    Their pieces are at most three quarters of the vocabulary: a letter that has none makes [UNK] of
    whole words, a word that has none is written with several pieces.
    """
    after: dict[str, int] = {}
    apart: set[str] = set()
    for letter, count in api.count_characters(texts).items():
        normal = normalizer.normalize_str(letter)
        for part in normal.strip():
            after[part] = after.get(part, 0) + count
            if normal != normal.strip():  # spaces are put around Chinese characters
                apart.add(part)
    kept: list[str] = []
    room = min(vocab_size * 3 // 4, vocab_size - len(api.SPECIAL_NAMES))
    left = sum(after.values())
    rare = left * (1 - _LETTER_COVERAGE)
    for letter in sorted(after, key=lambda letter: (-after[letter], letter)):
        room -= 1 if letter in apart else 2
        is_common = len(kept) < min(vocab_size // 4, _COMMON_LETTERS)
        if room < 0 or (left <= rare and not is_common):
            break
        kept.append(letter)
        left -= after[letter]
    return sorted(kept), apart
