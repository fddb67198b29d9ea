"""``config.data.path``: the folder of a corpus, or several with the shares of their rows."""

import os

from electra_jax.core.errors import ConfigError


def parse_paths(path: str) -> list[tuple[str, float]]:
    """``'a=0.7,b=0.3'`` as [(folder, weight)]; all have weight 1 where none is given.

    A lone folder may have any name.

    Raises:
        ConfigError: a weight is missing in a mixture, or is not a positive number.

    >>> parse_paths('shards/wiki')
    [('shards/wiki', 1.0)]
    >>> parse_paths('a=0.7,b=0.3')
    [('a', 0.7), ('b', 0.3)]
    >>> parse_paths('a,b')
    [('a', 1.0), ('b', 1.0)]
    """
    parts = path.split(',')
    # A folder may really be called `year=2024`.
    if os.path.isdir(path) or (len(parts) == 1 and '=' not in path):
        return [(path, 1.0)]
    mixture = []
    if '=' not in path and all(parts):
        return [(part, 1.0) for part in parts]
    for part in parts:
        folder, _, weight = part.rpartition('=')
        try:
            value = float(weight)
        except ValueError:
            value = 0.0
        if not folder or not 0 < value < float('inf'):
            raise ConfigError(
                f'config.data.path is {path!r}: in {part!r} a folder and a positive weight are '
                'expected, as in --config.data.path=corpora/a=0.7,corpora/b=0.3 (without weights, '
                'corpora/a,corpora/b, each corpus has the same)'
            )
        mixture.append((folder, value))
    return mixture
