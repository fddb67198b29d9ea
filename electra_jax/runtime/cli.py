"""What the commands share: their flags, the settings that were typed, and how errors end them.

This module and the commands are the only code that knows absl flags.
"""

import copy
import difflib
import functools
import itertools
import os
import pathlib
import re
import shlex
import sys
import threading
from collections.abc import Callable, Mapping
from logging import ERROR, LogRecord
from typing import Any, NoReturn, TypeAlias

from absl import app, flags, logging
from ml_collections import config_flags

from electra_jax.config import fields, names, recipe, resolve
from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config
from electra_jax.core import errors
from electra_jax.core.errors import ConfigError, UserError
from electra_jax.core.metric_table import METRICS
from electra_jax.runtime import interrupt

Flag: TypeAlias = flags.FlagHolder[Any]

# Of a script of launch/ that started the command: what is typed to start it, what it adds.
_SCRIPT, _ADDED = 'ELECTRA_SCRIPT', 'ELECTRA_SCRIPT_ADDED'
_IS_SETTING = re.compile('--?config[.]')
_none: list[str] = []  # settings that were typed as None


@functools.cache  # one flag, however many commands are imported
def config_flag() -> Flag:
    """Defines ``--config``; settings are overridden by ``--config.KEY=VALUE``."""
    flag: Flag = config_flags.DEFINE_config_file(
        'config', None, 'the recipe, such as configs/small.py'
    )
    return flag


@functools.cache
def checkpoint_flag() -> Flag:
    """Defines ``--checkpoint``, the model that a command uses, as `inference.opened` reads it."""
    return flags.DEFINE_string(
        'checkpoint', None, 'a workdir (of fine-tuning: its best trial), one trial, or KIND:PATH '
        "of another project's checkpoint: huggingface:FOLDER, google:FOLDER; or laptop, a small "
        'model of English that comes with the repository'
    )  # fmt: skip


def recipe_name(config: Flag) -> str:
    """The recipe's name: ``small`` for configs/small.py."""
    return pathlib.Path(_recipe_path(config)).stem


def run_name(config: Flag, settings: Settings) -> str:
    """The default name of a run's folder: the recipe's, or the task's for finetune/task.py."""
    name = recipe_name(config)
    return settings.task.name if name == 'task' and settings.task.name else name


def typed_settings(config: Flag) -> dict[str, object]:
    """The settings that were typed as ``--config.KEY=VALUE``, by dotted name."""
    return {**config_flags.get_override_values(flags.FLAGS[config.name]), **dict.fromkeys(_none)}


def given_settings(config: Flag) -> Settings | None:
    """The settings of the command line, checked; None where no recipe was named."""
    return changed_settings(config, {}) if config.present else None


def changed_settings(
    config: Flag, changes: Mapping[str, str], other: str | None = None
) -> Settings:
    """The settings of the command line, some of them changed: dotted name -> value as typed.

    Or those of the recipe in the file `other`, with what was typed as ``--config.KEY=VALUE``.
    """
    if other is None:
        settings = copy.deepcopy(recipe.checked(config.value, _recipe_path(config)))
    else:
        settings = recipe.load(other)
    known = fields.leaves(Config)
    for name, value in typed_settings(config).items():
        if name not in known:  # ml_collections passes over white space in a name
            raise ConfigError(_flag_message(sys.argv, f'no setting is called {name!r}'))
        fields.put(settings, name, value)
    for name, text in changes.items():
        leaf = known[name]
        try:
            fields.put(settings, name, leaf.parse(text))
        except ValueError:
            raise ConfigError(f'{name} is {text!r}, allowed: {leaf.allowed_type}') from None
    recipe.give_way(settings, {*typed_settings(config), *changes})
    resolve.check(settings)
    return settings


def same_command(command: str | None = None, /, **changes: str) -> str:
    """The command line that was typed, for a person to type again with some flags changed.

    It is for the module `command`; None: the one that was started.
    """
    path = pathlib.PurePath(sys.argv[0])
    # `aot` is started as aot/__main__.py.
    module = command or (path.parent.name if path.stem == '__main__' else path.stem)
    start, typed = ['python', '-m', f'electra_jax.{module}'], sys.argv[1:]
    script, added = (shlex.split(os.environ.get(name, '')) for name in (_SCRIPT, _ADDED))
    if script and command is None and typed[: len(added)] == added:
        start, typed = script, typed[len(added) :]
    kept, skip = [], False
    for word in typed:
        name, is_whole, _ = word.lstrip('-').partition('=')
        if not skip and name not in changes:
            kept.append(word)
        # `--workdir DIR`: the value is the next word.
        skip = not skip and name in changes and not is_whole
    changed = [f'--{name}={value}' for name, value in changes.items()]
    return shlex.join([*start, *kept, *changed])


def activation() -> list[str]:
    """What to type before any command, where a script has made the environment, and not a person.

    A line, or none.
    """
    if _SCRIPT not in os.environ or os.environ.get('VIRTUAL_ENV') == sys.prefix:
        return []
    activate = os.path.join(sys.prefix, 'bin', 'activate')
    return [f'first, once in each terminal: source {shlex.quote(activate)}']


def _recipe_path(config: Flag) -> str:
    return str(config_flags.get_config_filename(flags.FLAGS[config.name]))


def run(main: Callable[[Settings], None], config: Flag) -> None:
    """Calls `main` with the settings of the command line; prints user errors as plain text."""

    def with_settings() -> None:
        settings = given_settings(config)
        if settings is None:
            raise ConfigError(
                'no recipe is given: type --config=configs/own.py, for example (--help lists all)'
            )
        main(settings)

    run_without_recipe(with_settings)


def run_without_recipe(main: Callable[[], None]) -> None:
    """The same for a command that needs no recipe; it may ask for one with `given_settings`."""

    def guarded(argv: list[str]) -> int:
        try:
            if len(argv) > 1:
                raise ConfigError(
                    f'{argv[1]!r} is not understood: settings look like --config.KEY=VALUE'
                )
            len(METRICS)  # refuses what an added file has wrongly, before anything is trained
            main()
            interrupt.end_if_left()
            return interrupt.status()
        except UserError as error:
            _fail(str(error))
        except BrokenPipeError:
            os._exit(1)  # the reader of the output (`| head`) has closed it
        except KeyboardInterrupt:
            sys.stdout.flush()
            interrupt.end_now()
        except OSError as error:
            _fail(f'{error.strerror or error}: {error.filename or "(no file named)"}')

    interrupt.watch()
    logging.set_verbosity(logging.WARNING)  # JAX and Orbax log every detail at INFO
    logging.get_absl_logger().addFilter(_is_news)
    sys.excepthook = _without_closed_loops(sys.excepthook)
    sys.unraisablehook = _without_closed_loops(sys.unraisablehook)
    app.run(guarded, flags_parser=_parse)


def _is_news(record: LogRecord) -> bool:
    """Drops what Orbax's threads log about a failed save, which is also raised and reported."""
    record.exc_info = record.exc_text = None
    return record.levelno < ERROR or '/orbax/' not in record.pathname


def _without_closed_loops(hook: Callable[..., Any]) -> Callable[..., None]:
    """Drops what TensorStore's threads print after one of several writes has failed."""

    def filtered(*arguments: Any) -> None:
        first = arguments[0]
        error = arguments[1] if isinstance(first, type) else first.exc_value
        is_ours = threading.current_thread() is threading.main_thread()
        if is_ours or str(error) != 'Event loop is closed':
            hook(*arguments)

    return filtered


def _parse(argv: list[str]) -> list[str]:
    """absl's parser, with its failures turned into one readable message."""
    path = _typed_recipe(argv)
    try:
        if path is not None:
            argv = _with_recipe(argv, str(recipe.find(path)))
        argv = _without_none(argv)
        return list(flags.FLAGS(argv))
    except UserError as error:
        _fail(str(error))
    except flags.Error as error:
        _fail(_flag_message(argv, str(error)))
    except RecursionError:  # of absl, which compares an unknown name with those that it knows
        _fail('an unknown flag with a very long name: settings look like --config.KEY=VALUE')
    except ImportError as error:
        _fail(str(recipe.failed_import(path or '(no --config)', error)))
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        _fail(_flag_message(argv, str(error)))


def _typed_recipe(argv: list[str]) -> str | None:
    """The value of --config, the last one if there are several."""
    typed = None
    for word, following in itertools.pairwise([*argv[1:], '']):
        name, is_whole, value = word.partition('=')
        if name in ('-config', '--config'):
            typed = value if is_whole else following
    return typed


def _with_recipe(argv: list[str], path: str) -> list[str]:
    """The command line with the recipe's file where it was found."""
    changed, follows = [], False
    for word in argv:
        name, is_whole, _ = word.partition('=')
        is_flag = name in ('-config', '--config')
        changed.append(f'--config={path}' if is_flag and is_whole else path if follows else word)
        follows = is_flag and not is_whole
    return changed


def _without_none(argv: list[str]) -> list[str]:
    """The command line without settings that are typed as None, which ml_collections cannot parse.

    `typed_settings` has them.
    """
    known = fields.leaves(Config)
    kept: list[str] = []
    _none.clear()
    name = ''  # the setting whose value is the next word, as in `--config.minutes None`
    for word in argv:
        typed, is_whole, value = word.partition('=')
        if word == fields.NONE and name:
            kept.pop()
            _none.append(name)
            name = ''
            continue
        name = typed.lstrip('-').removeprefix('config.') if _IS_SETTING.match(typed) else ''
        name = name if name in known and known[name].optional else ''
        if name and value == fields.NONE:
            _none.append(name)
        else:
            kept.append(word)
        name = '' if is_whole else name
    return kept


def _flag_message(argv: list[str], original: str) -> str:
    """Names the word that is wrong, and what may be meant: ml_collections does not."""
    known, has_recipe = fields.leaves(Config), 'config' in flags.FLAGS
    for arg in argv[1:]:
        if arg == '--':
            break
        if not arg.startswith('-'):
            continue
        typed, is_whole, value = arg.lstrip('-').partition('=')
        name = typed.removeprefix('config.')
        if name in fields.REMOVED:
            return f'--config.{name} is no longer a setting: {fields.REMOVED[name]}'
        if name == typed:
            if _is_flag(name):
                continue
            if name in known:
                return f'--{name} is a setting of the recipe: type --config.{arg.lstrip("-")}'
            wrong = f'--{name} is not a flag of this command'
            close = difflib.get_close_matches(name, _own_flags(), n=1, cutoff=0.75)
            if close:
                return f'{wrong}; did you mean --{close[0]}?'
        elif name not in known:
            wrong = f'--config.{name} is not a setting'
            if name in flags.FLAGS:
                return f'{wrong}; did you mean --{name}={value}?'
        else:
            try:
                if is_whole:  # else the value is the next word
                    known[name].parse(value)
            except ValueError:
                return f'--config.{name} is {value!r}, allowed: {known[name].allowed_type}'
            if not has_recipe:
                return f'--config.{name} is a setting, and this command has no recipe: leave it out'
            if _typed_recipe(argv) is None:
                return (
                    f'--config.{name} changes a recipe, and none is given: type --config=RECIPE, '
                    'too, which is a file such as configs/own.py, and for a run that has begun the '
                    'one that it was started with'
                )
            continue
        hint = names.hint(name, '--config.') if has_recipe else ''
        return f'{wrong}{hint or "; --help lists all of them"}'
    return original


def _is_flag(name: str) -> bool:
    return name in flags.FLAGS or name.removeprefix('no') in flags.FLAGS


def _own_flags() -> list[str]:
    """The flags of the command, without those of the libraries."""
    modules = (sys.argv[0], __name__)
    return [one.name for name in modules for one in flags.FLAGS.get_key_flags_for_module(name)]


def _fail(message: str) -> NoReturn:
    sys.stdout.flush()
    errors.end_now(message)
