"""`pinembed ask`: a question about items, answered from their stored embeddings."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pinembed.cli.console import Console, plain
from pinembed.cli.options import Device, Json, Quiet
from pinembed.errors import DataError, UsageError

if TYPE_CHECKING:
    from pinembed.reports.ask import Answer, Question

Form = Literal["object", "lines", "stream", "text", "table"]


def command(
    model: Annotated[Path, typer.Option("--model", help="Folder that `pinembed align` wrote.", show_default=False)],
    source: Annotated[
        Path, typer.Option("--source", help="Embedding source that `pinembed export` wrote.", show_default=False)
    ],
    question: Annotated[
        str | None,
        typer.Argument(help="What to ask; with --jsonl it is for lines without one.", show_default=False),
    ] = None,
    item: Annotated[
        list[str] | None,
        typer.Option("--item", help="Item id; give it again for a question about several.", show_default=False),
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Ask about each --item apart.")] = False,
    jsonl: Annotated[
        str | None,
        typer.Option(
            "--jsonl",
            metavar="FILE",
            help='Questions from a file, or - for standard input: {"id", "question", "items"} a line; '
            "answers go out the same way.",
            show_default=False,
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option("--tokens", help="Soft tokens an item, up to what the model has.", show_default="all it has"),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Longest answer, in tokens.")] = 128,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Questions answered together.")] = 16,
    device: Device = "auto",
    dtype: Annotated[
        str, typer.Option("--dtype", help="auto for the type of the stored weights; float32, bfloat16 or float16.")
    ] = "auto",
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask a question about one or several items; the same question gets the same answer."""
    from pinembed.cli.console import stop_on_signals
    from pinembed.jobs.ask import ask

    stop_on_signals()
    questions = _questions(question, item or [], each, jsonl)
    form = _form(json_output, jsonl is not None, len(questions))
    answers_are_watched = form != "object" and sys.stdout.isatty()  # a bar would stand between their lines
    console = Console(json_output=json_output, quiet=quiet or answers_are_watched)
    report = ask(
        questions=questions,
        model=model,
        source=source,
        tokens=tokens,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        progress=console.progress,
        on_answer=functools.partial(_write_answer, form),
        on_text=_write if form == "stream" else None,
    )
    for name in report.unknown:
        typer.echo(f"unknown item: {name}", err=True)
    console.report(report)
    raise typer.Exit(report.exit_code)


def _questions(text: str | None, items: list[str], each: bool, jsonl: str | None) -> list[Question]:
    from pinembed.jobs.ask import parse_questions
    from pinembed.reports.ask import Question

    if jsonl is not None:
        if items or each:
            raise UsageError("--jsonl came with --item or --each.", remedy="Name the items in the lines of the file.")
        if jsonl == "-":
            return parse_questions(sys.stdin, origin="standard input", default_text=text)
        try:
            lines = Path(jsonl).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            raise DataError(f"{jsonl} cannot be read: {error}", remedy="Give UTF-8 JSON lines.") from error
        return parse_questions(lines, origin=jsonl, default_text=text)
    if text is None or not text.strip() or not items:
        raise UsageError(
            f"There is {'no item' if text else 'no question'}; wanted a QUESTION and at least one --item, or --jsonl.",
            remedy='For example: pinembed ask "What colour is it?" --model M --source S --item mug-001',
        )
    groups = [(item,) for item in items] if each else [tuple(items)]
    return [Question(id=" ".join(group), text=text, items=group) for group in groups]


def _form(json_output: bool, lines: bool, questions: int) -> Form:
    """How answers are written: the one object at the end, JSON lines, piece by piece, alone, or with their items."""
    if json_output:
        return "object"
    if lines:
        return "lines"
    if questions > 1:
        return "table"
    return "stream" if sys.stdout.isatty() else "text"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _write_answer(form: Form, answer: Answer) -> None:
    if form == "lines":
        _write(json.dumps(plain(answer), ensure_ascii=False) + "\n")
    elif form == "table":
        _write(f"{answer.id}\t{answer.answer or ''}\n")
    elif form == "stream":
        _write("\n")
    elif form == "text" and answer.answer is not None:
        _write(answer.answer + "\n")
