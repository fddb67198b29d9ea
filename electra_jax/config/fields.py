"""How a setting is declared, and its two forms: as typed, and as a run has it.

A group of settings is a frozen dataclass whose fields are made by `setting`: that is what a run
has. `typed` derives from it the form that recipes and the command line fill in: mutable, and with
None for each field that is left unset.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from electra_jax.core.errors import ConfigError, nearest, unknown

T = TypeVar('T')
# Default of a field that is resolved from something else where it is not set.
UNSET: Any = object()
# Settings of earlier versions -> why they are gone, and what to do.
REMOVED = {
    'task.cache': 'every run tokenizes its files, which takes seconds; leave it out',
    'log.tensorboard': 'config.log.trackers names what gets the metrics, in place of true '
    "'tensorboard', in place of false ''",
}
NONE = 'None'  # typed for a setting that may be left unset
_TYPE_NAMES = {int: 'a whole number', float: 'a number', bool: 'true or false', str: 'a text'}


class Settings:
    """Settings as typed: the derived form of a group. None: not set, or off."""

    __slots__ = ()

    if typing.TYPE_CHECKING:
        __dataclass_fields__: typing.ClassVar[dict[str, dataclasses.Field[Any]]]

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...


def setting(
    default: Any,
    *,
    choices: Collection[str] = (),
    at_least: float | None = None,
    at_most: float | None = None,
) -> Any:
    """A field of a group of settings, with its default, its choices or its inclusive bounds."""
    metadata = {'choices': tuple(choices), 'at_least': at_least, 'at_most': at_most}
    if default is UNSET:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One setting."""

    name: str  # dotted, such as 'optimizer.b1'
    kind: type  # int, float, bool or str
    optional: bool  # whether it may be None as typed
    choices: tuple[str, ...]
    at_least: float | None
    at_most: float | None

    @property
    def allowed_type(self) -> str:
        return _TYPE_NAMES[self.kind] + (' or None' if self.optional else '')

    def parse(self, text: str) -> int | float | bool | str | None:
        """A value from the command line; a ValueError where it is not of the setting's type."""
        if self.optional and text == NONE:
            return None
        if self.kind is bool:
            if text.lower() not in ('true', 'false', '0', '1', ''):
                raise ValueError(text)
            return text.lower() in ('true', '1')
        return self.kind(text)

    def checked(self, value: object) -> object:
        """The value, as a float where a whole number was given for one.

        Raises:
            ConfigError: with the name, the value and what is allowed.
        """
        if value is None and self.optional:
            return None
        is_bool = isinstance(value, bool)
        if self.kind is float and isinstance(value, int) and not is_bool:
            value = float(value) if abs(value) < 1e300 else math.inf
        if not isinstance(value, self.kind) or (is_bool and self.kind is not bool):
            raise ConfigError(f'config.{self.name} is {value!r}, allowed: {self.allowed_type}')
        if isinstance(value, str) and self.choices and value not in self.choices:
            raise unknown(f'config.{self.name}', value, self.choices)
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        if isinstance(value, int | float) and (
            abs(value) == math.inf or not low <= value <= high  # NaN is in no range
        ):
            allowed = 'a finite number'
            if self.at_least is not None:
                allowed = f'at least {low}' + (', and finite' if value == math.inf else '')
            if self.at_most is not None:
                allowed = f'{low} to {high}'
            raise ConfigError(f'config.{self.name} is {value}, allowed: {allowed}')
        return value


def is_group(kind: object) -> bool:
    """Whether the type of a field is a group of settings."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


@functools.cache
def leaves(group: type, prefix: str = '') -> dict[str, Leaf]:
    """Every setting of a group and of the groups in it, by dotted name."""
    found: dict[str, Leaf] = {}
    for field in dataclasses.fields(group):
        name, kind = prefix + field.name, typing.cast(Any, field.type)
        if is_group(kind):
            found |= leaves(kind, f'{name}.')
            continue
        optional = field.default is dataclasses.MISSING
        if isinstance(kind, types.UnionType):  # `int | None`
            optional = True
            kind = next(one for one in typing.get_args(kind) if one is not types.NoneType)
        found[name] = Leaf(name, kind, optional, **field.metadata)
    return found


@functools.cache
def typed(group: type) -> type[Settings]:
    """The form of a group that recipes and the command line fill in."""
    made: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(group):
        kind: Any = field.type
        if is_group(kind):
            inner = typed(kind)
            made.append((field.name, inner, dataclasses.field(default_factory=inner)))
        elif field.default is dataclasses.MISSING:
            made.append((field.name, kind | None, dataclasses.field(default=None)))
        else:
            made.append((field.name, kind, dataclasses.field(default=field.default)))
    return dataclasses.make_dataclass(f'Typed{group.__name__}', made, bases=(Settings,), slots=True)


def build(group: type[T], tree: Mapping[str, Any]) -> T:
    """A group of settings, in either form, from all its fields: reverses `dataclasses.asdict`."""
    values = {}
    for field in dataclasses.fields(group):  # type: ignore[arg-type]  # of a type that is one
        value, kind = tree[field.name], typing.cast(type, field.type)
        values[field.name] = build(kind, value) if is_group(kind) else value
    return group(**values)


def get(settings: object, name: str) -> Any:
    """The value of a dotted name, such as ``'optimizer.b1'``."""
    return functools.reduce(getattr, name.split('.'), settings)


def put(settings: Settings, name: str, value: object) -> None:
    """Sets the value of a dotted name."""
    group, _, field = name.rpartition('.')
    setattr(get(settings, group) if group else settings, field, value)


def change(
    settings: Settings, group: type, changes: Mapping[str, object], prefix: str = ''
) -> None:
    """Sets what a nested mapping names; `settings` is the typed form of `group`.

    Raises:
        ConfigError: a name does not exist, or a value cannot be its setting's.
    """
    known = {field.name: field.type for field in dataclasses.fields(group)}
    for name, value in changes.items():
        path = prefix + name if isinstance(name, str) else f'{prefix}{name!r}'
        if path in REMOVED:
            raise ConfigError(f'config.{path} is no longer a setting: {REMOVED[path]}')
        if name not in known:
            raise ConfigError(f'config.{path} is not a setting{nearest(str(name), known)}')
        kind = typing.cast(type, known[name])
        if not is_group(kind):
            setattr(settings, name, leaves(group, prefix)[path].checked(value))
        elif isinstance(value, Mapping):
            change(getattr(settings, name), kind, value, f'{path}.')
        else:
            raise ConfigError(f'config.{path} is {value!r}: it is a group of settings, not a value')
