"""What people see of long work: a progress bar on a terminal, plain lines in a file, and tables."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

import rich.progress
from rich.console import Console
from rich.text import Text

# Whole lines as they are: nothing is wrapped, coloured or read as markup.
OUT = Console(soft_wrap=True, highlight=False, markup=False)
ERR = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
LINE_SECONDS = 15.0  # between two lines where there is no terminal
T = TypeVar('T')


class Progress:
    """How far work has come, how fast it is, and how long the rest takes; a context manager.

    A bar on a terminal; elsewhere a line now and then, so that a log shows that work goes on.
    """

    def __init__(
        self,
        what: str,
        total: float,
        done: float = 0.0,
        unit: str = 'rows',
        *,
        console: Console = OUT,
        report: Callable[[str], None] | None = None,
        line_seconds: float | None = LINE_SECONDS,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Starts the bar and the clock.

        Args:
            what: names the work, for example 'training'.
            total: amount of work, in `unit`; 0 where it is not known.
            done: part of `total` that an earlier process has done.
            unit: plural name of what is counted, for example 'steps' or 'MB'.
            console: where bar and lines go.
            report: called with each line instead, and no bar is shown; for work within other work
                that has a bar.
            line_seconds: between two lines where there is no bar; None: no lines of its own.
            quiet: show nothing, for the processes of a run that are not the first.
            clock: seconds, monotonic.
        """
        self._what, self._total, self._unit = what, total, unit
        self._start = self._done = done
        self._console, self._quiet = console, quiet
        self._report = report or self.print
        self._line_seconds, self._clock = line_seconds, clock
        self._began = self._reported = clock()
        self._bar: rich.progress.Progress | None = None
        if console.is_terminal and report is None and not quiet:
            self._bar = rich.progress.Progress(
                rich.progress.TextColumn('{task.description}', markup=False),
                rich.progress.BarColumn(),
                _Amounts(unit),
                rich.progress.TimeElapsedColumn(),
                rich.progress.TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task(what, total=total or None)
            self._bar.update(self._task, completed=done)
            self._bar.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops the bar."""
        if self._bar is not None:
            self._bar.stop()

    def advance(self, amount: float = 1.0) -> None:
        """Counts work that is finished; prints a line where the last one is long ago."""
        self._done += amount
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
        elif self._line_seconds is not None and self._done != self._total:
            now = self._clock()
            if now - self._reported >= self._line_seconds:
                self._reported = now
                self._report(self._line())

    def print(self, text: str, eta: bool = False) -> None:
        """Prints a line, above the bar if there is one.

        Args:
            text: the line, as it is.
            eta: add the time that is left, unless the bar shows it.
        """
        if self._quiet:
            return
        if eta and self._bar is None and (left := self.seconds_left()) is not None:
            text += f'  ETA {duration(left)}'
        self._console.print(text)

    def seconds_left(self) -> float | None:
        """Time that the rest takes at the mean speed so far; None where that is not known yet."""
        done = self._done - self._start
        if not done or not self._total:
            return None
        return (self._clock() - self._began) / done * max(self._total - self._done, 0.0)

    def _line(self) -> str:
        speed = (self._done - self._start) / max(self._clock() - self._began, 1e-9)
        text = f'{self._what}: {_amounts(self._done, self._total, speed, self._unit)}'
        left = self.seconds_left()
        return text if left is None else f'{text}, ETA {duration(left)}'


def track(
    items: Sequence[T], what: str, work: Callable[[T], float] | None = None, **options: object
) -> Iterator[T]:
    """The items, with a `Progress` over them.

    Args:
        items: to be worked through.
        what: names the work.
        work: amount of work in an item, in any unit; speed and time left follow it. None: each
            item is one.
        options: further arguments of `Progress`.
    """
    amounts = [1.0] * len(items) if work is None else [work(item) for item in items]
    with Progress(what, sum(amounts), **options) as progress:  # type: ignore[arg-type]
        for item, amount in zip(items, amounts, strict=True):
            yield item
            progress.advance(amount)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose first column is flush left and whose others are flush right.

    >>> print(markdown(['metric', 'mean'], [['accuracy', '91.3']]), end='')
    | metric | mean |
    | --- | ---: |
    | accuracy | 91.3 |
    """
    rule = ['---', *['---:'] * (len(header) - 1)]
    cells = [[cell.replace('|', r'\|') for cell in row] for row in (header, *rows)]
    return ''.join(f'| {" | ".join(row)} |\n' for row in (cells[0], rule, *cells[1:]))


def duration(seconds: float) -> str:
    """Seconds as people read them.

    >>> duration(3725), duration(59)
    ('1h02m', '59s')
    """
    seconds = round(seconds)
    if seconds >= 3600:
        return f'{seconds // 3600}h{seconds % 3600 // 60:02d}m'
    return f'{seconds // 60}m{seconds % 60:02d}s' if seconds >= 60 else f'{seconds}s'


def _amounts(done: float, total: float | None, speed: float | None, unit: str) -> str:
    text = f'{done:,.0f}/{total:,.0f} {unit}' if total else f'{done:,.0f} {unit}'
    return f'{text}, {speed:,.1f} {unit}/s' if speed else text


class _Amounts(rich.progress.ProgressColumn):
    """The bar's text: work done, all of it, and the speed."""

    def __init__(self, unit: str):
        super().__init__()
        self._unit = unit

    def render(self, task: rich.progress.Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(_amounts(task.completed, task.total, speed, self._unit))
