"""What people see of long work: a progress bar on a terminal, plain lines in a file, and tables."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self, TypeVar

import rich.progress
from rich.console import Console

# Whole lines as they are: nothing is wrapped, coloured or read as markup.
OUT = Console(soft_wrap=True, highlight=False, markup=False)
ERR = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
LINE_SECONDS = 15.0  # between two lines where there is no terminal
_SLOW = 10.0  # seconds for one unit of work from which on they are shown, and no speed
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
        compiles: bool = False,
        decimals: int = 0,
        least: float = 0.0,
        detail: Callable[[], str] = lambda: '',
        clock: Callable[[], float] = time.monotonic,
    ):
        """Starts the bar and the clock.

        Args:
            what: names the work, for example 'training'.
            total: amount of work, in `unit`; 0 where it is not known.
            done: part of `total` that an earlier process has done.
            unit: plural name of what is counted, for example 'steps' or 'MB'.
            console: where bar and lines go.
            report: gets each line instead, without a bar; for work within other work that has one.
            line_seconds: between two lines where there is no bar; None: no lines of its own.
            quiet: show nothing.
            compiles: the first part of the work is slow, because programs are compiled, and does
                not count in the speed.
            decimals: of the work that is done, where one unit of it takes long.
            least: work from which on speed and time left are known, where its beginning is slow.
            detail: what is under way now, for the end of a line.
            clock: seconds, monotonic.
        """
        self._what, self._total, self._unit = what, total, unit
        self._start = self._done = done
        self._console, self._quiet = console, quiet
        self._skips_first, self._decimals = compiles, decimals
        self._least, self._detail = least, detail
        self._report = report or self.print
        self._line_seconds, self._clock = line_seconds, clock
        self._began = self._reported = clock()
        self._lines = 0  # printed so far
        self._shown = self._shown_done()  # in the newest line
        self._bar: rich.progress.Progress | None = None
        if console.is_terminal and report is None and not quiet:
            self._bar = rich.progress.Progress(
                rich.progress.TextColumn('{task.description}', markup=False),
                rich.progress.BarColumn(),
                rich.progress.TextColumn('{task.fields[amounts]}', markup=False),
                rich.progress.TimeElapsedColumn(),
                # The mean speed where it is not known at once, else that of the last seconds.
                rich.progress.TextColumn('{task.fields[left]}', markup=False)
                if least
                else rich.progress.TimeRemainingColumn(),
                rich.progress.TextColumn('{task.fields[detail]}', markup=False),
                console=console,
            )
            self._task = self._bar.add_task(
                what,
                total=total or None,
                completed=done,  # type: ignore[arg-type]  # which may be a part
                amounts='',
                left='',
                detail='',
            )
            self.advance(0.0)
            self._bar.start()
        self._alive = contextlib.ExitStack()
        if line_seconds is not None and not quiet:
            # Also while nothing is finished.
            self._alive.enter_context(self.alive(what, takes=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._alive.close()
        if self._bar is not None:
            self._bar.stop()

    def advance(self, amount: float = 1.0) -> None:
        """Counts work that is finished; prints a line with news where the last one is long ago."""
        self._done += amount
        if self._skips_first and amount:
            self._skips_first = False
            self._start, self._began = self._done, self._clock()
        if self._bar is not None:
            left = self.seconds_left()
            self._bar.update(
                self._task,
                completed=self._done,
                amounts=self._amounts(),
                left='' if left is None else f'{duration(left)} left',
                detail=self._detail(),
            )
        elif self._line_seconds is not None and self._done != self._total:
            now, amount_done = self._clock(), self._shown_done()
            if now - self._reported >= self._line_seconds and amount_done != self._shown:
                self._reported, self._shown = now, amount_done
                self._lines += 1
                left = self.seconds_left()
                eta = '' if left is None else f', ETA {duration(left)}'
                self._report(f'{self._what}: {self._amounts()}{eta}{self._after()}')

    def skip(self, amount: float) -> None:
        """Counts work that will not be done: no part of the speed, nor its time before any work."""
        if self._done <= self._start:
            self._began = self._clock()
        self._start += amount
        self.advance(amount)

    def _after(self) -> str:
        return f'; {detail}' if (detail := self._detail()) else ''

    def set_total(self, total: float) -> None:
        """Changes the amount of work."""
        self._total = total
        if self._bar is not None:
            self._bar.update(self._task, total=total)

    def print(self, text: str, left: float | None = None) -> None:
        """Prints a line, above the bar if there is one; else with the seconds that are `left`."""
        if self._quiet:
            return
        self._lines += 1
        if left is not None and self._bar is None:
            text += f'  ETA {duration(left)}'
        self._console.print(text)

    @contextlib.contextmanager
    def alive(self, what: str, takes: bool = True) -> Iterator[None]:
        """Shows that something goes on: the bar's own time does, or a line now and then.

        `takes`: the last line, where there is one, is about the time that it took.
        """
        if self._bar is not None or self._quiet:
            yield
            return
        with _lines(what, self._report, lambda: self._lines, takes, self._after):
            yield

    def seconds_left(self) -> float | None:
        """Time that the rest takes at the mean speed so far; None where that is not known yet."""
        done = self._worked()
        if not done or not self._total:
            return None
        return (self._clock() - self._began) / done * max(self._total - self._done, 0.0)

    def _worked(self) -> float:
        """What this process has done; 0 while that is too little for a speed."""
        done = self._done - self._start
        return done if done > 1e-9 and done >= self._least else 0.0

    def _shown_done(self) -> str:
        # What is not finished does not count, whatever the rounding of sums.
        scale = 10**self._decimals
        return f'{math.floor(self._done * scale + 1e-6) / scale:,.{self._decimals}f}'

    def _amounts(self) -> str:
        """Work done, all of it, and the mean speed."""
        of_all = f'/{self._total:,.0f}' if self._total else ''
        text = f'{self._shown_done()}{of_all} {self._unit}'
        done = self._worked()
        if not done:
            return text
        seconds = max(self._clock() - self._began, 1e-9)
        if seconds >= _SLOW * done:
            return f'{text}, {duration(seconds / done)} each'
        return f'{text}, {done / seconds:,.1f} {self._unit}/s'


@contextlib.contextmanager
def alive(what: str, console: Console = OUT) -> Iterator[None]:
    """Shows that work goes on which cannot be counted, such as compiling.

    On a terminal its time is shown in place; elsewhere a line is printed now and then, and one
    about the time that it took where there was any.
    """
    if console.is_terminal:
        columns = rich.progress.TextColumn('{task.description}', markup=False)
        with rich.progress.Progress(
            rich.progress.SpinnerColumn(), columns, rich.progress.TimeElapsedColumn(),
            console=console, transient=True,
        ) as shown:  # fmt: skip
            shown.add_task(what, total=None)
            yield
        return
    with _lines(what, console.print, lambda: 0):
        yield


@contextlib.contextmanager
def _lines(
    what: str,
    report: Callable[[str], None],
    printed: Callable[[], int],
    takes: bool = True,
    after: Callable[[], str] = lambda: '',
) -> Iterator[None]:
    """Prints that `what` goes on wherever nothing else was printed for `LINE_SECONDS`."""
    over, began, shown = threading.Event(), time.monotonic(), threading.Event()

    def show() -> None:
        before = printed()
        while not over.wait(LINE_SECONDS):
            if printed() == before:
                shown.set()
                report(f'{what}: {duration(time.monotonic() - began)} so far{after()}')
            before = printed()

    thread = threading.Thread(target=show, name='alive', daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if takes and shown.is_set():
        report(f'{what}: took {duration(time.monotonic() - began)}')


def track(
    items: Sequence[T], what: str, work: Callable[[T], float] | None = None, **options: object
) -> Iterator[T]:
    """The items, with a `Progress` over them.

    `work` is the amount of work in an item, in any unit, which speed and time left follow; None:
    each item is one.
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
