"""Names of arrays end in declared letters, one for each dimension."""

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

from electra_jax.core.dims import ALPHABET

ROOT = pathlib.Path(__file__).parent.parent.parent / 'electra_jax'
FILES = sorted(path for path in ROOT.rglob('*.py') if path.name != '__init__.py')
_DECLARATION = re.compile(r'\b([A-Z]): ')
_SUFFIX = re.compile(r'_?[a-z]\w*_([A-Z]+)')


def declared(source: str) -> set[str]:
    """The letters of the alphabet, and those that comments at the head of a file declare."""
    comments = [line for line in source.splitlines() if line.startswith('# ')]
    return {*ALPHABET, *(letter for line in comments for letter in _DECLARATION.findall(line))}


def names(source: str) -> Iterator[str]:
    """Every name of a variable, argument, attribute or function."""
    for node in ast.walk(ast.parse(source)):
        for field in ('id', 'attr', 'arg', 'name'):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield name


def undeclared(source: str) -> set[str]:
    """Names whose suffix has a letter that is not declared."""
    known = declared(source)
    suffixes = {name: _SUFFIX.fullmatch(name) for name in names(source)}
    return {name for name, match in suffixes.items() if match and not set(match[1]) <= known}


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_suffixes_are_made_of_declared_letters(path):
    assert undeclared(path.read_text()) == set()


def test_the_check_sees_a_letter_that_is_not_declared_and_its_declaration():
    assert undeclared('def f(scores_BLQ): pass') == {'scores_BLQ'}
    assert undeclared('# Q: questions\n\ndef f(scores_BLQ): pass') == set()
    assert undeclared('class A:\n    def f(self, x_BLD): self.y_Z = x_BLD') == {'y_Z'}
