"""Pictures of results."""

import pytest

from electra_jax.finetune import plots
from tests.support.pictures import picture


def coloured(path) -> int:
    """Pixels that are not grey: axes, their numbers and words are."""
    rgb = picture(path)[..., :3]
    return int((rgb.max(axis=-1) - rgb.min(axis=-1) > 0.05).sum())


def test_a_confusion_matrix_is_drawn(tmp_path):
    plots.confusion(tmp_path / 'a.png', [0, 1, 1], [0, 1, 0], ('no', 'yes'), 'sst2')
    plots.confusion(tmp_path / 'b.png', [0, 1, 1], [0, 1, 1], ('no', 'yes'), 'sst2')
    one, other = picture(tmp_path / 'a.png'), picture(tmp_path / 'b.png')
    assert one.shape == other.shape
    assert (one != other).any()
    many = [f'class {i}' for i in range(25)]
    plots.confusion(tmp_path / 'c.png', [0, 24], [24, 24], many, 'many')
    assert picture(tmp_path / 'c.png').shape[0] > one.shape[0]


def test_scores_are_drawn(tmp_path):
    plots.scatter(tmp_path / 'deep' / 'a.png', [0, 1, 5], [0.5, 1, 4], 'stsb')
    plots.scatter(tmp_path / 'deep' / 'f.png', [0, 5, 5], [0.5, 4, 4], 'stsb')
    # A point in each place; two of those of the second picture are one.
    one, other = (coloured(tmp_path / 'deep' / name) for name in ('a.png', 'f.png'))
    assert one == pytest.approx(1.5 * other, rel=0.2) and other > 0
    groups = {'with': [1.0, 2.0], 'without': [5.0, float('inf')], 'empty': []}
    plots.distribution(tmp_path / 'b.png', groups, 'squad2', 'score', threshold=3.0)
    plots.distribution(tmp_path / 'c.png', groups, 'squad2', 'score')
    assert (picture(tmp_path / 'b.png') != picture(tmp_path / 'c.png')).any()
    assert coloured(tmp_path / 'b.png') == pytest.approx(coloured(tmp_path / 'c.png'), rel=0.01)
    plots.distribution(tmp_path / 'd.png', {}, 'nothing', 'score')
    plots.distribution(tmp_path / 'e.png', {'one': [2.0, 2.0]}, 'constant', 'score')
    assert coloured(tmp_path / 'd.png') == 0 < coloured(tmp_path / 'e.png')
