"""Where numbers go: metrics.jsonl, TensorBoard, and the terminal."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from etils import epath
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from electra_jax.core import files
from electra_jax.runtime import distributed
from electra_jax.train.events import Events
from electra_jax.train.lines import Lines

METRICS_FILE = 'metrics.jsonl'
T = TypeVar('T')
_TELL_SECONDS = 10.0  # between two words on work that takes longer
ONCE = ('eval/unigram_loss',)  # does not change over a run: written the first time only


class Metrics:
    """Writes named floats by step, on the first host only."""

    def __init__(
        self, workdir: epath.Path, start: int, tensorboard: bool, say: Callable[[str], None]
    ):
        """Opens the files; lines of steps after `start` are those of a lost future and go.

        Args:
            workdir: of the run.
            start: step that the run goes on from.
            tensorboard: whether to write event files, too.
            say: told where these cannot be written.
        """
        self._on = distributed.is_first()
        if not self._on:
            return
        lines = drop_after(workdir / METRICS_FILE, start)
        self._written = {name for name in ONCE if any(name in line for line in lines)}
        self._lines = Lines(workdir / METRICS_FILE, lines, say)
        self._events = Events(workdir / 'tensorboard', start, say) if tensorboard else None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line of JSON and as many TensorBoard scalars; NaN becomes null."""
        if not self._on:
            return
        values = {k: v for k, v in values.items() if k not in self._written}
        self._written.update(name for name in ONCE if name in values)
        safe = {k: float(v) if math.isfinite(v) else None for k, v in values.items()}
        self._lines.add(json.dumps({'step': step, **safe}))
        if self._events is not None:
            self._events.write(step, values)

    def flush(self) -> bool:
        """Whether every line is on disk; a checkpoint must not be ahead of its metrics."""
        return not self._on or self._lines.flush()

    def close(self) -> None:
        """Flushes and closes both."""
        if not self._on:
            return
        self._lines.close()
        if self._events is not None:
            self._events.close()


def drop_after(path: epath.Path, step: int) -> list[str]:
    """Keeps the lines of `path` up to `step`, and returns them; a torn last line goes too."""
    if not path.exists():
        return []
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)['step'] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    files.write_whole(path, ''.join(line + '\n' for line in kept))
    return kept


class Terminal:
    """A progress bar with ETA where someone watches, plain lines where a file does."""

    def __init__(self, start: int, end: int):
        self._console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
        self._on = distributed.is_first()
        self._start, self._end, self._began = start, end, time.monotonic()
        self._progress = None
        if self._on and self._console.is_terminal:
            self._progress = Progress(
                TextColumn('{task.description}'),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._progress.add_task('training', total=end, completed=start)
            self._progress.start()

    def advance(self, step: int, text: str = '') -> None:
        """Moves the bar to `step` steps done."""
        if self._progress is not None:
            self._progress.update(self._task, completed=step, description=text or None)

    def log(self, step: int, text: str) -> None:
        """A line about `step`, with the time that is left where there is no bar."""
        if not self._on:
            return
        if self._progress is not None:
            self._progress.update(self._task, completed=step, description='training')
            self.say(f'step {step}  {text}')
            return
        spent = time.monotonic() - self._began
        left = spent / max(step - self._start, 1) * (self._end - step)
        self.say(f'step {step}/{self._end}  {text}  ETA {duration(left)}')

    def say(self, text: str) -> None:
        """A line as it is."""
        if self._on:
            self._console.print(text, markup=False)

    def close(self) -> None:
        """Takes the bar away."""
        if self._progress is not None:
            self._progress.stop()


def told(
    items: Sequence[T], work: Callable[[T], float], what: str, say: Callable[[str], None]
) -> Iterator[T]:
    """The items; every few seconds how many are done, and how long the others take, is said.

    Args:
        items: to be worked through.
        work: in an item, in any unit: the time that is left is reckoned by it.
        what: has been done with an item, in words.
        say: told so.
    """
    began = said = time.monotonic()
    done, whole = 0.0, sum(map(work, items))
    for number, item in enumerate(items):
        now = time.monotonic()
        if done and now - said > _TELL_SECONDS:
            left = (now - began) * (whole / done - 1)
            say(f'{what} {number:,}/{len(items):,}  ETA {duration(left)}')
            said = now
        yield item
        done += work(item)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(3725), duration(59)
    ('1h02m', '59s')
    """
    seconds = round(seconds)
    if seconds >= 3600:
        return f'{seconds // 3600}h{seconds % 3600 // 60:02d}m'
    return f'{seconds // 60}m{seconds % 60:02d}s' if seconds >= 60 else f'{seconds}s'


def summary_line(values: Mapping[str, float]) -> str:
    """A training line for the terminal."""
    shown = (
        ('loss', 'train/loss', '.3f'),
        ('mlm', 'train/mlm_loss', '.3f'),
        ('disc', 'train/disc_loss', '.4f'),
        ('fake', 'train/fake_rate', '.3f'),
        ('lr', 'train/learning_rate', '.2e'),
        ('tokens/s', 'speed/tokens_per_second', ',.0f'),
        ('mfu', 'speed/mfu', '.1%'),
    )
    return '  '.join(f'{name} {values[key]:{form}}' for name, key, form in shown if key in values)


def evaluation_line(step: int, evaluation: Mapping[str, float]) -> str:
    """An evaluation line for the terminal."""
    shown = '  '.join(f'{name} {value:.4f}' for name, value in evaluation.items())
    return f'step {step}  held-out: {shown}'


_SHOWN = 32  # tokens of an example that fit a screen


def example_lines(original: Sequence[str], shown: Sequence[str], doubt: Sequence[float]) -> str:
    """A token a line: what the model read, its doubt as number and bar, what stood there before.

    Args:
        original, shown: pieces of text before and after corruption.
        doubt: probability that a piece was replaced.
    """
    lines = ['held-out text with replaced tokens, and how sure the model is of each replacement:']
    for before, now, p in list(zip(original, shown, doubt, strict=True))[:_SHOWN]:
        was = f'<- was {before}' if before != now else ''
        lines.append(f'  {now:<18} {p:4.2f} {"#" * round(20 * p):<20} {was}'.rstrip())
    return '\n'.join(lines)
