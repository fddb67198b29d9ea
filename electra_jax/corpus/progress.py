"""What a person sees while a corpus is being built: a bar, or now and then a line."""

import time
from types import TracebackType

import rich.console
import rich.progress

_LINE_SECONDS = 15.0  # between two lines where there is no terminal

console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)


class Progress:
    """Shows how far reading has come; a context manager."""

    def __init__(self, total_bytes: int) -> None:
        """`total_bytes` is what will be read from disk."""
        self._total = total_bytes
        self._done = 0
        self._started = self._told = time.monotonic()
        self._bar: rich.progress.Progress | None = None
        if console.is_terminal:
            self._bar = rich.progress.Progress(
                rich.progress.TextColumn('{task.description}'),
                rich.progress.BarColumn(),
                rich.progress.DownloadColumn(),
                rich.progress.TransferSpeedColumn(),
                rich.progress.TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task('building', total=total_bytes)

    def __enter__(self) -> 'Progress':
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, read_bytes: int) -> None:
        """Another piece is finished."""
        self._done += read_bytes
        if self._bar:
            self._bar.update(self._task, advance=read_bytes)
            return
        now = time.monotonic()
        if now - self._told >= _LINE_SECONDS:
            self._told = now
            console.print(self._line(now - self._started))

    def _line(self, seconds: float) -> str:
        speed = self._done / seconds
        text = f'  {self._done / 1e6:,.0f} MB read, {speed / 1e6:.1f} MB/s'
        if self._total and speed:
            left = max(self._total - self._done, 0) / speed
            text += f', {100 * self._done / self._total:.0f}%, about {left / 60:.1f} minutes left'
        return text
