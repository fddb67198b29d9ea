"""Texts as answers: files, targets, loss, scores, and what a decoder starts from."""

import dataclasses
import gzip
import json

import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import CheckpointError, ConfigError, DataError
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as tasks
from electra_jax.finetune.examples import WrittenExample
from electra_jax.finetune.features import to_batch
from electra_jax.finetune.files import predict_input
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds import seq2seq
from electra_jax.finetune.kinds.kind import FRESH, Predictions
from electra_jax.finetune.kinds.seq2seq import SEQ2SEQ, Written
from electra_jax.finetune.split import Loaded
from tests.support import fakes
from tests.support.configs import merged, tiny_config
from tests.support.loading import counts, task_of

WORDS = [piece for piece in fakes.VOCAB if piece.isalpha()]
ENDINGS = {'source': 'en', 'target': 'de'}


def config_of(folder, **changes):
    base = {
        'job': 'finetune',
        'data': {'path': str(folder)},
        'task': {'name': 'translation', 'columns': ENDINGS, 'decoder': {'target_length': 8}},
    }
    return tiny_config(**merged(base, changes))


def write_sides(folder, english, german, name='train'):
    (folder / f'{name}.en').write_text('\n'.join(english) + '\n')
    (folder / f'{name}.de').write_text('\n'.join(german) + '\n')


def pairs(loaded):
    return [(example.source, example.target) for example in loaded.examples]


# ---------------------------------------------------------------------------------------------
# Files


def test_two_files_are_read_line_by_line(tmp_path):
    write_sides(tmp_path, [' a b ', 'c'], ['A B', 'C'])
    (tmp_path / 'val.en').write_text('d\n')
    (tmp_path / 'val.de.gz').write_bytes(gzip.compress(b'D\n'))
    (tmp_path / 'test.en').write_text('e\n')
    config = config_of(tmp_path, task={'predict_test': True})
    train, _ = splits.read_train(config)
    assert pairs(train) == [('a b', 'A B'), ('c', 'C')]
    assert train.examples[1].where.endswith('train.en:2')
    assert pairs(splits.read_scored(config, train.task)['dev']) == [('d', 'D')]
    assert pairs(splits.read_tests(config, train.task)['test']) == [('e', None)]
    (tmp_path / 'test.en').rename(tmp_path / 'test_2016.en')
    with pytest.raises(DataError, match=r'looked for the test split in test.en .*task.test_file'):
        splits.read_tests(config, train.task)


@pytest.mark.parametrize(
    ('english', 'german', 'message'),
    [
        (['a', 'b', 'c'], ['A'], r'train\.en has 3 lines, and .*train\.de has 1'),
        (['a', ' '], ['A', 'B'], r'train\.en:2: in line 2 of train\.en: the text is empty'),
        (['a', 'b'], ['', 'B'], r'train\.en:1: in line 1 of train\.de: the text is empty'),
    ],
)
def test_sides_that_do_not_match_are_refused(tmp_path, english, german, message):
    write_sides(tmp_path, english, german)
    with pytest.raises(DataError, match=message):
        splits.read_train(config_of(tmp_path))


def test_an_empty_side_is_left_out_and_counted_where_that_is_asked_for(tmp_path):
    write_sides(tmp_path, ['a', '', 'c'], ['A', 'B', ''])
    loaded, _ = splits.read_train(config_of(tmp_path, data={'on_bad_row': 'skip'}))
    assert pairs(loaded) == [('a', 'A')] and counts(loaded.complaints) == {'empty_text': 2}


def test_a_missing_side_and_unnamed_sides_are_explained(tmp_path):
    (tmp_path / 'train.en').write_text('a\n')
    with pytest.raises(DataError, match=r'train\.en: there is no file next to it.*\.de'):
        splits.read_train(config_of(tmp_path))
    write_sides(tmp_path, ['a'], ['A'])
    with pytest.raises(DataError, match=r'columns\.source=de --config\.task\.columns\.target=en'):
        splits.read_train(config_of(tmp_path, task={'columns': dict.fromkeys(ENDINGS)}))


def test_tables_and_json_lines_have_columns_of_any_name(tmp_path):
    (tmp_path / 'train.tsv').write_text('en\tde\na\tA\n')
    (tmp_path / 'dev.jsonl').write_text(json.dumps({'en': 'b', 'de': 'B'}) + '\n')
    config = config_of(tmp_path)
    train, _ = splits.read_train(config)
    assert pairs(train) == [('a', 'A')]
    assert pairs(splits.read_scored(config, train.task)['dev']) == [('b', 'B')]
    (tmp_path / 'new.jsonl').write_text(json.dumps({'text': 'c'}) + '\n')
    for path, columns in (('new.jsonl', Columns(source='text')), ('new.txt', Columns())):
        (tmp_path / 'new.txt').write_text('c\n')
        form = predict_input.format_of(tmp_path / path)
        bad = Complaints('data.on_bad_row', 'error')
        found = predict_input.read(train.task, tmp_path / path, form, columns, bad)
        assert [(one.source, one.target) for one in found] == [('c', None)]


# ---------------------------------------------------------------------------------------------
# Rows


def loaded_of(texts, policy='error', **settings):
    task = task_of('seq2seq')
    decoder = dataclasses.replace(task.decoder, **{'target_length': 4, **settings})
    task = dataclasses.replace(task, row_length=8, decoder=decoder)
    examples = [WrittenExample(str(i), *pair, f'f:{i}') for i, pair in enumerate(texts)]
    return Loaded(examples, task, Complaints('data.on_bad_row', policy), 'f')


def test_a_batch_has_its_targets_at_their_own_length():
    words = WORDS
    loaded = loaded_of([(' '.join(words[:2]), words[2]), (words[1], ' '.join(words[:3]))])
    rows = SEQ2SEQ.features(fakes.tokenizer(), loaded.examples, loaded.task)
    special = fakes.tokenizer().special
    (ids,) = fakes.tokenizer().encode_batch([' '.join(words[:3])])
    assert rows.lengths().tolist() == [4, 4] and rows.longest(8) == 8
    batch = to_batch(rows, [1, 0], 3, 8, special.pad)
    assert batch['tokens'].shape == (3, 8) and batch['target'].shape == (3, 4)
    assert batch['target'][0].tolist() == [*ids, special.sep]
    assert batch['target'][1].tolist() == [ids[2], special.sep, -1, -1]
    assert batch['target'][2].tolist() == [-1] * 4
    assert SEQ2SEQ.terms({key: jnp.asarray(x) for key, x in batch.items()}).tolist() == [4, 2, 0]
    assert batch['begin'].tolist() == [special.cls] * 2 + [0]


def test_a_sample_is_answered_greedily_and_comes_from_all_over_the_file():
    loaded = loaded_of([(word, word) for word in WORDS[:9]])
    assert [one.id for one in splits.sample(loaded, 4).examples] == ['0', '2', '4', '6']
    assert [one.id for one in splits.sample(loaded, 6).examples] == ['0', '1', '3', '4', '6', '7']
    assert splits.sample(loaded, 99).examples == loaded.examples
    quick = SEQ2SEQ.quick(loaded.task)
    assert (loaded.task.decoding.method, quick.decoding.method) == ('beam', 'greedy')
    assert dataclasses.replace(quick, decoding=loaded.task.decoding) == loaded.task


def test_long_targets_are_cut_or_refused_and_counted():
    words = WORDS
    texts = [(words[0], words[1]), (words[1], ' '.join(words[:4]))]
    config = tiny_config(job='finetune', task={'name': 'seq2seq'}, data={'row_length': 8})
    loaded = loaded_of(texts)
    split = splits.make_split(config, fakes.tokenizer(), loaded, train=True)
    assert counts(loaded.complaints) == {'cut_target': 1} and len(split.rows) == 2
    assert split.rows.targets.ids[1][-1] == fakes.tokenizer().special.sep
    with pytest.raises(DataError, match=r'f:1: the target has more pieces than 4.*target_length'):
        splits.make_split(
            config, fakes.tokenizer(), loaded_of(texts, long_targets='refuse'), train=True
        )
    skipped = loaded_of(texts, 'skip', long_targets='refuse')
    split = splits.make_split(config, fakes.tokenizer(), skipped, train=True)
    assert counts(skipped.complaints) == {'long_target': 1}
    assert len(split.rows) == len(split.loaded.examples) == 1
    # What is scored has all of its rows, and no targets.
    assert splits.make_split(config, fakes.tokenizer(), loaded_of(texts)).rows.targets is None


# ---------------------------------------------------------------------------------------------
# Loss, scores and what is trivial


def test_the_loss_adds_up_smoothed_terms_of_real_tokens():
    task = loaded_of([], label_smoothing=0.25).task
    outputs = {
        'loss': jnp.array([[1.0, 2.0, 9.0]]),
        'above_mean': jnp.array([[4.0, 0.0, 9.0]]),
        'real': jnp.array([[1.0, 1.0, 0.0]]),
    }
    assert SEQ2SEQ.loss(task, outputs, {}).tolist() == [1 + 2 + 0.25 * 4]


def test_scores_are_those_of_sacrebleu_and_rouge_score():
    examples = [
        WrittenExample('0', 'x', 'The cat sat on the mat today.', 'f'),
        WrittenExample('1', 'y', 'A dog ran home.', 'f'),
    ]
    answers = [Written('The cat sat on a mat today.', -0.1), Written('A dog ran home.', -0.1)]

    def score(name):
        return SEQ2SEQ.score(Predictions(task_of(name), examples, answers))

    found = score('translation')
    assert set(found.values) == {'bleu', 'chrf'} and 0.5 < found.values['bleu'] < 1
    assert [note.split()[0] for note in found.notes] == ['bleu', 'chrf']
    assert 'case:mixed' in found.notes[0] and 'version:' in found.notes[0]
    found = score('summarization')
    # Of 7 words 6 are right: F1 6/7 and 1; of 6 pairs 4 are: 4/6 and 1.
    assert found.values['rouge1'] == pytest.approx((6 / 7 + 1) / 2)
    assert found.values['rouge2'] == pytest.approx((4 / 6 + 1) / 2)
    assert found.values['rougeL'] == pytest.approx((6 / 7 + 1) / 2)
    assert score('seq2seq').values['exact_match'] == 0.5
    written = next(iter(SEQ2SEQ.to_json(Predictions(task_of('seq2seq'), examples, answers))))
    assert written['prediction'] == answers[0].text and written['target'] == examples[0].target


def test_trivial_answers_are_the_beginning_of_the_text_and_short_texts_themselves():
    known = [WrittenExample('0', 'One two three. Four five six seven', 'two words', 'f')]
    found = seq2seq.trivial(task_of('summarization'), known, known)
    texts = {name: answers[0].text for name, answers in found.items()}
    assert texts == {
        'the first sentence of each text': 'One two three.',
        'the first 2 words of each text': 'One two',
    }
    known = [known[0]._replace(target='eins zwei drei')]
    assert 'each text itself' in seq2seq.trivial(task_of('translation'), known, known)


# ---------------------------------------------------------------------------------------------
# The task, and what a decoder starts from


def test_a_task_comes_back_from_json_and_decoding_may_change():
    task = task_of('summarization', decoding={'beams': 3}, decoder={'target_length': 40})
    assert task.decoding.no_repeat == 3 and task.decoding.beams == 3 and task.row_length == 512
    data = json.loads(json.dumps(tasks.to_json(task)))
    assert tasks.from_json(data, 'here') == task
    old = {name: x for name, x in data.items() if name not in ('decoder', 'decoding')}
    assert tasks.from_json(old, 'here').decoder == type(task.decoder)()
    for bad in ({'beams': 0}, {'beams': 'x'}, 3):
        with pytest.raises(CheckpointError, match='does not describe its task completely'):
            tasks.from_json({**data, 'decoding': bad}, 'here')
    config = tiny_config(
        job='finetune', task={'name': 'summarization', 'decoding': {'method': 'greedy'}}
    )
    changed = tasks.for_files_of(task, config).decoding
    assert (changed.method, changed.beams, changed.no_repeat) == ('greedy', 3, 3)


def test_a_decoder_starts_from_layers_that_are_spread_evenly():
    kernel = np.arange(5.0)[:, None]
    params = {
        'discriminator': {'layers': {'up': kernel}, 'norm': {'scale': np.ones(3)}},
        'generator_head': {'dense': {'bias': np.zeros(2)}},
    }
    found = seq2seq.start(task_of('seq2seq', decoder={'start': 'encoder', 'layers': 3}), params)
    assert set(found.arrays) == {'task_head/layers/up', 'task_head/norm/scale'}
    assert found.arrays['task_head/layers/up'].ravel().tolist() == [0, 2, 4]
    assert found.parts == ('discriminator',)
    assert found.line == 'decoder: 2 arrays from its encoder, the others are fresh'
    assert seq2seq.start(task_of('seq2seq'), params) == FRESH
    generator = task_of('seq2seq', decoder={'start': 'generator'})
    with pytest.raises(ConfigError, match='has no generator'):
        seq2seq.start(generator, params)
    found = seq2seq.start(generator, {**params, 'generator': params['discriminator']})
    assert 'task_head/language_head/dense/bias' in found.arrays
    assert found.parts == ('generator', 'generator_head')
    with pytest.raises(ConfigError, match=r'layers is 9, and the discriminator has 5'):
        seq2seq.start(task_of('seq2seq', decoder={'start': 'encoder', 'layers': 9}), params)
