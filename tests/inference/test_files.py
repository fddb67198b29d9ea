"""What `predict` reads of a folder, and what it does where it writes."""

import json
import os
import threading
import types

import pytest

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.inference import files
from electra_jax.inference.ability import DEFAULTS, Notes
from electra_jax.inference.work import Work, reports
from electra_jax.tokenizers.unknown import Unknown
from tests.support.loading import Known, task_of


def answer(folder, output):
    """Answers two texts with their ids."""
    (folder / 'in.txt').write_text('a\nb\n')
    work = Work(
        'it',
        task_of('text', Known(('bad', 'good'))),
        lambda one: None,
        lambda examples, notes: iter([one.id for one in examples]),
        lambda one, result: {'id': result},
    )
    model = types.SimpleNamespace(where='runs/mine', work=lambda task, options: work)
    job = files.job('auto', DEFAULTS, str(folder / 'in.txt'), str(output), 'auto', Columns())
    files.answer(model, job)


ANSWERS = [{'id': '0'}, {'id': '1'}]


def test_a_file_that_is_replaced_or_a_folder_that_is_made_is_reported(tmp_path, capsys):
    path = tmp_path / 'new' / 'out.jsonl'
    answer(tmp_path, path)
    first = capsys.readouterr().err.splitlines()
    assert first[0] == f'{path.parent} is not there: the folder is made'
    assert first[-1] == f'2 rows (lines) answered by runs/mine; written to {path}'
    answer(tmp_path, path)
    assert f'{path} is there already' in capsys.readouterr().err.splitlines()[0]
    assert [json.loads(line) for line in path.read_text().splitlines()] == ANSWERS
    with pytest.raises(ConfigError, match=r"--output is the folder '.*new': name a file in it"):
        answer(tmp_path, path.parent)
    with pytest.raises(ConfigError, match=r"answers\.csv', the name of a table, .* \.jsonl"):
        answer(tmp_path, tmp_path / 'answers.csv')
    capsys.readouterr()
    answer(tmp_path, '-')
    assert capsys.readouterr().err.splitlines()[-1].endswith('answered by runs/mine')


@pytest.mark.parametrize(
    ('name', 'line'),
    [
        ('text', 'a [MASK] film'),
        ('text', 'a <mask>'),
        ('mrpc', 'a film\t[MASK]'),
        ('tagging', 'a [MASK] film'),
        ('squad1', 'who ?\t[MASK] saw it'),
        ('seq2seq', 'a [MASK]'),
    ],
)
def test_a_mask_that_is_no_masked_token_is_noted(name, line):
    task = task_of(name, Known(('bad', 'good')))
    some = [line, line.replace('[MASK]', 'mask').replace('<mask>', '[mask]')]
    examples = [KINDS[task.kind].from_line(task, str(n), x, f'row {n}') for n, x in enumerate(some)]
    work = Work('it', task, lambda one: None, lambda these, notes: iter(these), lambda *_: {})
    for fills, noted in ((False, 1), (True, 0)):
        notes = Notes(Complaints('', 'skip'), Unknown())
        assert list(work._replace(fills=fills).answers(examples, notes)) == [examples]
        assert len(reports(notes, 'it')) == noted
        assert all('1 text holds [MASK]' in one and 'row 0' in one for one in reports(notes, 'it'))


def test_a_pipe_is_written_to_and_not_replaced(tmp_path, capsys):
    pipe, read = tmp_path / 'pipe', []
    os.mkfifo(pipe)
    thread = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    thread.start()
    answer(tmp_path, pipe)
    assert pipe.is_fifo(), 'replaced'
    thread.join(timeout=60)
    assert [json.loads(line) for line in read[0].splitlines()] == ANSWERS
    assert 'there already' not in capsys.readouterr().err


def test_what_a_folder_holds_and_is_not_read_is_reported(tmp_path, capsys):
    for name in ('b.csv', 'a.jsonl', 'notes.md', '.hidden'):
        (tmp_path / name).write_text('x\n')
    (tmp_path / 'more').mkdir()
    assert [path.name for path in files._paths(tmp_path)] == ['a.jsonl', 'b.csv']
    assert capsys.readouterr().err.strip().endswith('no ending names a format: more, notes.md')
    (tmp_path / 'notes.md').unlink()
    (tmp_path / 'more').rmdir()
    files._paths(tmp_path)
    assert not capsys.readouterr().err
