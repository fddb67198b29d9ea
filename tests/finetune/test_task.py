"""A resolved task: its head, its labels, and its form in a checkpoint."""

import dataclasses

import pytest

from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.config.task_settings import HEAD_STYLES
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.finetune import task as tasks
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.model.task_heads import HEADS
from tests.support.loading import Known, task_of


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('style', HEAD_STYLES)
def test_every_style_has_a_head_for_every_kind_of_task(kind, style):
    words = ','.join(KINDS[kind].own_spec.labels or ('a', 'b'))
    settings = {'template': 'topic', 'words': words} if style == 'prompt' else {}
    if style == 'prompt' and style not in KINDS[kind].styles:
        with pytest.raises(ConfigError, match=f"'prompt', .* but .* is of the kind {kind}"):
            task_of(KINDS[kind].own_task, head=style, **settings)
        return
    task = task_of(KINDS[kind].own_task, head=style, **settings)
    head = KINDS[kind].head(task)
    if head.form == 'text':  # a decoder, which no other project has
        assert head.decoder is not None
        return
    assert (head.form, head.style) in HEADS and task.kind == kind
    of_rows = ('mean', 'modernbert_cls')
    if head.form == 'vectors':  # its head has no parameters, and one way to read texts
        assert head.style == 'mean'
        return
    assert head.style == style or (style in of_rows and head.style == 'reference')


def test_a_kind_that_reads_no_words_cannot_have_the_head_of_a_prompt():
    task = task_of('text', head='prompt', template='topic', words='a,b')
    with pytest.raises(ConfigError, match=r"config.task.head is 'prompt', .* classification reads"):
        task.head_shape('row', 1)


@pytest.mark.parametrize('labels', ['good,,bad', 'good,good', 'yes,no'])
def test_labels_must_be_different_names_and_those_of_the_task(labels):
    with pytest.raises(ConfigError, match=r'config\.task\.labels'):
        task_of('cola', labels=labels)


def test_a_task_comes_back_from_its_checkpoint():
    task = task_of('stsb', Known(score_range=(0.0, 5.0)), head='mean', separator=';')
    stored = tasks.to_json(task)
    assert tasks.from_json(stored, 'here') == task
    earlier = {name: value for name, value in stored.items() if name != 'answerable_weight'}
    assert tasks.from_json(earlier, 'here') == task


@pytest.mark.parametrize(
    'change',
    [{'kind': 'other'}, {'style': 1}, {'stride': 0}, {'n_best': 2.5}, {'score_range': (1.0,)},
     {'null_threshold': float('nan')}, {'columns': {'text_a': 3}}, {'name': 'other'}],
)  # fmt: skip
def test_a_damaged_task_is_refused(change):
    stored = {**tasks.to_json(task_of('text')), **change}
    with pytest.raises(CheckpointError, match='here does not describe its task completely'):
        tasks.from_json(stored, 'here')
    lacking = {name: value for name, value in stored.items() if name not in change}
    with pytest.raises(CheckpointError, match=next(iter(change))):
        tasks.from_json(lacking, 'here')


def test_a_trained_task_reads_other_files_and_keeps_its_answers():
    trained = task_of('text', Known(('a', 'b')), head='mean')
    asked = {'name': 'text', 'separator': ';', 'labels': 'c,d'}
    config = resolve(recipe({'job': 'finetune', 'task': asked}), 'cpu')
    again = tasks.for_files_of(trained, config)
    assert again == dataclasses.replace(trained, columns=again.columns)
    assert again.columns.separator == ';'
