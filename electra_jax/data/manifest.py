"""The description of a finished corpus (corpus.json), and whether its files still agree."""

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import os
import pathlib
import random
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from electra_jax.config import settings as schema
from electra_jax.core import files
from electra_jax.core.complaints import counted
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.data import records
from electra_jax.tokenizers import api, load

FORMAT = 'electra_jax corpus'
VERSION = 1
FILE_NAME = 'corpus.json'
UNIGRAM_NAME = 'unigram.npy'
TOKENIZER_FOLDER = 'tokenizer'
SPLITS = ('train', 'validation')

# What data.verify='quick' compares with hashes: at least so much, and what this time allows.
_QUICK_BYTES = 1 << 30
_QUICK_SECONDS = 30.0

# Letters of a word. Where spaces divide words, few have so many, even in Finnish or Greenlandic;
# where they divide clauses or sentences, as in Thai, most text is in longer ones.
LONG_WORD = 30
_MANY_LONG = 0.2  # of the characters: a table of hashes or addresses in the text has fewer

_FEW_ROWS = 32  # held-out rows whose averages show little
_FEW_DOCUMENTS, _HUGE_BYTES = 50, 100_000  # a text that was probably not meant to be so few


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A finished corpus: its folder and everything in its corpus.json."""

    path: pathlib.Path
    row_length: int  # L
    layout: str  # 'segments' or 'packed'
    image_size: int  # pixels along a side of the image that each row has as 'pixels'; 0: none has
    token_bytes: int  # width of a stored token id
    vocab_size: int  # ids of the tokenizer (not padded)
    tokenizer_hash: str  # `Tokenizer.hash` of the tokenizer in `tokenizer/`
    special: api.SpecialIds
    shards: dict[str, tuple[records.Shard, ...]]  # of each split, in row order
    counts: dict[str, int]  # documents, rows, tokens and the other names of `corpus.build.COUNTS`
    source: str  # the text it was made of
    settings: dict[str, Any]  # decide whether it is the corpus that a config asks for
    bad_text: dict[str, Any]  # `Complaints.counts` about the text
    unknown: dict[str, Any]  # [UNK] in the training rows, `Unknown.to_json`; {}: not counted
    build: dict[str, Any]  # figures (seconds, workers, versions): for people only
    share: float = 1.0  # of the memory and open files for shards; see `ShardReader`

    @property
    def row_dtype(self) -> np.dtype:
        return records.row_dtype(self.row_length, self.token_bytes, self.image_size)

    @property
    def fingerprint(self) -> str:
        """sha256 of the training shards' hashes: the same rows in the same order, wherever."""
        return self._hash('train')

    @property
    def held_out_fingerprint(self) -> str:
        """The same of the shards that runs are scored on."""
        return self._hash('validation')

    def _hash(self, split: str) -> str:
        names = ' '.join(shard.sha256 for shard in self.shards[split])
        return hashlib.sha256(names.encode()).hexdigest()

    def reader(self, split: str) -> records.ShardReader:
        """Random access to the rows of a split, 'train' or 'validation', opened once."""
        return self._readers[split]

    @functools.cached_property
    def _readers(self) -> dict[str, records.ShardReader]:
        return {
            split: records.ShardReader(self.path, shards, self.share)
            for split, shards in self.shards.items()
        }

    def tokenizer(self) -> api.Tokenizer:
        """The tokenizer it was built with; a DataError where the one in the folder is another."""
        folder = self.path / TOKENIZER_FOLDER
        tokenizer = load.load(folder)
        if tokenizer.hash != self.tokenizer_hash:
            raise DataError(
                f'the tokenizer in {folder} (hash {tokenizer.hash[:12]}) is not the one the corpus '
                f'was built with ({self.tokenizer_hash[:12]}); copy the whole folder again'
            )
        if (tokenizer.vocab_size, tokenizer.special) != (self.vocab_size, self.special):
            raise DataError(
                f'{self.path / FILE_NAME} is damaged: its vocab_size or special are not those of '
                'the tokenizer next to it; copy the whole folder again'
            )
        return tokenizer

    def unigram(self) -> np.ndarray:
        """int64 `[vocab_size]`: how often each non-special token is in the training rows."""
        return read_counts(self.path / UNIGRAM_NAME, self.vocab_size)

    def to_json(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self)
        del fields['path'], fields['share']
        return {'format': FORMAT, 'version': VERSION, **fields}


def read_counts(path: pathlib.Path, vocab_size: int) -> np.ndarray:
    """How often each token is there, int64 `[vocab_size]`, from a .npy file."""
    try:
        # Mapped, because a damaged header may ask for any amount of memory.
        counts = np.array(np.load(path, mmap_mode='r', allow_pickle=False))
    except Exception as error:  # NumPy raises many types of errors for a damaged header
        raise DataError(f'cannot read {path} ({error}); {records.REMEDY}') from error
    if counts.shape != (vocab_size,) or counts.dtype != np.int64 or counts.min() < 0:
        raise DataError(
            f'{path} is not {vocab_size} counts of tokens, as corpus.json has them, but '
            f'{counts.dtype} {list(counts.shape)}; copy the folder again'
        )
    return counts


def load_corpus(
    path: str | pathlib.Path,
    check: str = 'quick',
    report: Callable[[str], None] = lambda line: None,
    share: float = 1.0,
) -> Corpus:
    """Opens the finished corpus in folder `path`; presence, sizes and row counts are checked.

    Args:
        path: the folder.
        check: the shards that are read and compared with their hashes: 'full' (all), 'quick' (a
            random choice, as `DataConfig.verify` has it) or 'sizes' (none).
        report: gets a line where some were not compared.
        share: 1 divided by the number of corpora that are open together.

    Raises:
        DataError: no finished corpus is there, or it is damaged.
    """
    corpus = dataclasses.replace(described(path), share=share)
    for split in SPLITS:
        corpus.reader(split)  # opens, and so checks, every shard
    if check == 'full':
        verify(corpus, report)
    elif check == 'quick':
        verify(corpus, report, _QUICK_SECONDS, _QUICK_BYTES)
    return corpus


def described(path: str | pathlib.Path) -> Corpus:
    """The finished corpus in folder `path` by its corpus.json alone; nothing is opened.

    Raises:
        DataError: no finished corpus is there, or that file is damaged.
    """
    folder = pathlib.Path(path)
    try:
        return _from_json(folder, _read_json(folder))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'{folder / FILE_NAME} is damaged ({error!r:.200}); {records.REMEDY}'
        ) from error


def verify(
    corpus: Corpus, report: Callable[[str], None], seconds: float = math.inf, at_least: int = 0
) -> None:
    """Reads shards, at least so many bytes of them, and compares them with their recorded hashes.

    The order is another one each time, so that many short checks find what a long one would.
    `report` gets a line where some were not compared after so many seconds.
    """
    shards = [shard for split in SPLITS for shard in corpus.shards[split]]
    random.SystemRandom().shuffle(shards)
    began, read, damaged = time.monotonic(), 0, []
    for compared, shard in enumerate(shards):
        if read >= at_least and time.monotonic() - began > seconds:
            report(
                f'{corpus.path}: {compared} of {len(shards)} shards were compared with their '
                'hashes; --config.data.verify=full compares all of them'
            )
            break
        if records.file_sha256(corpus.path / shard.name) != shard.sha256:
            damaged.append(str(corpus.path / shard.name))
        read += shard.bytes
    if damaged:
        raise DataError(
            f'damaged since the corpus was built (sha256 differs): {", ".join(sorted(damaged))}; '
            f'{records.REMEDY}'
        )


def _from_json(folder: pathlib.Path, data: dict[str, Any]) -> Corpus:
    """The inverse of `Corpus.to_json`; KeyError, TypeError or ValueError for anything else."""
    shards = {
        split: tuple(records.from_json(records.Shard, one) for one in data['shards'][split])
        for split in SPLITS
    }
    for shard in itertools.chain(*shards.values()):
        if not re.fullmatch(r'[\w-]+\.array_record', shard.name):  # a path may lead anywhere
            raise ValueError(f'{shard.name!r:.80} is not the name of a shard')
    special = records.from_json(api.SpecialIds, data['special'])
    later = {'unknown': {}, 'image_size': 0}  # fields that older corpora lack
    known = {'path': folder, 'share': 1.0, 'special': special, 'shards': shards}
    corpus = records.from_json(Corpus, later | data, **known)
    if any(not 0 <= one < corpus.vocab_size for one in vars(special).values()):
        raise ValueError(f'special is {special}')
    if corpus.token_bytes not in (2, 4) or not 1 <= corpus.row_length < 1 << 31:
        raise ValueError('row_length or token_bytes')
    if not 0 <= corpus.image_size <= 1024:
        raise ValueError(f'image_size is {corpus.image_size}')
    if not any(shard.rows for shard in shards['train']):
        raise ValueError('no training rows')
    if type(corpus.counts['train_rows']) is not int:
        raise ValueError('counts.train_rows')
    return corpus


def _read_json(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / FILE_NAME
    if not folder.is_dir():
        raise DataError(
            f'there is no corpus folder {folder}; build one: python -m electra_jax.prepare '
            '--config=configs/corpus/text.py --config.data.source=text:FILES '
            f'--config.data.path={folder}'
        )
    try:
        data = files.parse_object(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            f'{folder} holds no finished corpus (no {FILE_NAME}): if a build was interrupted, '
            'type the same prepare command again to continue'
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f'cannot read {path}: {error}') from error
    if data.get('format') != FORMAT:
        raise DataError(f'{path} is not a corpus of electra_jax')
    if data.get('version') != VERSION:
        raise DataError(
            f'{path} has version {data.get("version")}, this program reads {VERSION}; build the '
            'corpus again, at another data.path'
        )
    return data


def warnings(corpus: Corpus) -> list[str]:
    """What is unusual about the documents of a corpus, and bears on what its evaluation shows."""
    lines = []
    held_out = sum(shard.rows for shard in corpus.shards['validation'])
    documents, size = (corpus.counts.get(name, 0) for name in ('documents', 'text_bytes'))
    elsewhere = (
        f'name text for it in config.data.validation_source{_larger_holdout(corpus, held_out)}, '
        'and name another config.data.path'
    )
    if not held_out:
        lines.append(f'nothing is held out of {corpus.path}, so nothing is evaluated: {elsewhere}')
    elif held_out < _FEW_ROWS:
        few = counted(held_out, 'held-out rows')
        lines.append(f'there are only {few}, on which evaluation shows little: {elsewhere}')
    elif held_out > corpus.counts.get('train_rows', held_out):
        lines.append(
            f'more rows are held out ({held_out:,}) than there are to train on: a few documents '
            'hold most of the text'
        )
    if 0 < documents <= _FEW_DOCUMENTS and size > documents * _HUGE_BYTES:
        by_file = corpus.settings.get('document_ends') == 'file'  # then a blank line ends none
        lines.append(
            f'{corpus.path} is made of {counted(documents, "documents")} of '
            f'{size / documents / 1e6:,.1f} MB: if there are more in its files, '
            + 'a file for each' * by_file
            + 'a blank line between two of them' * (not by_file)
            + ', or a line of JSON for each (jsonl:PATH#FIELD), keeps them apart; where each line '
            'is one, type --config.data.document_ends=line'
        )
    lines += _unspaced(corpus)
    return lines


def _larger_holdout(corpus: Corpus, held_out: int) -> str:
    """Which share may hold out enough rows, where a share can be set; '' where none can."""
    share = corpus.settings.get('holdout') or 0.0
    larger = max(0.05, round(min(0.5, share * math.ceil(_FEW_ROWS / max(held_out, 1))), 3))
    if larger <= share:
        return ''
    return f', or hold more of this text out by config.data.holdout ({larger:g}, for example)'


def _unspaced(corpus: Corpus) -> list[str]:
    """That words are as long as where text has no spaces, and the tokenizer cuts at spaces."""
    names = ('long_word_characters', 'sampled_characters')
    long, characters = (corpus.counts.get(name, 0) for name in names)  # older corpora have none
    if long <= _MANY_LONG * characters:
        return []
    return [
        f'{long / characters:.0%} of the characters of {corpus.path} stand in words of more than '
        f'{LONG_WORD}, as where text has no spaces between words: WordPiece takes what stands '
        'between two spaces for a word, so the model learns little of such text; type '
        '--config.data.tokenizer.kind=unigram --config.data.tokenizer.lower_case=False '
        f'--config.data.path={files.unused(corpus.path)}'
    ]


def check_corpus(
    corpus: Corpus,
    data: schema.DataConfig,
    tokenizer_hash: str | None = None,
    asked_by: str = '--config.data.tokenizer.path',
) -> None:
    """Refuses a corpus of another row length, layout or tokenizer than is asked for.

    The tokenizer's hash (None: any) is of a checkpoint, a named tokenizer or another corpus, which
    `asked_by` names.
    """
    for name in ('row_length', 'layout'):
        wanted, built = getattr(data, name), getattr(corpus, name)
        if wanted != built:
            raise ConfigError(
                f'data.{name} is {wanted!r} but the corpus {corpus.path} was built with '
                f'{built!r}; set --config.data.{name}={built}, or build another corpus at '
                'another data.path'
            )
    if data.image_size is not None and data.image_size != corpus.image_size:
        has = (
            f'has images of {corpus.image_size} pixels: type --config.model.image_size='
            f'{corpus.image_size}, or build'
            if corpus.image_size
            else 'has no images: leave the size out, or build'
        )
        raise ConfigError(
            f'config.model.image_size is {data.image_size}, but the corpus {corpus.path} {has} '
            'another corpus (--config.data.source=images:FOLDER/index.jsonl) at another data.path'
        )
    if tokenizer_hash is not None and tokenizer_hash != corpus.tokenizer_hash:
        raise ConfigError(
            f'the corpus {corpus.path} was built with tokenizer {corpus.tokenizer_hash[:12]}, '
            f'but {tokenizer_hash[:12]} is asked for by {asked_by}: their ids mean different '
            'tokens; build a corpus with that tokenizer (data.tokenizer.path) at another data.path'
        )


_TOKENIZER = tuple(
    f'tokenizer.{name}'
    for name in ('kind', 'vocab_size', 'lower_case', 'strip_accents', 'train_megabytes')
)
# Settings that are in a corpus.json, besides the row length and the layout; on_bad_text is not
# among them, because a finished corpus has no text that it would treat in another way.
_MADE_BY = (
    'source', 'validation_source', 'holdout', 'build_seed', 'document_ends', 'one_segment_rate',
    'short_row_rate', 'piece_megabytes', *_TOKENIZER,
)  # fmt: skip


def check_typed(corpus: Corpus, data: schema.DataConfig, typed: Collection[str]) -> None:
    """Refuses settings of corpora that were typed, and are not those of the corpus that is there.

    What a recipe has is for those who have no corpus yet. `typed` are dotted names, such as
    'data.source'.
    """
    built = {'validation_source': None, 'document_ends': 'blank_line', **corpus.settings}
    if 'piece_bytes' in built:
        built['piece_megabytes'] = built['piece_bytes'] / 1e6
    if 'tokenizer.hash' in built:  # of a file
        built['tokenizer.vocab_size'] = corpus.vocab_size
        if 'data.tokenizer.kind' in typed:
            built['tokenizer.kind'] = corpus.tokenizer().kind
    for name in _MADE_BY:
        if f'data.{name}' not in typed or name not in built:
            continue
        if name in _TOKENIZER and data.tokenizer.path is not None:
            continue  # that tokenizer is compared
        asked = functools.reduce(getattr, name.split('.'), data)
        if asked is not None and asked != built[name]:
            raise ConfigError(
                f'config.data.{name} is {asked!r}, but the corpus {corpus.path} is there already, '
                f'built with {built[name]!r}: to train on it leave config.data.{name} out, and to '
                f'build another corpus type --config.data.path={files.unused(corpus.path)}'
            )


def write_json(path: pathlib.Path, data: Mapping[str, Any]) -> None:
    """Writes JSON so that `path` is never there half written, even after a power cut."""
    with files.placed(path, files.process_mark()) as fresh, fresh.open('w') as file:
        json.dump(data, file, indent=2, sort_keys=True)
        file.write('\n')
        file.flush()
        os.fsync(file.fileno())


def write_array(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes a .npy file so that `path` is never there half written."""
    with files.placed(path, files.process_mark()) as fresh, fresh.open('wb') as file:
        np.save(file, array)
