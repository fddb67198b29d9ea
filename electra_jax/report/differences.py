"""In which settings a run differs from the defaults."""

from electra_jax.config import fields, resolve
from electra_jax.config.recipe import IN_PLACE_OF, recipe
from electra_jax.config.settings import LEFT_TO_DEVICES, Config
from electra_jax.core.errors import UserError
from electra_jax.report.cells import Cell, Table, setting
from electra_jax.train.runs import Run, typed, within

# Settings that follow from others or from the devices where nobody has typed them.
DERIVED = ('model.generator', *(f'model.{name}' for name in LEFT_TO_DEVICES))
_STARTS = ('init_from', 'branch_from')  # one step's, where a workdir is typed
HIDDEN = ('job', 'remark')


def differences(run: Run) -> Table | None:
    """The settings of a run that are not the defaults, or were typed; the typed ones come first."""
    if not isinstance(run.about.get('config'), dict):
        return None
    named, usual, rows = typed(run.about), _defaults(run), []
    known = [name for name in fields.leaves(Config) if has(run, name)]
    for name in sorted(known, key=lambda name: name not in named):
        value, default = run.setting(name), fields.get(usual, name)
        if name in _STARTS or (run.setting('job') == 'finetune' and name in resolve.USUAL):
            default = None  # what is chosen is no default, also where it has the same value
        is_usual = value == default or name in DERIVED
        if name in HIDDEN or (is_usual and name not in named):
            continue
        # A run does not record which settings it chose by its checkpoint, its rows and its minutes.
        where = 'command line' if name in named else 'recipe, or chosen'
        others = [one for one in IN_PLACE_OF.get(name, ()) if run.setting(one) is not None]
        if name not in named and others:
            where = others[0]  # which it follows from
        as_typed = f'typed: {named[name]}' if name in _STARTS and name in named else ''
        cells = Cell(setting(value), as_typed), Cell(setting(default)), Cell(where)
        rows.append([Cell(name), *cells])
    title = 'Settings that were typed, or differ from the defaults'
    return Table(title, ['setting', 'value', 'default', 'from'], rows) if rows else None


def has(run: Run, name: str) -> bool:
    """Whether the version that the run was made by had a setting."""
    group, _, last = f'config.{name}'.rpartition('.')
    return last in (within(run.about, group) or {})


def _defaults(run: Run) -> fields.Settings:
    """The settings of a run of the same size and task that names nothing else."""
    changes = {name: run.setting(name) for name in ('job', 'init_from')}
    changes |= {'model': {'size': run.setting('model.size')}}
    changes |= {'task': {'name': run.setting('task.name')}}
    try:
        return resolve.fill(recipe(changes))
    except (UserError, TypeError):  # of another version
        return recipe({})
