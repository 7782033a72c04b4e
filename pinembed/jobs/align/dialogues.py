"""The user's own questions and answers as JSON lines: `{"items": ["a"], "question": "...", "answer": "..."}`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinembed.errors import DataError
from pinembed.nouns.item import Item
from pinembed.trimmed.questions import Dialogue

WANTED = 'wanted {"items": [...], "question": ..., "answer": ...}'


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnDialogue:
    """One line of the file.

    Attributes:
        items: ids, in the order that the question means.
        question: text.
        answer: text.
    """

    items: tuple[str, ...]
    question: str
    answer: str


def read_dialogues(path: Path) -> list[OwnDialogue]:
    """All lines of the file; empty ones are passed over.

    Raises:
        DataError: not readable, or a line is not what is wanted; names it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", remedy="Give UTF-8 JSON lines.") from error
    return [_parse(line, place=f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]


def about(dialogues: Sequence[OwnDialogue], items: Sequence[Item]) -> list[Dialogue]:
    """Those whose items are all among these, by their places."""
    row_of = {item.id: row for row, item in enumerate(items)}
    return [
        Dialogue(
            rows=tuple(row_of[item] for item in dialogue.items), question=dialogue.question, answer=dialogue.answer
        )
        for dialogue in dialogues
        if all(item in row_of for item in dialogue.items)
    ]


def _parse(line: str, *, place: str) -> OwnDialogue:
    try:
        stored: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place} is no JSON: {error}; {WANTED}.", remedy="Write one JSON object a line.") from error
    items = stored.get("items") if isinstance(stored, dict) else None
    texts = [stored.get(name) for name in ("question", "answer")] if isinstance(stored, dict) else []
    if not isinstance(items, list) or not items or not all(isinstance(item, str) for item in items):
        raise DataError(f"{place} names no items; {WANTED}.", remedy="Give a list of item ids.")
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(f"{place} lacks a question or an answer; {WANTED}.", remedy="Give both as text.")
    return OwnDialogue(items=tuple(items), question=stored["question"], answer=stored["answer"])
