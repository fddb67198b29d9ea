"""Small images, and indexes of them."""

import json

import numpy as np
from PIL import Image

COLOURS = {'red': (255, 0, 0), 'green': (0, 255, 0), 'blue': (0, 0, 255), 'black': (0, 0, 0)}


def write_image(path, colour='red', size=(8, 8)):
    """An image of one colour."""
    Image.new('RGB', size, COLOURS[colour]).save(path)


def write_colours(folder, size=(8, 8)):
    """An image of each colour, called as the colour is."""
    for colour in COLOURS:
        write_image(folder / f'{colour}.png', colour, size)


def write_index(path, rows):
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return path


def full(colour, size=8):
    """The pixels of an image of one colour."""
    return np.full((size, size, 3), COLOURS[colour], np.uint8)
