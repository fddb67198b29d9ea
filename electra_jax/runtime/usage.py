"""``--help`` of the commands, before anything is imported that takes seconds or may be missing.

Nothing is written twice: flags are read from the source of the command, and settings, with their
defaults and meanings, from the source of `config/settings.py` and `config/task_settings.py`,
comments included. Names that were added to a table, and that no comment has, are read from the
table's source (`runtime.added`). Only the standard library is needed.
"""

import ast
import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import sys
import textwrap
from collections.abc import Collection, Iterator
from typing import Any

from electra_jax.config import fields, recipe, task_settings
from electra_jax.config import settings as schema
from electra_jax.core.errors import UserError
from electra_jax.runtime import added

WORDS = ('--help', '-help', '-h', '--helpshort', '--helpfull')
ALL = tuple(field.name for field in dataclasses.fields(schema.Config))
_COLUMN = 34  # where meanings begin
_WIDTH = 100
_GIVEN = re.compile(r'--?config=(.*)')


def answer(path: str, groups: Collection[str] = ALL) -> None:
    """Where the command line asks for help, prints that of the command in `path`, and ends.

    `groups` are the fields of `Config` that the command uses.
    """
    if not set(WORDS) & set(sys.argv[1:]):
        return
    with contextlib.suppress(BrokenPipeError):  # `| head`
        sys.stdout.write(text(pathlib.Path(path).read_text(), groups, _recipe(sys.argv[1:])))
        sys.stdout.flush()
        sys.exit(0)
    os._exit(1)


def text(source: str, groups: Collection[str], values: fields.Settings | None = None) -> str:
    """The help of a command with this source; `values` are those of the recipe that was typed."""
    tree = ast.parse(source)
    flags = [line for call in ast.walk(tree) for line in _flag(call)]
    has_recipe = any(line.startswith('  --config=') for line in flags)
    parts = [ast.get_docstring(tree) or '', '', 'flags:', *flags]
    if has_recipe:
        parts += ['', settings_text(groups, values)]
    return '\n'.join(parts).rstrip() + '\n'


def settings_text(
    groups: Collection[str] = ALL,
    values: fields.Settings | None = None,
    how: str = '--config.NAME=VALUE',
) -> str:
    """Every setting with its default, its choices and its meaning.

    `values`: those of a recipe, which are named where they differ from the defaults; `how` is what
    is typed to change one.
    """
    lines = [f'settings of the recipe, each changed by {how} (defaults in brackets):']
    kinds: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(schema.Config)}
    top = [name for name in groups if not fields.is_group(kinds[name])]
    lines += _group(schema.Config, '', top, values)
    for name in groups:
        kind = kinds[name]
        if fields.is_group(kind):
            lines += ['', f'{name}: {(kind.__doc__ or "").strip().splitlines()[0]}']
            lines += _group(kind, f'{name}.', None, values)
    return '\n'.join(lines)


def settings_markdown() -> str:
    """Every setting with its default, its choices and its meaning, as tables of a page."""
    parts = []
    for field in dataclasses.fields(schema.Config):
        kind: Any = field.type
        if fields.is_group(kind):
            about = (kind.__doc__ or '').strip().splitlines()[0]
            parts.append(f'## `{field.name}`\n\n{about}\n\n{_table(kind, f"{field.name}.")}')
    return '\n'.join(['## The run itself\n', _table(schema.Config, ''), *parts])


def _table(group: type, prefix: str) -> str:
    rows = ['| setting | default | meaning |', '| --- | --- | --- |', *_rows(group, prefix)]
    return '\n'.join(rows) + '\n'


def _rows(group: type, prefix: str) -> Iterator[str]:
    meanings, known = _meanings()[group.__name__], fields.leaves(group, prefix)
    for field in dataclasses.fields(group):
        kind: Any = field.type
        if fields.is_group(kind):
            if prefix:
                yield from _rows(kind, f'{prefix}{field.name}.')
            continue
        leaf = known[prefix + field.name]
        allowed = ', '.join(f'`{choice}`' for choice in leaf.choices)
        notes = [*meanings[field.name], allowed and f'One of {allowed}.']
        about = ' '.join(filter(None, notes)).replace('|', '\\|')
        yield f'| `{leaf.name}` | {_default(field, leaf, None)} | {about} |'


def _group(
    group: type, prefix: str, names: Collection[str] | None, values: fields.Settings | None
) -> Iterator[str]:
    meanings, known = _meanings()[group.__name__], fields.leaves(group, prefix)
    for field in dataclasses.fields(group):
        if names is not None and field.name not in names:
            continue
        kind: Any = field.type
        above, beside = meanings[field.name]
        above += added.note(f'{prefix}{field.name}', f'{above} {beside}')
        if above:
            yield from textwrap.wrap(above, _WIDTH, initial_indent='  # ', subsequent_indent='  # ')
        if fields.is_group(kind):
            yield from _group(kind, f'{prefix}{field.name}.', None, values)
            continue
        leaf = known[prefix + field.name]
        start = f'  {leaf.name} [{_default(field, leaf, values)}]'
        allowed = ', '.join(leaf.choices)
        about = '; '.join(filter(None, [allowed and f'one of {allowed}', beside]))
        yield from _columns(start, about)


def _default(field: dataclasses.Field, leaf: fields.Leaf, values: fields.Settings | None) -> str:
    default = None if field.default is dataclasses.MISSING else field.default
    shown = _spelled(default)
    if values is not None and (value := fields.get(values, leaf.name)) != default:
        return f'{_spelled(value)} in this recipe; {shown}'
    return shown


def _spelled(value: object) -> str:
    if value is None:
        return 'unset'
    return str(value).lower() if isinstance(value, bool) else str(value)


def _columns(start: str, about: str) -> list[str]:
    """A name and what it means, side by side."""
    if not about:
        return [start]
    indent = ' ' * _COLUMN
    if len(start) < _COLUMN - 1:
        return textwrap.wrap(
            about, _WIDTH, initial_indent=start.ljust(_COLUMN), subsequent_indent=indent
        )
    return [start, *textwrap.wrap(about, _WIDTH, initial_indent=indent, subsequent_indent=indent)]


@functools.cache
def _meanings() -> dict[str, dict[str, tuple[str, str]]]:
    """Group -> field -> the comment above it, and the one next to it, each as one line."""
    found = {}
    for module in (schema, task_settings):
        source = pathlib.Path(str(module.__file__)).read_text()
        lines = source.splitlines()
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                found[node.name] = {
                    one.target.id: _comments(lines, one)
                    for one in node.body
                    if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
                }
    return found


def _comments(lines: list[str], node: ast.AnnAssign) -> tuple[str, str]:
    above: list[str] = []
    number = node.lineno - 2
    while lines[number].lstrip().startswith('#'):
        above.insert(0, lines[number].strip().removeprefix('#').strip())
        number -= 1
    after = lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset :]
    return ' '.join(above), after.strip().removeprefix('#').strip()


def _flag(node: ast.AST) -> list[str]:
    """The lines of a flag that a call defines; none for another call."""
    if not isinstance(node, ast.Call):
        return []
    called = ast.unparse(node.func)
    if called.startswith('cli.') and called.endswith('_flag'):
        shared = _shared()[called.removeprefix('cli.')]
        return [line for call in ast.walk(shared) for line in _flag(call)]
    found = re.fullmatch(r'(?:config_)?flags\.DEFINE_(\w+)', called)
    if found is None:
        return []
    name, default, *rest = node.args
    meaning = ast.literal_eval(rest[-1])
    # Of `multi_string` the value is a STRING, of `config_file` a FILE.
    value = '' if found[1] == 'bool' else f'={found[1].rpartition("_")[2].upper()}'
    shown = ast.literal_eval(default)
    if shown not in (None, False, []):
        meaning += f' (default: {shown})'
    return _columns(f'  --{ast.literal_eval(name)}{value}', meaning)


@functools.cache
def _shared() -> dict[str, ast.FunctionDef]:
    """The functions of `runtime/cli.py`, some of which define flags for several commands."""
    tree = ast.parse(pathlib.Path(__file__).with_name('cli.py').read_text())
    return {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}


def _recipe(words: list[str]) -> fields.Settings | None:
    """The settings of the recipe that is typed; None: none is, or it cannot be used."""
    paths = [match[1] for word in words if (match := _GIVEN.fullmatch(word))]
    try:
        return recipe.load(paths[-1]) if paths else None
    except UserError:
        return None
