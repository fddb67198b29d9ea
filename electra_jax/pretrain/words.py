"""How many words of its text a run reads, how often each corpus, and the limits of both.

A row stands for the mean words of a row of its corpus. Over whole epochs that is exact.
"""

import dataclasses
import math
import shlex
from collections.abc import Collection, Sequence
from typing import NamedTuple

from etils import epath

from electra_jax.config import length, mixture
from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config, DataConfig
from electra_jax.core import files
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.data import manifest
from electra_jax.data.manifest import Corpus
from electra_jax.pretrain.text import Text
from electra_jax.runtime import terminal
from electra_jax.train import workdir

_LEAST_STEPS = 2  # of a run: it may have two stages
_ALMOST = 1e-9  # of a step: what rounding may leave of a whole one


class Share(NamedTuple):
    """A corpus of a run, and the share of the run's rows that are of it."""

    corpus: Corpus
    share: float


def of_text(text: Text) -> list[Share]:
    """The corpora of a run that are open."""
    return _shares(text.corpora, text.weights)


def _of_settings(settings: Settings) -> list[Share]:
    """The corpora that settings name; none where one is not there yet."""
    paths = [] if settings.data.path is None else mixture.parse_paths(settings.data.path)
    if not all((epath.Path(path) / manifest.FILE_NAME).exists() for path, _ in paths):
        return []
    corpora = [manifest.described(path) for path, _ in paths]
    return _shares(corpora, [weight for _, weight in paths])


def _shares(corpora: Sequence[Corpus], weights: Sequence[float]) -> list[Share]:
    total = sum(weights)
    return [Share(one, weight / total) for one, weight in zip(corpora, weights, strict=True)]


def in_row(shares: Sequence[Share]) -> float | None:
    """The mean words in a row of the run; None: a corpus does not know its words."""
    if any(_words(one.corpus) is None for one in shares):
        return None
    return sum(
        one.share * (_words(one.corpus) or 0) / one.corpus.counts['train_rows'] for one in shares
    )


def _words(corpus: Corpus) -> int | None:
    words = corpus.counts.get('train_words')
    return words if type(words) is int and words > 0 else None


def _in_step(config: Config | Settings, shares: Sequence[Share], asked: str) -> float:
    """The mean words in a step, which is `asked` for by a setting.

    Raises:
        DataError: a corpus does not know its words; with what to type.
    """
    words = in_row(shares)
    if words is not None:
        return config.batch_size * words
    corpus = next(one.corpus for one in shares if _words(one.corpus) is None)
    raise DataError(
        f'config.{asked}, but the words of the corpus {corpus.path} were not counted: an earlier '
        f'version built it. To build it again, type {_prepare_again(corpus)}, and name '
        'that folder with --config.data.path'
    )


def _prepare_again(corpus: Corpus) -> str:
    """The command that builds a corpus again, of the same text and with its tokenizer, elsewhere.

    Its rows are the same, unless the text has changed.
    """
    names = (
        'source', 'validation_source', 'row_length', 'layout', 'image_size', 'holdout',
        'build_seed', 'on_bad_text', 'document_ends', 'one_segment_rate', 'short_row_rate',
    )  # fmt: skip
    usual = {one.name: one.default for one in dataclasses.fields(DataConfig)}
    made = {name: corpus.settings[name] for name in names if name in corpus.settings}
    made = {name: value for name, value in made.items() if value != usual[name]}
    made['piece_megabytes'] = corpus.settings.get('piece_bytes', 0) // 1_000_000
    if made['piece_megabytes'] in (0, usual['piece_megabytes']):
        del made['piece_megabytes']
    made |= {'path': files.unused(corpus.path), 'tokenizer.path': corpus.path}
    words = [f'--config.data.{name}={value}' for name, value in made.items()]
    return shlex.join(
        ['python', '-m', 'electra_jax.prepare', '--config=configs/corpus/text.py', *words]
    )


def most_steps(config: Config | Settings, shares: Sequence[Share]) -> float:
    """How many steps `config.max_exposures` allows; infinity where there is no cap."""
    most = _most(config, shares)
    return math.floor(most + _ALMOST) if most < math.inf else most


def _most(config: Config | Settings, shares: Sequence[Share]) -> float:
    """`most_steps`, not rounded."""
    if config.max_exposures is None:
        return math.inf
    per_exposure = (
        one.corpus.counts['train_rows'] / one.share / config.batch_size for one in shares
    )
    return config.max_exposures * min(per_exposure, default=math.inf)


def exposures(config: Config | Settings, steps: int, share: Share) -> float:
    """How often a corpus is read in so many steps."""
    return steps * config.batch_size * share.share / share.corpus.counts['train_rows']


def check_settings(settings: Settings, folder: epath.Path, typed: Collection[str]) -> None:
    """Refuses what can be refused before a device is looked for, of corpora that are there.

    `settings` are filled in (`config.resolve.fill`), `typed` are the names of those that were typed
    on the command line, and `folder` is the workdir.

    Raises:
        ConfigError: a corpus would be read too often.
        DataError: words are asked for, and a corpus does not know them.
    """
    if settings.job != 'pretrain' or settings.replay is not None:
        return
    if not (shares := _of_settings(settings)):
        return
    marks(settings, shares)
    if workdir.begun(folder) is not None:
        return  # its length is there
    if settings.words is not None:
        _steps(settings, shares, typed)
    elif settings.petaflop is None:
        check(settings, shares, folder)


def of_words(
    config: Config, shares: Sequence[Share], folder: epath.Path, typed: Collection[str] = ()
) -> Config:
    """The configuration with as many steps as read `config.words`, if it is set.

    A run that has begun in `folder` has its length already.

    Raises:
        ConfigError, DataError: as `check_settings`.
    """
    if config.words is None or workdir.begun(folder) is not None:
        return config
    total, most = _steps(config, shares, typed), most_steps(config, shares)
    if total > most >= _LEAST_STEPS:
        allowed = _most(config, shares) * _in_step(config, shares, 'words')
        terminal.OUT.print(
            f'config.words is {config.words:g}, of which config.max_exposures='
            f'{config.max_exposures:g} allows {math.floor(allowed):,}'
        )
        total = int(most)
    return length.with_total_steps(config, total, typed=typed)


def _steps(config: Config | Settings, shares: Sequence[Share], typed: Collection[str]) -> int:
    """The steps that read at most `config.words`; words that are typed must be allowed."""
    each = _in_step(config, shares, f'words is {config.words:g}')
    total = max(math.floor((config.words or 0) / each + _ALMOST), _LEAST_STEPS)
    if 'words' in typed:
        _check(config, total, shares, f'words={_text(_most(config, shares) * each)}')
    return total


def check(config: Config | Settings, shares: Sequence[Share], folder: epath.Path) -> None:
    """Refuses a run of `config.total_steps` that reads a corpus too often; or of any minutes."""
    if config.minutes is not None and workdir.begun(folder) is None:
        _check(config, _LEAST_STEPS, shares, '')  # their steps are not measured yet
        return
    most, less = most_steps(config, shares), ''
    if workdir.begun(folder) is not None:
        pass  # another length would be another run
    elif config.petaflop is not None:
        # So little less that rounding to steps does not undo it.
        petaflop = config.petaflop * most / (config.total_steps + 0.5)
        less = f'petaflop={_rounded_down(petaflop)}'
    elif config.words is None:
        less = f'total_steps={most}'
    _check(config, config.total_steps, shares, less)


def _check(config: Config | Settings, total: int, shares: Sequence[Share], less: str) -> None:
    """Refuses a length of `total` steps; `less` is the setting of one that is allowed, if any."""
    most = most_steps(config, shares)
    if total <= most:
        return
    times, path = max((exposures(config, total, one), str(one.corpus.path)) for one in shares)
    name = next((one for one in length.MEASURED if getattr(config, one) is not None), 'total_steps')
    value = getattr(config, name)
    shorter = f'--config.{less}, or ' if less and most >= _LEAST_STEPS else ''
    raise ConfigError(
        f'config.{name} is {value:{"," if name == "total_steps" else "g"}}, by which {path} is '
        f'read {times:.5g} times, but config.max_exposures is {config.max_exposures:g}: type '
        f'{shorter}--config.max_exposures={math.ceil(times)}'
    )


def _text(words: float) -> str:
    """Words as a whole number, rounded down."""
    return f'{math.floor(words + _ALMOST)}' if words < math.inf else ''


def _rounded_down(number: float) -> str:
    digits = 10 ** (4 - math.ceil(math.log10(number))) if 0 < number < math.inf else 1
    return f'{math.floor(number * digits) / digits:.4g}' if number < math.inf else ''


def marks(config: Config | Settings, shares: Sequence[Share]) -> dict[int, float]:
    """The steps whose checkpoints are kept for good -> the words of the setting that they reach.

    Raises:
        DataError: a corpus does not know its words.
    """
    asked = config.checkpoint.keep_at_words
    found = {}
    for words in length.kept_words(asked):
        each = _in_step(config, shares, f'checkpoint.keep_at_words is {asked!r}')
        step = max(math.ceil(words / each - _ALMOST), 1)
        if config.words is not None and step == config.total_steps + 1:
            step = config.total_steps  # which ends before it would read more words than it may
        found[step] = words
    return found


def line(config: Config, shares: Sequence[Share]) -> str | None:
    """Words and steps of a run, and how often it reads each corpus; None: words are not known."""
    if (words := in_row(shares)) is None:
        return None
    read = ', '.join(
        f'{one.corpus.path} {exposures(config, config.total_steps, one):.4g} times'
        for one in shares
    )
    total = config.total_steps * config.batch_size * words
    return f'{total:,.0f} words in {config.total_steps:,} steps, which read {read}'
