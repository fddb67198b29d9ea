"""Image files as arrays of one size: PNG and JPEG, by Pillow (extra 'images').

Whatever a file holds becomes a square of red, green and blue: it is scaled to fit, centred, and put
on white.
"""

import os
import stat
import warnings
from typing import NamedTuple

import numpy as np

from electra_jax.core.errors import DataError

FORMATS = ('PNG', 'JPEG')
MOST_PIXELS = 50_000_000  # of an image file; one of a few kilobytes may unpack to terabytes
_TRANSPARENT = ('RGBA', 'LA', 'PA', 'La', 'RGBa')


class UnusableImageError(Exception):
    """An image file cannot be used; why, for a person."""


class Picture(NamedTuple):
    """An image as it is used."""

    pixels: np.ndarray  # uint8 [height, width, 3]
    changes: tuple[str, ...]  # what was done to it: keys of `complaints.REASONS`


def check_installed() -> None:
    """Refuses to go on where Pillow is not installed, by a DataError."""
    try:
        import PIL  # noqa: F401  # read where it is used: few runs need it
    except ImportError as error:
        raise DataError("images are read by Pillow: type pip install -e '.[images]'") from error


def read(path: str, size: int | None) -> Picture:
    """The image in a file as `size` x `size` pixels; None: as large as it is.

    Raises:
        UnusableImageError: there is none that can be used.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnusableImageError(f'{path} is not a file')
        with warnings.catch_warnings():
            # Pillow warns of half the size that it refuses; here the header decides.
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return _squared(image, size, path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnusableImageError(f'there is no file {path}') from error
    except UnidentifiedImageError as error:
        raise UnusableImageError(f'{path} is no {" or ".join(FORMATS)} image') from error
    except Image.DecompressionBombError as error:
        raise UnusableImageError(_too_large(path)) from error
    except UnusableImageError:
        raise
    except Exception as error:  # decoders raise many types of errors for damaged files
        raise UnusableImageError(f'{path} cannot be read as an image ({error})') from error


def _too_large(path: str) -> str:
    return f'{path} has more than {MOST_PIXELS:,} pixels: make it smaller'


def _squared(image, size: int | None, path: str) -> Picture:  # type: ignore[no-untyped-def]  # of Pillow
    from PIL import Image, ImageOps

    if image.width * image.height > MOST_PIXELS:
        raise UnusableImageError(_too_large(path))
    changes = []
    if getattr(image, 'n_frames', 1) > 1:
        changes.append('first_frame')
    image = ImageOps.exif_transpose(image)  # as cameras store images that were taken upright
    if image.mode.startswith('I'):  # 16 bits, of which a conversion would keep the lowest
        image = Image.fromarray((np.asarray(image, np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in _TRANSPARENT or 'transparency' in image.info:
        image = image.convert('RGBA')
        if image.getextrema()[3][0] < 255:
            changes.append('transparent_image')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    image = image.convert('RGB')
    if size is not None and image.size != (size, size):
        changes.append('resized_image')
        image = ImageOps.pad(image, (size, size), Image.Resampling.BILINEAR, color='white')
    return Picture(np.asarray(image, np.uint8), tuple(changes))
