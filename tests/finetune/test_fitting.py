"""Settings that are left unset: what a checkpoint and the number of rows make of them."""

import pytest

from electra_jax.config.recipe import load, recipe
from electra_jax.config.resolve import fill
from electra_jax.core.errors import CheckpointError
from electra_jax.finetune import fitting
from electra_jax.finetune.fitting import Origin

TWO_STAGES = {'name': 'two_stage', 'generator_steps': 36_000}
LAPTOP = {
    'total_steps': 54_000, 'batch_size': 16, 'data': {'row_length': 64}, 'objective': TWO_STAGES,
}  # fmt: skip
MODEL = fill(recipe({'model': {'size': 'tiny'}})).model
LITTLE, SOME, MUCH = (Origin(12, 256, tokens) for tokens in (5e7, 9e8, 2e10))
RELEASED = Origin(12, 768, None)


def chosen(found, name='task', **changes):
    settings = load(f'configs/finetune/{name}.py')
    for key, value in changes.items():
        setattr(settings.task, key, value)
    full, choice = fitting.choose(settings, found)
    rates = full.optimizer.learning_rate, full.optimizer.layer_decay, full.optimizer.weight_decay
    return (full.task.head, *rates, full.task.warmup_rate, full.batch_size), choice


@pytest.mark.parametrize(
    ('about', 'where', 'tokens', 'generator_alone'),
    [
        ({'config': LAPTOP, 'steps': 54_000}, 'runs/x', 54_000 * 1024.0, False),
        ({'config': LAPTOP, 'steps': 54_000}, None, 0.0, False),
        ({'config': LAPTOP, 'steps': 36_001}, 'runs/x', 36_001 * 1024.0, False),
        ({'config': LAPTOP, 'steps': 36_000}, 'runs/x', 36_000 * 1024.0, True),
        # Converted by an earlier version, which recorded no steps.
        ({'config': LAPTOP, 'steps': 0}, 'runs/x', 54_000 * 1024.0, False),
        ({'config': {'model': {}, 'objective': {'name': 'electra'}}}, 'google:x', None, False),
        ({'config': {'model': {}}}, 'runs/x', None, False),
        ({'config': LAPTOP, 'converted_from': 'huggingface:x'}, 'runs/x', None, False),
        ({'config': {**LAPTOP, 'init_from': 'google:x'}, 'steps': 9}, 'runs/x', None, False),
        # What it started from had read text, too, or is another project's.
        (
            {'config': {**LAPTOP, 'init_from': 'runs/y'}, 'tokens_before': 5e8},
            'runs/x',
            5e8 + 54_000 * 1024.0,
            False,
        ),
        (
            {'config': {**LAPTOP, 'init_from': 'runs/y'}, 'tokens_before': None},
            'runs/x',
            None,
            False,
        ),
    ],
)
def test_a_checkpoint_is_known_by_what_it_records(about, where, tokens, generator_alone):
    found = fitting.origin(about, MODEL, where)
    assert found == Origin(3, 128, tokens, generator_alone)


def test_a_checkpoint_that_records_nonsense_is_refused():
    with pytest.raises(CheckpointError, match='runs/x does not describe its training'):
        fitting.origin({'config': {**LAPTOP, 'batch_size': None}}, MODEL, 'runs/x')


@pytest.mark.parametrize(
    ('found', 'settings'),
    [
        (LITTLE, ('mean', 5e-4, 1.0, 0.01, 0.1, 32)),
        (SOME, ('mean', 3e-4, 0.8, 0.01, 0.1, 32)),
        (MUCH, ('reference', 1e-4, 0.8, 0.01, 0.1, 32)),
        (RELEASED, ('reference', 1e-4, 0.8, 0.01, 0.1, 32)),
        (Origin(24, 1024, None), ('reference', 5e-5, 0.9, 0.01, 0.1, 32)),
    ],
)
@pytest.mark.parametrize('name', ['task', 'own_text'])
def test_the_less_a_model_has_read_the_faster_it_is_trained(found, settings, name):
    assert chosen(found, name)[0] == settings


@pytest.mark.parametrize('found', [LITTLE, RELEASED])
def test_recipes_with_published_settings_have_them_for_every_checkpoint(found):
    assert chosen(found, 'reference')[0] == ('reference', 1e-4, 0.8, 0.01, 0.1, 32)
    assert chosen(found, 'paper_small')[0] == ('reference', 3e-4, 0.8, 0.0, 0.1, 32)
    assert chosen(found, 'laptop')[0] == ('mean', 1e-3, 1.0, 0.01, 0.1, 32)
    assert chosen(found, 'reference')[1].epochs(3, 1) == 3
    large = Origin(24, 1024, None)
    assert chosen(large, 'reference')[0] == ('reference', 5e-5, 0.9, 0.01, 0.1, 32)
    assert chosen(large, 'paper_small')[0] == ('reference', 3e-4, 0.9, 0.0, 0.1, 32)
    assert load('configs/finetune/laptop.py').task.epochs == 3


def test_what_is_typed_stays_and_is_not_called_chosen():
    settings, choice = chosen(LITTLE, head='huggingface', warmup_rate=0.0)
    assert settings == ('huggingface', 5e-4, 1.0, 0.01, 0.0, 32)
    assert set(choice.names) == {
        'optimizer.learning_rate', 'optimizer.layer_decay', 'optimizer.weight_decay', 'batch_size',
    }  # fmt: skip
    line = choice.line({'optimizer.learning_rate': 5e-4, 'task.epochs': 10.0}, 2000)
    assert 'optimizer.learning_rate=0.0005 task.epochs=10 (' in line
    assert '2,000 rows' in line and '12 layers of width 256, trained on 50 million tokens' in line
    assert choice.line({}, 2000) is None
    # Fresh parameters have read nothing, and the settings are those of the checkpoint.
    assert 'as for the checkpoint' in choice.line({'batch_size': 32}, 2000, is_fresh=True)
    assert 'checkpoint' not in line


@pytest.mark.parametrize(('steps', 'epochs'), [(1, 10), (25, 8), (50, 4), (67, 3), (9000, 3)])
def test_few_rows_are_seen_more_often_up_to_a_bound(steps, epochs):
    choice = chosen(LITTLE)[1]
    assert (choice.fit.least_steps, choice.fit.most_epochs) == (200, 10)
    assert choice.epochs(3, steps) == epochs
    assert choice.epochs(20, 1) == 20  # of the task


def test_every_checkpoint_has_a_row_of_the_table():
    for tokens in (None, 0.0, 1e6, 1e9, 1e12):
        for width in (32, 256, 384, 768, 1024, 2560):
            assert chosen(Origin(1, width, tokens))[0][0] in ('mean', 'reference')
