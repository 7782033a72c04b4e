"""The user's own questions and answers as JSON lines.

`{"items": ["a"], "question": "...", "answer": "..."}`, or in the form of chats, with one turn each:
`{"items": ["a"], "messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}`.
"""

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
    return [_parse(line, index=f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]


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


def _parse(line: str, *, index: str) -> OwnDialogue:
    try:
        stored: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"{index} is no JSON: {error}; {WANTED}.", remedy="Write one JSON object a line.") from error
    items = stored.get("items") if isinstance(stored, dict) else None
    if not isinstance(items, list) or not items or not all(isinstance(item, str) for item in items):
        raise DataError(f"{index} names no items; {WANTED}.", remedy="Give a list of item ids.")
    question, answer = _turn(stored["messages"], index) if "messages" in stored else _texts(stored)
    if not all(isinstance(text, str) and text.strip() for text in (question, answer)):
        raise DataError(f"{index} lacks a question or an answer; {WANTED}.", remedy="Give both as text.")
    return OwnDialogue(items=tuple(items), question=question, answer=answer)


def _texts(stored: dict[str, Any]) -> tuple[Any, Any]:
    return stored.get("question"), stored.get("answer")


def _turn(messages: Any, index: str) -> tuple[Any, Any]:
    """The texts of a chat of one question and one answer."""
    turns = messages if isinstance(messages, list) else []
    roles = [turn.get("role") for turn in turns if isinstance(turn, dict)]
    if roles != ["user", "assistant"] or len(roles) != len(turns):
        raise DataError(
            f"{index} holds a chat of {', '.join(map(str, roles)) or 'nothing'}; "
            "wanted one user and one assistant turn.",
            remedy="Write a line for each question and its answer.",
        )
    return turns[0].get("content"), turns[1].get("content")
