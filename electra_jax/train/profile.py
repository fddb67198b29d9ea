"""An optional profiler trace of a few steps, for TensorBoard's profile tab or Perfetto."""

import jax
from etils import epath

from electra_jax.config.settings import LogConfig


class Profiler:
    """Traces `profile_steps` steps from `profile_start` into `workdir/profile`."""

    def __init__(self, settings: LogConfig, workdir: epath.Path):
        self._first = settings.profile_start
        self._end = (settings.profile_start or 0) + settings.profile_steps
        self._folder = workdir / 'profile'
        self._running = False

    def before(self, step: int) -> None:
        """Starts the trace before its first step; called before each step."""
        if step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int, result: object) -> None:
        """Ends the trace once the result of its last step is there; called after each step."""
        if self._running and step + 1 >= self._end:
            jax.block_until_ready(result)
            self.stop()

    def stop(self) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
