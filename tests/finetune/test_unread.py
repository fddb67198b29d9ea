"""Columns of one's own table that are not read, and labels that are numbers with names."""

import json

import pytest

from electra_jax.core.errors import DataError
from tests.support.loading import load

ROWS = [
    {'id': i, 'text': f'the film {i} was', 'summary': f'it is number {i}', 'stars': i % 2 + 1,
     'label': ('bad', 'good')[i % 2]}
    for i in range(8)
]  # fmt: skip


def written(folder, rows, ending='csv', split='train'):
    path = folder / f'{split}.{ending}'
    if ending == 'csv':
        table = [rows[0].keys(), *(row.values() for row in rows)]
        path.write_text(''.join(','.join(map(str, cells)) + '\n' for cells in table))
    else:
        path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return str(folder)


@pytest.mark.parametrize('ending', ['csv', 'jsonl'])
def test_columns_that_are_not_read_are_named_and_a_second_text_is_a_warning(tmp_path, ending):
    first, second = load('text', written(tmp_path, ROWS, ending), 'train').complaints.lines()
    assert first.endswith("columns that are not read: 'id', 'summary', 'stars'")
    assert "the column 'summary' holds text, and is not read" in second
    assert second.endswith('--config.task.columns.text_b=summary')


def test_what_is_read_or_no_text_is_not_warned_of(tmp_path):
    rows = [{k: row[k] for k in ('text', 'label')} for row in ROWS]
    assert load('text', written(tmp_path, rows), 'train').complaints.lines() == []
    rows = [{**row, 'name': f'n{i}', 'note': 'the same for all'} for i, row in enumerate(rows)]
    (line,) = load('text', written(tmp_path, rows), 'train').complaints.lines()
    assert line.endswith("columns that are not read: 'name', 'note'")
    assert load('text', written(tmp_path, rows, split='dev'), 'dev').complaints.lines() == []


@pytest.mark.parametrize('numbers', [(0, 1), (1, 2), (5, 10), ('2.0', '10.0')])
def test_numbers_get_the_names_of_the_labels_in_their_order(tmp_path, numbers):
    rows = [{'text': row['text'], 'label': numbers[i % 2]} for i, row in enumerate(ROWS)]
    names = 'bad', 'good'
    loaded = load('text', written(tmp_path, rows), 'train', labels=names)
    assert [one.label for one in loaded.examples[:3]] == ['bad', 'good', 'bad']
    (line,) = loaded.complaints.lines()
    assert line.endswith(f"read as names: {numbers[0]} as 'bad', {numbers[1]} as 'good'")
    rows[0]['label'] = names[1]
    task = loaded.task
    dev = load(
        'text', written(tmp_path, rows, split='dev'), 'dev', labels=names,
        written_labels=task.written_labels,
    )  # fmt: skip
    assert [one.label for one in dev.examples[:3]] == ['good', 'good', 'bad']


def test_each_number_needs_a_name(tmp_path):
    rows = [{'text': 'x', 'label': i} for i in range(3)]
    with pytest.raises(DataError, match=r'names 2 classes, but .* numbers 0, 1, 2: .* these 3'):
        load('text', written(tmp_path, rows), 'train', labels=('bad', 'good'))


def test_names_that_are_in_the_file_are_no_numbers(tmp_path):
    where = written(tmp_path, [{'text': row['text'], 'label': row['label']} for row in ROWS])
    loaded = load('text', where, 'train', labels=('good', 'bad'))
    assert loaded.task.written_labels == () and loaded.task.labels == ('good', 'bad')
    assert loaded.complaints.lines() == []


def test_lists_of_numbers_get_names_too(tmp_path):
    rows = [{'text': 'x', 'label': label} for label in ([0], [], [1, 0])]
    loaded = load(
        'text_multi_label', written(tmp_path, rows, 'jsonl'), 'train', labels=('rude', 'loud')
    )
    assert [one.label for one in loaded.examples] == [('rude',), (), ('loud', 'rude')]
