"""Stop: a polite request to end between two whole steps, set by the command line's signal handlers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pinembed.errors import StoppedError


class Stop:
    """Whether somebody asked the run to stop, and whether the job wants to choose the moment.

    A job that commits in steps works inside `with stop.deferred():` and calls `stop.check()` after each commit.
    Elsewhere the signal handler raises StoppedError at once.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.is_deferred = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Signals only set the request in here; on leaving, a request that came in is raised.

        Raises:
            StoppedError: on a clean exit of the block, when a stop was asked for meanwhile.
        """
        self.is_deferred = True
        try:
            yield
        finally:
            self.is_deferred = False
        self.check()

    @property
    def requested(self) -> bool:
        return self.signum is not None

    def check(self) -> None:
        """Raise when a stop was asked for.

        Raises:
            StoppedError: exit code 130 or 143.
        """
        if self.signum is not None:
            raise StoppedError(self.signum)
