"""A pointer next to the softmax: probabilities by their definition, and what may be copied."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.model import pointer
from electra_jax.model.pointer import Pointed, Pointer
from tests.support.configs import tiny_config

B, L, S, V, D = 2, 3, 5, 7, 4


@pytest.fixture(scope='module')
def given():
    random = np.random.default_rng(0)
    x_BLD, memory_BSM = random.normal(size=(B, L, D)), random.normal(size=(B, S, 6))
    source_BS = np.array([[-1, 3, 4, 3, -1], [-1, -1, -1, -1, -1]], np.int32)
    head = Pointer(tiny_config().model)
    made = head.init_with_output(jax.random.key(0), x_BLD, memory_BSM, source_BS)
    return made[0], source_BS, random.normal(size=(B, L, V)).astype(np.float32)


def by_definition(pointed, logits_BLV):
    """(1 - share) p(token) + share times the attention to where the token was read."""
    probs_BLV = np.exp(jax.nn.log_softmax(logits_BLV))
    share_BL = np.exp(pointed.log_share_BL)
    mixed_BLV = (1 - share_BL)[..., None] * probs_BLV
    for b, i, s in np.ndindex(B, L, S):
        if pointed.source_BS[b, s] >= 0:
            token = pointed.source_BS[b, s]
            mixed_BLV[b, i, token] += share_BL[b, i] * pointed.weight_BLS[b, i, s]
    return mixed_BLV


def test_probabilities_are_those_of_the_mixture(given):
    pointed, source_BS, logits_BLV = given
    np.testing.assert_array_equal(pointed.weight_BLS[1], 0)
    np.testing.assert_array_equal(pointed.weight_BLS[0][:, source_BS[0] < 0], 0)
    np.testing.assert_allclose(np.sum(pointed.weight_BLS[0], axis=-1), 1, atol=1e-6)
    found_BLV = np.exp(pointer.log_probs(pointed, jnp.asarray(logits_BLV)))
    np.testing.assert_allclose(found_BLV, by_definition(pointed, logits_BLV), atol=1e-6)
    np.testing.assert_allclose(found_BLV[0].sum(axis=-1), 1, atol=1e-6)


def test_the_loss_of_a_token_is_its_log_probability(given):
    pointed, _, logits_BLV = given
    log_probs_BLV = pointer.log_probs(pointed, jnp.asarray(logits_BLV))
    for token in range(V):
        tokens_BL = jnp.full((B, L), token, jnp.int32)
        alone_BL = -jax.nn.log_softmax(logits_BLV)[..., token]
        loss_BL = pointer.loss(pointed, alone_BL, tokens_BL)
        np.testing.assert_allclose(loss_BL, -log_probs_BLV[..., token], rtol=1e-5)


def test_gradients_are_finite_where_nothing_can_be_copied(given):
    pointed, _, _ = given

    def total(weight_BLS, log_share_BL):
        changed = Pointed(pointed.log_own_BL, log_share_BL, weight_BLS, pointed.source_BS)
        tokens_BL = jnp.zeros((B, L), jnp.int32)
        return jnp.sum(pointer.loss(changed, jnp.ones((B, L)), tokens_BL))

    for gradient in jax.grad(total, (0, 1))(pointed.weight_BLS, pointed.log_share_BL):
        assert np.isfinite(gradient).all()
