"""Settings of fine-tuning that are left unset: what suits the checkpoint and the number of rows.

How much text a checkpoint has read decides most. One that read little has hardly anything in its
first token, so its rows are represented by the means of their texts, and it has little to forget,
so all its layers learn at one high rate. One that read as much as the paper's gets the settings of
the reference (electra, configure_finetuning.py). Few rows are seen more often, up to a bound.
docs/finetuning.md has the table and what was measured.
"""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

from electra_jax.config import fields
from electra_jax.config.fields import Settings
from electra_jax.config.resolve import TASK_BATCH_SIZE, stored_first_stage
from electra_jax.config.settings import ModelConfig
from electra_jax.core.complaints import counted
from electra_jax.core.errors import CheckpointError
from electra_jax.init_from import tokens_read

# Tokens of text. Neither bound is measured: models that read 0.055e9 (configs/laptop.py) and 0.92e9
# (one_gpu.py) were, and the paper's small model read 16e9.
_PAPERS = 5e9
_SOME = 2e8
_ANY_WIDTH = 1 << 30
LEAST_TRIED = 1e7  # tokens of text; see docs/finetuning.md
# Of an origin that is the generator alone.
STAGE_1 = 'the checkpoint is of the first of two stages: its discriminator is not trained yet'


class Origin(NamedTuple):
    """What a checkpoint is, as its folder records it."""

    num_layers: int
    hidden_size: int
    # Of text that it and what it started from were trained on; None: some of that is not ours.
    tokens: float | None
    generator_alone: bool = False  # its run ended in the first of two stages

    def __str__(self) -> str:
        shape = f'{counted(self.num_layers, "layers")} of width {self.hidden_size}'
        if self.tokens is None:
            return f'{shape}, trained elsewhere'
        if not self.tokens:
            return f'{shape}, not pre-trained'
        return f'{shape}, trained on {_short(self.tokens)} tokens'


class Fit(NamedTuple):
    """A row of the table: settings, and how often few rows are seen."""

    head: str
    learning_rate: float
    layer_decay: float
    least_steps: int  # of a trial, by more epochs than the task's
    most_epochs: float  # of these
    weight_decay: float = 0.01
    warmup_rate: float = 0.1
    batch_size: int = TASK_BATCH_SIZE

    def settings(self) -> dict[str, Any]:
        """By the dotted name of the setting; epochs depend on the rows."""
        return {
            'task.head': self.head,
            'optimizer.learning_rate': self.learning_rate,
            'optimizer.layer_decay': self.layer_decay,
            'optimizer.weight_decay': self.weight_decay,
            'task.warmup_rate': self.warmup_rate,
            'batch_size': self.batch_size,
        }


# Least tokens of text, widest model -> settings; the first row that fits counts. Those of models
# that read as much as the paper's are the reference's (electra, configure_finetuning.py).
TABLE: tuple[tuple[float, int, Fit], ...] = (
    (_PAPERS, 768, Fit('reference', 1e-4, 0.8, 500, 10)),
    (_PAPERS, _ANY_WIDTH, Fit('reference', 5e-5, 0.9, 500, 10)),
    (_SOME, 384, Fit('mean', 3e-4, 0.8, 1000, 10)),
    (_SOME, _ANY_WIDTH, Fit('mean', 1e-4, 0.8, 1000, 10)),
    (0, 384, Fit('mean', 5e-4, 1.0, 200, 10)),
    (0, _ANY_WIDTH, Fit('mean', 3e-4, 1.0, 200, 10)),
)


class Choice(NamedTuple):
    """What a run chose of the settings that were left unset."""

    fit: Fit
    origin: Origin
    by_reference: bool  # the reference's settings were asked for
    names: tuple[str, ...]  # settings that were unset, but for the number of epochs

    def epochs(self, usual: float, epoch_steps: int) -> float:
        """How often the rows are seen, where no setting has it; `usual`: by the task."""
        if self.by_reference:
            return usual
        wanted = -(-self.fit.least_steps // epoch_steps)
        return max(usual, min(self.fit.most_epochs, float(wanted)))

    def line(self, settings: Mapping[str, Any], rows: int, is_fresh: bool = False) -> str | None:
        """What was chosen and why, for people; None: every setting was given.

        `settings` are the values, by the dotted names of those that were unset; a model that
        `is_fresh` has nothing of the checkpoint but its shape.
        """
        if not settings:
            return None
        listed = ' '.join(f'{name}={_plain(value)}' for name, value in settings.items())
        why = f'what suits {rows:,} rows and a model of {self.origin}'
        if is_fresh and self.origin.tokens != 0:
            why = f'as for the checkpoint, to compare with it, if it were used: {why}'
        if self.by_reference:
            why = 'as config.task.defaults=reference has it'
        return f'chosen, because not typed: {listed} ({why})'


def origin(about: Mapping[str, Any], model: Settings | ModelConfig, where: str | None) -> Origin:
    """What a checkpoint is: by what it records, its model, and its name (None: from scratch)."""
    shape = model.num_layers, model.hidden_size
    if where is None:
        return Origin(*shape, 0.0)
    tokens = tokens_read(about, where)
    if tokens is None:
        return Origin(*shape, None)
    config = about['config']
    try:
        steps = int(about.get('steps') or config['total_steps'])
        is_first = steps <= stored_first_stage(config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f'{where} does not describe its training ({error!r})') from error
    return Origin(*shape, tokens, is_first)


def choose(settings: Settings, found: Origin) -> tuple[Settings, Choice]:
    """The settings with those filled in that were unset, but for epochs, which rows decide."""
    by_reference = settings.task.defaults == 'reference'
    tokens = _PAPERS if by_reference or found.tokens is None else found.tokens
    fit = next(
        fit for least, widest, fit in TABLE if tokens >= least and found.hidden_size <= widest
    )
    full, names = copy.deepcopy(settings), []
    for name, value in fit.settings().items():
        if fields.get(full, name) is None:
            fields.put(full, name, value)
            names.append(name)
    return full, Choice(fit, found, by_reference, tuple(names))


def _plain(value: Any) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value)


def _short(number: float) -> str:
    """A large number in three digits.

    >>> _short(21_504_000.0), _short(9.2e8), _short(3200)
    ('21.5 million', '0.92 billion', '3,200')
    """
    for size, word in ((1e9, 'billion'), (1e6, 'million')):
        if number >= 0.5 * size:
            return f'{number / size:.3g} {word}'
    return f'{number:,.0f}'
