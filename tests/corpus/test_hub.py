"""Data sets of the Hugging Face hub, whose part a server on this machine plays."""

import io
import sys

import pytest

from electra_jax.config.settings import DataConfig, TokenizerConfig
from electra_jax.core import errors
from electra_jax.core.complaints import Complaints
from electra_jax.corpus import hub, job, sources, web
from tests.support.web_server import Hub, serving

pa = pytest.importorskip('pyarrow')
pq = pytest.importorskip('pyarrow.parquet')
huggingface_hub = pytest.importorskip('huggingface_hub')

SMALL = 'someone/small'


def parquet(*texts: str, field: str = 'text', rows: int = 2) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({'id': range(len(texts)), field: texts}), file, row_group_size=rows)
    return file.getvalue()


def forget() -> None:
    hub._listing.cache_clear()
    hub._reader.cache_clear()
    huggingface_hub.HfFileSystem.clear_instance_cache()


@pytest.fixture
def site(monkeypatch):
    """A hub with one small data set, whose files are named as `push_to_hub` names them."""
    answer = Hub()
    answer.commit(SMALL, {
        'README.md': b'#', 'data/train-00000-of-00002.parquet': parquet('one', 'two', 'three'),
        'data/train-00001-of-00002-0123abcd.parquet': parquet('four'),
        'data/test-00000-of-00001.parquet': parquet('five'),
    })  # fmt: skip
    monkeypatch.setattr(web, 'FIRST_WAITS', (0,))
    monkeypatch.setattr('huggingface_hub.utils._http.time.sleep', lambda seconds: None)
    monkeypatch.delenv('HF_TOKEN', raising=False)
    with serving(answer) as server:
        monkeypatch.setattr(huggingface_hub.constants, 'ENDPOINT', server.url)
        monkeypatch.setattr(
            huggingface_hub.constants,
            'HUGGINGFACE_CO_URL_TEMPLATE',
            server.url + '/{repo_id}/resolve/{revision}/{filename}',
        )
        server.commit, server.hub = answer.commit, answer
        forget()
        yield server
        forget()


def read(where: str, known: dict | None = None, skip: bool = False):
    """First lines of documents, the parts and the revisions."""
    complaints = Complaints('data.on_bad_text', 'skip' if skip else 'error')
    entries, revisions = sources.pin(sources.parse_source(f'hf:{where}'), known or {})
    parts = [part for piece in sources.plan(entries, complaints) for part in piece.parts]
    blocks = [block for part in parts for block in part.open(complaints)]
    lines = [lines[0] for block in blocks for lines in block.documents]
    return lines, parts, revisions


def test_a_split_is_read_by_row_groups_at_one_commit(site):
    lines, parts, revisions = read(f'{SMALL}:train')
    assert lines == ['one', 'two', 'three', 'four']
    assert [part.group.rows for part in parts] == [2, 1, 1]
    commit = next(key for key in site.hub.repos[SMALL] if key != 'main')
    assert revisions == {f'hf:{SMALL}:train': commit}
    assert {part.version for part in parts} == {commit}
    assert sum('main' in path for path, _ in site.requests) == 1
    assert any(range_ for _, range_ in site.requests)


def test_a_build_keeps_its_commit(site):
    _, before, revisions = read(f'{SMALL}:train')
    site.commit(SMALL, {'data/train-00000-of-00001.parquet': parquet('new')})
    forget()
    lines, after, same = read(f'{SMALL}:train', revisions)
    assert (lines, after, same) == (['one', 'two', 'three', 'four'], before, revisions)
    assert read(f'{SMALL}:train')[0] == ['new']
    assert read(f'{SMALL}@{before[0].version}:train')[0] == lines


CARD = {
    'configs': [
        {'config_name': 'en', 'data_files': [{'split': 'train', 'path': 'x/en/**'}]},
        {
            'config_name': 'de',
            'data_files': [
                {'split': 'train', 'path': ['x/de/a*', 'x/de/b.parquet']},
                {'split': 'test', 'path': 'x/de/c/d.parquet'},
            ],
        },
        {'config_name': 'fr', 'data_dir': 'x/fr', 'data_files': '*.parquet', 'default': True},
    ]
}


@pytest.mark.parametrize(
    ('split', 'lines'),
    [
        ('en:train', ['en 1', 'en 2']),
        ('de:train', ['de a', 'de b']),
        ('de:test', ['de c']),
        ('train', ['fr']),  # of the default config
    ],
)
def test_configs_of_the_card(site, split, lines):
    paths = {
        'x/en/1.parquet': 'en 1', 'x/en/2/3.parquet': 'en 2', 'x/de/a1.parquet': 'de a',
        'x/de/b.parquet': 'de b', 'x/de/c/d.parquet': 'de c', 'x/fr/f.parquet': 'fr',
    }  # fmt: skip
    site.commit('a/b', {path: parquet(text) for path, text in paths.items()}, CARD)
    assert read(f'a/b:{split}')[0] == lines


def test_files_that_the_hub_made_count_where_there_are_no_others(site):
    site.commit('a/b', {'train.jsonl': b'{}'})
    made = site.commit(
        'a/b', {'en/partial-train/0000.parquet': parquet('x')}, branch='refs/convert/parquet'
    )
    lines, _, revisions = read('a/b:en:partial-train')
    assert lines == ['x']
    assert revisions == {'hf:a/b:en:partial-train': made}
    with pytest.raises(errors.DataError, match=r"no 'train' in Parquet.*: en:partial-train"):
        read('a/b:train')


@pytest.mark.parametrize(
    ('where', 'words'),
    [
        ('someone/smal:train', 'no data set someone/smal at {url}, or it is private.*HF_TOKEN'),
        (f'{SMALL}:trian', "no 'trian'.*default:test, default:train; did you mean 'train'"),
        (f'{SMALL}:en:train', "no 'en:train'.*default:test, default:train"),
        (f'{SMALL}@v9:train', "no revision 'v9'"),
        (f'{SMALL}:train#body', r"small/data/train.*'body' is not there; it has id .*, text"),
        ('none/here:train', 'no data set'),
        ('a/empty:train', 'holds no Parquet files.*hf download a/empty'),
    ],
)
def test_what_is_not_there_is_named(site, where, words):
    site.commit('a/empty', {'README.md': b'#'})
    with pytest.raises(errors.DataError, match=words.format(url=site.url)):
        read(where)


@pytest.mark.parametrize('where', ['small', 'small:train', 'a/b', 'a/b:c:d:e'])
def test_what_is_no_name_is_refused(where):
    with pytest.raises(errors.ConfigError, match='write hf:OWNER/NAME:SPLIT'):
        read(where)


def test_a_gated_data_set_says_what_to_type(site, monkeypatch):
    site.hub.gated.add(SMALL)
    with pytest.raises(errors.DataError, match=f'gated: .*{SMALL}, then type: export HF_TOKEN'):
        read(f'{SMALL}:train')
    forget()
    monkeypatch.setenv('HF_TOKEN', 'hf_x')
    assert read(f'{SMALL}:train')[0] == ['one', 'two', 'three', 'four']


def test_short_faults_are_waited_for_and_long_ones_end(site, capsys):
    site.faults = [503]
    _, (part, *_), _ = read(f'{SMALL}:train')
    hub._reader.cache_clear()
    site.faults = [('cut', 10), 503, 500]
    (block,) = part.open(Complaints('data.on_bad_text'))
    assert list(block.documents) == [['one'], ['two']]
    assert f'note: hf:{SMALL}: ' in capsys.readouterr().err
    hub._reader.cache_clear()
    site.faults = [503] * 20
    with pytest.raises(errors.DataError, match=f'cannot read the data set {SMALL} from {site.url}'):
        list(part.open(Complaints('data.on_bad_text', 'skip')))


def test_no_network_is_one_sentence(site, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, 'ENDPOINT', 'http://127.0.0.1:9')
    huggingface_hub.HfFileSystem.clear_instance_cache()
    with pytest.raises(errors.DataError) as raised:
        read(f'{SMALL}:train')
    message = str(raised.value)
    assert all(word in message for word in ('http://127.0.0.1:9', 'hf download', 'parquet:FOLDER'))


def test_damage_is_a_complaint(site):
    whole = parquet('a', 'b')
    site.commit('a/b', {'train-00000-of-00002.parquet': whole[:-9], 'train-00001-of-00002.parquet': whole})  # fmt: skip # noqa: E501
    with pytest.raises(errors.DataError, match=r'of-00002\.parquet: it is damaged.*=skip'):
        read('a/b:train')
    assert read('a/b:train', skip=True)[0] == ['a', 'b']


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    forget()
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(errors.DataError, match=r"pip install -e '\.\[hub\]'"):
        read(f'{SMALL}:train')


def test_processes_build_a_corpus_from_the_hub(site, tmp_path, monkeypatch):
    monkeypatch.setenv('HF_ENDPOINT', site.url)  # the processes read it
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'one', 'two', 'three', 'four']
    (tmp_path / 'vocab.txt').write_text('\n'.join(words))
    data = DataConfig(
        path=str(tmp_path / 'corpus'), source=f'hf:{SMALL}:train', row_length=16, holdout=0.0,
        workers=2, tokenizer=TokenizerConfig(path=str(tmp_path / 'vocab.txt')),
    )  # fmt: skip
    corpus = job.build_corpus(data, piece_bytes=10)
    assert corpus.counts['documents'] == 4
    assert list(corpus.unigram()[5:]) == [1, 1, 1, 1]
    commit = next(key for key in site.hub.repos[SMALL] if key != 'main')
    assert corpus.build['revisions'] == {f'hf:{SMALL}:train': commit}
