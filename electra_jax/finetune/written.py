"""JSON files of a trial, each of which is there only when it is whole."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from electra_jax.core import files


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file in one step; a NaN in it is an error."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + '\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, text)


def write_json_lines(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a JSON object a line, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.placed(path) as fresh, fresh.open('w', encoding='utf-8') as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + '\n')
