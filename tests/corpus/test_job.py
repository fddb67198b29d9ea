"""A corpus: nothing is lost, the result depends on nothing but the text and the settings."""

import contextlib
import dataclasses
import errno
import fcntl
import functools
import gzip
import hashlib
import itertools
import json
import math
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest

from electra_jax.config import settings
from electra_jax.core import errors
from electra_jax.corpus import build, divide, job, workers
from electra_jax.data import manifest, records
from electra_jax.pretrain import text as texts
from electra_jax.runtime import terminal
from electra_jax.tokenizers import api, wordpiece
from tests.support import configs

WORDS = [f'{a}{b}' for a in 'bdfgklmnprst' for b in ('a', 'e', 'i', 'o', 'an', 'el', 'is')]
VOCAB = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *WORDS, *('.', 'id'), *map(str, range(10))]
VOCAB += [f'##{i}' for i in range(10)]
PIECE_BYTES = 20_000


def write_text(path: pathlib.Path, documents: int = 300, seed: int = 0) -> None:
    rng = random.Random(seed)
    texts = []
    for i in range(documents):
        lines = [
            f'id {seed}{i:04d} . ' + ' '.join(rng.choices(WORDS, k=rng.randint(3, 60)))
            for _ in range(rng.randint(1, 9))
        ]
        texts.append('\n'.join(lines))
    path.write_text('\n\n'.join(texts) + '\n')


@pytest.fixture
def config(tmp_path):
    write_text(tmp_path / 'text.txt')
    (tmp_path / 'vocab.txt').write_text('\n'.join(VOCAB) + '\n')
    return settings.DataConfig(
        path=str(tmp_path / 'corpus'),
        source=f'text:{tmp_path}/text.txt',
        row_length=64,
        holdout=0.1,
        tokenizer=settings.TokenizerConfig(path=str(tmp_path / 'vocab.txt')),
        workers=1,
    )


def make(config: settings.DataConfig, **changes) -> manifest.Corpus:
    return job.build_corpus(dataclasses.replace(config, **changes), PIECE_BYTES)


def rows_of(built: manifest.Corpus, split: str) -> tuple[np.ndarray, np.ndarray]:
    reader = built.reader(split)
    rows = records.decode_rows(reader.read(range(len(reader))), built.row_dtype)
    return rows['tokens'].astype(np.int32), rows['spans']


def file_hashes(folder: str | pathlib.Path) -> dict[str, str]:
    """Content of everything in a corpus folder but corpus.json, which holds timings."""
    paths = sorted(p for p in pathlib.Path(folder).rglob('*') if p.is_file())
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in paths
        if p.name not in ('corpus.json', '.lock')
    }


def ids_of(text: str) -> list[int]:
    tokenizer = wordpiece.WordPiece(VOCAB)
    return [i for line in tokenizer.encode_batch(text.split('\n')) for i in line.tolist()]


# ---------------------------------------------------------------------------------------------
# What is in it


def test_the_size_of_pieces_is_a_setting(config):
    path = pathlib.Path(config.source.removeprefix('text:'))
    write_text(path, 3500)
    built = job.build_corpus(dataclasses.replace(config, piece_megabytes=1))
    assert built.settings['piece_bytes'] == 1_000_000
    assert len(built.shards['train']) == math.ceil(path.stat().st_size / 1e6) > 1


@pytest.mark.parametrize('layout', ['segments', 'packed'])
def test_every_token_of_the_text_is_in_one_row(config, tmp_path, layout):
    built = make(config, layout=layout)
    found = np.zeros(len(VOCAB), np.int64)
    for split in ('train', 'validation'):
        tokens, spans = rows_of(built, split)
        found += np.bincount(tokens[spans > 0], minlength=len(VOCAB))
    text = (tmp_path / 'text.txt').read_text()
    wanted = np.bincount(ids_of(text), minlength=len(VOCAB))
    np.testing.assert_array_equal(found[5:], wanted[5:])
    assert found[built.special.unk] == 0
    assert built.counts['dropped_tokens'] == 0
    assert built.counts['train_tokens'] + built.counts['validation_tokens'] == wanted.sum()
    assert len(built.shards['train']) > 3


def test_the_counts_are_those_of_the_rows(config):
    built = make(config)
    for split in ('train', 'validation'):
        tokens, spans = rows_of(built, split)
        special = np.isin(tokens, [2, 3]) & (spans > 0)
        assert built.counts[f'{split}_rows'] == len(tokens)
        assert built.counts[f'{split}_padding'] == (spans == 0).sum()
        assert built.counts[f'{split}_tokens'] == (spans > 0).sum() - special.sum()
        assert (tokens[spans == 0] == built.special.pad).all()
    assert built.counts['documents'] == 300
    tokens, spans = rows_of(built, 'train')
    unigram = np.bincount(tokens[spans > 0], minlength=len(VOCAB))
    unigram[[0, 2, 3, 4]] = 0
    assert built.unigram().dtype == np.int64
    np.testing.assert_array_equal(built.unigram(), unigram)
    assert built.vocab_size == len(VOCAB)
    assert built.tokenizer().hash == wordpiece.WordPiece(VOCAB).hash
    assert built.special == api.SpecialIds(0, 1, 2, 3, 4)


@pytest.mark.parametrize('weight', [1, 2])
def test_words_between_white_space_are_counted_with_their_copies(config, tmp_path, weight):
    text = 'One two,three\u2003four.\n\n  five\tsix \n seven\x0ceight\n\n' * 40
    (tmp_path / 'text.txt').write_text(text)
    (tmp_path / 'dev.txt').write_text('nine ten eleven')
    sources = {
        'source': f'text:{tmp_path}/text.txt={weight}',
        'validation_source': f'text:{tmp_path}/dev.txt',
    }
    built = make(config, **sources, holdout=None)
    assert built.counts['train_words'] == weight * len(text.split()) == weight * 280
    assert built.counts['validation_words'] == 3


def test_words_are_counted_of_documents_that_are_divided(config, tmp_path):
    one_line(tmp_path / 'text.txt', 40_000, 0)
    built = make(config, row_length=128, holdout=0.05)
    counts = built.counts
    assert counts['divided_documents'] == 1
    words = len((tmp_path / 'text.txt').read_text().split())
    assert counts['train_words'] + counts['validation_words'] == words
    assert 0.02 < counts['validation_words'] / words < 0.08


def test_held_out_documents_are_in_no_training_row(config, tmp_path):
    # Every document is there twice, in two files: both copies must fare alike.
    (tmp_path / 'again.txt').write_text((tmp_path / 'text.txt').read_text())
    built = make(config, source=f'text:{tmp_path}/*t.txt,text:{tmp_path}/again.txt')
    assert built.counts['documents'] == 600
    tokenizer = built.tokenizer()

    def numbers(split):
        text = ' '.join(tokenizer.decode(row) for row in rows_of(built, split)[0])
        words = text.split()
        # A row may end inside a number; what is left of it is shorter.
        return {b for a, b in itertools.pairwise(words) if a == 'id' and len(b) == 5}

    held_out, train = numbers('validation'), numbers('train')
    assert 10 < len(held_out) < 50
    assert len(train) > 200
    assert not held_out & train
    assert built.counts['held_out_documents'] % 2 == 0


def test_no_holdout_gives_no_held_out_rows(config):
    built = make(config, holdout=0.0)
    assert built.shards['validation'] == ()
    assert len(built.reader('validation')) == 0


@pytest.mark.parametrize(('weight', 'low', 'high'), [(2, 2, 2), (2.5, 2.4, 2.6), (0.3, 0.2, 0.4)])
def test_weights_are_copies(config, tmp_path, weight, low, high):
    plain = make(config, holdout=0.0)
    source = f'text:{tmp_path}/text.txt={weight}'
    built = make(config, holdout=0.0, source=source, path=str(tmp_path / 'weighted'))
    ratio = built.counts['train_tokens'] / plain.counts['train_tokens']
    assert low <= ratio <= high
    assert built.counts['dropped_tokens'] == 0


def test_another_seed_gives_other_rows(config, tmp_path):
    first = make(config)
    other = make(config, build_seed=1, path=str(tmp_path / 'other'))
    assert first.counts['documents'] == other.counts['documents']
    assert first.counts['held_out_documents'] != other.counts['held_out_documents']


def build_words(config, tmp_path, text: str, **tokenizer) -> manifest.Corpus:
    """Builds a corpus of one text, whose documents are its lines."""
    (tmp_path / 'words.txt').write_text('\n\n'.join(text.split('\n')))
    named = dataclasses.replace(config.tokenizer, **tokenizer)
    return make(config, source=f'text:{tmp_path}/words.txt', tokenizer=named, holdout=0.0)


def test_unknown_words_are_counted_with_their_scripts(config, tmp_path, capsys):
    built = build_words(config, tmp_path, 'ba be привет\nbo ba 東\n' * 20)
    counts = built.unigram()
    share = counts[built.special.unk] / counts.sum()
    assert built.unknown['share'] == share == 1 / 3
    assert built.unknown['scripts'] == {'Cyrillic': 0.5, 'CJK': 0.5}
    printed = ' '.join(capsys.readouterr().err.split())
    assert all(words in printed for words in ['33.3 % of', 'Cyrillic 50 %', "'привет'", 'warning'])
    assert 'leave --config.data.tokenizer.path out' in printed


@pytest.mark.parametrize(
    ('text', 'switches', 'advice'),
    [
        ('BA BE', {'lower_case': False}, 'type --config.data.tokenizer.lower_case=True'),
        ('bá', {'strip_accents': False}, 'type --config.data.tokenizer.lower_case=True'),
        ('ba' * 150, {}, 'type --config.data.tokenizer.kind=bpe'),
    ],
)
def test_the_warning_names_the_cause(config, tmp_path, capsys, text, switches, advice):
    build_words(config, tmp_path, f'{text}\nba bo\n' * 10, **switches)
    assert advice in ' '.join(capsys.readouterr().err.split())


def test_a_corpus_without_counts_of_unknown_words_is_read(config, capsys):
    built = make(config)
    assert '0.0 % of' in capsys.readouterr().err
    path = built.path / manifest.FILE_NAME
    data = json.loads(path.read_text())
    del data['unknown']
    path.write_text(json.dumps(data))
    assert manifest.load_corpus(built.path).unknown == {}


# ---------------------------------------------------------------------------------------------
# Whatever happens on the way


@pytest.mark.parametrize('layout', ['segments', 'packed'])
def test_the_number_of_workers_changes_nothing(config, tmp_path, layout):
    make(config, layout=layout)
    make(config, layout=layout, workers=3, path=str(tmp_path / 'three'))
    assert file_hashes(config.path) == file_hashes(tmp_path / 'three')


def test_compressed_files_are_shared_between_workers(config, tmp_path):
    for i in range(4):
        write_text(tmp_path / f'{i}.txt', seed=i)
        packed = gzip.compress((tmp_path / f'{i}.txt').read_bytes())
        (tmp_path / f'{i}.txt.gz').write_bytes(packed)
    source = f'text:{tmp_path}/*.gz'
    one = make(config, source=source)
    make(config, source=source, workers=3, path=str(tmp_path / 'three'))
    assert file_hashes(config.path) == file_hashes(tmp_path / 'three')
    assert len(one.shards['train']) == 4


def test_a_large_compressed_file_holds_the_same_tokens(config, tmp_path):
    plain = make(config)
    (tmp_path / 'a.gz').write_bytes(gzip.compress((tmp_path / 'text.txt').read_bytes()))
    packed = make(config, source=f'text:{tmp_path}/a.gz', path=str(tmp_path / 'packed'))
    assert len(plain.shards['train']) > 3 and len(packed.shards['train']) == 1
    for name in ('documents', 'held_out_documents', 'train_tokens', 'validation_tokens'):
        assert packed.counts[name] == plain.counts[name]
    np.testing.assert_array_equal(packed.unigram(), plain.unigram())


def test_a_build_goes_on_where_it_stopped(config, tmp_path, monkeypatch):
    make(config, path=str(tmp_path / 'whole'))
    ran = []
    real = build.build_piece

    def stopping(piece, *arguments):
        if piece.index == 3 and len(ran) < 10:
            raise KeyboardInterrupt
        ran.append(piece.index)
        return real(piece, *arguments)

    monkeypatch.setattr(build, 'build_piece', stopping)
    with pytest.raises(KeyboardInterrupt):
        make(config)
    with pytest.raises(errors.DataError, match='no finished corpus'):
        manifest.load_corpus(config.path)
    assert ran == [0, 1, 2]
    # What a killed writer leaves behind is swept away; what is torn is built again.
    folder = pathlib.Path(config.path)
    (folder / 'train-00003.array_record.77.tmp').write_bytes(b'torn')
    (folder / 'train-00001.array_record').write_bytes(b'torn')
    raw = bytearray((folder / 'train-00002.array_record').read_bytes())
    raw[len(raw) // 2] ^= 1  # of the same size
    (folder / 'train-00002.array_record').write_bytes(raw)
    ran.extend([-1] * 10)
    built = make(config)
    assert ran[13:] == [1, 2, 3, *range(4, len(built.shards['train']))]
    assert file_hashes(folder) == file_hashes(tmp_path / 'whole')


def test_pieces_of_an_earlier_build_are_no_part_of_the_speed(config, tmp_path, monkeypatch):
    monkeypatch.setattr(job, '_joined', lambda *a: sys.exit('stopped'))
    with pytest.raises(SystemExit):
        make(config)
    (pathlib.Path(config.path) / workers.PIECES_FOLDER / '00000.json').unlink()
    skipped, skip = [], terminal.Progress.skip

    def noted(bar, amount):
        skipped.append(amount)
        skip(bar, amount)

    monkeypatch.setattr(terminal.Progress, 'skip', noted)
    with pytest.raises(SystemExit):
        make(config)
    whole = (tmp_path / 'text.txt').stat().st_size / 1e6
    assert whole * 0.6 < sum(skipped) < whole


def test_a_trained_tokenizer_is_not_trained_again(config, monkeypatch):
    config = dataclasses.replace(config, tokenizer=settings.TokenizerConfig(vocab_size=300))
    monkeypatch.setattr(job, '_joined', lambda *a: sys.exit('stopped'))
    with pytest.raises(SystemExit):
        make(config)
    monkeypatch.undo()
    monkeypatch.setattr(job.load, 'train_tokenizer', None)
    assert make(config).vocab_size <= 300


KILLED = """
import sys
from electra_jax.config import settings
from electra_jax.corpus import job
data = settings.DataConfig(
    path=sys.argv[1], source=sys.argv[2], row_length=64, holdout=0.1, workers=2,
    tokenizer=settings.TokenizerConfig(vocab_size=300),
)
job.build_corpus(data, 20_000)
"""


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGINT])
def test_a_killed_build_goes_on_to_the_same_bytes(tmp_path, number):
    write_text(tmp_path / 'text.txt', 1500)

    def start(folder):
        command = [sys.executable, '-c', KILLED, str(tmp_path / folder), f'text:{tmp_path}/*.txt']
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    with start('whole') as process:
        process.communicate()
    assert process.returncode == 0
    kills, after = 0, 0.0
    while True:
        process = start('killed')
        pieces = tmp_path / 'killed' / workers.PIECES_FOLDER
        # Kill it at a different moment each time: while training, starting, building.
        deadline = time.monotonic() + 60
        wanted = (0, 1, 4, 9, 20)[kills] if kills < 5 else 10**9
        while process.poll() is None and time.monotonic() < deadline:
            if len(list(pieces.glob('*.json'))) >= wanted and (wanted or pieces.exists()):
                time.sleep(after)
                process.send_signal(number)
                kills += 1
                after = 0.01 * kills
                break
            time.sleep(0.002)
        process.communicate(timeout=60)
        if process.returncode == 0:
            break
    assert kills >= 3
    assert file_hashes(tmp_path / 'killed') == file_hashes(tmp_path / 'whole')


def test_workers_do_not_import_the_main_module(tmp_path):
    write_text(tmp_path / 'text.txt', 100)
    program = f'open({str(tmp_path / "imports")!r}, "a").write(__name__ + chr(10))\n'
    guarded = KILLED.replace('job.build_corpus', "if __name__ == '__main__': job.build_corpus")
    (tmp_path / 'program.py').write_text(program + guarded)
    command = [sys.executable, str(tmp_path / 'program.py'), str(tmp_path / 'corpus')]
    subprocess.run([*command, f'text:{tmp_path}/text.txt'], check=True, stderr=subprocess.DEVNULL)
    assert (tmp_path / 'imports').read_text() == '__main__\n'


def test_workers_die_with_their_parent(tmp_path):
    write_text(tmp_path / 'text.txt', 4000)
    command = [sys.executable, '-c', KILLED, str(tmp_path / 'c'), f'text:{tmp_path}/text.txt']
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not list((tmp_path / 'c').glob('*.array_record')):
        time.sleep(0.01)
    children = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children')
    if not children.exists():
        process.kill()
        pytest.skip('this system does not list the children of a process')
    pids = [int(pid) for pid in children.read_text().split()]
    assert len(pids) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    alive = pids
    while alive and time.monotonic() < deadline:
        time.sleep(0.05)
        alive = [pid for pid in alive if pathlib.Path(f'/proc/{pid}').exists() and _runs(pid)]
    assert not alive


def _runs(pid: int) -> bool:
    try:
        return ') Z ' not in pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return False


def test_an_error_in_a_worker_is_the_parents_error(config, tmp_path):
    lines = [json.dumps({'text': f'ba be bi {i}'}) for i in range(3000)]
    lines[2500] = '{"text": torn'
    (tmp_path / 'a.jsonl').write_text('\n'.join(lines))
    source = f'jsonl:{tmp_path}/a.jsonl'
    with pytest.raises(errors.DataError, match=r'a\.jsonl, line 2501: not a JSON object'):
        make(config, source=source, workers=2)
    built = make(config, source=source, workers=2, on_bad_text='skip', path=config.path + '2')
    number, first = built.bad_text['bad_json']
    assert number == 1 and first.startswith(f'{tmp_path}/a.jsonl, line 2501: ')
    assert built.counts['documents'] == 2999


def test_a_finished_corpus_is_opened_not_built(config, monkeypatch, capsys):
    first = make(config)
    monkeypatch.setattr(build, 'build_piece', None)
    again = make(config, workers=7)
    assert again == first
    assert 'already complete' in capsys.readouterr().err


def test_reading_for_the_vocabulary_is_reported(config, tmp_path, capsys, monkeypatch):
    eager = functools.partial(terminal.Progress, line_seconds=0.0)
    monkeypatch.setattr(terminal, 'Progress', eager)
    monkeypatch.setattr(job, '_run_pieces', lambda *a: sys.exit('stopped'))
    write_text(tmp_path / 'text.txt', 2500)
    with pytest.raises(SystemExit):
        make(config, tokenizer=settings.TokenizerConfig(vocab_size=300))
    assert 'reading text for the vocabulary: 1/' in capsys.readouterr().err


def test_learning_the_vocabulary_shows_that_it_goes_on(config, monkeypatch, capsys):
    train = job.load.train_tokenizer

    def slow(*arguments):
        time.sleep(0.2)
        return train(*arguments)

    monkeypatch.setattr(terminal, 'LINE_SECONDS', 0.01)
    monkeypatch.setattr(job.load, 'train_tokenizer', slow)
    monkeypatch.setattr(job, '_run_pieces', lambda *a: sys.exit('stopped'))
    with pytest.raises(SystemExit):
        make(config, tokenizer=settings.TokenizerConfig(vocab_size=300))
    assert 'learning the vocabulary: 0s so far' in capsys.readouterr().err


@pytest.mark.parametrize('kind', ['wordpiece', 'unigram'])
def test_learning_the_vocabulary_shows_how_far_it_is(config, monkeypatch, capsys, kind):
    eager = functools.partial(terminal.Progress, line_seconds=0.0, decimals=3)
    monkeypatch.setattr(terminal, 'Progress', eager)
    monkeypatch.setattr(terminal, 'LINE_SECONDS', 0.001)
    monkeypatch.setattr(job, '_run_pieces', lambda *a: sys.exit('stopped'))
    with pytest.raises(SystemExit):
        make(config, tokenizer=settings.TokenizerConfig(kind=kind, vocab_size=100))
    err = capsys.readouterr().err
    shares = re.findall(r'learning the vocabulary: ([\d.]+)/0 MB, .*, ETA \d+s', err)
    assert shares == sorted(shares) and len(shares) > 20
    assert re.search(r'learning the vocabulary: \ds so far; all is read', err)


def test_the_summary_says_what_is_there(config, tmp_path, capsys):
    with (tmp_path / 'text.txt').open('ab') as file:
        file.write(b'\n\nba \xff be\n')
    built = make(config)
    output = capsys.readouterr().err
    assert f'{built.counts["train_rows"]:,} training rows of 64' in output
    assert '1 document held bytes that are not UTF-8' in output


THAI = ['ฉันชอบอ่านหนังสือ', 'เขาไปตลาดทุกวัน', 'แม่ทำอาหารอร่อยมาก', 'นักเรียนเขียนจดหมาย']
GREENLANDIC = ['kalaallisut', 'oqaluttuarisaanermik', 'nunatsinni', 'inuiaqatigiinnut', 'illu']


@pytest.mark.parametrize(
    ('words', 'space', 'kind', 'warned'),
    [
        (THAI, '', 'wordpiece', True),
        (THAI, '', 'unigram', False),
        (GREENLANDIC, ' ', 'wordpiece', False),  # the longest words of spaced languages
    ],
)
def test_text_without_spaces_is_reported_where_spaces_divide_words(
    config, tmp_path, words, space, kind, warned
):
    draw = random.Random(0)
    text = '\n'.join(space.join(draw.choices(words, k=6)) for _ in range(200))
    switches = {'lower_case': False, 'strip_accents': False}
    named = dataclasses.replace(config.tokenizer, path=None, kind=kind, vocab_size=40, **switches)
    (tmp_path / 'words.txt').write_text(text)
    built = make(config, source=f'text:{tmp_path}/words.txt', tokenizer=named)
    lines = [line for line in manifest.warnings(built) if 'no spaces between words' in line]
    assert len(lines) == warned
    assert not lines or f'--config.data.path={built.path}-2' in lines[0]


def test_half_of_a_text_without_spaces_is_reported(config, tmp_path):
    draw = random.Random(0)
    thai = [''.join(draw.choices(THAI, k=4)) for _ in range(100)]
    english = ['ba be bo bu, ba be bo bu ba be bo bu'] * 300
    built = build_words(config, tmp_path, '\n'.join([*thai, *english]))
    assert any('no spaces between words' in line for line in manifest.warnings(built))
    built = build_words(
        dataclasses.replace(config, path=f'{config.path}-2'), tmp_path, '\n'.join(english)
    )
    assert not any('no spaces between words' in line for line in manifest.warnings(built))


@pytest.mark.parametrize(
    ('settings', 'words', 'absent'),
    [
        ({'holdout': 0.005}, '(0.05, for example)', None),
        ({'holdout': 0.05}, '(0.2, for example)', None),
        ({'holdout': 0.5}, 'validation_source, and', 'config.data.holdout'),
        ({'document_ends': 'file'}, 'a file for each', 'blank line'),
        ({}, 'a blank line between', 'a file for each'),
        ({}, 'type --config.data.document_ends=line', None),
    ],
)
def test_warnings_advise_what_changes_something(config, settings, words, absent):
    built = make(config)
    some = tuple(dataclasses.replace(one, rows=8) for one in built.shards['validation'][:1])
    built = dataclasses.replace(
        built,
        counts=built.counts | {'documents': 3, 'text_bytes': 3_000_000},
        shards=built.shards | {'validation': some},
        settings=built.settings | settings,
    )
    lines = ' '.join(manifest.warnings(built))
    assert words in lines and (absent is None or absent not in lines)


@pytest.mark.parametrize(
    ('holdout', 'warning'),
    [(0.01, 'evaluation shows little'), (0.0, 'nothing is held out')],
)
def test_a_corpus_with_few_held_out_rows_says_so(config, capsys, holdout, warning):
    built = make(dataclasses.replace(config, holdout=holdout))
    # Printed by `prepare`, and at the start of each run: here a run would print it a second time.
    assert 'warning: ' not in capsys.readouterr().err
    assert [warning in line for line in manifest.warnings(built)] == [True]


# ---------------------------------------------------------------------------------------------
# What is held out


def test_text_of_its_own_is_held_out_and_nothing_else(config, tmp_path):
    write_text(tmp_path / 'dev.txt', documents=40, seed=5)
    apart = make(config, holdout=None, validation_source=f'text:{tmp_path}/dev.txt')
    assert apart.counts['documents'] == 340 and apart.counts['held_out_documents'] == 40
    plain = make(config, holdout=0.0, path=config.path + '2')
    for both in zip(rows_of(apart, 'train'), rows_of(plain, 'train'), strict=True):
        np.testing.assert_array_equal(*both)
    dev = make(config, holdout=0.0, source=f'text:{tmp_path}/dev.txt', path=config.path + '3')
    assert apart.counts['validation_tokens'] == dev.counts['train_tokens']
    assert apart.settings['holdout'] == 0 and 'dev.txt' in apart.settings['validation_source']
    asked = make(
        config, validation_source=f'text:{tmp_path}/dev.txt', holdout=0.1, path=config.path + '4'
    )
    assert asked.counts['held_out_documents'] > 40


@pytest.mark.parametrize('trains', [True, False])
def test_a_file_that_both_sources_name_is_only_held_out(config, tmp_path, capsys, trains):
    (tmp_path / 'texts').mkdir()
    for number in range(3):
        write_text(tmp_path / 'texts' / f'{number}.txt', documents=30, seed=number)
    changes = {
        'holdout': None,
        'validation_source': f'text:{tmp_path}/texts/1.txt',
        'tokenizer': settings.TokenizerConfig(vocab_size=120) if trains else config.tokenizer,
    }
    built = make(config, source=f'text:{tmp_path}/texts', **changes)
    assert built.counts['documents'] == 90 and built.counts['held_out_documents'] == 30
    assert 'left out: 1 only held out: first in' in capsys.readouterr().err
    with pytest.raises(errors.DataError, match=r'nothing is left to train on|holds no text'):
        make(config, source=f'text:{tmp_path}/texts/1.txt', **changes, path=config.path + '2')


def one_line(path, number, seed):
    rng = random.Random(seed)
    sentences = (' '.join(rng.choices(WORDS, k=9)) + ' .' for _ in range(number))
    path.write_text(' '.join(sentences))


def test_of_few_huge_documents_a_share_is_held_out(config, tmp_path, capsys):
    (tmp_path / 'huge').mkdir()
    for number in range(3):
        one_line(tmp_path / 'huge' / f'{number}.txt', 12_000, number)
    changes = {'source': f'text:{tmp_path}/huge', 'holdout': None, 'row_length': 128}
    built = job.build_corpus(dataclasses.replace(config, **changes))
    counts = built.counts
    assert counts['documents'] == 3 and counts['held_out_documents'] == 0
    held_out = counts['validation_tokens'] / (counts['validation_tokens'] + counts['train_tokens'])
    assert counts['divided_documents'] >= 1 and 0.002 < held_out < 0.015
    whole = job.build_corpus(
        dataclasses.replace(config, **{**changes, 'holdout': 0.0}, path=config.path + '2')
    )
    assert counts['validation_tokens'] + counts['train_tokens'] == whole.counts['train_tokens']
    assert 'too large to be held out whole: some stretches' in capsys.readouterr().err
    assert any('is made of 3 documents of 0.' in line for line in manifest.warnings(built))


def test_stretches_of_a_large_document_hold_all_of_its_text(config):
    document = [' '.join(WORDS) + '. ' + ' '.join(WORDS) for _ in range(2000)]
    size, parts = divide.divide(document, 2.0, dataclasses.replace(config, holdout=0.1), 256_000)
    assert size > 256_000 and {split: copies for split, copies, _ in parts} == {
        'train': 2, 'validation': 1,
    }  # fmt: skip
    assert [line for *_, lines in parts for line in lines] == document
    share = sum(len(line) for split, _, lines in parts if split != 'train' for line in lines) / size
    assert 0.07 < share < 0.13
    again = divide.divide(document, 2.0, dataclasses.replace(config, holdout=0.1), 256_000)
    assert again == (size, parts)
    assert len(divide.divide(document, 2.0, config, size)[1]) == 1
    no_spaces = ['x' * 60_000] * 10
    _, parts = divide.divide(no_spaces, 1.0, config, 256_000)
    assert sum(len(line) for *_, lines in parts for line in lines) == 600_000


def test_both_files_of_a_small_translation_are_read_and_held_out_in_part(config, tmp_path):
    draw = random.Random(0)
    for side in 'de', 'en':
        text = (f'{side} ' + ' '.join(draw.choices(WORDS, k=9)) for _ in range(1500))
        (tmp_path / f'train.{side}').write_text('\n'.join(text) + '\n')
    source = f'text:{tmp_path}/train.en,text:{tmp_path}/train.de'
    by_file = make(config, source=source, holdout=0.05)
    assert by_file.counts['documents'] == by_file.counts['divided_documents'] == 2
    assert 0.03 < by_file.counts['validation_words'] / by_file.counts['train_words'] < 0.08
    by_line = make(
        config, source=source, holdout=0.05, document_ends='line', path=config.path + '2'
    )
    assert by_line.counts['documents'] == 3000
    assert 100 < by_line.counts['held_out_documents'] < 200


def test_more_held_out_than_trained_on_is_reported(config):
    built = make(config)
    built = dataclasses.replace(built, counts=built.counts | {'train_rows': 1})
    assert any('than there are to train on' in line for line in manifest.warnings(built))


def test_ordinary_documents_are_held_out_as_ever(config):
    """The shards of a corpus without huge documents must not change from version to version."""
    built = make(config)
    found = hashlib.sha256(''.join(s.sha256 for s in built.shards['train']).encode()).hexdigest()
    assert found == 'bdd67c31d42890b256eb228e9b2a663c53fbe0da503bf4708c6b15c40d3aec8e'


# ---------------------------------------------------------------------------------------------
# What is refused


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'path': None}, 'data.path is not set'),
        ({'path': 'a=0.7,b=0.3'}, 'each one by itself'),
        ({'source': None}, 'data.source is empty'),
        ({'source': 'tfds:no\0ne:train'}, r"'tfds:no\\x00ne:train': no name has a NUL"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(config, changes, words):
    with pytest.raises(errors.ConfigError, match=words):
        make(config, **changes)
    assert not pathlib.Path(config.path).exists()


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'layout': 'pakced'}, "did you mean 'packed'"),
        ({'row_length': 4}, 'data.row_length'),
        ({'holdout': 1.0}, 'data.holdout'),
        ({'short_row_rate': -0.1}, 'data.short_row_rate'),
        ({'workers': 0}, 'data.workers'),
        ({'on_bad_text': 'ignore'}, 'allowed: error, skip'),
        ({'runner': 'baem'}, "did you mean 'beam'"),
    ],
)
def test_settings_out_of_bounds_are_refused_in_the_recipe(changes, words):
    with pytest.raises(errors.ConfigError, match=words):
        configs.settings_of({'data': changes})


def test_an_unknown_kind_of_tokenizer_is_refused_before_anything_is_read(config):
    tokenizer = dataclasses.replace(config.tokenizer, kind='wordpeice')
    with pytest.raises(errors.ConfigError, match=r'data\.tokenizer\.kind.*wordpiece'):
        make(config, tokenizer=tokenizer)
    assert not pathlib.Path(config.path).exists()


def test_other_settings_are_refused_naming_them(config, monkeypatch):
    make(config)
    with pytest.raises(errors.ConfigError, match='row_length is 32, there 64'):
        make(config, row_length=32)
    with pytest.raises(errors.ConfigError, match=r'tokenizer\.hash'):
        tokenizer = dataclasses.replace(config.tokenizer, lower_case=False)
        make(config, tokenizer=tokenizer)
    (pathlib.Path(config.path) / 'corpus.json').unlink()  # as if it were not finished
    with pytest.raises(errors.ConfigError, match='build_seed is 3, there 0'):
        make(config, build_seed=3)


def test_a_source_that_is_not_there_leaves_no_folder(config, tmp_path):
    with pytest.raises(errors.DataError, match=r"'.*none\*\.txt'.*is there"):
        make(config, source=f'text:{tmp_path}/none*.txt')
    assert not pathlib.Path(config.path).exists()


def test_settings_that_made_no_rows_can_be_corrected(config, tmp_path):
    trained = {'tokenizer': settings.TokenizerConfig(vocab_size=300)}
    lines = [f'{{"body": "a few words, {i}"}}\n' for i in range(300)]
    (tmp_path / 'a.jsonl').write_text(''.join(lines))
    (tmp_path / 'b.jsonl').write_text('{"text": "other"}\n')
    # A vocabulary is learned from what has the field; then a row has none.
    with pytest.raises(errors.DataError, match=r"no field 'body'; it has text"):
        make(config, source=f'jsonl:{tmp_path}/*.jsonl#body', **trained)
    assert (pathlib.Path(config.path) / 'tokenizer').exists()
    built = make(config, source=f'jsonl:{tmp_path}/a.jsonl#body', **trained)
    whole = str(tmp_path / 'whole')
    other = make(config, source=f'jsonl:{tmp_path}/a.jsonl#body', path=whole, **trained)
    assert built.counts == other.counts
    assert file_hashes(config.path) == file_hashes(whole)


def test_a_build_that_met_bad_text_goes_on_without_it(config, tmp_path, monkeypatch):
    monkeypatch.setattr(job, '_joined', lambda *a: sys.exit('stopped'))
    with pytest.raises(SystemExit):
        make(config)  # pieces are built
    monkeypatch.undo()
    # Text of the network keeps the revision that the finished pieces are of.
    marker, known = pathlib.Path(config.path) / job.MARKER_NAME, []
    noted = json.loads(marker.read_text())
    marker.write_text(json.dumps({**noted, 'revisions': {'hf:a/b': 'c0ffee'}}))
    monkeypatch.setattr(
        job.sources, 'pin', lambda entries, before: known.append(before) or (entries, before)
    )
    assert make(config, on_bad_text='skip').settings['on_bad_text'] == 'skip'
    assert known == [{'hf:a/b': 'c0ffee'}]


def test_text_that_changed_under_a_build_is_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr(job, '_joined', lambda *a: sys.exit('stopped'))
    with pytest.raises(SystemExit):
        make(config)
    monkeypatch.undo()
    write_text(tmp_path / 'text.txt', seed=5)
    with pytest.raises(errors.DataError, match='has changed since'):
        make(config)


def test_a_folder_of_others_is_left_alone(config):
    folder = pathlib.Path(config.path)
    folder.mkdir()
    (folder / 'thesis.tex').write_text('years of work')
    with pytest.raises(errors.DataError, match=r'not empty.*thesis\.tex'):
        make(config)
    assert [p.name for p in folder.iterdir()] == ['thesis.tex']


def test_a_second_build_in_the_same_folder_is_refused(config):
    folder = pathlib.Path(config.path)
    job._make(folder)
    with job._lock(folder), pytest.raises(errors.DataError, match='another process'):
        make(config)
    make(config)


def test_a_folder_that_cannot_be_locked_is_named_with_the_reason(config, monkeypatch):
    def no_locks(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    folder = pathlib.Path(config.path)
    job._make(folder)
    monkeypatch.setattr(fcntl, 'flock', no_locks)
    with pytest.raises(errors.DataError, match=r'cannot lock .*No locks available') as error:
        make(config)
    assert str(folder) in str(error.value) and 'another process' not in str(error.value)


def test_a_source_without_text_is_refused(config, tmp_path):
    (tmp_path / 'text.txt').write_text('\n\n \n')
    with pytest.raises(errors.DataError, match='holds no text'):
        make(config)
    (tmp_path / 'text.txt').write_text('')
    with pytest.raises(errors.DataError, match='holds no text'):
        make(config, path=config.path + '2')
    with pytest.raises(
        errors.DataError, match=r'holds no text; 1 file was empty: first in .*\.txt'
    ):
        make(config, path=config.path + '3', tokenizer=settings.TokenizerConfig())


def split_of(lines, config):
    _, [(split, _, _)] = divide.divide(lines, 1.0, config, math.inf)
    return split


@pytest.mark.parametrize('trains', [True, False])
def test_a_source_whose_documents_are_held_out_is_refused(config, tmp_path, trains):
    number = next(i for i in range(99) if split_of([str(i)], config) != 'train')
    (tmp_path / 'text.txt').write_text(f'{number}\n')
    tokenizer = settings.TokenizerConfig() if trains else config.tokenizer
    words = r'holds 1 document, and it is held out .*--config\.data\.holdout=0; and .*path=FOLDER'
    with pytest.raises(errors.DataError, match=words):
        make(config, tokenizer=tokenizer)
    # What the message names works.
    built = make(config, holdout=0.0, path=config.path + '2')
    assert built.counts['documents'] == built.counts['train_rows'] == 1


def test_damage_is_reported_before_a_tokenizer_lacks_text(config, tmp_path):
    (tmp_path / 'a.jsonl').write_text('[1]\n')
    with pytest.raises(errors.DataError, match=r'line 1: .*found a list'):
        make(config, source=f'jsonl:{tmp_path}/a.jsonl', tokenizer=settings.TokenizerConfig())


def test_files_as_documents_are_another_corpus(config, tmp_path):
    built = make(config)
    assert built.counts['documents'] == 300 and 'document_ends' not in built.settings
    with pytest.raises(errors.ConfigError, match="document_ends is 'file', there None"):
        make(config, document_ends='file')
    built = make(config, document_ends='file', path=config.path + '2', holdout=0.0)
    assert built.counts['documents'] < 20  # cut as a large file is
    (tmp_path / 'small').mkdir()
    for number in range(20):
        write_text(tmp_path / 'small' / f'{number}.txt', 5, number)
    source = f'text:{tmp_path}/small'
    built = make(config, document_ends='file', path=config.path + '3', source=source)
    assert built.counts['documents'] == 20


# ---------------------------------------------------------------------------------------------
# Opening it


def test_a_missing_or_unfinished_corpus_says_what_to_type(tmp_path):
    with pytest.raises(errors.DataError, match=r'electra_jax\.prepare'):
        manifest.load_corpus(tmp_path / 'none')
    with pytest.raises(errors.DataError, match='same prepare command'):
        manifest.load_corpus(tmp_path)


def test_another_version_is_refused(config):
    make(config)
    path = pathlib.Path(config.path) / 'corpus.json'
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, 'version': 99}))
    with pytest.raises(errors.DataError, match='version 99, this program reads 1'):
        manifest.load_corpus(config.path)
    del data['counts']
    path.write_text(json.dumps(data))
    with pytest.raises(errors.DataError, match='counts'):
        manifest.load_corpus(config.path)
    path.write_text('{"format"')
    with pytest.raises(errors.DataError, match='cannot read'):
        manifest.load_corpus(config.path)


@pytest.mark.parametrize('fraction', [0.0, 0.1, 0.3, 0.6, 0.9, 1.0])
def test_a_flipped_byte_is_found_and_named(config, fraction):
    built = make(config)
    name = built.shards['train'][2].name
    path = pathlib.Path(config.path) / name
    raw = bytearray(path.read_bytes())
    raw[int(fraction * (len(raw) - 1))] ^= 1
    path.write_bytes(raw)
    with pytest.raises(errors.DataError, match=name):
        manifest.load_corpus(config.path)
    with pytest.raises(errors.DataError, match=f'sha256 differs.*{name};'):
        manifest.verify(built, print)


def test_a_torn_shard_is_found_without_reading_it(config):
    built = make(config)
    path = built.path / built.shards['train'][2].name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(errors.DataError, match=f'{path.name} has'):
        manifest.load_corpus(config.path, 'sizes')


def test_a_quick_check_compares_as_many_shards_as_time_allows(config):
    built = make(config)
    total = sum(len(shards) for shards in built.shards.values())
    path = built.path / built.shards['train'][0].name
    reported = []
    manifest.verify(built, reported.append, seconds=0.0, at_least=1)
    assert reported == [
        f'{config.path}: 1 of {total} shards were compared with their hashes; '
        '--config.data.verify=full compares all of them'
    ]
    manifest.verify(built, reported.append, seconds=0.0, at_least=1 << 30)
    assert len(reported) == 1
    # In the middle of a chunk, where neither size nor footer shows it.
    raw = bytearray(path.read_bytes())
    raw[len(raw) * 3 // 10] ^= 1
    path.write_bytes(raw)
    with pytest.raises(errors.DataError, match=path.name):
        manifest.load_corpus(config.path, 'full')
    found = 0
    for _ in range(20 * total):  # each check takes others
        try:
            manifest.verify(built, reported.append, seconds=0.0, at_least=1)
        except errors.DataError:
            found += 1
    assert 0 < found < 20 * total


def test_an_error_ends_the_other_workers_at_once(config, tmp_path):
    text = (tmp_path / 'text.txt').read_bytes() * 200
    (tmp_path / 'a.gz').write_bytes(gzip.compress(text, 1))
    (tmp_path / 'b.jsonl').write_text('torn')
    with pytest.raises(errors.DataError, match=r'b\.jsonl, line 1'):
        make(config, source=f'text:{tmp_path}/a.gz,jsonl:{tmp_path}/b.jsonl', workers=2)
    assert not list(pathlib.Path(config.path).glob('*.array_record'))


def test_another_tokenizer_in_the_folder_is_refused(config):
    built = make(config)
    wordpiece.WordPiece(VOCAB, lower_case=False).save(built.path / 'tokenizer')
    with pytest.raises(errors.DataError, match='not the one the corpus was built with'):
        built.tokenizer()


def test_a_corpus_of_another_shape_is_refused(config):
    built = make(config)
    manifest.check_corpus(built, config, built.tokenizer_hash)
    for name, value in [('row_length', 128), ('layout', 'packed')]:
        wanted = dataclasses.replace(config, **{name: value})
        with pytest.raises(errors.ConfigError) as raised:
            manifest.check_corpus(built, wanted)
        assert f'data.{name} is {value!r}' in str(raised.value)
        assert repr(getattr(config, name)) in str(raised.value)
    with pytest.raises(errors.ConfigError, match='abcdef'):
        manifest.check_corpus(built, config, 'abcdef')


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('source', 'text:other.txt'),
        ('validation_source', 'text:other.txt'),
        ('holdout', 0.25),
        ('build_seed', 7),
        ('document_ends', 'file'),
        ('piece_megabytes', 3),
        ('tokenizer.vocab_size', 300),
        ('tokenizer.kind', 'unigram'),
    ],
)
def test_a_setting_that_was_typed_must_be_that_of_the_corpus(config, name, value):
    built, (group, _, field) = make(config), name.rpartition('.')
    changes = {field: value}
    if group:
        changes = {'tokenizer': settings.TokenizerConfig(path=None, **changes)}
    other = dataclasses.replace(config, **changes)
    names = [f'data.{name}', 'data.source', 'data.holdout', 'data.on_bad_text']
    manifest.check_typed(built, other, ['seed', 'data.workers'])  # what nobody has typed may differ
    with pytest.raises(errors.ConfigError) as raised:
        manifest.check_typed(built, other, names)
    assert f'config.data.{name} is {value!r}' in str(raised.value)
    assert f'--config.data.path={config.path}-2' in str(raised.value)
    manifest.check_typed(built, config, names[1:])


def test_a_checkpoint_may_have_another_limit_for_long_words(config):
    built = make(config)
    tokenizer = built.tokenizer()
    text = texts.Text([built], [1.0], tokenizer)
    run = types.SimpleNamespace(data=config)
    longest, cased = wordpiece.Rules(max_word_chars=100), not tokenizer.lower_case
    for other in (
        wordpiece.WordPiece(tokenizer.vocab, tokenizer.lower_case, rules=longest),
        wordpiece.WordPiece(tokenizer.vocab, cased),
    ):
        about = {'tokenizer': other.to_json(), 'tokenizer_hash': other.hash, 'corpora': []}
        refused = pytest.raises(errors.ConfigError, match='the checkpoint in here')
        with refused if other.lower_case == cased else contextlib.nullcontext():
            texts.check_checkpoint(about, run, text, 'here', same_text=False)


# ---------------------------------------------------------------------------------------------
# Real text


@pytest.mark.skipif('ELECTRA_DATA' not in os.environ, reason='ELECTRA_DATA is not set')
@pytest.mark.parametrize('row_length', [128, 512])
def test_packed_wikipedia_rows_are_full(tmp_path, row_length):
    folder = os.environ['ELECTRA_DATA']
    data = settings.DataConfig(
        path=str(tmp_path / 'corpus'),
        source=f'text:{folder}/wikipedia/validation.txt',
        row_length=row_length,
        layout='packed',
        tokenizer=settings.TokenizerConfig(path=f'{folder}/vocab.txt'),
        workers=1,
    )
    built = job.build_corpus(data)
    rows = built.counts['train_rows']
    assert built.counts['train_padding'] < 0.03 * rows * row_length


def test_a_worker_that_sees_another_tokenizer_is_refused(config):
    folder = pathlib.Path(make(config).path)
    context = workers.Context(folder, 'the-hash-elsewhere', config)
    with pytest.raises(errors.DataError, match=f'{folder}/tokenizer.*the-hash-els.*data.path'):
        _ = context.tokenizer
