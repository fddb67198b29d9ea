"""An optional profiler trace of a few steps, for TensorBoard's profile tab or Perfetto."""

import jax
from etils import epath

from electra_jax.config.settings import LogConfig


class Profiler:
    """Traces `profile_steps` steps from `profile_start` into `workdir/profile`."""

    def __init__(self, settings: LogConfig, workdir: epath.Path):
        self._first = settings.profile_start
        self._count = settings.profile_steps
        self._folder = workdir / 'profile'
        self._running = False

    def before(self, step: int) -> None:
        """Call before each step; starts the trace at its first one."""
        if step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int, result: object) -> None:
        """Call after each step with its result; ends the trace when that is there."""
        if self._running and step + 1 >= self._first + self._count:
            jax.block_until_ready(result)
            self.stop()

    def stop(self) -> None:
        """Ends a running trace."""
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
