"""Text sources and whole builds: every kind, damaged, with the text counted on both sides."""

import bz2
import codecs
import contextlib
import dataclasses
import gzip
import io
import json
import lzma
import os
import pathlib
import random
import re
import shutil
from unittest import mock

import zstandard

from electra_jax.config import settings as schema
from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.core import formats
from electra_jax.core.complaints import Complaints
from electra_jax.corpus import documents, job, prepared, sources
from electra_jax.data import manifest, records
from electra_jax.runtime import terminal
from tests.support import fakes
from tools.fuzz import mutate
from tools.fuzz.target import Run, Target, check, files_of, fresh

PIECE_SIZES = (60, 300, 2000, 1_000_000)

COMPRESS = {
    '.gz': lambda data: gzip.compress(data, mtime=0),
    '.xz': lzma.compress,
    '.zst': zstandard.ZstdCompressor(write_checksum=True).compress,
}


def read_all(
    source: str, rng: random.Random, complaints: Complaints
) -> list[tuple[list[str], documents.Part]]:
    """Every document of a source, by the same steps as a build takes."""
    entries = sources.parse_source(source)
    found = []
    for piece in sources.plan(entries, complaints, rng.choice(PIECE_SIZES)):
        check(len(piece.identity) == 32, f'{piece.identity} is no hash')
        for part in piece.parts:
            found += [(lines, part) for block in part.open(complaints) for lines in block.documents]
    return found


def plain_text(rng: random.Random) -> bytes:
    """Some documents of some lines."""
    lines = [
        '\n'.join(mutate.words(rng, rng.randint(1, 12)) for _ in range(rng.randint(1, 4)))
        for _ in range(rng.randint(1, 8))
    ]
    return ('\n\n'.join(lines) + '\n').encode()


def json_lines(rng: random.Random) -> bytes:
    """Some JSON lines with a field 'text'."""
    rows = [
        {'text': mutate.words(rng, rng.randint(1, 12)), 'n': i} for i in range(rng.randint(1, 8))
    ]
    lines = [
        mutate.spoil_json(rng, row, 1).replace(b'\n', b' ')
        if rng.random() < 0.2
        else json.dumps(row).encode()
        for row in rows
    ]
    return b'\n'.join(lines) + b'\n'


def letters(text: str) -> str:
    """A text without its white space and NULs, which may be anywhere or nowhere afterwards."""
    return ''.join(text.replace('\0', '').split())


def _policy(rng: random.Random) -> Complaints:
    return Complaints('data.on_bad_text', 'skip' if rng.random() < 0.6 else 'error')


def _is_another(complaints: Complaints) -> bool:
    """Whether a file looks like something else by chance, which is reported."""
    others = {'unreadable_file', 'guessed_encoding', 'not_packed', 'torn_file'}
    return bool(others & set(complaints.counts))


def _as_utf8(data: bytes) -> bytes | None:
    """A file's text without its mark; None: half a character is in it, which is reported."""
    form = formats.of(data[: formats.HEAD_BYTES])
    if form.is_plain or not form.mark_bytes:
        # The three bytes of half a character are replaced as one character.
        return data[form.mark_bytes :].replace(formats.HALF_CHARACTER, '\ufffd'.encode())
    try:
        return data[form.mark_bytes :].decode(form.encoding).encode()
    except UnicodeError:
        return None


def check_text(data: bytes, found: list, complaints: Complaints) -> None:
    """All letters of a plain file are in the documents, in their order."""
    if _is_another(complaints):
        return
    if (marked := _as_utf8(data)) is None:
        check('half_character' in complaints.counts, 'half a character was read in silence')
        return
    # Where files are joined, a line begins with the mark of its file.
    lines = re.split('[\r\n]', marked.decode(errors='replace'))
    wanted = letters('\n'.join(line.lstrip('\ufeff') for line in lines))
    got = letters(''.join(''.join(lines) for lines, _ in found))
    check(got == wanted, f'{len(wanted)} letters in the file, {len(got)} in the documents')


def check_json_lines(data: bytes, found: list, complaints: Complaints) -> None:
    """Every line became a document or was counted."""
    if _is_another(complaints):
        return
    if (marked := _as_utf8(data)) is None:
        check('half_character' in complaints.counts, 'half a character was read in silence')
        return
    lines = re.split(rb'\r\r\n|\r\n|\r|\n', marked)
    wanted = sum(1 for line in lines if line.removeprefix(codecs.BOM_UTF8).strip())
    counted = sum(
        number
        for kind, (number, _) in complaints.counts.items()
        if kind in ('bad_json', 'empty_document')
    )
    check(
        len(found) + counted == wanted,
        f'{wanted} lines, but {len(found)} documents and {counted} counted as bad',
    )


def _make_text(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> None:
        path = fresh(folder / 'case') / 'a.txt'
        data = mutate.spoil(rng, plain_text(rng))
        path.write_bytes(data)
        complaints = _policy(rng)
        check_text(data, read_all(f'text:{path}', rng, complaints), complaints)

    return run


def _make_jsonl(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> None:
        path = fresh(folder / 'case') / 'a.jsonl'
        data = json_lines(rng)
        if rng.random() < 0.6:
            data = mutate.spoil(rng, data)
        path.write_bytes(data)
        complaints = _policy(rng)
        check_json_lines(data, read_all(f'jsonl:{path}', rng, complaints), complaints)

    return run


def _unpacked(suffix: str, data: bytes) -> bytes | None:
    """What the standard library makes of a compressed file; None: it is damaged or has a tail."""
    try:
        if suffix == '.gz':
            with gzip.open(io.BytesIO(data)) as file:
                return file.read()
        if suffix == '.xz':
            out, left = b'', data
            while left.strip(b'\0'):
                one = lzma.LZMADecompressor()
                out += one.decompress(left)
                if not one.eof:
                    return None
                left = one.unused_data.lstrip(b'\0')
            return out
        reader = zstandard.ZstdDecompressor().stream_reader(
            io.BytesIO(data), read_across_frames=True
        )
        return reader.read()
    except (OSError, EOFError, ValueError, lzma.LZMAError, zstandard.ZstdError, gzip.zlib.error):
        return None


def _make_compressed(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> None:
        suffix = rng.choice(sorted(COMPRESS))
        kind = rng.choice(('text', 'jsonl'))
        make = plain_text if kind == 'text' else json_lines
        packed = b''.join(COMPRESS[suffix](make(rng)) for _ in range(rng.choice((1, 1, 2))))
        if rng.random() < 0.1:
            packed = bz2.compress(packed)
        data = mutate.spoil(rng, packed)
        path = fresh(folder / 'case') / f'a{suffix}'
        path.write_bytes(data)
        complaints = _policy(rng)
        found = read_all(f'{kind}:{path}', rng, complaints)
        if 'torn_file' in complaints.counts or _is_another(complaints) or not data:
            return
        whole = _unpacked(suffix, data)
        if whole is None:
            is_bzip2 = data.startswith(b'BZh')  # which is read whatever the name
            check(suffix == '.zst' or is_bzip2, 'a damaged file was taken for a whole one')
        else:
            (check_text if kind == 'text' else check_json_lines)(whole, found, complaints)

    return run


def _make_mixture(folder: pathlib.Path) -> Run:
    rng = random.Random(0)
    base = fresh(folder / 'mixture')
    (base / 'a.txt').write_bytes(plain_text(rng))
    (base / 'b.jsonl').write_bytes(json_lines(random.Random(3)))
    (base / 'year=2024').mkdir()
    (base / 'year=2024' / 'c.txt').write_bytes(plain_text(rng))
    (base / 'd.txt.gz').write_bytes(COMPRESS['.gz'](plain_text(rng)))
    entries = (
        'text:a.txt', 'jsonl:b.jsonl#text', 'text:year=2024', 'text:*.txt=2.5', 'text:d.txt.gz=0.3',
        'text:.', 'jsonl:.=2', 'tfds:year=2024:train#text', 'tfds:none:train', 'tfds:x',
    )  # fmt: skip

    def run(rng: random.Random) -> None:
        source = ', '.join(rng.choices(entries, k=rng.randint(1, 3)))
        if rng.random() < 0.8:
            source = mutate.spoil(rng, source.encode()).decode(errors='replace')
        if re.search(r'(?:^|[:,=])\s*/|\*\*|python-docs|\.\.', source):
            return  # not to walk through the whole machine
        no_bucket = {prepared.BUCKET_VARIABLE: 'nowhere'}
        with contextlib.chdir(base), mock.patch.dict(os.environ, no_bucket):
            read_all(source, rng, _policy(rng))

    return run


def _make_tfds(folder: pathlib.Path) -> Run:
    import tensorflow_datasets as tfds

    class FuzzTexts(tfds.core.GeneratorBasedBuilder):
        """Texts."""

        __module__ = '__main__'  # tests is no package, and tfds looks for the file of its class
        VERSION = tfds.core.Version('1.0.0')

        def _info(self):
            text = tfds.features.Text()
            features = tfds.features.FeaturesDict({'text': text, 'title': text})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {'train': self._generate_examples()}

        def _generate_examples(self):
            for i in range(20):
                yield i, {'text': f'Document {i}.\n\nSecond é.', 'title': f'Title {i}'}

    tfds.disable_progress_bar()
    FuzzTexts(data_dir=str(folder / 'tfds'), file_format='array_record').download_and_prepare()
    template = folder / 'tfds' / 'fuzz_texts' / '1.0.0'

    def run(rng: random.Random) -> None:
        case = fresh(folder / 'case' / 'fuzz_texts' / '1.0.0', template)
        path = rng.choice(files_of(case))
        _spoil_file(rng, path)
        complaints = _policy(rng)
        found = read_all(f'tfds:{case}:train', rng, complaints)
        if path.suffix != '.json' and not complaints.counts:
            check(len(found) == 20, f'20 documents were written, {len(found)} were read')

    return run


def _spoil_file(rng: random.Random, path: pathlib.Path) -> None:
    """Damages a file, as JSON where it is JSON; or takes it away."""
    data = path.read_bytes()
    kind = rng.random()
    if kind < 0.05:
        path.unlink()
        return
    value = None
    if path.suffix == '.json' and kind < 0.7:
        with contextlib.suppress(ValueError):  # one that was damaged before
            value = json.loads(data)
    path.write_bytes(mutate.spoil(rng, data) if value is None else mutate.spoil_json(rng, value))


def corpus_config(folder: pathlib.Path, **changes) -> schema.DataConfig:
    """A small corpus of a small text."""
    text = folder / 'text.txt'
    if not text.exists():
        rng = random.Random(1)
        text.write_bytes(b'\n'.join(plain_text(rng) for _ in range(30)))
        (folder / 'vocab.txt').write_text('\n'.join(fakes.VOCAB) + '\n')
    settings = {
        'path': str(folder / 'corpus'),
        'source': f'text:{text}',
        'row_length': 32,
        'holdout': 0.1,
        'workers': 1,
        'tokenizer': schema.TokenizerConfig(path=str(folder / 'vocab.txt')),
        **changes,
    }
    return schema.DataConfig(**settings)


def quietly_built(config: schema.DataConfig, piece_bytes: int = 5000) -> manifest.Corpus:
    """`job.build_corpus` without its progress on the terminal."""
    with terminal.ERR.capture():
        return job.build_corpus(config, piece_bytes)


def _make_build(folder: pathlib.Path) -> Run:
    """A build that was stopped, its folder damaged, and started again."""
    fresh(folder / 'build')
    config = corpus_config(folder / 'build')
    whole = quietly_built(config)
    wanted = {shard.name: shard.sha256 for split in whole.shards.values() for shard in split}
    shutil.rmtree(config.path)
    finish, job._joined = job._joined, _stop
    with contextlib.suppress(InterruptedError):
        quietly_built(config)
    job._joined = finish
    template = folder / 'build' / 'template'
    shutil.move(config.path, template)

    def run(rng: random.Random) -> None:
        case = fresh(pathlib.Path(config.path), template)
        for _ in range(rng.choice((1, 1, 2))):
            _spoil_file(rng, rng.choice([p for p in files_of(case) if p.name != '.lock']))
        built = quietly_built(config)
        built.tokenizer()
        built.unigram()
        for split, shards in built.shards.items():
            for shard in shards:
                check(shard.sha256 == wanted[shard.name], f'{split}: {shard.name} is another')
                check(
                    records.file_sha256(case / shard.name) == shard.sha256,
                    f'{shard.name} does not have the hash in corpus.json',
                )
        check(sum(map(len, built.shards.values())) == len(wanted), 'shards of the text are missing')

    return run


def _stop(*args: object) -> None:
    raise InterruptedError


def _make_settings(folder: pathlib.Path) -> Run:
    """Whole builds of strange settings over a good text."""
    fresh(folder / 'settings')
    config = corpus_config(folder / 'settings')
    choices = {
        'source': (None, '', 'text:', config.source, f'{config.source}=0.5', f'{config.source}=3'),
        'row_length': (-1, 0, 7, 8, 9, 33, 500),
        'layout': ('segments', 'packed', 'x', ''),
        'holdout': (0.0, 0.5, 0.999, 1.0, -1.0, float('nan')),
        'one_segment_rate': (0.0, 1.0, 2.0, float('nan')),
        'short_row_rate': (0.0, 1.0, -0.1, float('inf')),
        'build_seed': (0, -1, 2**64),
        'on_bad_text': ('error', 'skip', 'x'),
        'workers': (1, 0, -1),
    }
    kinds = ('wordpiece', 'unigram', 'bpe', 'x')

    def run(rng: random.Random) -> None:
        fresh(folder / 'settings' / 'corpus').rmdir()
        names = rng.sample(sorted(choices), rng.randint(1, 3))
        changes = {name: rng.choice(choices[name]) for name in names}
        if rng.random() < 0.3:
            changes['tokenizer'] = schema.TokenizerConfig(
                kind=rng.choice(kinds),
                vocab_size=rng.choice((-5, 0, 5, 6, 40, 200, 10_000)),
                lower_case=rng.random() < 0.5,
                strip_accents=rng.choice((None, True, False)),
                train_megabytes=rng.choice((0, 1, -1)),
            )
        tree = dataclasses.asdict(corpus_config(folder / 'settings', **changes))
        data = resolve(recipe({'data': tree}), 'cpu').data
        built = quietly_built(data, 20_000)
        check(built.counts['dropped_tokens'] == 0, 'tokens were dropped')

    return run


TARGETS = (
    Target('text', _make_text, r'a\.txt'),
    Target('jsonl', _make_jsonl, r'a\.jsonl'),
    Target('compressed', _make_compressed, r'a\.(gz|xz|zst)'),
    Target('mixture', _make_mixture, r'data\.source|the dataset|tfds:|\.(txt|jsonl|gz)'),
    Target('tfds', _make_tfds, r'fuzz_texts'),
    Target('build', _make_build, r'/build/'),
    Target('settings', _make_settings, r'data\.|tokenizer|/settings/'),
)
