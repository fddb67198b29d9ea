"""Advice in the messages of the package: found in its source, and typed as a person would."""

import ast
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from unittest import mock

from absl import flags
from ml_collections import config_flags

from electra_jax.config import recipe, resolve
from electra_jax.config.fields import Settings
from electra_jax.objectives import table
from tests.support.recipes import ROOT, recipe_text

# A word of a shell, in which quotes may enclose a part.
_VALUE = r"""(?:\$?'[^']*'|"[^"]*"|[^\s'"();,]|,(?=\S))*"""
_SETTING = rf'--(?!config=)\w[\w.]*={_VALUE}'
_SETTINGS = re.compile(rf'{_SETTING}(?:(?: and)? {_SETTING})*')
COMMANDS = (
    r'(?:gzip|bzip2|xz|zstd|zcat|iconv|jq|cut|unzip|sqlite3|lz4) -|python -c |sqlite3 |unzip '
)
_COMMAND = re.compile(rf"""(?:{COMMANDS})(?:'[^']*'|"[^"]*"|[^;:'"()\n]|:(?=\S))*""")
# In the source: what a message has in it that can be typed.
_ADVICE = re.compile(rf'--\w[\w.\0]*=|\0\.\w+=|\bpip install |\bpython -[mc] |{COMMANDS}')


_HOLE = '\0'  # what a message fills in


class Advice(NamedTuple):
    """A text of the package, with `_HOLE` for what is filled in when it is printed."""

    where: str
    text: str

    def is_in(self, message: str) -> bool:
        """Whether a message was made of it."""
        parts = map(re.escape, re.sub(r'\{\w*\}', _HOLE, self.text).split(_HOLE))
        return re.search('.*?'.join(parts), message, re.DOTALL) is not None


def has_advice(text: str) -> bool:
    """Whether a text has something in it that can be typed."""
    return _ADVICE.search(text) is not None


def written() -> list[Advice]:
    """All advice in texts of the package's source."""
    found = []
    for path in sorted((ROOT / 'electra_jax').rglob('*.py')):
        for line, text in _texts(ast.parse(path.read_text())):
            if has_advice(text):
                found.append(Advice(f'{path.relative_to(ROOT)}:{line}', text))
    return found


def _texts(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and content of each text in the source, docstrings left out."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.lineno, node.value
    if isinstance(node, ast.JoinedStr):
        parts = (x.value if isinstance(x, ast.Constant) else _HOLE for x in node.values)
        yield node.lineno, ''.join(parts)
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
            yield from _texts(child)


# ---------------------------------------------------------------------------------------------
# Typing


def settings_in(message: str, blanks: Mapping[str, str]) -> list[list[str]]:
    """The settings in a message as a shell hands them on: a list for each that stand together."""
    groups = []
    for match in _SETTINGS.finditer(_COMMAND.sub('', message)):
        line = filled(match[0].rstrip('.:,').replace(' and ', ' '), blanks)
        done = subprocess.run(
            ['bash', '-c', f'printf "%s\\n" {line}'], capture_output=True, text=True, check=True
        )
        groups.append(done.stdout.splitlines())
    return groups


def commands_in(message: str, blanks: Mapping[str, str]) -> list[str]:
    """The shell commands in a message."""
    return [filled(match[0].strip(), blanks) for match in _COMMAND.finditer(message)]


def filled(text: str, blanks: Mapping[str, str]) -> str:
    """The text with what stands for a name or a number, such as FOLDER, replaced."""
    for blank, value in blanks.items():
        text = re.sub(rf'(?<!\w){re.escape(blank)}(?!\w)', lambda _, v=value: shlex.quote(v), text)
    return text


def type_settings(folder: pathlib.Path, changes: dict, words: list[str]) -> Settings:
    """The checked settings of a recipe and of words that are typed after it, as `main` has them."""
    path = folder / 'typed_recipe.py'
    path.write_text(recipe_text(changes).replace('SELF', str(folder)))
    values = flags.FlagValues()
    config_flags.DEFINE_config_file('config', None, 'the recipe', flag_values=values)
    argv = ['main', f'--config={path}', *(x for x in words if x.startswith('--config.'))]
    with mock.patch.object(sys, 'argv', argv):  # where ml_collections finds the settings
        values(argv)
    settings, typed = values.config, config_flags.get_override_values(values['config'])
    recipe.give_way(settings, typed)
    resolve.check(settings)
    return table.complete(settings, typed)
