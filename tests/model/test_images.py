"""Images before the text: what sees them, and models without them."""

import jax
import numpy as np
import pytest

from electra_jax.model import images
from tests.support import compiled
from tests.support.configs import random_batch, tiny_config

SIZES = {'image_size': 8, 'image_patch': 4}


def with_pixels(batch, seed=0):
    B = len(batch['tokens'])
    pixels = np.random.default_rng(seed).integers(0, 256, (B, 8, 8, 3)).astype(np.uint8)
    return {**batch, 'pixels': pixels}


def test_patches_are_squares_row_after_row():
    pixels = with_pixels(random_batch(2))['pixels']
    found_BIO = images.patches(pixels, 4)
    for number in range(4):
        row, column = divmod(number, 2)
        square = pixels[1, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        np.testing.assert_allclose(found_BIO[1, number], square.reshape(-1) / 127.5 - 1, atol=1e-6)


@pytest.fixture(scope='module')
def some():
    """Networks, parameters of a larger deviation, a batch."""
    model = tiny_config(model={**SIZES, 'init_stddev': 0.3}).model
    networks = compiled.networks(model)
    params = networks.init(jax.random.key(0), ('generator', 'discriminator'))
    return networks, params, with_pixels(random_batch())


def test_the_text_sees_the_image_of_its_own_row(some):
    networks, params, batch = some
    before_BL = networks.discriminate(params, batch, None)
    pixels = batch['pixels'].copy()
    pixels[2] = 255 - pixels[2]
    after_BL = networks.discriminate(params, {**batch, 'pixels': pixels}, None)
    differs_BL = np.abs(before_BL - after_BL) > 1e-6
    assert differs_BL[2].all()
    assert not differs_BL[np.arange(len(pixels)) != 2].any()


def test_the_generator_sees_the_image_too(some):
    networks, params, batch = some
    masked_BP = np.full((8, 2), 3, np.int32)
    found = [
        networks.generate(params, with_pixels(batch, seed), masked_BP, None) for seed in (0, 1)
    ]
    assert np.abs(found[0].features_BPE - found[1].features_BPE).max() > 1e-4


def test_it_matters_where_a_patch_is(some):
    networks, params, batch = some
    before_BL = networks.discriminate(params, batch, None)
    turned = {
        'rows': batch['pixels'].reshape(8, 2, 4, 8, 3)[:, ::-1].reshape(8, 8, 8, 3),
        'columns': batch['pixels'].reshape(8, 8, 2, 4, 3)[:, :, ::-1].reshape(8, 8, 8, 3),
    }
    for pixels in turned.values():
        after_BL = networks.discriminate(params, {**batch, 'pixels': pixels}, None)
        assert np.abs(before_BL - after_BL).max() > 1e-3


def test_documents_after_the_first_do_not_see_the_image(some):
    networks, params, _ = some
    batch = with_pixels(random_batch(documents=2))
    before_BL = networks.discriminate(params, batch, None)
    after_BL = networks.discriminate(params, with_pixels(batch, 1), None)
    same_BL = np.abs(before_BL - after_BL) < 1e-6
    np.testing.assert_array_equal(same_BL[:7], batch['documents'][:7] == 2)


def test_without_images_it_is_a_model_of_text(some):
    networks, params, batch = some
    del batch['pixels']
    of_text = tiny_config(model={'init_stddev': 0.3}).model
    tables = {'patch', 'image_row', 'image_column'}
    kept = {name: x for name, x in params['embeddings'].items() if name not in tables}
    expected_BL = compiled.networks(of_text).discriminate(
        {**params, 'embeddings': kept}, batch, None
    )
    found_BL = networks.discriminate(params, batch, None)
    np.testing.assert_array_equal(found_BL, expected_BL)
    # And a model without images looks at none.
    ignored_BL = compiled.networks(of_text).discriminate(
        {**params, 'embeddings': kept}, with_pixels(batch), None
    )
    np.testing.assert_array_equal(ignored_BL, expected_BL)


@pytest.mark.parametrize(
    ('changes', 'network'),
    [
        ({}, 'selection'),
        ({'generator': 'two_tower'}, 'generator'),
        ({'embedding_sharing': 'disentangled', 'positions': 'rotary'}, 'discriminator'),
    ],
    ids=('teams', 'two_tower', 'disentangled'),
)
def test_other_networks_see_it_too(changes, network):
    model = tiny_config(model={**SIZES, 'init_stddev': 0.3, 'num_layers': 1, **changes}).model
    networks = compiled.networks(model)
    params = networks.init(jax.random.key(0), ('generator', network))
    masked_BP = np.full((8, 2), 3, np.int32)
    run = {
        'selection': lambda batch: networks.detect_and_select(
            params, batch, masked_BP, np.tile(np.arange(5, 9, dtype=np.int32), (8, 2, 1)), None
        ),
        'generator': lambda batch: networks.generate(params, batch, masked_BP, None).features_BPE,
        'discriminator': lambda batch: networks.discriminate(params, batch, None),
    }[network]
    one, other = (jax.tree.leaves(run(with_pixels(random_batch(), seed))) for seed in (0, 1))
    for a, b in zip(one, other, strict=True):
        assert a.shape[0] == 8 and np.abs(a - b).max() > 1e-4
