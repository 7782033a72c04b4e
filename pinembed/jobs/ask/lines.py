"""Questions from JSON lines: `{"id": "1", "question": "...", "items": ["a", "b"]}`, or `"item": "a"` for one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pinembed.errors import DataError
from pinembed.nouns.ask_report import Question

WANTED = 'wanted {"id": ..., "question": ..., "items": [...]}'


def parse_questions(lines: Iterable[str], *, place: str, default_text: str | None = None) -> list[Question]:
    """One question a line; empty lines are passed over.

    Args:
        lines: of the file.
        place: its name, for errors.
        default_text: asked where a line has no question of its own.

    Raises:
        DataError: a line is no JSON object, names no item, or has no question; nothing is asked then.
    """
    questions = [
        _parse(line, place=f"{place}, line {number}", number=number, default_text=default_text)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not questions:
        raise DataError(f"{place} holds no question; {WANTED} on each line.", remedy="Write one JSON object a line.")
    return questions


def _parse(line: str, *, place: str, number: int, default_text: str | None) -> Question:
    try:
        stored: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place} is no JSON: {error}; {WANTED}.", remedy="Write one JSON object a line.") from error
    if not isinstance(stored, dict):
        raise DataError(f"{place} is no JSON object; {WANTED}.", remedy="Write one JSON object a line.")
    items = stored.get("items", [stored["item"]] if "item" in stored else None)
    if not isinstance(items, list) or not items or not all(isinstance(item, str) for item in items):
        raise DataError(f"{place} names no items; {WANTED}.", remedy='Give "items": a list of ids, or "item": one id.')
    text = stored.get("question", default_text)
    if not isinstance(text, str) or not text.strip():
        raise DataError(
            f"{place} has no question; {WANTED}.", remedy="Give the line one, or give a QUESTION for all lines."
        )
    return Question(id=str(stored.get("id", number)), text=text, items=tuple(items))
