"""TensorBoard's event files, written at once and never at the cost of training.

tensorboardX's own writer hands events to a thread over a short queue. Where that thread ends (a
full disk), the queue fills up and whoever adds to it waits forever.
"""

import time
from collections.abc import Callable, Mapping

from etils import epath
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from electra_jax.core import errors


class Events:
    """Scalars of one start of a run; after the first failure to write, none any more."""

    def __init__(self, folder: epath.Path, start: int, say: Callable[[str], None]):
        """Opens a file of its own.

        Args:
            folder: of all starts of the run.
            start: step that this one goes on from; what others wrote of later ones is hidden.
            say: told when events are given up.
        """
        self._folder, self._say = folder, say
        self._file: EventsWriter | None = None
        # The date is in the file's name, too, but it may jump back.
        self._guarded(lambda: self._open(start))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One event with all values."""
        tagged = [Summary.Value(tag=name, simple_value=x) for name, x in values.items()]
        event = Event(step=step, wall_time=time.time(), summary=Summary(value=tagged))
        self._guarded(lambda: self._add(event))

    def close(self) -> None:
        """Closes the file."""
        self._guarded(lambda: self._file.close() if self._file else None)
        self._file = None

    def _open(self, start: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = EventsWriter(str(self._folder / 'events'), filename_suffix=f'.{start}')
        again = SessionLog(status=SessionLog.START)
        self._add(Event(step=start + 1, wall_time=time.time(), session_log=again))

    def _add(self, event: Event) -> None:
        if self._file is not None:
            self._file.write_event(event)
            self._file.flush()

    def _guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # of a bucket these are no OSError
            self._file = None
            self._say(
                f'{self._folder} cannot be written ({errors.first_line(error)}): no more events '
                'for TensorBoard until the next start; metrics.jsonl has everything'
            )
