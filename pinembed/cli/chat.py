"""`pinembed chat`: talk to a catalogue, on a terminal, in a pipe, or by a script."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pinembed.cli.console import Console, json_line, write_out
from pinembed.nouns.progress import SILENT
from pinembed.settings.assistant import ChatSettings
from pinembed.stored import lines_of

if TYPE_CHECKING:
    from pinembed.assistant.says import Say
    from pinembed.reports.assistant import Turn

PROMPT = "> "
HELP = "Say what you are looking for; /sheet FILE draws the list as a contact sheet, /quit ends."
MOST_HISTORY = 1000


def run(settings: ChatSettings, console: Console) -> None:
    """Talk to a catalogue: search, refine, compare, ask, go back; every answer cites items that are shown."""
    from pinembed.jobs.chat import chat

    is_watched = settings.jsonl is None and sys.stdin.isatty() and sys.stdout.isatty()
    talk = _Talk(settings, console, is_watched=is_watched)
    shown = SILENT if is_watched else console.progress
    on_text = talk.tell if is_watched and not console.json_output else None
    report = chat(settings, says=talk.says(), progress=shown, on_turn=talk.answer, on_text=on_text)
    if settings.sheet is not None and report.turns:
        console.say(f"contact sheet: {settings.sheet}")
    console.report(report)


class _Talk:
    """Where turns come from, and where answers go."""

    def __init__(self, settings: ChatSettings, console: Console, *, is_watched: bool) -> None:
        self._settings = settings
        self._console = console
        self._is_watched = is_watched
        self._last: Turn | None = None
        self._told = ""

    def says(self) -> Iterator[Say]:
        from pinembed.assistant.says import Say, read_says

        settings = self._settings
        if settings.jsonl is not None:
            yield from read_says(_lines(settings.jsonl), origin=settings.jsonl, conversation=settings.conversation)
            return
        lines = self._typed() if self._is_watched else (line.strip() for line in sys.stdin)
        for line in lines:
            if line:
                yield Say(conversation=settings.conversation, say=line)

    def answer(self, turn: Turn) -> None:
        """Print an answer: JSON Lines, or a person's lines; with --json the object at the end has all of them."""
        self._last = turn
        if self._console.json_output:
            return
        if self._settings.jsonl is not None:
            write_out(json_line(turn))
            return
        notes = [f"({note})" for note in turn.notes]
        if self._told:  # a part of the answer stands there already, its notes come behind it
            write_out("\n".join([turn.answer.removeprefix(self._told) if self._fits(turn) else "", *notes]) + "\n")
            self._told = ""
            return
        write_out("\n".join([*notes, turn.answer]) + "\n")

    def _fits(self, turn: Turn) -> bool:
        """Whether the pieces are a beginning of the answer; a model that broke off has said more than it has."""
        return turn.answer.startswith(self._told)

    def tell(self, piece: str) -> None:
        """Print a piece of an answer as it comes."""
        self._told += piece
        write_out(piece)

    def _typed(self) -> Iterator[str]:
        """Lines typed on a terminal, with the history of former runs; commands of the terminal are done here."""
        with _history():
            self._console.say(HELP)
            while (line := _input()) is not None and line != "/quit":
                if line.startswith("/"):
                    self._command(line)
                else:
                    yield line

    def _command(self, line: str) -> None:
        from pinembed.jobs.chat import draw_turn

        word, _, argument = line.partition(" ")
        if word != "/sheet" or self._last is None or not self._last.shown:
            self._console.say(HELP)
            return
        path = Path(argument.strip() or "chat.png").expanduser()
        draw_turn(self._last, dataclasses.replace(self._settings, sheet=path))
        self._console.say(f"contact sheet: {path}")


def _input() -> str | None:
    try:
        return input(PROMPT).strip()
    except EOFError:
        write_out("\n")
        return None


def _lines(origin: str) -> Iterable[str]:
    return sys.stdin if origin == "-" else lines_of(Path(origin))


@contextmanager
def _history() -> Iterator[None]:
    """Readline's history of `chat`, kept in the cache folder; nothing where readline or the folder is missing."""
    from pinembed.machine import cache_folder

    path = cache_folder() / "chat_history"
    with suppress(ImportError, OSError):
        import readline

        readline.read_history_file(path)
    try:
        yield
    finally:
        with suppress(ImportError, OSError):
            import readline

            readline.set_history_length(MOST_HISTORY)
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
