"""What the page offers: each tab asks a model something, and draws its answer."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.core.errors import CheckpointError, DataError, UserError
from electra_jax.demo import drawings
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.templates import TEMPLATES
from electra_jax.inference.ability import Options
from electra_jax.inference.loaded import LoadedModel, not_tuned
from electra_jax.tokenizers.api import MASK

# Fields of `Columns` that new text is read from -> what a person writes there. Their order is that
# of a line of text.
_INPUTS = {
    'text_a': 'Text',
    'text_b': 'Second text',
    'question': 'Question',
    'context': 'Text that holds the answer',
    'words': 'Sentence',
    'source': 'Text',
}


class Field(NamedTuple):
    """A box that a person writes in."""

    label: str
    example: str = ''
    lines: int = 3
    optional: bool = False


class Tab(NamedTuple):
    """A thing to ask a model."""

    title: str
    about: str  # a sentence for people
    # Raises UserError: the checkpoint cannot do it.
    check: Callable[[LoadedModel], object]
    fields: Callable[[LoadedModel], Sequence[Field]]
    # Model, what was written -> HTML.
    draw: Callable[[LoadedModel, Sequence[str]], str]


def answered(tab: Tab, model: LoadedModel, values: Sequence[str]) -> str:
    """The answer to what was written as HTML; a mistake is a sentence."""
    try:
        for field, value in zip(tab.fields(model), values, strict=True):
            if not value.strip() and not field.optional:
                raise DataError(f'{field.label} is empty: write something there')
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            drawn = tab.draw(model, values)
    except UserError as error:
        return drawings.card(drawings.sentence(str(error)))
    # Libraries warn of what concerns nobody here.
    notes = [str(one.message) for one in caught if one.category is UserWarning]
    return drawings.card(drawn, drawings.notes(notes))


def lack(tab: Tab, model: LoadedModel) -> str | None:
    """Why the checkpoint cannot do it; None: it can."""
    try:
        tab.check(model)
    except UserError as error:
        return str(error)
    return None


# ---------------------------------------------------------------------------------------------
# The task that it was fine-tuned on


def _check_tuned(model: LoadedModel) -> None:
    if model.task is None:
        raise not_tuned(model)
    # A path that a visitor types would be read from the disk of this machine.
    if model.task.image_size is not None:
        raise CheckpointError(
            f'{model.where} answers about images, which this page does not take: type '
            f'python -m electra_jax.predict --checkpoint={model.where} --input=FILE'
        )


def _task_fields(model: LoadedModel) -> list[Field]:
    task = model.task
    assert task is not None
    single = task.usual_columns.text_b is None and not task.any_pairs
    left_out = {'text_b'} if single else set()
    names = [name for name in _INPUTS if name in KINDS[task.kind].inputs and name not in left_out]
    return [Field(_INPUTS[name], optional=name == 'text_b' and task.any_pairs) for name in names]


def _draw_task(model: LoadedModel, values: Sequence[str]) -> str:
    (found,) = model.predict([tuple(value for value in values if value.strip())])
    return _drawn_answer(found)


def _drawn_answer(found: Mapping[str, Any]) -> str:
    """An answer of any kind of task, by the fields that it has."""
    if 'predictions' in found:
        return drawings.tags(found['words'], found['predictions'], found['probabilities'])
    if 'similarity' in found:  # of one pair, whose partner is the only candidate
        return drawings.answer(f'similarity {found["similarity"]:.3f}')
    best = found['prediction']
    if isinstance(best, list):
        best = ', '.join(best) or 'none of the labels'
    elif isinstance(best, float):
        best = f'{best:.3f}'
    shares = found.get('probabilities')
    # Those of the sentences of a text have no names.
    bars = drawings.bars(shares) if isinstance(shares, Mapping) else ''
    return drawings.answer(str(best) or 'no answer') + bars


# ---------------------------------------------------------------------------------------------
# What a pre-trained model can do


def _draw_doubt(model: LoadedModel, values: Sequence[str]) -> str:
    (found,) = model.detect(values)
    return drawings.heat(values[0], found.spans.tolist(), found.replaced.tolist())


def _draw_filled(model: LoadedModel, values: Sequence[str]) -> str:
    (masks,) = model.fill_mask(values)
    drawn = [drawings.bars({one.token: one.probability for one in mask}) for mask in masks]
    if lack(_DOUBT, model) is None:
        text = values[0]
        for mask in masks:
            text = text.replace(MASK, mask[0].token.removeprefix('##'), 1)
        drawn.append(drawings.sentence('With the likeliest tokens in, the discriminator doubts:'))
        drawn.append(_draw_doubt(model, [text]))
    return ''.join(drawn)


def _draw_label(model: LoadedModel, values: Sequence[str]) -> str:
    text, labels, template = values
    words = {name: [name] for name in map(str.strip, labels.split(',')) if name}
    (found,) = model.classify([text], words, template)
    return drawings.answer(found.prediction) + drawings.bars(found.probabilities)


_DOUBT = Tab(
    'Replaced tokens',
    'How likely the discriminator finds it that each token was replaced.',
    lambda model: model.work('detect'),
    lambda model: [Field('Sentence', 'The chef drove the meal that he had cooked.')],
    _draw_doubt,
)
# In the order of the page. To add one: a row.
TABS = (
    Tab(
        'Answer',
        'What the model was fine-tuned to answer.',
        _check_tuned,
        _task_fields,
        _draw_task,
    ),
    _DOUBT,
    Tab(
        'Fill the mask',
        'What the generator would write at each [MASK].',
        lambda model: model.work('fill_mask'),
        lambda model: [Field('Sentence with [MASK]', 'The chef [MASK] the meal.')],
        _draw_filled,
    ),
    Tab(
        'Labels without training',
        'Which label fits best into a sentence, by a template.',
        lambda model: model.work('zero_shot', Options(template='sentiment')),
        lambda model: [
            Field('Text', 'A film that one remembers for years.'),
            Field('Labels, with commas between', 'good, bad', 1),
            Field('Template', TEMPLATES['sentiment'].text, 1),
        ],
        _draw_label,
    ),
)
