"""What each setting may be, and whether that is what the implementations have."""

import pytest

from electra_jax.config import fields, settings
from electra_jax.config.kernels import PLATFORM_OF
from electra_jax.config.recipe import recipe
from electra_jax.core.errors import ConfigError
from electra_jax.corpus.job import RUNNERS
from electra_jax.corpus.layouts import LAYOUTS
from electra_jax.init_from import POSITION_RULES
from electra_jax.model.embeddings import POSITION_INITS
from electra_jax.model.encoder import REMAT_POLICIES
from electra_jax.model.layers import NORMS
from electra_jax.objectives.generators import GENERATORS
from electra_jax.ops.attention import KERNELS
from electra_jax.ops.dropout import BITS
from electra_jax.ops.vocab_softmax import noise_shapes

LEAVES = fields.leaves(settings.Config)
IMPLEMENTED = {
    'data.layout': LAYOUTS,
    'data.runner': RUNNERS,
    'init_positions': POSITION_RULES,
    'model.attention': KERNELS,
    'model.dropout_bits': BITS,
    'model.generator': GENERATORS,
    'model.norm_type': NORMS,
    'model.position_init': POSITION_INITS,
    'model.remat': REMAT_POLICIES,
}


@pytest.mark.parametrize('name', IMPLEMENTED)
def test_choices_are_what_is_implemented(name):
    assert set(LEAVES[name].choices) == set(IMPLEMENTED[name])


def test_every_kernel_has_a_platform_and_every_sampler_its_noise():
    assert set(PLATFORM_OF) == set(KERNELS)
    for sampler in LEAVES['objective.sampler'].choices:
        assert noise_shapes(1, 1, 128, sampler)


@pytest.mark.parametrize('leaf', LEAVES.values(), ids=lambda leaf: leaf.name)
def test_every_number_has_a_bound_and_a_possible_default(leaf):
    low, high = leaf.at_least, leaf.at_most
    is_number = leaf.kind in (int, float)
    assert is_number == (low is not None) or leaf.name == 'task.null_threshold'
    assert high is None or low < high
    assert not leaf.choices or leaf.kind is str
    leaf.checked(fields.get(recipe({}), leaf.name))


@pytest.mark.parametrize(
    ('name', 'value', 'allowed'),
    [
        ('batch_size', 0, 'at least 1'),
        ('batch_size', 1.5, 'a whole number'),
        ('seed', None, 'a whole number'),
        ('batch_size', True, 'a whole number'),
        ('stop_at', 'x', 'a whole number or None'),
        ('optimizer.b1', 1.0, '0 to 0.999999'),
        ('task.null_threshold', float('nan'), 'a finite number'),
        ('task.null_threshold', float('inf'), 'a finite number'),
        ('optimizer.clip_norm', float('inf'), 'and finite'),
        ('optimizer.learning_rate', float('nan'), 'at least 0'),
        ('optimizer.learning_rate', '1', 'a number'),
        ('log.report', 1, 'true or false'),
        ('model.norm', 'mid', 'post, pre'),
        ('data.layout', 'pakced', "did you mean 'packed'"),
        ('data.on_bad_text', 'ignore', 'error, skip'),
        ('data.row_length', 4, 'at least 8'),
        ('data.holdout', 1.0, '0 to 0.5'),
        ('data.workers', 0, 'at least 1'),
        ('model.num_layers', 1.0, 'a whole number or None'),
    ],
)
def test_a_value_is_refused_with_what_is_allowed(name, value, allowed):
    with pytest.raises(ConfigError) as refused:
        LEAVES[name].checked(value)
    assert f'config.{name} is {value!r}' in str(refused.value) and allowed in str(refused.value)


def test_a_whole_number_is_also_a_number():
    assert isinstance(LEAVES['optimizer.learning_rate'].checked(1), float)
    assert LEAVES['model.dropout'].checked(None) is None


def test_settings_as_typed_have_no_other_fields():
    with pytest.raises(AttributeError):
        recipe({}).model.num_layer = 3
