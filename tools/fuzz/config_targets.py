"""Recipes, overrides on the command line, and the small languages inside settings."""

import contextlib
import dataclasses
import json
import pathlib
import random
import sys
from collections.abc import Iterator
from typing import NoReturn

import absl.flags
from ml_collections import config_flags

from electra_jax.config import fields, mixture, recipe, resolve, settings
from electra_jax.config.kernels import PLATFORM_OF
from electra_jax.config.shapes import MODEL_SIZES
from electra_jax.core.errors import ConfigError, UserError
from electra_jax.finetune import task
from electra_jax.finetune.files import predict_input
from electra_jax.interop import convert
from electra_jax.objectives.table import OBJECTIVES, complete
from electra_jax.runtime import cli
from tools.fuzz import mutate
from tools.fuzz.target import Run, Target, check, fresh

ROOT = pathlib.Path(__file__).parent.parent.parent
LEAVES = fields.leaves(settings.Config)
_NUMBERS = (-1, 0, 1, 2, 3, 8, 64, 100, 1000, 2**31, 2**63, 10**25)
_FRACTIONS = (-1.0, 0.0, 1e-12, 0.1, 0.5, 0.999, 1.0, 2.5, 1e30, float('nan'), float('inf'))


def _value(rng: random.Random, leaf: fields.Leaf) -> object:
    """A value for a setting: mostly of its type, often one of its choices."""
    if rng.random() < 0.15:
        return rng.choice(mutate.STRANGE)
    if leaf.name == 'objective.name':
        return rng.choice((*OBJECTIVES, 'x'))
    if leaf.name == 'model.size':
        return rng.choice((*MODEL_SIZES, 'x'))
    if leaf.choices and rng.random() < 0.9:
        return rng.choice(leaf.choices)
    if leaf.kind is bool:
        return rng.random() < 0.5
    if leaf.kind is int:
        return rng.choice(_NUMBERS)
    if leaf.kind is float:
        return rng.choice(_FRACTIONS)
    return rng.choice(('x', 'a=0.5,b=0.5', 'text:a', '', 'sst2', 'a,b', '../x', 'ours:x'))


def _nested(rng: random.Random) -> dict:
    """Some settings as a recipe would have them."""
    changes: dict = {}
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        chosen = rng.choice(list(LEAVES.values()))
        *groups, leaf = chosen.name.split('.')
        inner = changes
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[leaf] = _value(rng, chosen)
    if rng.random() < 0.15:
        changed = mutate.spoil_tree(rng, changes)
        changes = changed if isinstance(changed, dict) else {'x': changed}
    return changes


def check_settings(asked: fields.Settings) -> None:
    """What was accepted is whole: JSON, of the types that the settings have, and numbers."""
    json.dumps(dataclasses.asdict(asked))
    if not resolve.inherits_model(asked):
        json.dumps(dataclasses.asdict(resolve.resolve(asked, _platform_of(asked))))
    for name, leaf in LEAVES.items():
        value = fields.get(asked, name)
        check(value is None or isinstance(value, leaf.kind), f'{name} is {value!r}')
        check(value == value, f'{name} is {value!r}')


def _platform_of(asked: fields.Settings) -> str:
    return PLATFORM_OF.get(asked.model.attention) or 'cpu'


def _make_recipe(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> None:
        asked = recipe.recipe(_nested(rng))
        check_settings(complete(asked))

    return run


@contextlib.contextmanager
def _typed(words: list[str]) -> Iterator[absl.flags.FlagValues]:
    """A process in which these words were typed, with flags of its own."""
    kept = absl.flags.FLAGS, sys.argv, cli._fail
    absl.flags.FLAGS, sys.argv = absl.flags.FlagValues(), ['main.py', *words]
    cli._fail = _refuse
    try:
        yield absl.flags.FLAGS
    finally:
        absl.flags.FLAGS, sys.argv, cli._fail = kept


def _refuse(message: str) -> NoReturn:
    raise UserError(message)


def parse_words(words: list[str]) -> fields.Settings | None:
    """The settings of a command line, by the steps of every command."""
    with _typed(words) as values:
        holder = config_flags.DEFINE_config_file('config', None, 'recipe', flag_values=values)
        rest = cli._parse(list(sys.argv))
        if len(rest) > 1:
            raise ConfigError(f'{rest[1]!r} is not understood: settings look like --config.KEY')
        return cli.given_settings(holder)


def _word(rng: random.Random) -> str:
    name, leaf = rng.choice(list(LEAVES.items()))
    value = _value(rng, leaf)
    text = value if isinstance(value, str) else json.dumps(value)
    word = f'--config.{name}={text}'
    if rng.random() < 0.25:
        word = mutate.spoil(rng, word.encode('utf-8', 'replace'), 1).decode(errors='replace')
    return word.replace('\0', '')  # no command line can hold one


def _make_words(folder: pathlib.Path) -> Run:
    fresh(folder / 'words')
    recipe = folder / 'words' / 'recipe.py'
    recipe.write_text(
        'from electra_jax.config.recipe import recipe\n\n\n'
        'def get_config():\n    return recipe({})\n'
    )

    def run(rng: random.Random) -> None:
        words = [_word(rng) for _ in range(rng.choice((1, 1, 2, 4)))]
        if rng.random() < 0.97:
            words.insert(0, f'--config={recipe}')
        asked = parse_words(words)
        if asked is not None:
            check_settings(asked)

    return run


def _make_phrases(folder: pathlib.Path) -> Run:
    """The small languages: mixtures of corpora, columns, labels, ends of a conversion."""

    def labels(text: str) -> None:
        asked = recipe.recipe({'job': 'finetune', 'task': {'name': 'text', 'labels': text}})
        task.from_config(resolve.resolve(complete(asked), 'cpu'))

    parsers = (
        (mixture.parse_paths, ('a=0.7,b=0.3', 'shards/wiki', 'a=1,b=1e3,c=.5')),
        (predict_input.parse_columns, ('text_a=body,id=key', 'label=0', 'words=-1')),
        (labels, ('a,b,c', 'yes,no')),
        (lambda text: convert.parse_end('source', text), ('google:a/b', 'ours:x', 'huggingface:y')),
    )

    def run(rng: random.Random) -> None:
        parse, examples = rng.choice(parsers)
        text = mutate.spoil(rng, rng.choice(examples).encode()).decode(errors='replace')
        parse(text)

    return run


TARGETS = (
    Target('recipe', _make_recipe, r'config\b'),
    Target('words', _make_words, r'--|config\b|command line flag'),
    Target('phrases', _make_phrases, r'config\.|--(columns|source)'),
)
