"""Checkpoints to pass on: one file in bfloat16, model cards, revisions, and models by name."""

import dataclasses
import json
import stat

import jax
import numpy as np
import pytest
import safetensors.numpy
from etils import epath

import electra_jax
from electra_jax import init_from
from electra_jax.config.recipe import recipe
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.finetune import fitting, foreign
from electra_jax.inference import opened
from electra_jax.interop import card, convert, own_folder, projects
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.interop.convert import How
from electra_jax.model.bind import bind
from electra_jax.train import parameters
from tests.support import fakes
from tests.support.loading import Known, task_of

CONFIG = dataclasses.asdict(
    recipe(
        {
            'data': {
                'path': '/home/me/text',
                'source': 'text:/home/me/text/*.txt',
                'tokenizer': {'path': '/home/me/vocab.txt'},
            },
            'task': {'train_file': '/home/me/train.csv'},
            'log': {'reference': '/home/me/normal.json'},
            'init_from': '/home/me/runs/before/checkpoints/8',
            'compilation_cache': '/home/me/compiled',
        }
    )
)
COMMAND = [
    '/home/me/electra_jax/main.py', '--config=configs/small.py', '--workdir=/home/me/runs/a',
    '--config.data.path', '/home/me/text/a=1,/home/me/text/b=2',
]  # fmt: skip
CORPUS = {'path': '/home/me/text', 'fingerprint': 'f00d', 'weight': 1.0}


@pytest.fixture
def ours(tmp_path):
    """A workdir with the checkpoints of two steps, of different parameters."""
    model, tokenizer = fakes.model(), fakes.tokenizer()
    about = {
        'config': {
            **CONFIG,
            'batch_size': 8,
            'total_steps': 40,
            'model': dataclasses.asdict(model),
        },
        'tokenizer': tokenizer.to_json(),
        'tokenizer_hash': tokenizer.hash,
        'corpora': [CORPUS],
    }
    about['config']['data']['row_length'] = 16
    folder = tmp_path / 'ours'
    for step in (20, 40):
        parameters.write_params(
            epath.Path(tmp_path / 'made'), fakes.params(model, seed=step), about
        )
        (folder / 'checkpoints').mkdir(parents=True, exist_ok=True)
        (tmp_path / 'made' / 'checkpoints' / '0').rename(folder / 'checkpoints' / str(step))
    (folder / 'config.json').write_text(json.dumps({'command': COMMAND}))
    losses = {'eval/mlm_loss': 5.1, 'eval/unigram_loss': 6.9, 'eval/other': 7}
    lines = [
        {'step': step, 'eval/disc_auc': step / 100, 'train/loss': 1.0, **losses}
        for step in (20, 40)
    ]
    (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return folder


def converted(source, target, **how):
    return '\n'.join(convert.convert(source, target, foreign.TASKS, {}, How(**how)))


def test_a_card_has_the_length_of_rows_where_no_steps_are_counted():
    facts = card.Facts('x', '', None, None, None, [])
    about = {'config': {'data': {'row_length': 48}}, 'steps': 0}
    assert 'Rows of 48 tokens.' in list(card._training(about, facts))
    # Of a converted checkpoint it is not known.
    assert 'Rows of 48 tokens.' not in list(
        card._training({**about, 'converted_from': 'google:x'}, facts)
    )


def rounded(params):
    return jax.tree.map(lambda x: np.asarray(x, 'bfloat16').astype(np.float32), params)


def test_a_model_to_pass_on_is_one_file_that_is_read_by_its_name(ours, tmp_path, monkeypatch):
    folder = tmp_path / 'models' / 'laptop'
    shown = converted(f'ours:{ours}', f'safetensors:{folder}', dtype='bfloat16')
    assert f'predict --checkpoint=safetensors:{folder} ' in shown
    kept = safetensors.numpy.load_file(folder / 'model.safetensors')
    assert {x.dtype.name for x in kept.values()} == {'bfloat16'}
    modes = {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert len(modes) == 1
    written = ''.join((folder / name).read_text() for name in ('checkpoint.json', 'README.md'))
    assert '/home/me' not in written and '"fingerprint": "f00d"' in written
    assert 'and so placeholders: `--workdir`, `--config.data.path`.' in written
    monkeypatch.setattr(init_from, '_models', lambda: tmp_path / 'models')
    monkeypatch.chdir(tmp_path)
    params, about = parameters.read_params(epath.Path(ours))
    found = opened.read('laptop', opened.settings_of(8), '--checkpoint')
    fakes.assert_same(found.params, rounded(params))
    assert found.about['tokenizer'] == about['tokenizer']
    # It counts as a model that was trained here on so many tokens.
    origin = fitting.origin(found.about, fakes.model(), 'laptop')
    assert origin.tokens == 40 * 8 * 16
    again = init_from.read_checkpoint(opened.settings_of(8), 'laptop')[0]
    fakes.assert_same(again, found.params)
    converted(f'safetensors:{folder}', f'ours:{tmp_path / "back"}')
    fakes.assert_same(parameters.read_params(epath.Path(tmp_path / 'back'))[0], found.params)
    (tmp_path / 'laptop').mkdir()  # a folder of one's own comes first
    assert init_from.parse_name('laptop') == ('ours', 'laptop')


def test_a_model_that_is_not_there_is_a_sentence_that_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(init_from, '_models', lambda: tmp_path / 'models')
    with pytest.raises(CheckpointError, match=r'path is laptop, a model that comes .*configs/lapt'):
        electra_jax.load('laptop')
    with pytest.raises(CheckpointError, match=r'init_from is laptop, .*pip install ./models'):
        init_from.read_checkpoint(recipe({'init_from': 'laptop'}), 'laptop')


def test_a_fine_tuned_model_keeps_its_task(ours, tmp_path):
    params, about = parameters.read_params(epath.Path(ours))
    task = task_of('text', Known(('bad', 'good')))
    found = Checkpoint(
        {name: params[name] for name in ('embeddings', 'discriminator')}
        | {'task_head': {'output': {'kernel': np.zeros((128, 2)), 'bias': np.zeros(2)}}},
        fakes.model(), fakes.tokenizer(), 'classification', ['bad', 'good'],
    )  # fmt: skip
    about['task'] = foreign.tasks.to_json(task)
    projects.WRITERS['safetensors'](tmp_path / 'one', dataclasses.replace(found, about=about))
    read = opened.read(f'safetensors:{tmp_path / "one"}', opened.settings_of(8), 'path')
    assert read.is_tuned and read.about['task']['labels'] == ['bad', 'good']


def test_transformers_files_may_be_bfloat16(ours, tmp_path):
    converted(f'ours:{ours}', f'huggingface:{tmp_path / "hf"}', dtype='bfloat16')
    for role in ('discriminator', 'generator'):
        config = json.loads((tmp_path / 'hf' / role / 'config.json').read_text())
        assert config['dtype'] == 'bfloat16'
    again = projects.read_huggingface(tmp_path / 'hf')
    fakes.assert_same(again.params, rounded(parameters.read_params(epath.Path(ours))[0]))


def test_the_card_has_what_the_run_recorded(ours, tmp_path):
    trials = [{'seed': 3, 'metrics': {}}, {'seed': 4, 'metrics': {}}]
    summary = {'dev/accuracy': {'median': 0.815, 'mean': 0.8, 'standard_deviation': 0.01}}
    results = tmp_path / 'results.json'
    content = {
        'task': 'sst2',
        'summary': {**summary, 'dev/mse': {'median': 2, 'mean': 2, 'standard_deviation': None}},
        'trials': trials,
        'trivial': {'answers': {'dev': 'one class'}, 'metrics': {'dev/accuracy': 0.509}},
    }
    results.write_text(json.dumps(content))
    how = {'license': 'apache-2.0', 'results': [str(results)], 'revision': 'step-20'}
    shown = converted(f'ours:{ours}', f'huggingface:{tmp_path / "small"}', **how)
    assert 'hf upload OWNER/NAME' in shown and '--revision=step-20' in shown
    text = (tmp_path / 'small' / card.FILE).read_text()
    assert text.startswith('---\nlicense: apache-2.0\n') and '\n# small\n' in text
    assert '20 of 40 steps (revision step-20) of 8 rows of 16 tokens: 2,560 tokens' in text
    assert 'corpus `text`, weight 1.0, fingerprint `f00d`' in text
    assert 'python -m electra_jax.main --config=configs/small.py --workdir=runs/a' in text
    assert '--config.data.path text/a=1,text/b=2' in text
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.split('\n')]
    assert ['eval/disc_auc', '0.2', 'share, 0 to 1', '0.5'] in rows
    assert ['eval/mlm_loss', '5.1', 'nats per masked token', '6.9'] in rows
    assert ['eval/other', '7', '', ''] in rows and '| 0.4 |' not in text
    scores = ['sst2', 'dev/accuracy', '81.50', '80.00', '1.00', '3, 4', 'times 100', '50.90']
    assert scores in rows
    assert [
        'sst2',
        'dev/mse',
        '2.000',
        '2.000',
        'one trial',
        '3, 4',
        "the score's, squared",
        '',
    ] in rows
    assert '/home/me' not in text
    found = projects.read_huggingface(tmp_path / 'small')
    fakes.assert_same(found.params, fakes.params(fakes.model(), seed=20))


def test_the_card_has_the_curve_up_to_its_step(ours, tmp_path):
    lines = [{'step': at, 'eval/disc_auc': at / 100, 'train/loss': 1.0} for at in range(1, 41)]
    (ours / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    for revision, last in (('step-20', '0.2'), ('step-40', '0.4')):
        target = tmp_path / revision
        converted(f'ours:{ours}', f'safetensors:{target}', revision=revision)
        _, curve = (target / card.FILE).read_text().split('### Held-out text during training\n\n')
        rows = [line.split('|')[1:-1] for line in curve.split('\n\n')[0].splitlines()]
        assert [cell.strip() for cell in rows[0]] == ['step', 'eval/disc_auc']
        assert [cell.strip() for cell in rows[2]] == ['1', '0.01'] and len(rows) == 2 + 8
        assert rows[-1][1].strip() == last


PRE_TRAINED = {
    'name': '/home/me/runs/before/checkpoints/8',
    'config': {
        'job': 'pretrain', 'objective': {'name': 'two_stage'}, 'model': {'size': 'small'},
        'batch_size': 4, 'total_steps': 9, 'data': {'row_length': 32}, 'init_from': None,
    },
    'steps': 8,
    'corpora': [{**CORPUS, 'source': 'text:/home/me/wiki/*.txt'}],
    'started_from': None,
}  # fmt: skip
NOT_KNOWN = 'The text that it was pre-trained on is not recorded, and so not known.'


@pytest.mark.parametrize(
    ('origin', 'config', 'lines'),
    [
        (
            {'started_from': PRE_TRAINED},
            {},
            [
                '### Before: `before`',
                'Pre-trained as two_stage, model of the size small.',
                '8 of 9 steps of 4 rows of 32 tokens: 1,024 tokens.',
                'Text: corpus `text` of `text:wiki/*.txt`, weight 1.0, fingerprint `f00d`.',
                'Its first parameters were random.',
            ],
        ),
        (
            {
                'started_from': {
                    'name': 'google:/home/me/theirs',
                    'config': {'objective': {'name': 'x'}},
                }
            },
            {},
            ['### Before: `google:theirs`', NOT_KNOWN],
        ),
        ({}, {}, ['### Before: `before`', NOT_KNOWN]),  # of an earlier version
        ({}, {'init_network': 'none'}, []),
        ({'started_from': None}, {'init_network': 'none'}, ['Its first parameters were random.']),
        (
            {'converted_from': 'huggingface:/me/x'},
            {'job': 'pretrain', 'init_from': None},
            [NOT_KNOWN],
        ),
    ],
)
def test_the_card_of_a_fine_tuned_model_names_the_text_of_pre_training(origin, config, lines):
    tuned = {**CONFIG, 'job': 'finetune', **config}
    found = list(
        card._training({'config': tuned, **origin}, card.Facts('x', '', None, None, None, []))
    )
    assert [line for line in found if line in lines] == lines
    assert not any('/home/me' in line for line in found)
    assert (NOT_KNOWN in found) == (NOT_KNOWN in lines)


def test_no_folder_is_passed_on_of_what_a_model_started_from(ours, tmp_path):
    params, about = parameters.read_params(epath.Path(ours))
    about['started_from'] = {**PRE_TRAINED, 'started_from': PRE_TRAINED}
    parameters.write_params(epath.Path(tmp_path / 'later'), params, about)
    converted(f'ours:{tmp_path / "later"}', f'safetensors:{tmp_path / "one"}')
    written = ''.join(
        (tmp_path / 'one' / name).read_text() for name in ('checkpoint.json', card.FILE)
    )
    assert '/home/me' not in written
    assert written.count('### Before: `before`') == 2


@pytest.mark.parametrize(
    ('source', 'target', 'how', 'message'),
    [
        ('ours', 'ours', {'dtype': 'bfloat16'}, "--dtype is 'bfloat16', but --target of kind ours"),
        ('ours', 'google', {'license': 'mit'}, '--license and --results are for the model card'),
        ('ours', 'huggingface', {'revision': 'step-30'}, 'allowed in .*: step-20, step-40'),
        ('ours', 'huggingface', {'results': ['/none.json']}, 'cannot read /none.json'),
        ('safetensors', 'ours', {'revision': 'step-1'}, "--revision is 'step-1', but checkpoints"),
        ('safetensors', 'ours', {}, 'no checkpoint in .*: it has no checkpoint.json'),
        ('sentence_transformers', 'ours', {}, 'the kind of --source is'),
    ],
)
def test_what_cannot_be_written_so_is_refused_by_name(ours, tmp_path, source, target, how, message):
    with pytest.raises((CheckpointError, ConfigError), match=message):
        converted(f'{source}:{ours}', f'{target}:{tmp_path / "new"}', **how)
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('tuned', [False, True])
def test_a_folder_of_sentence_transformers_names_its_modules(ours, tmp_path, tuned):
    source, target = ours, tmp_path / 'vectors'
    params, about = parameters.read_params(epath.Path(ours))
    if tuned:
        about['task'] = foreign.tasks.to_json(task_of('retrieval'))
        source, kept = tmp_path / 'tuned', ('embeddings', 'discriminator')
        parameters.write_params(epath.Path(source), {k: params[k] for k in kept}, about)
    converted(f'ours:{source}', f'sentence_transformers:{target}')
    modules = json.loads((target / 'modules.json').read_text())
    assert [(one['path'], one['type'].rpartition('.')[2]) for one in modules] == [
        ('', 'Transformer'), ('1_Pooling', 'Pooling'),
    ]  # fmt: skip
    pooling = json.loads((target / '1_Pooling' / 'config.json').read_text())
    assert pooling['word_embedding_dimension'] == fakes.model().hidden_size
    assert [name for name, on in pooling.items() if name.startswith('pooling_') and on] == [
        'pooling_mode_mean_tokens'
    ]
    length = json.loads((target / 'sentence_bert_config.json').read_text())['max_seq_length']
    assert length == fakes.model().max_positions
    assert 'library_name: sentence-transformers' in (target / card.FILE).read_text()
    encoder = projects.read_huggingface(target).params
    for name in ('embeddings', 'discriminator'):
        fakes.assert_same(encoder[name], params[name])


@pytest.mark.slow
def test_sentence_transformers_reads_a_model_of_vectors(ours, tmp_path):
    library = pytest.importorskip('sentence_transformers', reason='needs the parity extra')
    target = tmp_path / 'vectors'
    shown = converted(f'ours:{ours}', f'sentence_transformers:{target}', revision='step-40')
    assert 'those of `encode` leave out [CLS] and [SEP]' in shown
    model = library.SentenceTransformer(str(target), device='cpu')
    text = 'the new york cafe'
    got = model.encode([text, 'a'])[0]
    bound = bind(fakes.model(), fakes.VOCAB_SIZE)
    special = fakes.tokenizer().special
    (ids,) = fakes.tokenizer().encode_batch([text])
    row = np.array([[special.cls, *ids, special.sep]], np.int32)
    batch = {'tokens': row, 'documents': np.ones_like(row), 'types': np.zeros_like(row)}
    batch['positions'] = np.arange(row.shape[1], dtype=np.int32)[None]
    hidden = jax.jit(bound.encode)(fakes.params(fakes.model(), seed=40), batch, None)
    np.testing.assert_allclose(got, np.asarray(hidden)[0].mean(axis=0), atol=1e-4)


@pytest.mark.parametrize(
    ('word', 'kept'),
    [
        ('text:~/clients/acme/t/*.txt', 'text:t/*.txt'),
        ('text:texts/clients/acme/*.txt', 'text:acme/*.txt'),
        ('text:../../secret/t/*.txt', 'text:t/*.txt'),
        ('text:/home/my name/a,b/t/*.txt=0.5, jsonl:~me/x#body', 'text:t/*.txt=0.5, jsonl:x#body'),
        ('--config.data.path=me/t/a=0.7,me/t/b=0.3', '--config.data.path=t/a=0.7,t/b=0.3'),
        ('tfds:~/acme/wiki/en/1.0.0:train[:10%]', 'tfds:en/1.0.0:train[:10%]'),
        ('--workdir=file:///home/me/runs/a', '--workdir=runs/a'),
        *(
            (word, word)
            for word in (
                'hf:owner/name:config:train#text', 'tfds:wikipedia/20230601.en:train', 'text:t.txt',
                '--workdir=gs://bucket/all/runs/a', 'tfds:gs://bucket/all/wiki/en:train',
                '--config=configs/study/electra.py', 'configs/study/electra.py', '--config.seed=1',
            )
        ),
    ],
)  # fmt: skip
def test_of_a_path_two_parts_are_passed_on(word, kept):
    assert own_folder.plain(word) == kept


@pytest.mark.parametrize('name', ['init_from', 'branch_from', 'replay'])
def test_of_a_start_one_part_is_passed_on(name):
    found = own_folder.without_folders({'config': {name: 'clients/acme/run/checkpoints/8'}})
    assert found == {'config': {name: 'run'}}


def test_a_start_from_a_trial_is_named_by_its_run():
    start = {'name': 'ours:/home/me/runs/mrpc/trials/0/checkpoints/9', 'steps': 9}
    found = own_folder.without_folders({'started_from': start})
    assert found['started_from']['name'] == 'ours:mrpc/trials/0'
    facts = card.Facts('x', '', None, None, None, [])
    assert '### Before: `ours:mrpc/trials/0`' in list(card._training(found, facts))
