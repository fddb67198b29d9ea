"""Seeded damage to bytes, text and JSON: everything drawn from the generator that is handed in."""

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

WORDS = ('the', 'of', 'and', 'new', 'york', 'cafe', 'Paris', 'naïve', '東京', '🙂', 'x' * 300, '.')

# Values that programs seldom expect where a number, a text or a group should stand.
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 2**31, 2**63, 10**30, -(10**30), 0.5, 1e308, 1e-320,
    float('nan'), float('inf'), float('-inf'), '', ' ', 'x', '0', '-1', 'nan', '1e999', '../x',
    '../../etc/passwd', '/etc/passwd', '.', '..', '\0', 'a\0b', '\ud800', '\u2028', 'a' * 5000,
    'é' * 200, '%s%n', '{N}', [], {}, [[]], [None], [1, 'a'], {'a': 1}, {'': {}},
)  # fmt: skip

_TOKENS = (
    b'\0', b'\xff\xfe', b'\xfe\xff', b'\xef\xbb\xbf', b'\xc3', b'\xed\xa0\x80', b'\r', b'\r\n',
    b'\n', b'\n\n', b'\n \t\n', b'\t', b' ', b'"', b"'", b'""', b',', b';', b'#', b'=', b':', b'{',
    b'}', b'[', b']', b'{"text": 1}', b'null', b'NaN', b'-1', b'0', b'9' * 20, b'1e999',
    b'\\ud800', b'\\u0000', b'\xe2\x80\xa8', b'\xc2\xa0', b'-DOCSTART-', b'../', b'\x1f\x8b\x08',
)  # fmt: skip


def words(rng: random.Random, count: int) -> str:
    """A line of text."""
    return ' '.join(rng.choices(WORDS, k=count))


def spoil(rng: random.Random, data: bytes, times: int | None = None) -> bytes:
    """`data` after one to three accidents (or `times`)."""
    for _ in range(rng.randint(1, 3) if times is None else times):
        data = rng.choice(_ACCIDENTS)(rng, data)
    return data


def spoil_json(rng: random.Random, tree: Any, times: int | None = None) -> bytes:
    """JSON of `tree` after accidents to its values, at times to its text, too."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.randint(1, 2) if times is None else times):
        tree = spoil_tree(rng, tree)
    text = json.dumps(tree)
    if rng.random() < 0.02:
        # Deeper than any parser's stack, which no tree in memory could be written out as.
        text = text.replace('null', '[' * 100_000 + ']' * 100_000, 1)
    if rng.random() < 0.02:
        text = text.replace('1', '9' * 5000, 1)
    data = text.encode('utf-8', 'surrogatepass')
    return spoil(rng, data, 1) if rng.random() < 0.15 else data


def spoil_tree(rng: random.Random, tree: Any) -> Any:
    """A tree of dicts and lists with one change at a random position."""
    positions = list(_positions(tree))
    holder, key = rng.choice(positions) if positions else (None, None)
    if holder is None or rng.random() < 0.03:
        return _strange(rng)
    kind = rng.random()
    if kind < 0.2:
        del holder[key]
    elif kind < 0.3 and isinstance(holder, dict):
        holder[_strange_name(rng, key)] = holder.pop(key)
    elif kind < 0.4:
        holder[key] = [holder[key]]
    elif kind < 0.5:
        other_holder, other = rng.choice(positions)
        if other_holder is not holder:
            holder[key] = json.loads(json.dumps(other_holder[other]))
    elif kind < 0.6 and isinstance(holder[key], int | float) and holder[key] == holder[key]:
        holder[key] = holder[key] + rng.choice((-1, 1, 0.5, 1000))
    elif isinstance(holder, dict):
        holder[rng.choice((key, key, key, _strange_name(rng, key)))] = _strange(rng)
    else:
        holder[key] = _strange(rng)
    return tree


def _strange(rng: random.Random) -> Any:
    # A copy: a later accident inside it must not change the list for all inputs that follow.
    return copy.deepcopy(rng.choice(STRANGE))


def _strange_name(rng: random.Random, key: str) -> str:
    return rng.choice((f'{key}x', '', 'é', '../x', '\0', key.upper(), 'a' * 300))


def _positions(tree: Any) -> list[tuple[Any, Any]]:
    """Every (dict, key) and (list, index) of a tree."""
    found, to_visit = [], [tree]
    while to_visit:
        node = to_visit.pop()
        if isinstance(node, dict):
            keys: Sequence[Any] = list(node)
        elif isinstance(node, list):
            keys = range(len(node))
        else:
            continue
        for key in keys:
            found.append((node, key))
            to_visit.append(node[key])
    return found


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 1, 2, 4, 16, 64, len(data) // 2 + 1)))


def _flip(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut_out(rng: random.Random, data: bytes) -> bytes:
    start, stop = _span(rng, data)
    return data[:start] + data[stop:]


def _double(rng: random.Random, data: bytes) -> bytes:
    start, stop = _span(rng, data)
    return data[:stop] + data[start:stop] * rng.choice((1, 2, 100)) + data[stop:]


def _put_in(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(_TOKENS) * rng.choice((1, 1, 1, 3, 50)) + data[at:]


def _put_over(rng: random.Random, data: bytes) -> bytes:
    at, token = rng.randint(0, len(data)), rng.choice(_TOKENS)
    return data[:at] + token + data[at + len(token) :]


def _noise(rng: random.Random, data: bytes) -> bytes:
    start, stop = _span(rng, data)
    return data[:start] + rng.randbytes(stop - start) + data[stop:]


def _swap(rng: random.Random, data: bytes) -> bytes:
    a, b = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return data[:a] + data[b:] + data[a:b]


def _tear(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def _swap_lines(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b'\n')
    rng.shuffle(lines)
    return b'\n'.join(lines)


def _zeros(rng: random.Random, data: bytes) -> bytes:
    start, stop = _span(rng, data)
    return data[:start] + bytes(stop - start) + data[stop:]


def _empty(rng: random.Random, data: bytes) -> bytes:
    return b'' if rng.random() < 0.3 else data


_ACCIDENTS = (
    _flip, _flip, _cut_out, _double, _put_in, _put_in, _put_over, _noise, _swap, _tear, _swap_lines,
    _zeros, _empty,
)  # fmt: skip
