"""The drawings of the documentation are what their program draws."""

import re

import pytest

from tools.pages import drawings


@pytest.mark.parametrize('name', drawings.DRAWINGS)
def test_a_drawing_is_as_its_program_draws_it(name):
    drawn = drawings.DRAWINGS[name]()
    kept = (drawings.FOLDER / f'{name}.svg').read_text()
    assert kept == drawn, 'python -m tools.pages.drawings'
    assert re.search('<title>.+</title>', drawn) and 'prefers-color-scheme: dark' in drawn


def test_no_other_drawing_is_kept():
    assert {path.stem for path in drawings.FOLDER.glob('*.svg')} == set(drawings.DRAWINGS)
