"""Recipes: a few settings in, all of them out, as typed."""

import difflib
import pathlib
import runpy
import sys
from collections.abc import Collection, Mapping

from electra_jax.config import checks, fields, length, names
from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError

_MOST = 3  # recipes that may be meant


def recipe(changes: Mapping[str, object], base: str | None = None) -> Settings:
    """The settings of a recipe, from those in which it differs from the defaults.

    They are nested, for example ``{'batch_size': 256, 'model': {'size': 'base'}}``. `base` is
    another recipe's file, to differ from that instead; relative to the recipe's own.

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


# The folder configs/ of this package: a wheel has it inside (setup.py), a checkout next to it.
_PACKAGE = pathlib.Path(__file__).parent.parent
_IN_WHEEL = _PACKAGE / 'recipes'
INSTALLED = _IN_WHEEL if _IN_WHEEL.is_dir() else _PACKAGE.parent / 'configs'


def load(path: pathlib.Path | str) -> Settings:
    """The settings of a recipe's file; a ConfigError where there is none, or it is no recipe."""
    path = find(path)
    try:
        settings = runpy.run_path(str(path))['get_config']()
    except ImportError as error:
        raise failed_import(path, error) from error
    return checked(settings, path)


def checked(settings: object, path: pathlib.Path | str) -> Settings:
    """What `get_config` of a recipe's file returned; a ConfigError where it is no settings."""
    if not isinstance(settings, Settings):
        raise ConfigError(
            f'get_config of {path} returns {settings!r:.60}, allowed: what '
            'electra_jax.config.recipe.recipe({...}) returns'
        )
    return settings


def find(path: pathlib.Path | str) -> pathlib.Path:
    """The file of a recipe; a ConfigError where there is none.

    An installed package and a checkout have a folder configs/ of their own: from any folder its
    recipes have the same names, unless there are such files here.
    """
    if found := located(path):
        return found
    path = pathlib.Path(path)
    raise ConfigError(
        f'there is no recipe {path}{_nearest(path)}; those of the project are in configs/, and '
        'every task is --config=configs/finetune/task.py --config.task.name=NAME'
    )


def located(path: pathlib.Path | str) -> pathlib.Path | None:
    """A file that is here, or in the folder configs/ of this package; None: in neither."""
    path = pathlib.Path(path)
    if path.is_file():
        return path
    if path.parts[:1] == ('configs',):
        installed = INSTALLED.joinpath(*path.parts[1:])
        return installed if installed.is_file() else None
    return None


def _nearest(path: pathlib.Path) -> str:
    """A hint for a recipe's file that is not there: those next to it, or of the project.

    Files whose names begin with what was typed are likelier than such a name in another folder.
    """
    theirs = ('configs' / one.relative_to(INSTALLED) for one in INSTALLED.rglob('*.py'))
    known = {*path.parent.glob('*.py'), *pathlib.Path('configs').rglob('*.py'), *theirs}
    near = sorted(one for one in known if one.parent == path.parent)
    others = sorted(known - {*near})

    def close(some: list[pathlib.Path]) -> list[pathlib.Path]:
        stems = difflib.get_close_matches(path.stem, [one.stem for one in some], 1, cutoff=0.65)
        return [one for one in some if one.stem in stems]

    ranked = (
        [one for one in near if one.stem.startswith(f'{path.stem}_')],
        [one for one in others if one.stem == path.stem],
        close(near),
        close(others),
    )
    meant = next(filter(None, ranked), [])[:_MOST]
    return f'; did you mean {" or ".join(map(str, meant))}?' if meant else ''


def failed_import(path: pathlib.Path | str, error: ImportError) -> ConfigError:
    """The error for a recipe whose imports fail."""
    return ConfigError(
        f'{path} cannot be used ({error}): what every recipe needs is '
        '`from electra_jax.config.recipe import recipe`'
    )


# A setting that is typed -> those that would take its place, if the recipe has them.
IN_PLACE_OF = {
    'total_steps': length.MEASURED,
    **{name: tuple(one for one in length.MEASURED if one != name) for name in length.MEASURED},
    'optimizer.warmup_steps': ('optimizer.warmup_share',),
    'optimizer.decay_steps': ('optimizer.decay_share',),
    'objective.generator_steps': ('objective.generator_share',),
}


def give_way(settings: Settings, typed: Collection[str]) -> None:
    """Resets what a recipe has in place of something that is typed.

    A length in minutes or a share gives way to steps, the size of a vocabulary that is trained to
    the file of one, a share of the text that is held out to text for that, and what only another
    choice reads to the choice.

    Raises:
        ConfigError: both are typed.
    """
    for name, other in ((name, one) for name, others in IN_PLACE_OF.items() for one in others):
        both = name in typed and other in typed
        if both and None not in (fields.get(settings, name), fields.get(settings, other)):
            raise ConfigError(
                f'config.{name} and config.{other} are both typed: one of them decides, leave the '
                'other out'
            )
        if name in typed and not both:
            fields.put(settings, other, None)
    if 'data.validation_source' in typed and 'data.holdout' not in typed:
        fields.put(settings, 'data.holdout', None)
    drop_unread(settings, typed, typed)
    if fields.get(settings, 'data.tokenizer.path') is None or 'data.tokenizer.path' not in typed:
        return
    if 'data.tokenizer.vocab_size' not in typed:
        fields.put(settings, 'data.tokenizer.vocab_size', None)


def drop_unread(settings: Settings, typed: Collection[str], chosen: Collection[str]) -> None:
    """Resets what a recipe has for another choice than those in `chosen`, unless it is typed.

    What reads nothing more because of that is reset, too. Another job is no such choice: it has
    recipes of its own.
    """
    default, changed = fields.typed(Config)(), {*chosen}
    for need in (*checks.OF_THE_RUN, *checks.OF_THE_MODEL):
        is_theirs = need.other in changed and need.other != 'job' and need.name not in typed
        if is_theirs and checks.contradicts(settings, need):
            fields.put(settings, need.name, fields.get(default, need.name))
            changed.add(need.name)


def parse_setting(text: str) -> tuple[str, str]:
    """``('seed', '0')`` from ``seed=0``, ``config.seed=0`` or ``--config.seed=0``."""
    name, equals, value = text.removeprefix('--').removeprefix('config.').partition('=')
    if not equals:
        raise ConfigError(f'{text!r} is not a setting with a value: type KEY=VALUE')
    return setting_name(name), value


def setting_name(text: str) -> str:
    """The dotted name of a setting: ``data.row_length`` of itself, or of ``row_length`` alone."""
    known = list(fields.leaves(Config))
    name = text.removeprefix('config.')
    matches = [name] if name in known else [n for n in known if n.rpartition('.')[2] == name]
    if len(matches) != 1:
        hint = f': which one, {", ".join(matches)}?' if matches else names.hint(name)
        raise ConfigError(f'{text} is not a setting{hint}')
    return matches[0]
