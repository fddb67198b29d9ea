"""A task that is settled: what its head means for its answers."""

import pytest

from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.config.settings import HEAD_STYLES
from electra_jax.finetune import known, predictions, span_answers
from electra_jax.finetune import task as trained
from electra_jax.finetune.readers import Known
from electra_jax.model.task_heads import HEADS

KINDS = {'classification': 'text', 'regression': 'text_regression', 'tagging': 'tagging',
         'spans': 'squad2'}  # fmt: skip


def settled(name, **task):
    settings = recipe({'job': 'finetune', 'task': {'name': name, **task}})
    return trained.settle(resolve(settings, 'cpu'), Known(('a', 'b'), None, (0.0, 1.0)))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('style', HEAD_STYLES)
def test_every_style_has_a_head_for_every_kind_of_task(kind, style):
    head = settled(KINDS[kind], head=style).head()
    assert (head.kind, head.style) in HEADS
    assert head.style == style or (style == 'mean' and head.style == 'reference')


@pytest.mark.parametrize(
    ('style', 'relative'), [('reference', False), ('mean', False), ('huggingface', True)]
)
def test_no_answer_is_weighed_as_the_head_gives_it(style, relative, monkeypatch):
    """A logit of its own has the reference's threshold; scores of the plain head are compared."""
    asked = []
    monkeypatch.setattr(span_answers, 'answers', lambda *arguments: asked.append(arguments[-1]))
    task = settled('squad2', head=style)
    predictions.READ['spans'](task, [], [], [])
    assert asked == [relative]
    assert task.null_threshold == (0.0 if relative else known.get('squad2').null_threshold)
    assert known.get('squad2').null_threshold != 0.0
    assert settled('squad2', head=style, null_threshold=1.5).null_threshold == 1.5
