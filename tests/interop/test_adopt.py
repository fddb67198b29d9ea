"""Starting from other parameters: every leaf is accounted for."""

import numpy as np
import pytest

from electra_jax.config import checks
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.core.trees import named_leaves
from electra_jax.interop.adopt import POSITION_RULES, adopt
from tests.support import fakes


def test_matching_leaves_are_taken_and_the_rest_is_named():
    source = fakes.params(fakes.model(), discriminator_head=False, seed=1)
    source['language_head'] = {'output_bias': np.ones(3, np.float32)}
    fresh = fakes.params(fakes.model(), seed=2)
    params, account = adopt(source, fresh)
    for part in ('embeddings', 'generator', 'generator_head', 'discriminator'):
        fakes.assert_same(params[part], source[part])
    fakes.assert_same(params['discriminator_head'], fresh['discriminator_head'])
    head = [f'discriminator_head/{n}' for n, _ in named_leaves(fresh['discriminator_head'])]
    assert account.fresh == head
    assert account.unused == ['language_head/output_bias']
    assert account.extended == []
    assert sorted(account.taken + account.fresh) == sorted(n for n, _ in named_leaves(fresh))


@pytest.mark.parametrize('rule', sorted(POSITION_RULES))
def test_longer_position_tables_follow_the_rule(rule):
    sizes = {'embedding_sharing': 'untied', 'generator_embedding_size': 32}
    source = fakes.params(fakes.model(**sizes, max_positions=40), seed=1)
    fresh = fakes.params(fakes.model(**sizes, max_positions=100), seed=2)
    params, account = adopt(source, fresh, rule)
    assert account.extended == ['embeddings/position', 'generator_embeddings/position']
    for part in ('embeddings', 'generator_embeddings'):
        known, started, table = (tree[part]['position'] for tree in (source, fresh, params))
        assert table.dtype == np.float32 and table.shape == started.shape
        if rule == 'fresh':
            np.testing.assert_array_equal(table, np.concatenate([known, started[40:]]))
        if rule == 'repeat':
            np.testing.assert_array_equal(table, np.concatenate([known, known, known[:20]]))
        if rule == 'interpolate':
            places = np.linspace(0, 39, 100)
            expected = [np.interp(places, np.arange(40), column) for column in known.T]
            np.testing.assert_allclose(table, np.stack(expected, 1), rtol=0, atol=1e-6)
            np.testing.assert_array_equal(table[[0, -1]], known[[0, -1]])


def test_the_rules_are_those_of_the_config():
    assert set(checks.CHOICES.get('init_positions', POSITION_RULES)) == set(POSITION_RULES)
    fresh = fakes.params(fakes.model())
    with pytest.raises(ConfigError, match=r"'repeats'.*did you mean 'repeat'"):
        adopt(fresh, fresh, 'repeats')


@pytest.mark.parametrize(
    ('source', 'fresh', 'said'),
    [
        ({'max_positions': 50}, {}, r'\[50, 24\].*\[40, 24\].*max_positions=50'),
        ({'embedding_size': 32}, {'max_positions': 60}, 'project/kernel has shape'),
        ({'ffn_size': 256}, {}, 'feed_forward'),
        ({'num_layers': 8, 'generator_layers': 0.25}, {}, r'has shape \[8, .*give the model'),
    ],
)
def test_other_shapes_are_an_error_that_names_both(source, fresh, said):
    with pytest.raises(CheckpointError, match=said):
        adopt(fakes.params(fakes.model(**source)), fakes.params(fakes.model(**fresh)))


def test_another_vocabulary_is_an_error_that_says_so():
    source = fakes.params(fakes.model(), vocab_size=200)
    with pytest.raises(CheckpointError, match='use the tokenizer of the checkpoint'):
        adopt(source, fakes.params(fakes.model()))


def test_nothing_in_common_is_an_error():
    with pytest.raises(CheckpointError, match='no parameter of this model: it holds other'):
        adopt({'other': {'x': np.ones(2)}}, fakes.params(fakes.model()))
