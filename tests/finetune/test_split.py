"""Which file each split of a task is, and what is refused before anything is trained."""

import dataclasses

import pytest
from etils import epath

from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.finetune import report, results, run
from electra_jax.finetune import split as splits
from electra_jax.finetune.examples import TextExample, repeated_lines
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.tokenizers.wordpiece import WordPiece
from tests.support import loading
from tests.support.loading import Known

TOKENIZER = WordPiece(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *'abcdefgh'])
TAGGED = 'a B-X\nb O\n\nc B-X\n'
RTE = loading.task_of('rte')


def test_the_command_that_comes_next_can_be_copied():
    assert "--checkpoint='runs/my own' --input=" in report.following(epath.Path('runs/my own'))


def config_of(name, path=None, **task):
    data = {'path': str(path)} if path else {}
    settings = recipe(
        {
            'job': 'finetune',
            'data': {**data, 'row_length': 8},
            'task': {'name': name, **task},
        }
    )
    return resolve(settings, 'cpu')


def write(folder, **texts):
    for name, text in texts.items():
        (folder / f'{name}.tsv').write_text(text)
    return {name: str(folder / f'{name}.tsv') for name in texts}


def rte(rows, labelled=True):
    end = ('\tlabel', '\tentailment') if labelled else ('', '')
    body = [f'{i}\ta b\tc{end[1]}' for i in rows]
    return '\n'.join([f'index\tsentence1\tsentence2{end[0]}', *body]) + '\n'


def test_files_by_name_need_no_folder(tmp_path):
    named = write(tmp_path, one=TAGGED, two=TAGGED, three=TAGGED + '\nd O\n')
    files = {'train_file': named['one'], 'dev_file': named['two']}
    known = splits.read_train(config_of('ner', **files))[0].task
    assert list(splits.read_scored(config_of('ner', **files), known)) == ['dev']
    found = splits.read_scored(config_of('ner', **files, test_file=named['three']), known)
    assert {name: len(one.examples) for name, one in found.items()} == {'dev': 2, 'test': 3}


def test_a_name_is_looked_for_in_the_folder_first(tmp_path):
    write(tmp_path, mine=TAGGED)
    config = config_of('tagging', tmp_path, train_file='mine.tsv', dev_file='other.tsv')
    assert len(splits.read_train(config)[0].examples) == 2
    with pytest.raises(DataError, match=r'other\.tsv'):
        splits.read_scored(config, loading.task_of(config.task.name))


def test_a_share_of_the_training_rows_is_scored_where_there_is_no_dev_file(tmp_path):
    rows = ''.join(f'row {n % 300}\t{"good" if n % 2 else "bad"}\n' for n in range(400))
    (tmp_path / 'train.tsv').write_text('text\tlabel\n' + rows)
    with pytest.raises(DataError, match=r'dev\.csv.*--config\.task\.dev_share=0\.1'):
        splits.read_scored(
            config_of('text', tmp_path), loading.task_of('text', Known(('bad', 'good')))
        )
    config = config_of('text', tmp_path, dev_share=0.2)
    train = splits.read_train(config)[0]
    (dev,) = splits.read_scored(config, train.task).values()
    texts = [{one.text_a for one in part.examples} for part in (train, dev)]
    assert not texts[0] & texts[1] and len(texts[0] | texts[1]) == 300
    assert len(train.examples) + len(dev.examples) == 400
    assert abs(len(dev.examples) - 80) <= 4
    assert splits.read_known(config, train.task) == train.examples
    # More rows change nothing for those that were there.
    (tmp_path / 'train.tsv').write_text('text\tlabel\nfirst\tbad\n' + rows)
    (again,) = splits.read_scored(config, train.task).values()
    assert {one.text_a for one in again.examples} - {'first'} == texts[1]


@pytest.mark.parametrize('seed', range(8))
def test_the_held_out_share_is_what_was_asked_for_of_a_few_rows_too(tmp_path, seed):
    lines = [f'{seed} row {n}\t{("good", "bad")[n % 2]}\n' for n in range(300)]
    rows = ''.join(lines)
    (tmp_path / 'train.tsv').write_text('text\tlabel\n' + rows)
    config = config_of('text', tmp_path, dev_share=0.1)
    train, dev = splits.read_train(config)
    assert 28 <= len(dev.examples) <= 32
    (tmp_path / 'train.tsv').write_text('text\tlabel\n' + ''.join(lines[:6]))
    assert len(splits.read_train(config)[1].examples) >= 1
    # Rows that a model was trained on are never scored, whatever is added to the file.
    more = ''.join(f'{seed} more {n}\tgood\n' for n in range(600))
    (tmp_path / 'train.tsv').write_text('text\tlabel\n' + more + rows)
    (later,) = splits.read_scored(config, train.task).values()
    trained = {one.text_a for one in train.examples}
    assert not trained & {one.text_a for one in later.examples}
    assert {one.text_a for one in dev.examples} <= {one.text_a for one in later.examples}


def test_what_naming_one_class_would_reach_is_reported(tmp_path):
    (tmp_path / 'train.tsv').write_text('text\tlabel\na\tgood\nb\tgood\nc\tbad\n')
    (tmp_path / 'dev.tsv').write_text('text\tlabel\nd\tbad\ne\tbad\nf\tgood\n')
    config = config_of('text', tmp_path, train_file='train.tsv', dev_file='dev.tsv')
    train = splits.read_train(config)[0]
    scored = splits.read_scored(config, train.task)
    examples = {name: one.examples for name, one in scored.items()}
    easy = results.trivial(train.task, train.examples, examples)
    assert easy.lines_with_scores()[0].startswith(
        "trivial in dev: 'good' for every row: dev/accuracy 33.33"
    )


def test_pairs_stay_together_and_a_bad_row_is_told_once(tmp_path):
    rows = ''.join(f'{n}\t{"a" * n}\tb{n % 7}\tentailment\n' for n in range(1, 200))
    rows += '9\tonly one\n'
    (tmp_path / 'train.tsv').write_text('index\tsentence1\tsentence2\tlabel\n' + rows)
    config = config_of('rte', tmp_path, dev_share=0.3)
    data = dataclasses.replace(config.data, on_bad_row='skip')
    config = dataclasses.replace(config, data=data)
    train, held_out = splits.read_train(config)
    (dev,) = splits.read_scored(config, train.task, held_out).values()
    assert len(train.examples) + len(dev.examples) == 199
    # The file is the training file, also where some of its rows are scored.
    made = {'train': train, 'dev': dev}
    made = {name: splits.make_split(config, TOKENIZER, one) for name, one in made.items()}
    lines = [line for line in report.complaints(made) if 'cells' in line]
    assert len(lines) == 1 and lines[0].startswith('train: 1 row had too few or too many cells')
    assert f'first in {tmp_path}/train.tsv:201: ' in lines[0]
    (alone,) = splits.read_scored(config, train.task).values()
    assert len(alone.complaints.lines()) == 1 and alone.examples == dev.examples
    swapped = [one._replace(text_a=one.text_b, text_b=one.text_a) for one in dev.examples]
    both = [*train.examples, *swapped]
    below = train.task.dev_below
    divided = splits.divided(dev._replace(examples=both), 0.3, below)
    assert divided == (train.examples, swapped)


def test_what_was_trained_on_is_known_where_it_can_be_read(tmp_path):
    rows = 'text\tlabel\na\tbad\nb\tgood\n'
    (tmp_path / 'train.tsv').write_text(f'{rows}c\n')
    config = config_of('text', tmp_path)
    bad = dataclasses.replace(config.data, on_bad_row='skip')
    train, _ = splits.read_train(dataclasses.replace(config, data=bad))
    assert splits.read_known(config, train.task) == train.examples
    other = loading.task_of('text', Known(('no', 'yes')))
    gone = config_of('text', tmp_path, train_file='gone.tsv')
    assert splits.read_known(config, other) == splits.read_known(gone, train.task) == []
    (tmp_path / 'train.tsv').unlink()
    assert splits.read_known(config, train.task) == []


def test_examples_that_stand_in_a_file_again_are_reported():
    rows = [TextExample(str(i), f'text {i}', None, 'x', f'a:{i}') for i in range(20)]
    assert repeated_lines(rows, {'dev': [rows[0]._replace(text_a='new')]}) == []
    (line,) = repeated_lines(rows, {'dev': rows[:3] + [rows[0]._replace(label='y')] * 9})
    assert line.startswith('warning: 3 of 12 dev examples are trained on, too')
    (line,) = repeated_lines([*rows[:2], *rows[:1] * 3], {})
    assert line == 'warning: 3 of 5 training examples are the same as earlier ones'


def test_a_share_that_leaves_nothing_is_refused(tmp_path):
    (tmp_path / 'train.txt').write_text(TAGGED)
    config = config_of('tagging', tmp_path, dev_share=0.001)
    with pytest.raises(DataError, match='leaves no row of 2 to score'):
        splits.read_scored(config, loading.task_of('tagging', Known(('B-X', 'O'))))
    with pytest.raises(ConfigError, match='come from one of them'):
        config_of('tagging', tmp_path, dev_share=0.5, dev_file='dev.tsv')


def test_tests_are_read_where_they_are_asked_for_and_must_be_there_then(tmp_path):
    write(tmp_path, train=rte(range(3)), dev=rte(range(3)))
    assert splits.read_tests(config_of('rte', tmp_path), RTE) == {}
    with pytest.raises(DataError, match=r'looked for the test split in test.tsv'):
        splits.read_tests(config_of('rte', tmp_path, predict_test=True), RTE)
    mine = write(tmp_path, mine=rte(range(4), labelled=False))['mine']
    found = splits.read_tests(config_of('rte', tmp_path, test_file=mine), RTE)
    assert len(found['test'].examples) == 4
    with pytest.raises(ConfigError, match=r"config.task.test_file is '.*', but chunk has no test"):
        splits.read_tests(config_of('chunk', tmp_path, test_file=mine), loading.task_of('chunk'))


def test_a_test_file_that_glue_would_refuse_is_refused_before_training(tmp_path):
    write(tmp_path, test=rte([0, 2], labelled=False))
    with pytest.raises(DataError, match=r'test.tsv:3: GLUE wants one prediction for every row'):
        splits.read_tests(config_of('rte', tmp_path, predict_test=True), RTE)


def test_pairs_are_doubled_where_they_are_pairs(tmp_path):
    write(tmp_path, train=rte(range(3)))
    assert len(splits.read_train(config_of('rte', tmp_path, double_pairs=True))[0].examples) == 6
    (tmp_path / 'train.csv').write_text('text,label\na,x\nb,y\n')
    for name, file in (('text', 'train.csv'), ('tagging', 'tags.txt')):
        (tmp_path / 'tags.txt').write_text(TAGGED)
        config = config_of(name, tmp_path, train_file=file, double_pairs=True)
        with pytest.raises(ConfigError, match=r'double_pairs is true, but .* holds no pairs'):
            splits.read_train(config)[0]


def test_texts_that_are_cut_are_counted(tmp_path):
    (tmp_path / 'train.csv').write_text('text,label\na b,x\na b c d e f,x\na b c d e f g,y\n')
    config = config_of('text', tmp_path, train_file='train.csv')
    loaded = splits.read_train(config)[0]
    split = splits.make_split(config, TOKENIZER, loaded, train=True)
    assert split.rows.tokens.lengths().tolist() == [4, 8, 8]
    assert loading.counts(loaded.complaints) == {'cut': 1} and ':4' in loaded.complaints.lines()[0]


@pytest.mark.parametrize('many', [True, False])
def test_unknown_words_are_reported_where_there_are_many(tmp_path, many):
    word = '\u043c\u0438\u0440' if many else 'b'
    (tmp_path / 'train.csv').write_text(f'text,label\na {word},x\na b c d e f,y\n')
    config = config_of('text', tmp_path, train_file='train.csv')
    split = splits.make_split(config, TOKENIZER, splits.read_train(config)[0], train=True)
    assert (split.unknown.tokens, split.unknown.unknown) == (8, many)
    lines = report.complaints({'train': split})
    assert len(lines) == many
    assert all('train: 12.5 % of 8 tokens are [UNK] (Cyrillic 100 %)' in line for line in lines)


@pytest.mark.parametrize('train', [True, False])
def test_a_few_rows_to_train_on_have_no_row_length_of_their_own(tmp_path, train):
    rows = ''.join(f'{"a b c d e f g h " * times},x\n' for times in (*[6] * 100, *[9] * 3))
    rows += 'a,y\n'
    (tmp_path / 'train.csv').write_text('text,label\n' + rows)
    config = config_of('text', tmp_path, train_file='train.csv')
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, row_length=128))
    split = splits.make_split(config, TOKENIZER, splits.read_train(config)[0], train=train)
    assert (split.sizes == [80]) == train and split.sizes[-1] == 80
    assert split.shares() == ('80 (100%)' if train else '16 (1%), 56 (96%), 80 (3%)')


def test_what_naming_one_tag_would_reach_is_reported(tmp_path):
    (tmp_path / 'train.txt').write_text('a O\nb O\nc B-X\n')
    train = splits.read_train(config_of('tagging', tmp_path, train_file='train.txt'))[0]
    kind = KINDS[train.task.kind]
    easy = results.trivial(train.task, train.examples, {'dev': train.examples})
    (line,) = easy.lines_with_scores()
    assert "'O' for every word" in line and 'dev/accuracy 66.67' in line
    (values,) = kind.trivial(train.task, train.examples, train.examples).values()
    assert all(one.strides[0] == 0 for one in values)  # no copy for each word


def test_mistakes_in_files_are_reported_before_a_checkpoint_is_read(tmp_path, monkeypatch):
    write(tmp_path, train='text\tlabel\na\tgood\nb\n', dev='text\tlabel\na\tgood\n')
    data = {'job': 'finetune', 'data': {'path': str(tmp_path)}, 'task': {'name': 'text'}}

    def never(*arguments):
        raise AssertionError('a checkpoint was read')

    monkeypatch.setattr(run, 'load_start', never)
    monkeypatch.setattr(run.distributed, 'initialize', never)
    with pytest.raises(DataError, match=r'train\.tsv:3'):
        run.open_run(recipe({**data, 'init_from': str(tmp_path)}), tmp_path)
