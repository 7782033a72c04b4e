"""Progress: what a job tells whoever watches; Stop: what asks it to end after a whole commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pinembed.errors import StoppedError


class Progress(Protocol):
    """What the jobs call. The command line draws bars, cron lines or nothing from it."""

    def start(self, stage: str, total: int | None = None, unit: str = "it") -> None:
        """Begin a stage and end the one before; `total` in `unit`s, None where it is not known."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count n more units; `note` is a short live text such as a loss or a failure count."""

    def finish(self) -> None:
        """End the current stage."""

    def say(self, text: str) -> None:
        """One line of words for a person."""


class Silent:
    """A Progress that nobody watches: the default of every job."""

    def start(self, stage: str, total: int | None = None, unit: str = "it") -> None: ...
    def advance(self, n: int = 1, note: str = "") -> None: ...
    def finish(self) -> None: ...
    def say(self, text: str) -> None: ...


SILENT: Progress = Silent()


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
