"""Text for a tokenizer is a sample in proportion, however the corpus is packed."""

import dataclasses
import gzip
import random

import pytest

from electra_jax.config import settings
from electra_jax.core.complaints import Complaints
from electra_jax.corpus import documents, sample, sources

LATIN, CYRILLIC = 'abcdefgh', 'абвгдежз'
LIMIT = 50_000


def text(letters: str, size: int, between: str) -> str:
    """About `size` UTF-8 bytes of words in lines of 60 letters."""
    rng = random.Random(letters)
    count = size // (60 * len(letters[0].encode()))
    lines = [' '.join(''.join(rng.choices(letters, k=5)) for _ in range(10)) for _ in range(count)]
    return between.join(lines) + '\n'


def sampled(source: str, limit: int = LIMIT, piece_bytes: int = 100_000, seed: int = 0) -> str:
    config = settings.DataConfig(path='', source=source, row_length=8, build_seed=seed, holdout=0)
    entries = sources.parse_source(source)
    pieces = sources.plan(entries, Complaints('data.on_bad_text'), piece_bytes)
    total = sum(piece.read_bytes for piece in pieces)
    return '\n'.join(sample.sample_lines(pieces, config, total, limit))


def share(text: str, letters: str) -> float:
    """Of the bytes of the text in those letters."""
    ours, others = (sum(map(text.count, x)) * len(x[0].encode()) for x in (letters, LATIN))
    return ours / (ours + others)


@pytest.mark.parametrize('packed', [True, False])
@pytest.mark.parametrize('files', [1, 40])
@pytest.mark.parametrize('between', ['\n\n', '\n', ' '])
def test_all_of_the_corpus_is_in_the_sample(tmp_path, packed, files, between):
    for name, letters, size in (('a', LATIN, 200_000), ('b', CYRILLIC, 300_000)):
        for i in range(files):
            data = text(letters, size // files, between).encode()
            path = tmp_path / f'{name}{i:02}.txt{".gz" * packed}'
            path.write_bytes(gzip.compress(data) if packed else data)
    found = sampled(f'text:{tmp_path}')
    assert 0.9 * LIMIT < len(found.encode()) <= LIMIT * 1.02  # and the ends of lines
    assert 0.54 < share(found, CYRILLIC) < 0.66


def test_a_sample_reaches_from_the_first_to_the_last_line(tmp_path):
    lines = [f'line {i}' for i in range(100_000)]
    (tmp_path / 'a.txt').write_text('\n'.join(lines))
    numbers = [int(line.split()[1]) for line in sampled(f'text:{tmp_path}').split('\n')]
    assert numbers == sorted(numbers)
    assert numbers[0] < 10_000 and numbers[-1] > 90_000


def test_a_large_corpus_is_not_read_whole(tmp_path, monkeypatch):
    for name, letters in (('a', LATIN), ('b', CYRILLIC)):
        (tmp_path / f'{name}.txt').write_text(text(letters, 300_000, ' '))
    monkeypatch.setattr(sample, '_READ_BYTES', 0)
    found = sampled(f'text:{tmp_path}', limit=20_000)
    assert 18_000 < len(found.encode()) <= 20_000
    assert 0.4 < share(found, CYRILLIC) < 0.6


def test_a_text_below_the_limit_is_there_whole_and_in_order(tmp_path):
    (tmp_path / 'a.txt').write_text(text(CYRILLIC, 40_000, '\n'))
    assert sampled(f'text:{tmp_path}') == (tmp_path / 'a.txt').read_text().strip()


def test_weights_count(tmp_path):
    for name, letters in (('a', LATIN), ('b', CYRILLIC)):
        (tmp_path / f'{name}.txt').write_text(text(letters, 300_000, '\n\n'))
    a, b = f'text:{tmp_path}/a.txt', f'text:{tmp_path}/b.txt'
    assert 0.7 < share(sampled(f'{a},{b}=3'), CYRILLIC) < 0.8
    assert 0.12 < share(sampled(f'{a},{b}=0.2'), CYRILLIC) < 0.22


def test_the_seed_alone_decides_the_draws(tmp_path):
    (tmp_path / 'a.txt').write_text(text(LATIN, 300_000, '\n'))
    source = f'text:{tmp_path}'
    assert sampled(source) == sampled(source) != sampled(source, seed=1)


def test_held_out_documents_are_not_in_it(tmp_path):
    (tmp_path / 'a.txt').write_text('\n\n'.join(f'document {i}' for i in range(500)))
    source = f'text:{tmp_path}'
    config = settings.DataConfig(path='', source=source, row_length=8, holdout=0.3)
    entries = sources.parse_source(source)

    def lines(config):
        pieces = sources.plan(entries, Complaints('data.on_bad_text'))
        return sample.sample_lines(pieces, config, 1, LIMIT)

    assert len(lines(dataclasses.replace(config, holdout=0.0))) == 500
    assert 300 < len(lines(config)) < 400


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemotePart(documents.Part):
    """Text of which each block is a download."""

    downloads: list
    least_bytes: int = 1000

    def open(self, complaints):
        for start in range(0, self.text_bytes, 1000):
            self.downloads.append(self.name)
            texts = ((self.name, f'{self.name} line {start + i}') for i in range(0, 1000, 20))
            yield documents.block_of(1000, texts, complaints)


@pytest.mark.parametrize('size', [1000, 10_000])
@pytest.mark.parametrize('limit', [8_000, 10**9])
def test_of_remote_text_no_more_than_the_sample_is_downloaded(monkeypatch, size, limit):
    monkeypatch.setattr(sample, '_READ_BYTES', 0)
    downloads, total = [], 400_000
    parts = [
        RemotePart(name=f'part {i}', weight=1.0, text_bytes=size, downloads=downloads)
        for i in range(total // size)
    ]
    config = settings.DataConfig(path='', source='', row_length=8, holdout=0)
    pieces = [sources.Piece(i, (part,), size) for i, part in enumerate(parts)]
    lines = sample.sample_lines(pieces, config, total, limit)
    assert len(downloads) == (16 if limit < total else 400)
    numbers = {int(line.split()[1]) for line in lines}
    assert min(numbers) < 0.1 * len(parts) and max(numbers) > 0.9 * len(parts)
