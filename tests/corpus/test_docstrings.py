"""python-docs: documentation is kept as it is, once; code, tests and licences are not."""

import pytest

from electra_jax.core import errors
from electra_jax.core.complaints import Complaints
from electra_jax.corpus import docstrings, documents

PROSE = (
    'This package does many of the things that you would like it to do, and it is '
    'also easy to use with all of the other packages that you have.'
)

MODULE = f'''"""{PROSE} It is the module.

    Its second paragraph, which is indented
    and wrapped, is joined into one line of the document.

>>> some_code(1, 2)
3

- A bullet that is long enough to be a paragraph of its own in the text.
"""

def documented(a, b):
    """{PROSE} It is the function."""

def short():
    """See base class."""

class Thing:
    """{PROSE} It is the class."""

    def method(self):
        """And this is what the method of the class is for, as you can see."""
'''


@pytest.fixture
def folder(tmp_path):
    for name, text in {
        'pkg/__init__.py': MODULE,
        'pkg/copy.py': MODULE,
        'pkg/broken.py': '"""' + PROSE + ' Broken.""" def (',
        'pkg/bytes.py': b'"""\xff\xff"""',
        'pkg/tests/test_it.py': f'"""{PROSE} In a test."""',
        'pkg/README.md': f'# Title\n\n{PROSE} From the readme.\n\n```\ncode = 1\n```\n| a | b |\n',
        'pkg/words.txt': 'label xkcd qwerty\n' * 20_000,
        'pkg-1.0.dist-info/METADATA': f'Name: pkg\nVersion: 1\n\n{PROSE} From the metadata.\n',
        'pkg-1.0.dist-info/licenses/LICENSE.txt': f'{PROSE} From the licence.',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path


def read(folder) -> list[list[str]]:
    complaints = Complaints('data.on_bad_text')
    parts = docstrings.parts(documents.Entry('python-docs', str(folder)), 500, complaints)
    found = [d for part in parts for block in part.open(complaints) for d in block.documents]
    assert not complaints.counts
    return found


def test_documents_are_kept_once_each_in_order(folder):
    assert read(folder) == [
        ['# Title', f'{PROSE} From the readme.', '```', 'code = 1', '```', '| a | b |'],
        [
            f'{PROSE} It is the module.',
            'Its second paragraph, which is indented',
            'and wrapped, is joined into one line of the document.',
            '>>> some_code(1, 2)',
            '3',
            '- A bullet that is long enough to be a paragraph of its own in the text.',
        ],
        [f'{PROSE} It is the function.'],
        [
            f'{PROSE} It is the class.',
            'And this is what the method of the class is for, as you can see.',
        ],
        [f'{PROSE} From the metadata.'],
    ]


def test_reading_again_gives_the_same(folder):
    assert read(folder) == read(folder)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(errors.DataError, match='no documentation'):
        read(tmp_path)
    with pytest.raises(errors.DataError, match='no folder'):
        read(tmp_path / 'none')
