"""Every objective by name. To add one: a file with its factory, and a row here."""

import copy
import functools
from collections.abc import Callable, Collection
from typing import NamedTuple

from electra_jax.config import recipe
from electra_jax.config.fields import Settings
from electra_jax.config.resolve import check, fill, inherits_model
from electra_jax.config.settings import GENERATOR_KINDS, Config
from electra_jax.core.errors import ConfigError, unknown
from electra_jax.core.trees import Tree
from electra_jax.model.bind import NETWORKS, Model, bind
from electra_jax.objectives import masked, two_stage
from electra_jax.objectives.definition import Metrics, Objective, Vocabulary
from electra_jax.objectives.electra import electra
from electra_jax.objectives.electric import electric
from electra_jax.objectives.masks import table as masks
from electra_jax.objectives.mlm import mlm
from electra_jax.objectives.restored import restoring
from electra_jax.objectives.teams import teams

NO_NETWORK = 'uniform'  # `model.generator` of an objective without a generator: never run


class ObjectiveRow(NamedTuple):
    """What is known of an objective before a run."""

    build: Callable[[Config, Model, Vocabulary], Objective]
    # That it works with; the first is the default. (): it has no generator.
    generators: tuple[str, ...] = GENERATOR_KINDS
    # Whether the discriminator head, kept after training, gives the probability that a token was
    # replaced.
    detects: bool = False
    # Whether the metrics of its loss hold the generator's `Proposal.observed`.
    observes: bool = False
    # Raises ConfigError for settings, whose model is complete, that do not fit it.
    check: Callable[[Settings], None] = lambda settings: None

    @property
    def allowed_generators(self) -> tuple[str, ...]:
        """Values of `model.generator`."""
        return self.generators or (NO_NETWORK,)


OBJECTIVES: dict[str, ObjectiveRow] = {
    # Section 2, and 3.4: "ELECTRA 15%".
    'electra': ObjectiveRow(electra, detects=True, observes=True),
    'electra_masked': ObjectiveRow(
        functools.partial(electra, masked_only=True), detects=True, observes=True
    ),
    # BERT.
    'mlm': ObjectiveRow(mlm, generators=('tied',), observes=True),
    # Section 3.4: "Replace MLM", "All-Tokens MLM".
    'replaced_mlm': ObjectiveRow(functools.partial(restoring, everywhere=False), observes=True),
    'all_tokens_mlm': ObjectiveRow(functools.partial(restoring, everywhere=True), observes=True),
    # Clark et al. 2020; its head gives energies.
    'electric': ObjectiveRow(electric, generators=('two_tower',), observes=True),
    # Shen et al. 2021; its head belongs to another last layer than is kept.
    'teams': ObjectiveRow(teams, observes=True),
    # Section 3.2.
    'two_stage': ObjectiveRow(
        two_stage.two_stage,
        generators=('separate',),
        detects=True,
        observes=True,
        check=two_stage.check,
    ),
}


def build(config: Config, vocabulary: Vocabulary) -> Objective:
    """The objective of a run.

    Raises:
        ConfigError: its name is unknown, it does not work with the generator, or its record names
            networks that the model does not have.
    """
    row, rule = _row_of(config), masks.build(config, vocabulary)
    built = row.build(config, bind(config.model, vocabulary.size), vocabulary)
    name = config.objective.name
    _check_networks(name, built.networks)

    def remember(memory: Tree, metrics: Metrics) -> tuple[Tree, Metrics]:
        scalars = {name: x for name, x in metrics.items() if name not in rule.observed}
        if stray := {key: x for key, x in scalars.items() if x.ndim}:
            shapes = ', '.join(f'{key} {list(x.shape)}' for key, x in stray.items())
            raise ConfigError(
                f'the loss of config.objective.name={name} has metrics that are no single numbers: '
                f'{shapes}. Only what masks observe of a generator may be an array '
                f'(config.objective.masks={config.objective.masks}: '
                f'{", ".join(rule.observed) or "nothing"}): add each up to a scalar'
            )
        if lacking := [key for key in rule.observed if key not in metrics]:
            raise ConfigError(
                f'the loss of config.objective.name={name} has no {", ".join(lacking)}, which '
                f'config.objective.masks={config.objective.masks} learns from: pass on what '
                "Proposal.observed holds, or leave observes=True out of the objective's row"
            )
        observed = {key: metrics[key] for key in rule.observed}
        return rule.remember(memory, observed), scalars

    return built._replace(
        summary=masked.with_frequencies(vocabulary, built.summary),
        memory=rule.memory,
        remember=remember,
    )


def complete(settings: Settings, typed: Collection[str] = ()) -> Settings:
    """The settings, checked, with the generator that the objective needs where none is set.

    A generator's size in a recipe is ignored where the objective has no generator of its own size.

    Args:
        settings: of the recipe and the command line.
        typed: names of those that were typed on the command line.

    Raises:
        ConfigError: the objective is unknown, or other settings do not fit it.
    """
    full = copy.deepcopy(settings)
    row, model = _row_of(full), full.model
    masks.check(full.objective.masks)
    if inherits_model(settings):
        return full
    _check_masks(full, row)
    if model.generator is None:
        model.generator = row.allowed_generators[0]
        if 'objective.name' in typed:
            recipe.drop_unread(full, typed, ('model.generator',))
    if model.generator not in ('separate', 'two_tower'):
        for name in ('generator_width', 'generator_layers'):
            size = getattr(model, name)
            if f'model.{name}' in typed and size not in (None, 1.0):
                raise ConfigError(
                    f'config.model.{name} is {size}, but there is no generator of its own size '
                    f'(config.objective.name={full.objective.name}, '
                    f'config.model.generator={model.generator}): '
                    f'leave out --config.model.{name}={size}'
                )
            setattr(model, name, 1.0)
    row.check(fill(full))
    check(full)
    return full


def _check_networks(name: str, networks: Collection[str]) -> None:
    """Refuses an objective that trains nothing, or networks that the model does not have."""
    if isinstance(networks, str) or not networks:
        raise ConfigError(
            f'the networks of config.objective.name={name} are {networks!r}: a tuple of one or '
            f'more of {", ".join(NETWORKS)} is expected'
        )
    for network in networks:
        if network not in NETWORKS:
            raise unknown(f'a network of config.objective.name={name}', network, NETWORKS)


def _check_masks(settings: Settings, row: ObjectiveRow) -> None:
    """Refuses masks that learn from a generator which the objective does not show them."""
    name = settings.objective.masks
    if masks.MASKS[name].observes and not row.observes:
        others = [other for other, one in masks.MASKS.items() if not one.observes]
        raise ConfigError(
            f'config.objective.masks is {name!r}, which learns from what a generator predicts, and '
            f'config.objective.name={settings.objective.name} does not pass that on: choose '
            f'{", ".join(others[:-1])} or {others[-1]}'
        )


def _row_of(config: Config | Settings) -> ObjectiveRow:
    name, generator = config.objective.name, config.model.generator
    if name not in OBJECTIVES:
        raise unknown('config.objective.name', name, OBJECTIVES)
    row = OBJECTIVES[name]
    if generator is not None and generator not in row.allowed_generators:
        raise ConfigError(
            f'config.model.generator is {generator!r}, allowed with '
            f'config.objective.name={name}: {", ".join(row.allowed_generators)}'
        )
    return row
