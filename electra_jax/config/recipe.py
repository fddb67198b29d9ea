"""Recipes: a few settings in, all of them out, as typed."""

import pathlib
import runpy
import sys
from collections.abc import Mapping

from electra_jax.config import fields
from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError, nearest


def recipe(changes: Mapping[str, object], base: str | None = None) -> Settings:
    """The settings of a recipe, from those in which it differs from the defaults.

    Args:
        changes: nested mapping of field name to value, for example
            ``{'batch_size': 256, 'model': {'size': 'base'}}``.
        base: another recipe's file, to differ from that instead; relative to the recipe's own.

    Raises:
        ConfigError: a name does not exist, or a value cannot be its setting's.
    """
    if base is None:
        settings = fields.typed(Config)()
    else:
        caller = sys._getframe(1).f_code.co_filename
        settings = load(pathlib.Path(caller).parent / base)
    fields.change(settings, Config, changes)
    return settings


def load(path: pathlib.Path | str) -> Settings:
    """The settings of a recipe's file; a ConfigError where there is none, or it is no recipe."""
    if not pathlib.Path(path).is_file():
        raise no_such_recipe(str(path))
    try:
        settings = runpy.run_path(str(path))['get_config']()
    except ImportError as error:
        raise failed_import(str(path), error) from error
    return checked(settings, str(path))


def checked(settings: object, path: str) -> Settings:
    """What `get_config` of a recipe's file returned; a ConfigError where it is no settings."""
    if not isinstance(settings, Settings):
        raise ConfigError(
            f'get_config of {path} returns {settings!r:.60}, allowed: what '
            'electra_jax.config.recipe.recipe({...}) returns'
        )
    return settings


# Recipes that configs/finetune/task.py replaced -> the name of their task.
_SAME = 'cola mnli mrpc ner qnli qqp rte squad1 squad2 sst2 stsb wnli'.split()
_OTHERS = {'chunking': 'chunk', 'mrqa': 'newsqa', 'own_spans': 'spans', 'own_tagging': 'tagging'}
_TASK_OF = dict(zip(_SAME, _SAME, strict=True)) | _OTHERS


def no_such_recipe(path: str) -> ConfigError:
    """The error for a recipe that does not exist, with what to type instead."""
    advice, named = 'the recipes of the project are in configs/', pathlib.PurePath(path)
    if named.parent.name == 'finetune' and named.stem in _TASK_OF:
        name = _TASK_OF[named.stem]
        advice = f'type --config={named.with_name("task.py")} --config.task.name={name}'
    return ConfigError(f'there is no recipe {path}; {advice}')


def failed_import(path: str, error: ImportError) -> ConfigError:
    """The error for a recipe whose imports fail."""
    advice = ''
    if (error.name or '').startswith('electra_jax'):
        advice = ': write `from electra_jax.config.recipe import recipe`'
    return ConfigError(f'{path} cannot be used ({error}){advice}')


def setting_name(text: str) -> str:
    """The dotted name of a setting: ``data.row_length`` of itself, or of ``row_length`` alone."""
    known = list(fields.leaves(Config))
    name = text.removeprefix('config.')
    matches = [name] if name in known else [n for n in known if n.rpartition('.')[2] == name]
    if len(matches) != 1:
        hint = f': which one, {", ".join(matches)}?' if matches else nearest(name, known)
        raise ConfigError(f'{text} is not a setting{hint}')
    return matches[0]
