"""JSON objects that others wrote: parsed so that whatever is wrong is one kind of error."""

import json
from typing import Any


def parse_object(data: bytes | str) -> dict[str, Any]:
    """The JSON object that `data` holds.

    Raises:
      ValueError: it holds none; the message says why.

    >>> parse_object('[1]')
    Traceback (most recent call last):
    ValueError: a JSON object is needed, found a list
    """
    try:
        content = json.loads(data)
    except RecursionError as error:
        raise ValueError('nested too deeply') from error
    if not isinstance(content, dict):
        raise ValueError(f'a JSON object is needed, found a {type(content).__name__}')
    return content
