"""Damaged inputs that fuzzing found, each as the smallest one that did harm."""

import gzip
import io
import json
import lzma
import os

import numpy as np
import pytest
import zstandard
from etils import epath

from electra_jax import init_from
from electra_jax.config import mixture
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import TokenizerConfig
from electra_jax.core import compressed
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import CheckpointError, DataError, UserError
from electra_jax.core.files import explained
from electra_jax.corpus import files, sources
from electra_jax.data import manifest
from electra_jax.finetune.files import lines, tfds
from electra_jax.finetune.files.tables import Columns
from electra_jax.interop import projects
from electra_jax.tokenizers import api
from electra_jax.tokenizers import load as tokenizers
from electra_jax.train import parameters
from tests.support import fakes
from tools.fuzz import checkpoint_targets, config_targets, text_targets

DEEP = '[' * 100_000 + ']' * 100_000


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A small corpus; tests put back what they change."""
    folder = tmp_path_factory.mktemp('made')
    return text_targets.quietly_built(text_targets.corpus_config(folder), 20_000)


@pytest.fixture
def damaged(whole):
    """Writes another content into a file of the corpus, for one test."""
    kept = {}

    def damage(name: str, content: bytes) -> manifest.Corpus:
        path = whole.path / name
        kept[path] = path.read_bytes()
        path.write_bytes(content)
        return whole

    yield damage
    for path, content in kept.items():
        path.write_bytes(content)


def changed(whole, **changes) -> bytes:
    content = json.loads((whole.path / manifest.FILE_NAME).read_bytes())
    return json.dumps({**content, **changes}).encode()


# ---------------------------------------------------------------------------------------------
# Text sources


@pytest.mark.parametrize('name', ['a\0b', 'x' * 5000])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(DataError, match=r'data\.source names'):
        files.find_files(name, 'text', Complaints('data.on_bad_text'))


def test_a_long_name_that_ends_like_a_weight_is_refused():
    with pytest.raises(DataError, match=r'data\.source names'):
        entry = sources.parse_source(f'text:{"x" * 5000}=2')[0]
        files.find_files(entry.where, 'text', Complaints('data.on_bad_text'))


def test_a_file_that_has_gone_meanwhile_is_named(tmp_path):
    path = tmp_path / 'gone.txt'
    with pytest.raises(DataError, match=r'cannot read .*gone\.txt'), explained('read', path):
        path.stat()


def bomb(suffix: str, size: int) -> bytes:
    """A little file that unpacks to `size` bytes of one letter."""
    pack = {
        '.gz': gzip.compress,
        '.xz': lzma.compress,
        '.zst': zstandard.ZstdCompressor().compress,
    }[suffix]
    return pack(b'a' * size)


@pytest.mark.parametrize(
    ('suffix', 'size', 'most'), [('.gz', 20, 4), ('.xz', 60, 20), ('.zst', 150, 70)]
)
def test_a_bomb_comes_in_chunks_that_fit_into_memory(suffix, size, most, tmp_path):
    path = tmp_path / f'a{suffix}'
    path.write_bytes(bomb(suffix, size * 1_000_000))
    with path.open('rb') as file:
        chunks = compressed.unpacked(compressed.chunks_of(file), path.suffix)
        sizes = [len(chunk) for chunk in chunks]
    assert sum(sizes) == size * 1_000_000 and max(sizes) < most * 1_000_000


@pytest.mark.parametrize('name', ['a.jsonl', 'a.jsonl.gz'])
def test_a_json_line_without_end_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'MAX_JSON_LINE_BYTES', 3_000_000)
    monkeypatch.setattr(files, 'REACH_BYTES', 1_000_000)
    line = b'{"text": "' + b'a' * 9_000_000
    path = tmp_path / name
    path.write_bytes(gzip.compress(line) if path.suffix == '.gz' else line)
    with pytest.raises(DataError, match=r'a\.jsonl.*a JSON line is longer than'):
        complaints = Complaints('data.on_bad_text')
        for piece in sources.plan(sources.parse_source(f'jsonl:{path}'), complaints, 1_000_000):
            list(piece.open(complaints))


def test_a_folder_gives_compressed_files_to_the_kind_that_they_name(tmp_path):
    (tmp_path / 'a.txt.gz').write_bytes(gzip.compress(b'plain'))
    (tmp_path / 'b.jsonl.gz').write_bytes(gzip.compress(b'{"text": "of json"}\n'))
    (tmp_path / 'c.gz').write_bytes(gzip.compress(b'{"text": "either"}'))

    def texts(source):
        complaints = Complaints('data.on_bad_text')
        pieces = sources.plan(sources.parse_source(source), complaints)
        parts = [part for piece in pieces for part in piece.parts]
        blocks = [block for part in parts for block in part.open(complaints)]
        return [lines[0] for block in blocks for lines in block.documents], complaints.lines()

    found, messages = texts(f'text:{tmp_path}')
    assert found == ['plain', '{"text": "either"}']
    assert messages == [
        '1 file with JSON at the beginning was read as plain text (the source jsonl:PATH#FIELD '
        f'reads the text in a field): first in {tmp_path}/c.gz',
        f'1 file of folders or archives was left out: 1 .jsonl: first in {tmp_path}/b.jsonl.gz',
    ]
    found, messages = texts(f'jsonl:{tmp_path}')
    assert found == ['of json', 'either'] and '1 .txt: ' in messages[0]


def test_a_corpus_in_a_folder_called_like_a_weight_is_that_folder(tmp_path):
    folder = str(tmp_path / 'year=2024')
    assert mixture.parse_paths(folder) == [(str(tmp_path / 'year'), 2024.0)]
    os.mkdir(folder)
    assert mixture.parse_paths(folder) == [(folder, 1.0)]


# ---------------------------------------------------------------------------------------------
# The command line


@pytest.mark.parametrize(
    'words',
    [
        ['--config=configs/none.py', '--config.seed=1'],
        ['--config', '--config.data.holdout=1e+30', '--config.seed=1'],
    ],
)
def test_a_recipe_that_is_not_there_is_refused_also_with_overrides(words):
    with pytest.raises(UserError, match='there is no recipe'):
        config_targets.parse_words(words)


@pytest.mark.parametrize(
    'word',
    [
        'generator_width=inf',
        'generator_layers=1e999',
        'num_heads=0',
        'num_layers=99999999999999999999',
    ],
)
def test_sizes_that_no_model_has_are_refused(word):
    with pytest.raises(UserError, match=word.partition('=')[0]):
        config_targets.parse_words(['--config=configs/small.py', f'--config.model.{word}'])


# ---------------------------------------------------------------------------------------------
# Corpora and tokenizers


@pytest.mark.parametrize(
    'changes',
    [
        {'row_length': 'x'},
        {'token_bytes': 3},
        {'vocab_size': True},
        {'counts': {}},
        {'special': {'pad': -1, 'unk': 1, 'cls': 2, 'sep': 3, 'mask': 4}},
        {'special': {'pad': 0}},
        {'shards': {'train': [], 'validation': []}},
        {'shards': {'train': [{'name': 1}], 'validation': []}},
        {'shards': None},
    ],
)
def test_a_corpus_json_of_other_types_is_refused(whole, damaged, changes):
    damaged(manifest.FILE_NAME, changed(whole, **changes))
    with pytest.raises(DataError, match=r'corpus\.json is damaged'):
        manifest.load_corpus(whole.path)


@pytest.mark.parametrize('name', ['../train-00000.array_record', '/etc/passwd', 'a/b.array_record'])
def test_a_shard_is_never_a_path(whole, damaged, name):
    shard = {'name': name, 'rows': 1, 'bytes': 1, 'sha256': ''}
    damaged(manifest.FILE_NAME, changed(whole, shards={'train': [shard], 'validation': []}))
    with pytest.raises(DataError, match='is not the name of a shard'):
        manifest.load_corpus(whole.path)


def test_special_ids_are_those_of_the_tokenizer(whole, damaged):
    special = {'pad': 5, 'unk': 1, 'cls': 2, 'sep': 3, 'mask': 4}
    damaged(manifest.FILE_NAME, changed(whole, special=special))
    with pytest.raises(DataError, match='not those of the tokenizer'):
        manifest.load_corpus(whole.path).tokenizer()


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def header_of(shape: bytes) -> bytes:
    """A file of the right size whose header has another shape."""
    content = npy(np.zeros(fakes.VOCAB_SIZE, np.int64))
    right = f'({fakes.VOCAB_SIZE},), }}'.encode()
    at = content.index(right)
    return content[:at] + shape + content[at + len(shape) :]


@pytest.mark.parametrize(
    'content',
    [
        b'',
        npy(np.zeros(3, np.int64)),
        npy(np.zeros(fakes.VOCAB_SIZE)),
        npy(np.full(fakes.VOCAB_SIZE, -1)),
        header_of(b'(9999999999999,), }'),  # 80 TB
        header_of(b'(((((((((((((,\n(('),
    ],
)
def test_damaged_counts_of_tokens_are_refused(damaged, content):
    with pytest.raises(DataError, match=r'unigram\.npy'):
        damaged(manifest.UNIGRAM_NAME, content).unigram()


@pytest.mark.parametrize(
    'content',
    [
        {'kind': ['wordpiece']},
        {'kind': 'none'},
        {'kind': 'wordpiece'},
        {'kind': 'wordpiece', 'vocab': [['a']], 'lower_case': True, 'strip_accents': None},
        {'kind': 'wordpiece', 'vocab': ['a', 'a'], 'lower_case': True, 'strip_accents': None},
        {'kind': 'wordpiece', 'vocab': fakes.VOCAB, 'lower_case': 'x', 'strip_accents': None},
        {'kind': 'sentencepiece'},
        {'kind': 'sentencepiece', 'model': '!'},
        {'kind': 'sentencepiece', 'model': 3},
        [],
    ],
)
def test_a_damaged_tokenizer_names_its_file(tmp_path, content):
    (tmp_path / api.FILE_NAME).write_text(json.dumps(content))
    with pytest.raises(DataError, match=api.FILE_NAME):
        tokenizers.load(tmp_path)


def test_json_nested_deeper_than_the_stack_is_refused(tmp_path, whole, damaged):
    (tmp_path / api.FILE_NAME).write_text(DEEP)
    with pytest.raises(DataError, match='nested too deeply'):
        tokenizers.load(tmp_path)
    damaged(manifest.FILE_NAME, DEEP.encode())
    with pytest.raises(DataError, match='nested too deeply'):
        manifest.load_corpus(whole.path)
    (tmp_path / 'config.json').write_text(DEEP)
    with pytest.raises(CheckpointError, match='nested too deeply'):
        projects.read_huggingface(tmp_path)


def test_a_vocabulary_is_named_where_a_piece_is_missing(tmp_path):
    (tmp_path / 'vocab.txt').write_text('[PAD]\na\n')
    config = TokenizerConfig(path=str(tmp_path / 'vocab.txt'))
    with pytest.raises(DataError, match=r'vocab\.txt lacks'):
        tokenizers.open_tokenizer(config)


# ---------------------------------------------------------------------------------------------
# Checkpoints


def test_links_out_of_a_folder_are_not_followed(tmp_path):
    folder, outside = tmp_path / 'model', tmp_path / 'secret.json'
    folder.mkdir()
    outside.write_text('{}')
    (folder / 'config.json').symlink_to(outside)
    with pytest.raises(CheckpointError, match=r'is a link to .*secret'):
        projects.read_huggingface(folder)


def test_links_of_a_hub_cache_are_files(tmp_path):
    folder, blobs = tmp_path / 'snapshots' / 'abc', tmp_path / 'blobs'
    folder.mkdir(parents=True)
    blobs.mkdir()
    (blobs / '123').write_text('{"model_type": "bert"}')
    (folder / 'config.json').symlink_to(blobs / '123')
    (blobs / '456').write_text('')
    (folder / 'model.safetensors').symlink_to(blobs / '456')
    with pytest.raises(CheckpointError, match=r'model\.safetensors cannot be read'):
        projects.read_huggingface(folder)


@pytest.fixture(scope='module')
def model():
    return checkpoint_targets.small_model()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'num_layers': 2**31}, 'num_layers is 2147483648'),
        ({'num_layers': 999}, 'in the model that the checkpoint claims'),
        ({'hidden_size': None}, 'hidden_size is None'),
        ({'hidden_size': 'x'}, "hidden_size is 'x'"),
        ({'norm': 'none'}, "config.model.norm is 'none'"),
        ({'dropout': 7.0}, r'config\.model\.dropout is 7\.0'),
        ({'num_heads': 3}, 'num_heads'),
    ],
)
def test_a_stored_model_that_is_not_that_of_the_arrays_is_refused(model, changes, message):
    about = checkpoint_targets._about(model)
    about['config']['model'] |= changes
    with pytest.raises(CheckpointError, match=message):
        init_from.checked_start(recipe({}), 'runs/x', fakes.params(model), about)


def test_a_checkpoint_that_lacks_an_array_is_refused(model):
    params = fakes.params(model)
    del params['embeddings']['type']
    with pytest.raises(CheckpointError, match='runs/x lacks the parameter embeddings/type'):
        init_from.checked_start(recipe({}), 'runs/x', params, checkpoint_targets._about(model))


def test_arrays_far_larger_than_their_files_are_not_read(tmp_path, model, monkeypatch):
    from electra_jax.train import seals

    folder = epath.Path(tmp_path)
    parameters.write_params(folder, {'x': np.zeros(3_000_000, np.float32)}, {})
    assert parameters.read_params(folder)[0]['x'].size == 3_000_000
    monkeypatch.setattr(seals, 'ALWAYS_ALLOWED_BYTES', 1_000_000)
    monkeypatch.setattr(seals, 'MAX_RATIO', 10)
    with pytest.raises(CheckpointError, match='12,000,000 bytes'):
        parameters.read_params(folder)


# ---------------------------------------------------------------------------------------------
# Files of tasks


def test_a_task_file_that_unpacks_to_more_than_memory_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, '_MOST_UNPACKED', 1 << 30 >> 10)
    path = tmp_path / 'train.csv.gz'
    path.write_bytes(bomb('.gz', 5_000_000))
    with pytest.raises(DataError, match=r'train\.csv\.gz unpacks to more than'):
        lines.content(path, Complaints('data.on_bad_row'))


def test_a_damaged_dataset_is_named(tmp_path):
    pytest.importorskip('tensorflow_datasets')
    text_targets._make_tfds(tmp_path)
    folder = tmp_path / 'tfds' / 'fuzz_texts' / '1.0.0'
    shard = next(folder.glob('*.array_record*'))
    shard.write_bytes(shard.read_bytes()[:-100])
    complaints = Complaints('data.on_bad_text')
    (piece,) = sources.plan(sources.parse_source(f'tfds:{folder}:train'), complaints)
    with pytest.raises(DataError, match=rf'{shard}: it holds 0 records of 20.*on_bad_text=skip'):
        list(piece.open(complaints))
    with pytest.raises(DataError, match='row 0 cannot be read'):
        list(tfds.read(str(folder), 'train', Columns()).rows)


@pytest.mark.parametrize(
    'damage',
    [
        lambda text: '{"identity": []',
        lambda text: text.replace('"dropped_tokens": 0', '"dropped_tokens": 131072'),
        lambda text: text.replace('"train_rows": ', '"train_rows": 1'),
        lambda text: text.replace('train-0', '../train-0'),
    ],
)
def test_a_sidecar_that_is_damaged_is_built_again(tmp_path, damage):
    text_targets._make_build(tmp_path)
    folder = tmp_path / 'build'
    config = text_targets.corpus_config(folder)
    os.rename(folder / 'template', config.path)
    sidecar = next(iter(sorted((folder / 'corpus' / 'pieces').glob('*.json'))))
    others = len(list(sidecar.parent.glob('*.json'))) - 1
    damaged_text = damage(sidecar.read_text())
    assert damaged_text != sidecar.read_text()
    sidecar.write_text(damaged_text)
    built = text_targets.quietly_built(config)
    assert built.build['pieces_found_finished'] == others > 0
    built.tokenizer()
