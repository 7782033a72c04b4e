"""`pinembed ask`: a question about items, answered from their stored embeddings."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Literal

import typer

from pinembed.cli.console import Console, json_line, write_out
from pinembed.nouns.progress import SILENT
from pinembed.settings.model import AskSettings

if TYPE_CHECKING:
    from pinembed.reports.trimmed import Answer

Form = Literal["object", "lines", "stream", "text", "table"]


def run(settings: AskSettings, console: Console) -> None:
    """Ask a question about one or several items; the same question gets the same answer."""
    from pinembed.jobs.ask import ask, read_questions

    questions = read_questions(settings)
    form = _form(console.json_output, settings.jsonl is not None, len(questions))
    answers_are_watched = form != "object" and sys.stdout.isatty()  # a bar would stand between their lines
    report = ask(
        settings,
        questions=questions,
        progress=SILENT if answers_are_watched else console.progress,
        on_answer=functools.partial(_write_answer, form),
        on_text=write_out if form == "stream" else None,
    )
    for name in report.unknown:
        typer.echo(f"unknown item: {name}", err=True)
    console.end(report, report.exit_code)


def _form(json_output: bool, lines: bool, questions: int) -> Form:
    """How answers are written: the one object at the end, JSON lines, piece by piece, alone, or with their items."""
    if json_output:
        return "object"
    if lines:
        return "lines"
    if questions > 1:
        return "table"
    return "stream" if sys.stdout.isatty() else "text"


def _write_answer(form: Form, answer: Answer) -> None:
    if form == "lines":
        write_out(json_line(answer))
    elif form == "table":
        write_out(f"{answer.id}\t{answer.answer or ''}\n")
    elif form == "stream":
        write_out("\n")
    elif form == "text" and answer.answer is not None:
        write_out(answer.answer + "\n")
