"""What an ability of a checkpoint is, and what its functions are handed."""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.templates import Labels
from electra_jax.inference.opened import Opened
from electra_jax.tokenizers.unknown import Unknown


@dataclasses.dataclass(frozen=True)
class Options:
    """What a person may choose; each ability names what it reads."""

    top_k: int = 5  # tokens that are proposed for a [MASK]
    scorer: str | None = None  # of texts, a key of `score.SCORERS`; None: by the checkpoint
    template: str | None = None  # of zero-shot classification, as `templates.parse` takes it
    # Likewise, as typed, or a tuple of each label with its words.
    labels: str | Labels | None = None


DEFAULTS = Options()


def check_options(options: Options, read: Collection[str], what: str) -> None:
    """Refuses options that `what`, which reads those in `read`, would not look at."""
    for name, value in vars(options).items():
        if value != getattr(DEFAULTS, name) and name not in read:
            raise ConfigError(f'--{name} is {value!r}, which {what} does not read: leave it out')


class Notes(NamedTuple):
    """What is counted while texts are read and answered."""

    complaints: Complaints
    unknown: Unknown


# Texts, notes -> a result for each, in their order.
Answer = Callable[[Sequence[TextExample], Notes], Iterator[Any]]
AT_ONCE = 1024


def in_turns(
    answer: Callable[[Sequence[Any], Notes], Iterator[Any]],
    examples: Sequence[Any],
    notes: Notes,
    at_once: int | None,
) -> Iterator[list[Any]]:
    """The results for `at_once` examples at a time (None: for all), in their order."""
    count = at_once or max(len(examples), 1)
    for first in range(0, len(examples), count):
        yield list(answer(examples[first : first + count], notes))


class Ability(NamedTuple):
    """Something that a checkpoint does with texts."""

    # A checkpoint on the devices -> the function that answers. Compiles nothing yet.
    # Raises CheckpointError: the checkpoint lacks what is needed.
    bind: Callable[[Opened, Options], Answer]
    # A text and its result -> a JSON object.
    to_json: Callable[[TextExample, Any], dict[str, Any]]
    # A task of texts by which files are read: single ones, if it does not say otherwise.
    task: Callable[[Opened, Options], Task] = lambda opened, options: opened.task
    # A text that cannot be answered raises UnusableError.
    check: Callable[[Opened, TextExample], None] = lambda opened, example: None
    # The texts of a file and their results -> what is reported about them; None: nothing.
    measure: Callable[[Sequence[TextExample], Sequence[Any]], dict[str, float]] | None = None
    at_once: int | None = AT_ONCE  # texts that are answered together; None: all of a file
    options: tuple[str, ...] = ()  # fields of `Options` that it reads
    labelled: bool = False  # whether labels in the files are read, to be measured by
    fills: bool = False  # whether [MASK] in a text is the masked token, and no text
