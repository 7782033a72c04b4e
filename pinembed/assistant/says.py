"""Says: lines of a script of conversations, `{"conversation": "a", "turn": 1, "say": "teal mugs"}`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pinembed.errors import DataError
from pinembed.stored import value_in

WANTED = 'wanted {"conversation": ..., "turn": ..., "say": ...}'


@dataclass(frozen=True, kw_only=True, slots=True)
class Say:
    """One thing that a person says.

    Attributes:
        conversation: its name.
        turn: its number in the conversation, from 1; None for the next.
    """

    conversation: str
    say: str
    turn: int | None = None


def read_says(lines: Iterable[str], *, origin: str, conversation: str) -> Iterator[Say]:
    """One a line, as they come; empty lines are passed over.

    Args:
        lines: of JSON.
        origin: where they come from, for messages.
        conversation: of a line that names none.

    Raises:
        DataError: a line is none; those before it were given.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = f"{origin}, line {number}"
            yield say_of(value_in(line, origin=place, wanted=WANTED), origin=place, conversation=conversation)


def say_of(stored: Any, *, origin: str, conversation: str) -> Say:
    """What a line of JSON holds as a turn; arguments and errors as for `read_says`."""
    if not isinstance(stored, dict) or not isinstance(stored.get("say"), str):
        raise DataError(f"{origin} says nothing; {WANTED}.", remedy='Give "say": a text.')
    turn, name = stored.get("turn"), stored.get("conversation", conversation)
    if turn is not None and (isinstance(turn, bool) or not isinstance(turn, int) or turn < 1):
        raise DataError(f"{origin} has the turn {turn!r}; {WANTED}.", remedy="Count turns from 1, or leave them out.")
    if not isinstance(name, str | int):
        raise DataError(f"{origin} has the conversation {name!r}; {WANTED}.", remedy="Name it with a text.")
    return Say(conversation=str(name), say=stored["say"], turn=turn)
