"""Progress: how a job tells what it is doing, without knowing whether anybody watches."""

from __future__ import annotations

from typing import Protocol


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
