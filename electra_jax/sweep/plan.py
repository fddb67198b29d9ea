"""Which runs a sweep has: recipes, lines of a file, and points of a grid, each with a folder."""

import glob
import hashlib
import itertools
import pathlib
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.config.recipe import parse_setting
from electra_jax.core.errors import ConfigError


class Planned(NamedTuple):
    """One run: a recipe with its own settings, in its own folder."""

    name: str  # of the folder and in tables
    recipe: str  # its file
    settings: dict[str, str]  # all that are changed, as typed
    varied: dict[str, str]  # those of them that differ between the runs of the sweep
    folder: pathlib.Path  # the workdir

    @property
    def command(self) -> list[str]:
        """The command that trains the run, the first time and every time after."""
        words = [sys.executable, '-m', 'electra_jax.main', f'--config={self.recipe}']
        words.append(f'--workdir={self.folder}')
        return [*words, *(f'--config.{key}={value}' for key, value in self.settings.items())]

    def setting(self, recipes: Sequence[str]) -> str:
        """What it shares with runs of other seeds, named as they are; `recipes` of all runs."""
        varied = {key: value for key, value in self.varied.items() if key != 'seed'}
        return run_name(self.recipe, recipes, varied)

    @property
    def identity(self) -> dict[str, Any]:
        """What a finished run must have been made from to be skipped."""
        text = pathlib.Path(self.recipe).read_bytes()
        return {'command': self.command[1:], 'recipe': hashlib.sha256(text).hexdigest()}


def axes(texts: Iterable[str]) -> dict[str, list[str]]:
    """The values of each setting from texts such as ``batch_size=8,16``."""
    values_of: dict[str, list[str]] = {}
    for text in texts:
        key, values = parse_setting(text)
        if key in values_of:
            raise ConfigError(f'--grid names {key} twice: type all its values at once, with commas')
        values_of[key] = values.split(',')
        if len(set(values_of[key])) < len(values_of[key]) or '' in values_of[key]:
            raise ConfigError(f'--grid is {text!r}: type different values, such as seed=0,1,2')
    return values_of


def points(values_of: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Every value of each setting with every value of the others.

    >>> points({'a': ['1', '2'], 'b': ['3']})
    [{'a': '1', 'b': '3'}, {'a': '2', 'b': '3'}]
    """
    every = itertools.product(*values_of.values())
    return [dict(zip(values_of, values, strict=True)) for values in every]


def read_list(path: str) -> list[dict[str, str]]:
    """The settings of each run from a file with one run per line; # begins a comment."""
    runs = []
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
            if words:
                runs.append(dict(parse_setting(word) for word in words))
        except (ConfigError, ValueError) as error:
            raise ConfigError(f'{path}:{number}: {error}') from error
    if not runs:
        raise ConfigError(f'{path} names no run: a line such as seed=0 model.size=tiny is one')
    return runs


def find_recipes(patterns: Sequence[str]) -> list[str]:
    """The recipe files that the values of --config name; they may be globs."""
    recipes: list[str] = []
    for pattern in patterns:
        files = sorted(glob.glob(pattern))
        if not files:
            raise ConfigError(
                f'there is no recipe {pattern}; those of this package are in configs/'
            )
        recipes += files
    return list(dict.fromkeys(recipes))


def plan(
    recipes: Sequence[str],
    grid: Sequence[Mapping[str, str]],
    fixed: Mapping[str, str],
    lines: Sequence[Mapping[str, str]],
    folder: pathlib.Path,
) -> list[Planned]:
    """Every recipe with every line of a list (`read_list`) and every point of a grid (`points`).

    Where there is no list, `lines` is one empty line; `fixed` is the same in every run.
    """
    runs: dict[str, Planned] = {}
    for recipe, line, point in itertools.product(recipes, lines, grid):
        varied = {**line, **point}
        name = run_name(recipe, recipes, varied)
        if name in runs:
            raise ConfigError(f'two runs are called {name}: each must differ from the others')
        runs[name] = Planned(name, recipe, {**fixed, **varied}, varied, folder / name)
    return list(runs.values())


def run_name(recipe: str, recipes: Sequence[str], varied: Mapping[str, str]) -> str:
    """A folder name that shows what differs, such as ``small-learning_rate=1e-3-seed=0``."""
    stem = pathlib.Path(recipe).stem
    if sum(pathlib.Path(other).stem == stem for other in recipes) > 1:
        stem = recipe.removesuffix('.py').strip('/')
    last_words = [key.rpartition('.')[2] for key in varied]
    settings = [
        f'{word if last_words.count(word) == 1 else key}={value}'
        for word, (key, value) in zip(last_words, varied.items(), strict=True)
    ]
    name = '-'.join(([stem] if len(recipes) > 1 or not settings else []) + settings)
    safe = re.sub(r'[^\w.=+-]+', '_', name)
    if safe == name and len(safe) <= 120:
        return safe
    return f'{safe[:110]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}'
