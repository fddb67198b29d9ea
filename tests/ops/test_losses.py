"""Binary cross-entropy and AUC against scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from electra_jax.ops import losses


def test_cross_entropy_equals_scikit_learns():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=500) * 4, random.random(500) < 0.3
    probs = 1 / (1 + np.exp(-logits))
    ours = float(losses.sigmoid_cross_entropy(jnp.asarray(logits), jnp.asarray(labels)).mean())
    assert ours == pytest.approx(metrics.log_loss(labels, probs), rel=1e-5)


def test_auc_from_histograms_equals_scikit_learns():
    random = np.random.default_rng(1)
    labels = random.random(4000) < 0.1
    logits = random.normal(size=4000) - 2 + labels
    weights = (random.random(4000) < 0.8).astype(np.float32)
    ours = losses.area_under_curve(
        np.asarray(losses.score_histogram(jnp.asarray(logits), jnp.asarray(weights * labels))),
        np.asarray(losses.score_histogram(jnp.asarray(logits), jnp.asarray(weights * ~labels))),
    )
    seen = weights > 0
    assert ours == pytest.approx(metrics.roc_auc_score(labels[seen], logits[seen]), abs=1e-3)


def test_auc_without_both_classes_is_not_a_number():
    assert np.isnan(losses.area_under_curve(np.zeros(4), np.ones(4)))
