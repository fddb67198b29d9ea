"""Recipes: a few settings in, a full tree of them out, and a tree into one frozen `Config`."""

import dataclasses
import pathlib
import runpy
import types
import typing
from collections.abc import Mapping

from ml_collections import config_dict

from electra_jax.config import checks, resolve
from electra_jax.config.settings import Config, build
from electra_jax.core.errors import ConfigError, nearest


def recipe(
    changes: Mapping[str, object], base: pathlib.Path | None = None
) -> config_dict.ConfigDict:
    """A full config tree from the few settings in which a recipe differs from the defaults.

    Args:
        changes: nested mapping of field name to value, for example
            ``{'batch_size': 256, 'model': {'size': 'base'}}``.
        base: another recipe's file, to differ from that instead.

    Raises:
        ConfigError: a name does not exist or a value has the wrong type.
    """
    if base is None:
        tree = config_dict.ConfigDict(_defaults(Config))
    else:
        tree = runpy.run_path(str(base))['get_config']().unlock()
    _apply(tree, Config, changes, 'config')
    return tree.lock()


def setting_name(text: str) -> str:
    """The dotted name of a setting: ``data.row_length`` of itself, or of ``row_length`` alone.

    Raises:
        ConfigError: there is none, or several groups have one of that name.
    """
    known = [path.removeprefix('config.') for path, _ in leaves(Config)]
    name = text.removeprefix('config.')
    found = [name] if name in known else [p for p in known if p.rpartition('.')[2] == name]
    if len(found) != 1:
        hint = f': which one, {", ".join(found)}?' if found else nearest(name, known)
        raise ConfigError(f'{text} is not a setting{hint}')
    return found[0]


def to_config(tree: config_dict.ConfigDict) -> Config:
    """The frozen, resolved and validated form of a config tree.

    Raises:
        ConfigError: a setting is unknown, of the wrong type, out of range or contradictory.
    """
    known = recipe({})
    _apply(known.unlock(), Config, tree.to_dict(), 'config')
    config = resolve.resolve(build(Config, known))
    checks.validate(config)
    return config


def parse_as(kind: type, value: str) -> object:
    """A typed value as its setting's type; raises ValueError where it is none."""
    if kind is bool:
        if value.lower() not in ('', 'true', 'false', '0', '1'):
            raise ValueError(value)
        return value
    return kind(value)


def leaves(schema: type, prefix: str = 'config') -> list[tuple[str, type]]:
    """Every setting below `schema` as (dotted name, type)."""
    found = []
    for field in dataclasses.fields(schema):
        path = f'{prefix}.{field.name}'
        if dataclasses.is_dataclass(field.type):
            found += leaves(field.type, path)
        else:
            found.append((path, _leaf_type(field.type)))
    return found


def _leaf_type(annotation: object) -> type:
    """``int`` for both ``int`` and ``int | None``."""
    if isinstance(annotation, types.UnionType):
        return next(a for a in typing.get_args(annotation) if a is not types.NoneType)
    return annotation


def _optional(annotation: object) -> bool:
    return isinstance(annotation, types.UnionType)


def type_name(kind: type) -> str:
    """A setting's type in words."""
    names = {int: 'a whole number', float: 'a number', bool: 'true or false', str: 'a text'}
    return names[kind]


def _defaults(schema: type) -> dict[str, object]:
    """The defaults as a plain tree, with typed placeholders where a default is None."""
    tree = {}
    for field in dataclasses.fields(schema):
        if dataclasses.is_dataclass(field.type):
            tree[field.name] = _defaults(field.type)
        elif field.default is None:
            tree[field.name] = config_dict.placeholder(_leaf_type(field.type))
        else:
            tree[field.name] = field.default
    return tree


def _apply(tree: config_dict.ConfigDict, schema: type, changes: Mapping, path: str) -> None:
    """Writes `changes` into `tree`, checking each name and type against the schema."""
    fields = {field.name: field for field in dataclasses.fields(schema)}
    for name, value in changes.items():
        here = f'{path}.{name}'
        if name not in fields:
            raise ConfigError(f'{here} is not a setting{nearest(name, fields)}')
        kind = fields[name].type
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, Mapping):
                raise ConfigError(f'{here} is {value!r}: it is a group of settings, not a value')
            _apply(tree[name], kind, value, here)
        else:
            tree[name] = _checked(value, kind, here)


def _checked(value: object, annotation: object, path: str) -> object:
    kind = _leaf_type(annotation)
    if value is None and _optional(annotation):
        return None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        allowed = type_name(kind) + (' or None' if _optional(annotation) else '')
        raise ConfigError(f'{path} is {value!r}, allowed: {allowed}')
    return value
