"""Submissions to GLUE."""

import pytest

from electra_jax.core.errors import DataError
from electra_jax.finetune import glue
from electra_jax.finetune import known as table
from electra_jax.finetune.examples import TextExample


def test_glue_file_names():
    names = {name for spec in table.TASKS.values() for name in spec.submissions.values()}
    assert names == {
        f'{name}.tsv'
        for name in 'AX CoLA MNLI-m MNLI-mm MRPC QNLI QQP RTE SST-2 STS-B WNLI'.split()
    }


@pytest.mark.parametrize('ids', ['0 2', '1 2', '0 0', 'a b', '-1 0'])
def test_a_test_file_with_gaps_is_refused(ids):
    examples = [TextExample(name, 'a', 'b', None, 'test.tsv') for name in ids.split()]
    with pytest.raises(DataError, match='one prediction for every row of the test file'):
        glue.check_whole(examples)


def test_a_whole_test_file_is_not_refused():
    ids = (10, *range(10))
    glue.check_whole([TextExample(str(i), 'a', 'b', None, 'f') for i in ids])
