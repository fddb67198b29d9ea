"""Names in the package's tables that the comments of the settings do not have.

The tables import JAX, so that they are read as text.
"""

import ast
import pathlib
import re

_PACKAGE = pathlib.Path(__file__).parent.parent
# Setting -> the file and the name of the table whose keys are its values.
_TABLES = {
    'objective.name': ('objectives/table.py', 'OBJECTIVES'),
    'objective.masks': ('objectives/masks/table.py', 'MASKS'),
    'data.tokenizer.kind': ('tokenizers/load.py', 'KINDS'),
    'task.name': ('finetune/known.py', 'TASKS'),
}
_KINDS = 'finetune/kinds'  # whose files name a task each, by `own_task`


def note(setting: str, comment: str, package: pathlib.Path = _PACKAGE) -> str:
    """A sentence with the values of a setting that its comment lacks; '': it has all."""
    if setting not in _TABLES:
        return ''
    file, table = _TABLES[setting]
    if not (package / file).exists():
        return f' (This package has no {file}.)'  # its job was deleted
    names = _keys((package / file).read_text(encoding='utf-8'), table)
    if setting == 'task.name':
        names += _own_tasks(package)
    lacking = [name for name in names if not re.search(rf'\b{re.escape(name)}\b', comment)]
    return f' Added: {", ".join(lacking)}.' if lacking else ''


def _keys(text: str, table: str) -> list[str]:
    """The keys that a table is written with, those of dicts within it (`**OTHER`) left out."""
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, 'target', None)]
        named = any(isinstance(one, ast.Name) and one.id == table for one in targets)
        value = getattr(node, 'value', None)
        if named and isinstance(value, ast.Dict):
            return [str(ast.literal_eval(key)) for key in value.keys if key is not None]
    return []


def _own_tasks(package: pathlib.Path) -> list[str]:
    """The tasks by which users name the kinds."""
    texts = (path.read_text(encoding='utf-8') for path in sorted((package / _KINDS).glob('*.py')))
    return [name for text in texts for name in re.findall(r"\bown_task=['\"](\w+)['\"]", text)]
