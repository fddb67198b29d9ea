"""A clock that a test moves by hand."""


class FakeClock:
    """Called for the time, in seconds, like `time.monotonic`."""

    def __init__(self, now: float = 1000.0):
        self.now = now

    def __call__(self) -> float:
        return self.now
