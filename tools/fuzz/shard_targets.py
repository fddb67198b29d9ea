"""Finished corpora and tokenizers with damaged files."""

import json
import pathlib
import random

import numpy as np

from electra_jax.config import settings
from electra_jax.data import manifest, pipeline, records
from electra_jax.tokenizers import api, load
from tests.support import fakes
from tools.fuzz import mutate
from tools.fuzz.target import Run, Target, check, files_of, fresh
from tools.fuzz.text_targets import corpus_config, quietly_built

TEXTS = ['the new york cafe, of and', '', ' ', 'Naïve 東京 🙂 [MASK]', 'x' * 400, 'a\nb\tc']


def _make_corpus(folder: pathlib.Path) -> Run:
    fresh(folder / 'made')
    whole = quietly_built(corpus_config(folder / 'made'), 20_000)
    template = whole.path
    good = {split: _rows(whole, split) for split in manifest.SPLITS}

    def run(rng: random.Random) -> None:
        case = fresh(folder / 'corpus', template)
        files = [path for path in files_of(case) if path.name not in ('.lock', 'building.json')]
        path = rng.choice([*files, *[p for p in files if p.name == manifest.FILE_NAME] * 3])
        _spoil(rng, path)
        if path.suffix == '.array_record' and path.exists() and rng.random() < 0.6:
            _agree(case / manifest.FILE_NAME, path)
        corpus = manifest.load_corpus(case, rng.choice(('quick', 'sizes')))
        manifest.check_corpus(corpus, settings.DataConfig(row_length=32))
        tokenizer = corpus.tokenizer()
        check(corpus.unigram().min() >= 0, 'a negative count of a token')
        rows = pipeline.Rows([corpus], 'train')
        order = pipeline.row_order(rows.lengths, [1.0], 0)
        rows.batch([order[0], order[1]])
        for split in manifest.SPLITS:
            found = _rows(corpus, split)
            tokens = found[0]
            check(tokens.shape == (len(tokens), 32), f'rows of shape {tokens.shape}')
            check(not tokens.size or tokens.min() >= 0, 'an id below 0')
            check(not tokens.size or tokens.max() < tokenizer.vocab_size, 'an id out of range')
            if path.suffix == '.array_record':
                for mine, theirs in zip(found, good[split], strict=True):
                    check(np.array_equal(mine, theirs), f'{split}: rows are not as written')

    return run


def _rows(corpus: manifest.Corpus, split: str) -> tuple[np.ndarray, np.ndarray]:
    reader = corpus.reader(split)
    rows = records.decode_rows(reader.read(range(len(reader))), corpus.row_dtype)
    return rows['tokens'], rows['spans']


def _spoil(rng: random.Random, path: pathlib.Path) -> None:
    data, kind = path.read_bytes(), rng.random()
    if kind < 0.04:
        path.unlink()
    elif path.suffix == '.json' and kind < 0.85:
        path.write_bytes(mutate.spoil_json(rng, json.loads(data)))
    else:
        path.write_bytes(mutate.spoil(rng, data))


def _agree(file: pathlib.Path, shard: pathlib.Path) -> None:
    """Writes the size and hash of a damaged shard into corpus.json: its reader must notice it."""
    content = json.loads(file.read_bytes())
    for shards in content['shards'].values():
        for one in shards:
            if one['name'] == shard.name:
                one['bytes'] = shard.stat().st_size
                one['sha256'] = records.file_sha256(shard)
    file.write_text(json.dumps(content))


def use(tokenizer: api.Tokenizer, folder: pathlib.Path) -> None:
    """Everything that a tokenizer is asked for."""
    for ids in tokenizer.encode_batch(TEXTS):
        check(not ids.size or 0 <= ids.min() <= ids.max() < tokenizer.vocab_size, 'a strange id')
        tokenizer.decode(ids.tolist())
    for ids, spans in tokenizer.encode_spans(TEXTS):
        check(spans.shape == (len(ids), 2), 'not a span for each id')
    tokenizer.tokens([0, tokenizer.vocab_size - 1, tokenizer.vocab_size, -1])
    tokenizer.save(folder / 'saved')
    check(load.load(folder / 'saved').hash == tokenizer.hash, 'another tokenizer was saved')


def _make_tokenizer(folder: pathlib.Path) -> Run:
    rng = random.Random(0)
    lines = [mutate.words(rng, 30) + ''.join(rng.choices('abcdefghij ', k=60)) for _ in range(200)]

    def train(kind: str, lower_case: bool) -> api.Tokenizer:
        config = settings.TokenizerConfig(kind=kind, vocab_size=60, lower_case=lower_case)
        return load.train_tokenizer(lines, config)

    made = {
        'wordpiece': fakes.tokenizer(),
        'unigram': train('unigram', True),
        'bpe': train('bpe', False),
    }
    for name, tokenizer in made.items():
        tokenizer.save(folder / name)

    def run(rng: random.Random) -> None:
        kind = rng.choice(sorted(made))
        case = fresh(folder / 'tokenizer', folder / kind)
        path = rng.choice(files_of(case))
        _spoil(rng, path)
        if path.name == api.FILE_NAME:
            use(load.load(case), folder)
            return
        native = case / ('vocab.txt' if kind == 'wordpiece' else 'spiece.model')
        config = settings.TokenizerConfig(
            kind=kind, path=str(native), lower_case=rng.random() < 0.5
        )
        use(load.open_tokenizer(config), folder)

    return run


TARGETS = (
    Target('corpus', _make_corpus, r'/corpus|data\.(row_length|layout)'),
    Target('tokenizer', _make_tokenizer, r'/tokenizer|/saved'),
)
