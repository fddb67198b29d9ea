"""What the doors share: a recipe file and its overrides in, one frozen `Config` out.

This module and the doors are the only places that know absl flags and ConfigDict.
"""

import dataclasses
import difflib
import functools
import os
import pathlib
import runpy
import shlex
import sys
import threading
import types
import typing
from collections.abc import Callable, Mapping
from logging import ERROR

from absl import app, flags, logging
from ml_collections import config_dict, config_flags

from electra_jax.config import presets, validate
from electra_jax.config.schema import Config, build
from electra_jax.core.errors import ConfigError, UserError, nearest


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


@functools.cache  # one flag, however many doors are imported
def config_flag() -> flags.FlagHolder:
    """Defines ``--config``; fields are overridden by ``--config.KEY=VALUE``."""
    return config_flags.DEFINE_config_file('config', None, 'the recipe, such as configs/small.py')


def recipe_path(config: flags.FlagHolder) -> str:
    """The recipe's file, as it was typed."""
    return config_flags.get_config_filename(flags.FLAGS[config.name])


def recipe_name(config: flags.FlagHolder) -> str:
    """The recipe's name: ``small`` for configs/small.py."""
    return os.path.splitext(os.path.basename(recipe_path(config)))[0]


def same_command(door: str | None = None, /, **changes: str) -> str:
    """The command line that was typed, for a person to type again with some flags changed.

    Args:
        door: module to type it to; None: the one that was started.
        changes: flag name (dots as they are, in a mapping) to value.
    """
    module = door or os.path.splitext(os.path.basename(sys.argv[0]))[0]
    kept, skip = [], False
    for word in sys.argv[1:]:
        name, is_whole, _ = word.lstrip('-').partition('=')
        if not skip and name not in changes:
            kept.append(word)
        # `--workdir DIR`: the value is the word after.
        skip = not skip and name in changes and not is_whole
    added = [f'--{name}={value}' for name, value in changes.items()]
    return shlex.join(['python', '-m', f'electra_jax.{module}', *kept, *added])


def run(main: Callable[[Config], None], config: flags.FlagHolder) -> None:
    """Parses the command line, calls `main` with the config, prints user errors as plain text."""

    def with_config() -> None:
        if not config.present:
            raise ConfigError('no recipe given: type --config=configs/small.py, for example')
        main(given_config(config))

    run_without_recipe(with_config)


def run_without_recipe(main: Callable[[], None]) -> None:
    """The same for a door that needs no recipe; it may ask for one with `given_config`."""

    def guarded(argv: list[str]) -> None:
        try:
            if len(argv) > 1:
                raise ConfigError(
                    f'{argv[1]!r} is not understood: settings look like --config.KEY=VALUE'
                )
            main()
        except UserError as error:
            _fail(str(error))
        except BrokenPipeError:
            os._exit(1)  # who reads the output (`| head`) has had enough: nothing to say
        except KeyboardInterrupt:
            _fail('stopped; type the same command again and it goes on')
        except OSError as error:
            _fail(f'{error.strerror or error}: {error.filename or "(no file named)"}')

    logging.set_verbosity(logging.WARNING)  # JAX and Orbax tell every detail at INFO
    logging.get_absl_logger().addFilter(_is_news)
    sys.excepthook = _but_closed_loops(sys.excepthook)
    sys.unraisablehook = _but_closed_loops(sys.unraisablehook)
    app.run(guarded, flags_parser=_parse)


def _is_news(record: typing.Any) -> bool:
    """Not what Orbax's threads log where a save fails: that is raised, too, and said by the run."""
    record.exc_info = record.exc_text = None
    return record.levelno < ERROR or '/orbax/' not in record.pathname


def _but_closed_loops(hook: Callable) -> Callable:
    """Passes on all but what TensorStore's threads print where one write of several has failed."""

    def passing(*arguments: typing.Any) -> None:
        first = arguments[0]
        error = arguments[1] if isinstance(first, type) else first.exc_value
        is_ours = threading.current_thread() is threading.main_thread()
        if is_ours or str(error) != 'Event loop is closed':
            hook(*arguments)

    return passing


def given_config(config: flags.FlagHolder) -> Config | None:
    """The config of the command line; None where no recipe was named.

    Raises:
        ConfigError: the recipe does not exist, or a setting cannot be used.
    """
    if not config.present:
        return None
    if not os.path.isfile(recipe_path(config)):
        raise ConfigError(
            f'no such recipe: {recipe_path(config)}; those that come along are in configs/'
        )
    return to_config(config.value)


def changed_config(
    config: flags.FlagHolder, changes: Mapping[str, str], other: str | None = None
) -> Config:
    """The config of the command line with some settings changed.

    Args:
        config: the flag.
        changes: name of a setting (`setting_name`) -> value, as it would be typed.
        other: another recipe's file; it is given what was typed as ``--config.KEY=VALUE``, too.

    Raises:
        ConfigError: the recipe does not exist, or a setting cannot be used.
    """
    if other is None:
        tree = recipe(config.value.to_dict()).unlock()
    else:
        if not os.path.isfile(other):
            raise ConfigError(f'no such recipe: {other}; those that come along are in configs/')
        tree = recipe({}, base=pathlib.Path(other)).unlock()
        tree.update_from_flattened_dict(typed_settings(config))
    kinds = dict(leaves(Config))
    for name, value in changes.items():
        kind = kinds[f'config.{name}']
        try:
            parsed = _parse_as(kind, value)
        except ValueError:
            raise ConfigError(f'{name} is {value!r}, allowed: {_type_name(kind)}') from None
        if kind is bool:
            parsed = parsed.lower() in ('true', '1')
        tree.update_from_flattened_dict({name: parsed})
    return to_config(tree.lock())


def typed_settings(config: flags.FlagHolder) -> dict[str, object]:
    """The settings that were typed as ``--config.KEY=VALUE``, by dotted name."""
    return config_flags.get_override_values(flags.FLAGS[config.name])


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
    config = presets.resolve(build(Config, known))
    validate.validate(config)
    return config


def _parse(argv: list[str]) -> list[str]:
    """absl's parser, with its failures turned into one readable message."""
    try:
        return flags.FLAGS(argv)
    except UserError as error:
        _fail(str(error))
    except flags.Error as error:
        _fail(_flag_message(argv, str(error)))
    except OSError as error:  # of ml_collections, once an override asks for what is not there
        why = str(error).strip().splitlines()[-1].strip()
        _fail(f'no such recipe for --config ({why}); those that come along are in configs/')
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        _fail(_flag_message(argv, str(error)))


def _flag_message(argv: list[str], original: str) -> str:
    """Names the override at fault: ml_collections says only what went wrong inside."""
    settings = dict(leaves(Config))
    for arg in argv[1:]:
        name, _, value = arg.lstrip('-').partition('=')
        if not name.startswith('config.'):
            continue
        if name not in settings:
            leaf = name.rpartition('.')[2]
            close = difflib.get_close_matches(name, settings, n=1, cutoff=0.6)
            close += [path for path in settings if path.rpartition('.')[2] == leaf]
            hint = f'; did you mean --{close[0]}?' if close else ''
            return f'--{name} is not a setting{hint}'
        kind = settings[name]
        try:
            _parse_as(kind, value)
        except ValueError:
            return f'--{name} is {value!r}, allowed: {_type_name(kind)}'
    return original


def _parse_as(kind: type, value: str) -> object:
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


def _type_name(kind: type) -> str:
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
        allowed = _type_name(kind) + (' or None' if _optional(annotation) else '')
        raise ConfigError(f'{path} is {value!r}, allowed: {allowed}')
    return value


def _fail(message: str) -> typing.NoReturn:
    sys.stdout.flush()
    sys.stderr.write(f'\nerror: {message}\n')
    sys.stderr.flush()
    # A non-daemon thread of a library must not keep a refused command alive.
    os._exit(1)
