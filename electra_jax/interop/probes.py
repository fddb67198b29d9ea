"""Texts on which two tokenizers must agree before one stands for the other."""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import tokenizers

from electra_jax.core.errors import CheckpointError, first_line
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.wordpiece import WordPiece

# Texts that different pipelines encode differently: spaces, case, accents, scripts, symbols.
PROBES = (
    'The quick brown fox, 3.14 times (twice!), jumped over "lazy" dogs.',
    '  two  spaces \t and a tab ',
    'Café naïve Ångström ÉCOLE straße İstanbul',
    '東京は日本の首都です。 中文 한국어 русский ελληνικά العربية',
    "don't e-mail me@example.org https://example.org/a?b=c#d ½ ² ™ … — “quoted”",
    'ﬁne \uff46\uff55\uff4c\uff4c\u3000\uff57\uff49\uff44\uff45',
    'a\u00a0no-break space, zero\u200bwidth, e\u0301',
    '🙂 emoji \ue000 private',
    '',
)
# More scripts and corners, for tokenizers that came from elsewhere.
MORE_PROBES = (
    '今日は東京に行く。ｶﾀｶﾅ と ひらがな',
    '한국어 형태소 분석, ABC 대문자',
    'ภาษาไทยไม่มีช่องว่าง กำลัง',
    'हिन्दी में क्या हाल है? தமிழ் বাংলা తెలుగు ಕನ್ನಡ മലയാളം',
    'Привет, Йод и ёлка! Ґанок Їжак',
    'ΟΔΥΣΣΕΥΣ ὀδυσσεύς ΐ',
    'עברית שָׁלוֹם اَلْعَرَبِيَّةُ فارسی',
    'DİYARBAKIR ılık Iğdır ŞIRNAK',  # noqa: RUF001
    'ᏣᎳᎩ ꮳꮃꭹ ქართული ᲥᲐᲠᲗᲣᲚᲘ հայերեն አማርኛ',
    'Tiếng Việt có dấu; e\u0301te\u0301 ǅungla ŉ ﬀ',
    'soft\u00adhyphen zero\u200dwidth \ufeffmark \u0000nul\ufffd',
    '👩\u200d💻 🇩🇪 👍🏽 ☕\ufe0f ⅷ № ① ㌔',
    'snake_case CamelCase kebab-case a+b=c $5 <tag> {x} ~ ^ `',
    '\U00020000\U0002a6d6 \U0001d400\U0001d41a \U000e0041',
    'x' * 101 + ' ' + 'ab' * 110,
    'line\nbreak\r\nand\u2028separator\u0085next',
)
PAIR = ('the cat', 'and a dog')
_SHOWN = 12  # ids in a message
_ADDED = 20  # added tokens that are tried


def probes_of(tokenizer: Tokenizer) -> list[str]:
    """All probes for a tokenizer from elsewhere, its added tokens among them."""
    added = tokenizer.rules.added if isinstance(tokenizer, WordPiece) else ()
    marked = [
        text
        for token in added[:_ADDED]
        for text in (f'the {token.content} cat', f'the{token.content}cat {token.content.upper()}.')
    ]
    return [*PROBES, *MORE_PROBES, *marked]


def read_library(path: pathlib.Path) -> tokenizers.Tokenizer:
    """The tokenizer in a tokenizer.json, which neither cuts nor fills rows."""
    try:
        library = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more special
        raise CheckpointError(f'{path} is damaged: {first_line(error)}') from error
    library.no_truncation()
    library.no_padding()
    return library


def encode(
    library: tokenizers.Tokenizer, text: str, pair: str | None = None, special: bool = True
) -> tokenizers.Encoding:
    """A text or a pair cut by the library; CheckpointError where its tokenizer cannot."""
    try:
        return library.encode(text, pair, add_special_tokens=special)
    except Exception as error:  # the library raises nothing more special
        raise CheckpointError(
            f'the library cannot cut the text {text!r:.80} by that tokenizer.json '
            f'({first_line(error)}): it is damaged, fetch it again'
        ) from error


def ids_of(library: tokenizers.Tokenizer, text: str) -> list[int]:
    """The ids of a text without [CLS] and [SEP]."""
    return encode(library, text, special=False).ids


def check_library(
    tokenizer: Tokenizer,
    library: tokenizers.Tokenizer,
    problem: str,
    texts: Sequence[str] = PROBES,
) -> None:
    """Refuses a tokenizer that gives other ids than a pipeline of the library."""
    _check(tokenizer, texts, lambda text: ids_of(library, text), problem, 'the library')


def _check(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    encode: Callable[[str], Sequence[int]],
    problem: str,
    their_name: str,
) -> None:
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        theirs = list(encode(text))
        if theirs != ids.tolist():
            raise CheckpointError(
                f'{problem}: for the text {text!r:.200} ours gives '
                f'{_around(ids.tolist(), theirs)}, {their_name} {_around(theirs, ids.tolist())}'
            )


def _around(ids: list[int], others: list[int]) -> str:
    """The ids from the first that differs."""
    at = next((i for i, (a, b) in enumerate(zip(ids, others, strict=False)) if a != b), 0)
    shown = ids[at : at + _SHOWN]
    return f'{"..., " if at else ""}{shown}'


def pair_row(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids and the types of `PAIR` as our rows have them."""
    first, second = (ids.tolist() for ids in tokenizer.encode_batch(PAIR))
    cls, sep = tokenizer.special.cls, tokenizer.special.sep
    types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
    return [cls, *first, sep, *second, sep], types


def against_transformers(folder: pathlib.Path, tokenizer: Tokenizer) -> str:
    """Compares with what transformers reads from the folder; a line about it for people.

    Raises:
        CheckpointError: transformers gives other ids.
    """
    # Nothing is fetched, and no code of the folder runs.
    os.environ.setdefault('TRANSFORMERS_VERBOSITY', 'error')
    try:
        from transformers import AutoTokenizer
    except ImportError:
        return (
            'tokenizer not checked against transformers, which is not installed: '
            "pip install -e '.[parity]'"
        )
    try:
        theirs: Any = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        row = theirs(*PAIR)
    except Exception as error:  # of any kind: a folder can be damaged in many ways
        return (
            f'tokenizer not checked: transformers cannot use that of {folder} ({first_line(error)})'
        )
    texts = probes_of(tokenizer)
    _check(
        tokenizer,
        texts,
        lambda text: theirs.encode(text, add_special_tokens=False),
        f'the tokenizer of {folder} cannot be read',
        'transformers',
    )
    ids, types = pair_row(tokenizer)
    if 'token_type_ids' not in theirs.model_input_names:  # a model without token types
        types = [0] * len(ids)
    found = row['input_ids'], row.get('token_type_ids', [0] * len(row['input_ids']))
    if found != (ids, types):
        raise CheckpointError(
            f'{folder}: transformers makes of the pair {PAIR} the ids {found[0]} with the types '
            f'{found[1]}, ours {ids} with {types}'
        )
    return f'tokenizer checked: transformers gives the same ids for {len(texts)} texts and a pair'
