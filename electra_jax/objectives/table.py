"""Every objective by name, bound to a run's config."""

import functools

from electra_jax.config.settings import Config
from electra_jax.core.errors import unknown
from electra_jax.model import bind
from electra_jax.objectives import inputs
from electra_jax.objectives.definition import Definition, Objective, Vocabulary
from electra_jax.objectives.electra import ELECTRA, ELECTRA_MASKED
from electra_jax.objectives.electric import ELECTRIC
from electra_jax.objectives.mlm import MLM
from electra_jax.objectives.restored import ALL_TOKENS_MLM, REPLACED_MLM
from electra_jax.objectives.teams import TEAMS
from electra_jax.objectives.two_stage import TWO_STAGE

OBJECTIVES: dict[str, Definition] = {
    'electra': ELECTRA,  # section 2
    'electra_masked': ELECTRA_MASKED,  # section 3.4, "ELECTRA 15%"
    'mlm': MLM,  # BERT
    'replaced_mlm': REPLACED_MLM,  # section 3.4, "Replace MLM"
    'all_tokens_mlm': ALL_TOKENS_MLM,  # section 3.4, "All-Tokens MLM"
    'electric': ELECTRIC,  # Clark et al. 2020
    'teams': TEAMS,  # Shen et al. 2021
    'two_stage': TWO_STAGE,  # section 3.2
}


def build(config: Config, vocabulary: Vocabulary) -> Objective:
    """The config's objective.

    Raises:
        ConfigError: its name is unknown.
    """
    name = config.objective.name
    if name not in OBJECTIVES:
        raise unknown('config.objective.name', name, OBJECTIVES)
    entry = OBJECTIVES[name]
    rows = bind.vocab_rows(config.model, vocabulary.size)
    return Objective(
        parts=entry.parts(config.model),
        draw=functools.partial(inputs.draw, config, vocabulary.special, rows),
        alone=inputs.alone,
        loss=functools.partial(entry.loss, config, vocabulary),
        totals=functools.partial(entry.totals, config, vocabulary),
        summary=entry.summary,
        example=functools.partial(entry.example, config, vocabulary),
        prepare=functools.partial(entry.prepare, config),
        signs=entry.signs,
    )
