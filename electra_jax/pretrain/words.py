"""How many words of its text a run reads, how often each corpus, and the limits of both.

A row stands for the mean words of a row of its corpus. Over whole epochs that is exact.
"""

import dataclasses
import math
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
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
_NEARLY = 0.05  # of the words that a run reads: what a cap may leave out of the last mark


class Share(NamedTuple):
    """A corpus of a run, and the share of the run's rows that are of it."""

    corpus: Corpus
    share: float


class Reading(NamedTuple):
    """What a run reads in each step, and for how many steps it may."""

    shares: Sequence[Share]
    batch_size: int
    in_step: float | None  # the mean words in a step; None: a corpus does not know its words
    most: float  # steps that `config.max_exposures` allows, not rounded; infinity: no cap

    @property
    def most_steps(self) -> float:
        return math.floor(self.most + _ALMOST) if self.most < math.inf else self.most

    def exposures(self, steps: int, share: Share) -> float:
        """How often a corpus is read in so many steps."""
        return steps * self.batch_size * share.share / share.corpus.counts['train_rows']

    def words(self, asked: str) -> float:
        """The mean words in a step, which is `asked` for by a setting.

        Raises:
            DataError: a corpus does not know its words; with what to type.
        """
        if self.in_step is not None:
            return self.in_step
        corpus = next(one.corpus for one in self.shares if _words(one.corpus) is None)
        raise DataError(
            f'config.{asked}, but the words of the corpus {corpus.path} were not counted: an '
            f'earlier version built it. To build it again, type {_prepare_again(corpus)}, and name '
            'that folder with --config.data.path'
        )


def bind(config: Config | Settings, text: Text) -> Reading:
    """What a run reads of its text."""
    return _bound(config, text.corpora, text.weights)


def of_settings(settings: Settings) -> Reading | None:
    """What a run reads of the corpora that settings name; None where one is not there yet."""
    paths = [] if settings.data.path is None else mixture.parse_paths(settings.data.path)
    if not paths or not all((epath.Path(one) / manifest.FILE_NAME).exists() for one, _ in paths):
        return None
    corpora = [manifest.described(path) for path, _ in paths]
    return _bound(settings, corpora, [weight for _, weight in paths])


def _bound(
    config: Config | Settings, corpora: Sequence[Corpus], weights: Sequence[float]
) -> Reading:
    shares = [
        Share(one, weight / sum(weights)) for one, weight in zip(corpora, weights, strict=True)
    ]
    rows = [one.share / one.corpus.counts['train_rows'] for one in shares]
    words = [_words(one) for one in corpora]
    known = [each for each in words if each is not None]
    in_row = sum(row * each for row, each in zip(rows, known, strict=False))
    return Reading(
        shares,
        config.batch_size,
        config.batch_size * in_row if len(known) == len(words) else None,
        math.inf
        if config.max_exposures is None
        else config.max_exposures / (config.batch_size * max(rows)),
    )


def _words(corpus: Corpus) -> int | None:
    words = corpus.counts.get('train_words')
    return words if type(words) is int and words > 0 else None


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


def check_settings(settings: Settings, folder: epath.Path, typed: Collection[str]) -> None:
    """Refuses what can be refused before a device is looked for, of corpora that are there.

    `settings` are filled in (`config.resolve.fill`), `typed` are the names of those that were typed
    on the command line, and `folder` is the workdir.

    Raises:
        ConfigError: a corpus would be read too often, or there are too few words for a run.
        DataError: words are asked for, and a corpus does not know them.
    """
    if settings.job != 'pretrain' or settings.replay is not None:
        return
    if (reading := of_settings(settings)) is None:
        return
    marks(settings, reading)
    if workdir.begun(folder) is not None:
        return  # its length is there
    if settings.words is not None:
        _steps(settings, reading, typed)
    elif settings.petaflop is None:
        check(settings, reading, folder)


def of_words(
    config: Config, reading: Reading, folder: epath.Path, typed: Collection[str] = ()
) -> Config:
    """The configuration with as many steps as read `config.words`, if it is set.

    A run that has begun in `folder` has its length already.

    Raises:
        ConfigError, DataError: as `check_settings`.
    """
    if config.words is None or workdir.begun(folder) is not None:
        return config
    total, most = _steps(config, reading, typed), reading.most_steps
    if total > most >= _LEAST_STEPS:
        total = int(most)
        terminal.OUT.print(
            f'config.words is {config.words:,.0f}, of which config.max_exposures='
            f'{config.max_exposures:g} allows {_most_words(reading):,}: {total:,} steps'
        )
    return length.with_total_steps(config, total, typed=typed)


def _steps(config: Config | Settings, reading: Reading, typed: Collection[str]) -> int:
    """The steps that read at most `config.words`; words that are typed must be allowed."""
    assert config.words is not None
    each = reading.words(f'words is {config.words:,.0f}')
    total = math.floor(config.words / each + _ALMOST)
    if total < _LEAST_STEPS:
        raise ConfigError(
            f'config.words is {config.words:,.0f}, but a step reads about {each:,.0f}, and a run '
            f'has {_LEAST_STEPS} steps at least: type --config.words='
            f'{math.ceil(_LEAST_STEPS * each)} or more, or a smaller --config.batch_size'
        )
    if 'words' in typed:
        _check(config, reading, total)
    return total


def check(config: Config | Settings, reading: Reading, folder: epath.Path) -> None:
    """Refuses a run of `config.total_steps` that reads a corpus too often; or of any minutes."""
    has_begun = workdir.begun(folder) is not None  # then another length would be another run
    is_measured = config.minutes is None or has_begun
    total = config.total_steps if is_measured else _LEAST_STEPS
    _check(config, reading, total, may_be_shorter=not has_begun)


def _check(
    config: Config | Settings, reading: Reading, total: int, may_be_shorter: bool = True
) -> None:
    """Refuses a length of `total` steps, with what to type."""
    if total <= reading.most_steps:
        return
    times, path = max(
        (reading.exposures(total, one), str(one.corpus.path)) for one in reading.shares
    )
    name = next((one for one in length.MEASURED if getattr(config, one) is not None), 'total_steps')
    value, shorter = getattr(config, name), ''
    if may_be_shorter and name in _ALLOWED and reading.most_steps >= _LEAST_STEPS:
        shorter = f'--config.{name}={_ALLOWED[name](config, reading)}, or '
    raise ConfigError(
        f'config.{name} is {value:{_SHOWN.get(name, "g")}}, by which {path} is read {times:.5g} '
        f'times, but config.max_exposures is {config.max_exposures:g}: type {shorter}'
        f'--config.max_exposures={math.ceil(times)}'
    )


def _most_words(reading: Reading) -> int:
    """The words that `config.max_exposures` allows, as a whole number."""
    return math.floor(reading.most * (reading.in_step or 0.0) + _ALMOST)


def _most_petaflop(config: Config | Settings, reading: Reading) -> str:
    """Four digits, rounded down; so little less that rounding to steps does not undo it."""
    most = (config.petaflop or 0.0) * reading.most_steps / (config.total_steps + 0.5)
    digits = 10 ** (4 - math.ceil(math.log10(most)))
    return f'{math.floor(most * digits) / digits:.4g}'


# A length -> its value that `config.max_exposures` allows. The steps of minutes are not known yet.
_ALLOWED: Mapping[str, Callable[[Config | Settings, Reading], object]] = {
    'total_steps': lambda _, reading: reading.most_steps,
    'petaflop': _most_petaflop,
    'words': lambda _, reading: _most_words(reading),
}
_SHOWN = {'total_steps': ',', 'words': ',.0f'}  # how messages show a length; others with 'g'


def marks(config: Config | Settings, reading: Reading) -> dict[int, float]:
    """The steps whose checkpoints are kept for good -> the words of the setting that they reach.

    Those after `config.total_steps` are not reached. The last step stands for a number that
    `config.words` has too, where the run ends just before it: because a whole step would read more,
    or because `config.max_exposures` leaves little of it out.

    Raises:
        DataError: a corpus does not know its words.
    """
    asked, total = config.checkpoint.keep_at_words, config.total_steps
    found = {}
    for words in length.kept_words(asked):
        each = reading.words(f'checkpoint.keep_at_words is {asked!r}')
        step = max(math.ceil(words / each - _ALMOST), 1)
        is_near = step == total + 1 or words <= (1 + _NEARLY) * total * each
        if step > total and is_near and words <= (config.words or 0.0):
            step = total
        found[step] = words
    return found


def kept_notes(
    config: Config, reading: Reading, begun: int, kept: Mapping[int, float]
) -> list[str]:
    """How many numbers of `config.checkpoint.keep_at_words` have a checkpoint, and why not all.

    The run goes on from the step `begun`, where the checkpoints `kept` are there.
    """
    if not (numbers := length.kept_words(config.checkpoint.keep_at_words)):
        return []
    found, total = marks(config, reading), config.total_steps
    behind = {words for step, words in found.items() if step <= begun} - set(kept.values())
    outside = {words for step, words in found.items() if step > max(total, begun)}
    same = set(numbers) - set(found.values())
    lacking = (
        (behind, f'the run goes on after them, from step {begun:,}'),
        (outside, f'the run ends before, with step {total:,}'),
        (same, 'the next number is reached by the same step'),
    )
    has = len(numbers) - sum(len(some) for some, _ in lacking)
    lines = [
        f'{has} of {len(numbers)} numbers of config.checkpoint.keep_at_words have a checkpoint',
        *[
            'no checkpoint is kept for good at '
            f'{", ".join(f"{one:,.0f}" for one in sorted(some))} words: {why}'
            for some, why in lacking
            if some
        ],
    ]
    end, read = found.get(total, 0.0), total * (reading.in_step or 0.0)
    if read < (1 - _ALMOST) * end:
        lines.append(f'the last checkpoint is the one of {end:,.0f} words, but reads {read:,.0f}')
    return lines


def line(config: Config, reading: Reading) -> str | None:
    """Words and steps of a run, and how often it reads each corpus; None: words are not known."""
    if reading.in_step is None:
        return None
    read = ', '.join(
        f'{one.corpus.path} {reading.exposures(config.total_steps, one):.4g} times'
        for one in reading.shares
    )
    total = config.total_steps * reading.in_step
    return f'{total:,.0f} words in {config.total_steps:,} steps, which read {read}'
