"""What a person at the terminal sees of a command, and how their signals reach it."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

from pinembed.errors import PinembedError, StoppedError
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.settings.places import by_address
from pinembed.stored import plain

CRON_LINE_EVERY_S = 60.0
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but tab and line break; those that turn the direction of a text too."""


class Console:
    """Output of one command.

    Args:
        json_output: `--json` was given.
        quiet: `--quiet` was given.
        stop: is asked for by the process's signals; by default by none.

    Attributes:
        names: addresses of the places on this machine that stand for them.
    """

    def __init__(self, *, json_output: bool = False, quiet: bool = False, stop: Stop | None = None) -> None:
        self.json_output = json_output
        self.quiet = quiet
        self.stop = stop or Stop()
        self.names: Mapping[str, str] = {}
        self._object = ""
        self._words = RichConsole(stderr=json_output, highlight=False, soft_wrap=True)

    @property
    def progress(self) -> Progress:
        """A Progress for the job: bars, lines or nothing."""
        if self.quiet:
            return SILENT
        return _Bars(self.names) if sys.stderr.isatty() else _Lines(self.names)

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """A line of the command's answer for a person."""
        if not self.quiet:
            self._words.print(Text(visible(by_address(text, self.names)), style=style or ""))

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numeric_from: int = 1
    ) -> None:
        """A table; columns from `numeric_from` on are set flush right, and wrap their names but no figure."""
        if self.quiet:
            return
        table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        for index, name in enumerate(columns):
            numeric = index >= numeric_from
            table.add_column(
                name,
                justify="right" if numeric else "left",
                overflow="fold",
                min_width=max(map(len, ("", *name.split(), *(row[index] for row in rows)))) if numeric else None,
            )
        for row in rows:
            table.add_row(*(Text(visible(by_address(cell, self.names))) for cell in row))
        self._words.print(table)

    def report(self, report: Any) -> None:
        """The JSON object of the run, when --json asks for it; it goes out as `telling` ends."""
        if self.json_output:
            self._object = by_address(json_line(report), self.names)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Write the JSON object once all of the block has ended, with any exit code; an error has its own."""
        try:
            yield
        except typer.Exit:
            write_out(self._object)
            raise
        write_out(self._object)

    def end(self, report: Any, exit_code: int, *, error: PinembedError | None = None) -> NoReturn:
        """The report, and the end of the command; a code that is not 0 is told as this error, where one is given."""
        self.report(report)
        if exit_code and error is not None:
            print_error(error, json_output=False)
        raise typer.Exit(exit_code)


def write_out(text: str) -> None:
    """A piece of standard output, seen at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def print_error(error: PinembedError, *, json_output: bool) -> None:
    """Message and remedy on standard error; under --json the same as an object on standard output."""
    console = RichConsole(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), visible(error.message)))
    console.print(Text.assemble(("remedy: ", "bold"), visible(error.remedy)))
    if json_output:
        shown = {"message": error.message, "remedy": error.remedy, "exit_code": error.exit_code}
        sys.stdout.write(json_line({"error": shown}))


def json_line(value: Any) -> str:
    """A line of JSON, with an escape for what is no UTF-8 in a file's name."""
    line = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    return line.encode("utf-8", "backslashreplace").decode() + "\n"


def visible(text: str) -> str:
    """A text without the characters by which a file's name could move the cursor or colour the terminal."""
    return CONTROLS.sub(lambda found: repr(found.group())[1:-1], text)


class _Bars:
    """A tqdm bar a stage."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._bar: Any = None

    def start(self, stage: str, total: int | None = None, unit: str = "it") -> None:
        from tqdm import tqdm

        self.finish()
        self._bar = tqdm(
            desc=stage, total=total, unit=" " + unit, dynamic_ncols=True, leave=False, file=sys.stderr, smoothing=0.1
        )

    def advance(self, n: int = 1, note: str = "") -> None:
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(n)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text: str) -> None:
        from tqdm import tqdm

        tqdm.write(visible(by_address(text, self._names)), file=sys.stderr)


class _Lines:
    """A line at most each minute, for log files."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._stage, self._unit, self._note = "", "it", ""
        self._total: int | None = None
        self._done = 0
        self._started_s = self._last_s = time.monotonic()

    def start(self, stage: str, total: int | None = None, unit: str = "it") -> None:
        self.finish()
        self._stage, self._total, self._unit, self._done, self._note = stage, total, unit, 0, ""
        self._started_s = self._last_s = time.monotonic()

    def advance(self, n: int = 1, note: str = "") -> None:
        self._done += n
        self._note = note or self._note
        if time.monotonic() - self._last_s >= CRON_LINE_EVERY_S:
            self._last_s = time.monotonic()
            self.say(self._line())

    def finish(self) -> None:
        if self._stage and self._last_s > self._started_s:
            self.say(self._line())
        self._stage = ""

    def say(self, text: str) -> None:
        sys.stderr.write(visible(by_address(text, self._names)) + "\n")
        sys.stderr.flush()

    def _line(self) -> str:
        elapsed_s = max(time.monotonic() - self._started_s, 1e-9)
        rate = self._done / elapsed_s
        of_total = f"/{self._total}" if self._total is not None else ""
        left = f", {(self._total - self._done) / rate:.0f} s left" if self._total and rate else ""
        note = f", {self._note}" if self._note else ""
        return f"{self._stage}: {self._done}{of_total} {self._unit}, {rate:.1f} {self._unit}/s{left}{note}"


def stop_on_signals() -> Stop:
    """A Stop that the process's signals set. The second signal does not wait for the job's moment."""
    stop = Stop()

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.requested or not stop.is_deferred:
            stop.signum = signum
            raise StoppedError(signum)
        stop.signum = signum
        # not sys.stderr.write: the signal may come while a progress line is written through the same buffer
        os.write(2, b"\nStopping after this step; once more to stop at once.\n")

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    return stop
