"""Image files: what becomes of them, and which cannot be used."""

import os

import numpy as np
import pytest
from PIL import Image

from electra_jax.core import pictures
from tests.support.image_files import full, write_image


def save(tmp_path, image, name='a.png', **how):
    image.save(tmp_path / name, **how)
    return pictures.read(str(tmp_path / name), 8)


def test_an_image_of_the_right_size_stays_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    found = save(tmp_path, Image.fromarray(pixels))
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.changes == ()


def test_transparent_parts_are_put_on_white(tmp_path):
    image = Image.new('RGBA', (8, 8), (255, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    found = save(tmp_path, image)
    assert found.pixels[0, 0].tolist() == [255, 255, 255]
    assert found.pixels[1, 1].tolist() == [255, 0, 0]
    assert found.changes == ('transparent_image',)
    assert save(tmp_path, Image.new('RGBA', (8, 8), 'red')).changes == ()


def test_another_size_is_scaled_to_fit_and_centred_on_white(tmp_path):
    found = save(tmp_path, Image.new('RGB', (32, 16), 'red'))
    assert found.changes == ('resized_image',)
    np.testing.assert_array_equal(found.pixels[2:6], full('red')[2:6])
    assert found.pixels[[0, 1, 6, 7]].min() == 255


def test_the_first_frame_stands_for_an_animated_image(tmp_path):
    frames = [Image.new('RGB', (8, 8), colour) for colour in ('red', 'blue')]
    found = save(tmp_path, frames[0], save_all=True, append_images=frames[1:])
    assert found.changes == ('first_frame',)
    np.testing.assert_array_equal(found.pixels, full('red'))


def test_sixteen_bits_keep_the_highest(tmp_path):
    found = save(tmp_path, Image.fromarray(np.full((8, 8), 0x80FF, np.uint16)))
    assert set(found.pixels.flat) == {0x80}


def test_a_camera_that_was_turned_is_followed(tmp_path):
    image, exif = Image.new('RGB', (16, 8), 'red'), Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / 'a.jpg', exif=exif)
    assert pictures.read(str(tmp_path / 'a.jpg'), None).pixels.shape == (16, 8, 3)


def test_what_cannot_be_used_is_named_with_the_reason(tmp_path, monkeypatch):
    write_image(tmp_path / 'whole.png', size=(64, 64))
    write_image(tmp_path / 'torn.png', size=(32, 32))
    data = (tmp_path / 'torn.png').read_bytes()
    (tmp_path / 'torn.png').write_bytes(data[: len(data) // 2])
    (tmp_path / 'text.png').write_text('no image')
    Image.new('RGB', (8, 8)).save(tmp_path / 'other.bmp')
    os.mkfifo(tmp_path / 'pipe.png')
    monkeypatch.setattr(pictures, 'MOST_PIXELS', 64 * 64 - 1)
    for name, reason in [
        ('none.png', 'there is no file'),
        ('torn.png', 'cannot be read as an image'),
        ('text.png', 'is no PNG or JPEG'),
        ('other.bmp', 'is no PNG or JPEG'),
        ('pipe.png', 'is not a file'),
        ('', 'is not a file'),
        ('whole.png', 'more than 4,095 pixels'),
        ('a\0b.png', 'cannot be read'),
    ]:
        with pytest.raises(pictures.UnusableImageError, match=reason):
            pictures.read(str(tmp_path / name), 8)
