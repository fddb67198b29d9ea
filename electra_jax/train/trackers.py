"""Programs that show the metrics of a run to people: TensorBoard, trackio, Weights & Biases.

`log.trackers` names them. Neither a full disk, nor a network or a service that is away, may stop or
slow training: what fails costs a line, and no more of that program until the next start. Event
files are written here and not by tensorboardX's own writer: that one hands events to a thread over
a short queue, and where the thread ends (a full disk) the queue fills up and training waits for it
forever.
"""

import contextlib
import functools
import importlib.util
import math
import os
import pathlib
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from etils import epath

from electra_jax.core import files
from electra_jax.core.errors import ConfigError, first_line, unknown

_PROJECT = 'electra_jax'  # that runs of this package belong to, at services
_MARK_FILE = 'trackers.json'  # in the workdir: what the run is called there
_KEYS = ('WANDB_API_KEY', 'WANDB_MODE', 'WANDB_IDENTITY_TOKEN_FILE')


Mark = Callable[[], str]  # the name of a run that no other run has


class Tracker(Protocol):
    """A run as another program has it; any method may raise what it likes."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the metrics of a step."""

    def close(self) -> None:
        """Hands over what still waits."""

    def leave(self) -> None:
        """Frees what it holds after another method has raised; hands over nothing."""


class _Events:
    """TensorBoard's scalars of one start of a run."""

    def __init__(self, workdir: epath.Path, start: int, mark: Mark):
        # tensorboardX imports PyTorch where it is installed, which takes seconds and is not needed.
        torch = sys.modules.get('torch')
        sys.modules['torch'] = torch  # type: ignore[assignment]  # None: it is not there
        try:
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto import event_pb2, summary_pb2
        finally:
            if torch is None:
                del sys.modules['torch']
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        folder = workdir / 'tensorboard'
        folder.mkdir(parents=True, exist_ok=True)
        # The name holds the date, too, but a wall clock may jump back.
        self._file = EventsWriter(str(folder / 'events'), filename_suffix=f'.{start}')
        # TensorBoard then hides what earlier starts wrote about later steps.
        started = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        try:
            self._add(step=start + 1, session_log=started)
        except Exception:  # each storage raises its own
            self.leave()
            raise

    def write(self, step: int, values: Mapping[str, float]) -> None:
        tagged = [self._summary.Value(tag=name, simple_value=x) for name, x in values.items()]
        self._add(step=step, summary=self._summary(value=tagged))

    def close(self) -> None:
        self._file.close()

    def leave(self) -> None:
        # The writer's own `close` writes first, and keeps the file open where that fails.
        with contextlib.suppress(Exception):  # each storage raises its own
            self._file._py_recordio_writer.close()

    def _add(self, **content: Any) -> None:
        self._file.write_event(self._event(wall_time=time.time(), **content))
        self._file.flush()


class _Service:
    """A run of a package that has the functions of wandb."""

    def __init__(self, run: Any):
        self._run = run

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({k: v for k, v in values.items() if math.isfinite(v)}, step=step)

    def close(self) -> None:
        self._run.finish()

    def leave(self) -> None:
        pass  # it may wait for a network that is away


def _trackio(workdir: epath.Path, start: int, mark: Mark) -> Tracker:
    import trackio

    name = f'{workdir.name}-{mark()}'
    return _Service(
        trackio.init(_PROJECT, name=name, config=_settings(workdir), resume='allow', embed=False)
    )


def _wandb(workdir: epath.Path, start: int, mark: Mark) -> Tracker:
    import wandb

    # Its own files go where a bucket cannot be.
    folder = None if '://' in str(workdir) else str(workdir)
    return _Service(
        wandb.init(
            project=_PROJECT, name=workdir.name, id=mark(), resume='allow',
            dir=folder, config=_settings(workdir),
        )
    )  # fmt: skip


class Row(NamedTuple):
    """What is known of a program."""

    package: str  # that must be installed; its extra is called as the program
    open: Callable[[epath.Path, int, Mark], Tracker]  # workdir, start, mark


TRACKERS: dict[str, Row] = {
    'tensorboard': Row('tensorboardX', _Events),
    'trackio': Row('trackio', _trackio),
    'wandb': Row('wandb', _wandb),
}


def check(text: str) -> tuple[str, ...]:
    """The names in a setting such as ``'tensorboard,wandb'``.

    Raises:
        ConfigError: a name is not known, its package is not installed, or nobody is logged in.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(',') if name.strip()))
    for name in names:
        if name not in TRACKERS:
            raise unknown('config.log.trackers', name, TRACKERS)
        package = TRACKERS[name].package
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f'config.log.trackers names {name}, which is not installed: type pip install '
                f"-e '.[{name}]', or leave it out"
            )
    if 'wandb' in names and not _knows_wandb():
        raise ConfigError(
            'config.log.trackers names wandb, which has no key here, and a run does not ask for '
            'one: type wandb login, or set WANDB_MODE=offline'
        )
    return names


def _knows_wandb() -> bool:
    """Whether wandb has a key, or needs none; it would ask the terminal for one otherwise."""
    if any(os.environ.get(name) for name in _KEYS):
        return True
    paths = [os.environ.get('NETRC'), *map(os.path.expanduser, ('~/.netrc', '~/_netrc'))]
    return any(b'wandb' in _read(pathlib.Path(path)) for path in paths if path)


def _read(path: pathlib.Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b''  # there is none, or none for this user


def _mark(workdir: epath.Path, start: int) -> str:
    """A name for a run that no other run has: a new one at step 0, and then the same one."""
    path = workdir / _MARK_FILE
    if start and path.exists():
        return str(files.parse_object(path.read_text())['mark'])
    mark = secrets.token_hex(4)
    files.write_whole(path, f'{{"mark": "{mark}"}}\n')
    return mark


def _settings(workdir: epath.Path) -> dict[str, Any]:
    path = workdir / 'config.json'
    return dict(files.parse_object(path.read_text())['config']) if path.exists() else {}


class Trackers:
    """The programs that a run names; one that fails is left out from then on."""

    def __init__(self, text: str, workdir: epath.Path, start: int, report: Callable[[str], None]):
        """Opens them for a run that goes on after step `start`; `report` prints what fails."""
        self._workdir, self._report = workdir, report
        mark = functools.cache(lambda: _mark(workdir, start))
        self._open: dict[str, Tracker] = {}
        for name in check(text):
            self._try(name, lambda name=name: self._add(name, start, mark))  # type: ignore[misc]

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Hands the metrics of a step to all of them."""
        for name, tracker in list(self._open.items()):
            self._try(name, lambda tracker=tracker: tracker.write(step, values))  # type: ignore[misc]

    def close(self) -> None:
        """Ends all of them."""
        for name, tracker in list(self._open.items()):
            self._try(name, tracker.close)

    def _add(self, name: str, start: int, mark: Mark) -> None:
        self._open[name] = TRACKERS[name].open(self._workdir, start, mark)

    def _try(self, name: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # of any kind: of a disk, a bucket, a network, a service
            if (tracker := self._open.pop(name, None)) is not None:
                tracker.leave()
            self._report(
                f'{name} gets no more of {self._workdir} until the next start '
                f'({first_line(error)}); metrics.jsonl has everything'
            )
