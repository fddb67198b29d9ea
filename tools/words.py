"""Compares our WordPiece with transformers' on words of many scripts: python -m tools.words.

Words are drawn from the letters of a script (by the names in `unicodedata`), some with a digit or
a sign; --text adds lines of files. For each script it prints how many words were compared and how
many have other ids, with the first of these. --python compares with the Python code of BERT, which
is that of the reference (transformers' tokenization_bert_legacy), in place of the library.
"""

import argparse
import functools
import pathlib
import random
import sys
import tempfile
import unicodedata
from collections.abc import Iterator

from electra_jax.tokenizers.wordpiece import Rules, WordPiece

# What the names of characters begin with.
SCRIPTS = (
    'latin', 'greek', 'cyrillic', 'armenian', 'georgian', 'cherokee', 'hebrew', 'arabic', 'syriac',
    'devanagari', 'bengali', 'tamil', 'telugu', 'thai', 'lao', 'tibetan', 'myanmar', 'khmer',
    'ethiopic', 'hangul', 'hiragana', 'katakana', 'cjk',
)  # fmt: skip
# Corners: ranges of code points, whatever their names.
CORNERS = {
    'emoji': [(0x1F300, 0x1FAFF), (0x2600, 0x27BF), (0x200D, 0x200D), (0xFE0F, 0xFE0F)],
    'format': [(0x00AD, 0x00AD), (0x200B, 0x200F), (0x2028, 0x202E), (0x61, 0x7A)],
    'control': [(0x01, 0x1F), (0x7F, 0x9F), (0x61, 0x7A)],
    'private use': [(0xE000, 0xE0FF), (0xF0000, 0xF00FF), (0x61, 0x7A)],
    'turkish i, final sigma': [(0x49, 0x49), (0x69, 0x69), (0x130, 0x131), (0x3A3, 0x3A3),
                               (0x3C2, 0x3C3)],
    'compatibility': [(0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFF00, 0xFFEF), (0x2100, 0x218F)],
    'marks': [(0x300, 0x36F), (0x1AB0, 0x1AFF), (0x61, 0x7A), (0xC0, 0x17F)],
    'any code point': [(0x20, 0xD7FF), (0xE000, 0x10FFFF)],
}  # fmt: skip
_LETTERS = 1000
_SIGNS = "0123456789-'.,!?()"


@functools.cache
def _by_name() -> dict[str, list[str]]:
    """First word of a character's name -> the characters."""
    found: dict[str, list[str]] = {}
    for letter in map(chr, range(sys.maxunicode + 1)):
        found.setdefault(unicodedata.name(letter, '').partition(' ')[0].lower(), []).append(letter)
    return found


@functools.cache
def letters(script: str) -> list[str]:
    """The characters of a group, at most `_LETTERS` of them."""
    if script in CORNERS:
        found = [chr(c) for low, high in CORNERS[script] for c in range(low, high + 1)]
    else:
        found = _by_name()[script]
    return random.Random(script).sample(found, min(len(found), _LETTERS))


def words(script: str, number: int, seed: int) -> Iterator[str]:
    """Random words of a group of characters."""
    draw = random.Random(f'{script}{seed}')
    found = letters(script)
    for _ in range(number):
        chosen = draw.choices(found, k=draw.randint(1, 10))
        if draw.random() < 0.2:
            chosen.insert(draw.randint(0, len(chosen)), draw.choice(_SIGNS))
        yield ''.join(chosen)


def vocabulary() -> list[str]:
    """Special tokens, and every letter in all its forms, alone and inside words."""
    draw = random.Random(0)
    kept = dict.fromkeys(('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *_SIGNS))
    for script in (*SCRIPTS, *CORNERS):
        found = letters(script)
        for letter in (*found, *_SIGNS):
            forms = {
                letter,
                *letter.lower(),
                *unicodedata.normalize('NFD', letter + letter.lower()),
            }
            for form in sorted(forms):
                kept |= dict.fromkeys((form, f'##{form}', form + draw.choice(found).lower()))

    def usable(piece: str) -> bool:
        return not any(c.isspace() or unicodedata.category(c) == 'Cc' for c in piece)

    return [piece for piece in kept if usable(piece)]


def differences(ours: WordPiece, theirs: object, texts: list[str]) -> list[tuple[str, list, list]]:
    """The texts with other ids, and both ids."""
    found = theirs(texts, add_special_tokens=False)['input_ids']  # type: ignore[operator]
    pairs = zip(texts, ours.encode_batch(texts), found, strict=True)
    return [(text, a.tolist(), b) for text, a, b in pairs if a.tolist() != b]


def main() -> int:
    """Prints a line for each group; the status is 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--words', type=int, default=1_000_000, help='of all groups together')
    parser.add_argument('--text', nargs='*', default=[], help='files whose lines are compared, too')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--python', action='store_true', help='with the Python code of BERT')
    asked = parser.parse_args()
    from transformers import BertTokenizer
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    pieces, status = vocabulary(), 0
    reference = BertTokenizerLegacy if asked.python else BertTokenizer
    each = asked.words // (len(SCRIPTS) + len(CORNERS))
    groups = {name: list(words(name, each, asked.seed)) for name in (*SCRIPTS, *CORNERS)}
    for name in asked.text:
        groups[name] = pathlib.Path(name).read_text(encoding='utf-8').splitlines()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, 'vocab.txt')
        path.write_text(''.join(f'{piece}\n' for piece in pieces), encoding='utf-8')
        for lower_case in (True, False):
            ours = WordPiece(pieces, lower_case, rules=Rules(max_word_chars=100))
            theirs = reference.from_pretrained(folder, do_lower_case=lower_case)
            for name, texts in groups.items():
                bad = differences(ours, theirs, texts)
                unk = ours.special.unk
                known = sum(unk not in ids for ids in ours.encode_batch(texts)) / max(len(texts), 1)
                print(f'lower_case={lower_case} {name}: {len(texts):,} texts, {known:.0%} without '
                      f'[UNK], {len(bad)} differ', *bad[:1], flush=True)  # fmt: skip
                status |= bool(bad)
    return status


if __name__ == '__main__':
    sys.exit(main())
