"""The user's own dialogues as JSON lines.

A line is `{"items": ["a"], "question": "...", "answer": "..."}`, or a chat of any number of turns:
`{"items": ["a"], "messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}, ...]}`. The
items come with the first question; a user's message with `items` of its own brings further ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinembed.errors import DataError
from pinembed.nouns.item import Item
from pinembed.stored import lines_of, value_in
from pinembed.trimmed.questions import Dialogue, Turn

WANTED = 'wanted {"items": [...], "question": ..., "answer": ...}'
ROLES = ("user", "assistant")


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnTurn:
    """A question and its answer; `items` are ids that come with it, in the order that it means."""

    items: tuple[str, ...]
    question: str
    answer: str


OwnDialogue = tuple[OwnTurn, ...]
"""One line of the file."""


def read_dialogues(path: Path) -> list[OwnDialogue]:
    """All lines of the file; empty ones are passed over.

    Raises:
        DataError: not readable, or a line is not what is wanted; names it.
    """
    lines = enumerate(lines_of(path), start=1)
    return [_parse(line, index=f"{path}, line {number}") for number, line in lines if line.strip()]


def about(dialogues: Sequence[OwnDialogue], items: Sequence[Item]) -> list[Dialogue]:
    """The dialogues whose items are all among these, as indices of them."""
    row_of = {item.id: row for row, item in enumerate(items)}
    return [
        _dialogue(
            [
                Turn(rows=tuple(row_of[item] for item in turn.items), question=turn.question, answer=turn.answer)
                for turn in dialogue
            ]
        )
        for dialogue in dialogues
        if all(item in row_of for turn in dialogue for item in turn.items)
    ]


def turn_by_turn(dialogues: Sequence[Dialogue]) -> list[Dialogue]:
    """Each turn as a dialogue of its own, with those before it."""
    return [_dialogue(one.turns[:end]) for one in dialogues for end in range(1, len(one.turns) + 1)]


def _dialogue(turns: Sequence[Turn]) -> Dialogue:
    *earlier, last = turns
    before = tuple(Turn(rows=turn.rows, question=turn.question, answer=turn.answer) for turn in earlier)
    return Dialogue(rows=last.rows, question=last.question, answer=last.answer, earlier=before)


def _parse(line: str, *, index: str) -> OwnDialogue:
    stored = value_in(line, origin=index, wanted=WANTED)
    items = _items(stored, index) if isinstance(stored, dict) else ()
    if isinstance(stored, dict) and "messages" in stored:
        turns = _turns(stored["messages"], items, index)
    else:
        turns = [_turn(items, stored.get("question"), stored.get("answer"), index)] if items else []
    if not turns or not turns[0].items:
        raise _no_items(index)
    return tuple(turns)


def _items(stored: dict[str, Any], index: str) -> tuple[str, ...]:
    items = stored.get("items", [])
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _no_items(index)
    return tuple(items)


def _no_items(index: str) -> DataError:
    return DataError(f"{index} names no items; {WANTED}.", remedy="Give a list of item ids.")


def _turns(messages: Any, items: tuple[str, ...], index: str) -> list[OwnTurn]:
    """The turns of a chat in which user and assistant speak in turn."""
    said = messages if isinstance(messages, list) else []
    roles = [message.get("role") for message in said if isinstance(message, dict)]
    if not roles or len(roles) % 2 or roles != list(ROLES) * (len(said) // 2):
        raise DataError(
            f"{index} holds a chat of {', '.join(map(str, roles)) or 'nothing'}; "
            "wanted user and assistant in turn, the assistant last.",
            remedy="Write a user's message and its answer for each turn.",
        )
    pairs = zip(said[::2], said[1::2], strict=True)
    turns = [_turn(_items(user, index), user.get("content"), answer.get("content"), index) for user, answer in pairs]
    first = turns[0]
    return [OwnTurn(items=items + first.items, question=first.question, answer=first.answer), *turns[1:]]


def _turn(items: tuple[str, ...], question: Any, answer: Any, index: str) -> OwnTurn:
    if not all(isinstance(text, str) and text.strip() for text in (question, answer)):
        raise DataError(f"{index} lacks a question or an answer; {WANTED}.", remedy="Give both as text.")
    return OwnTurn(items=items, question=question, answer=answer)
