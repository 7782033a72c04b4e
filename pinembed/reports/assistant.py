"""What `chat` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pinembed.reports.table import SearchResult


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnSeconds:
    """Where a turn's time went.

    Attributes:
        plan: from what was said to the act.
        answer: from the act to the answer, search included.
    """

    plan: float
    answer: float


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One thing said, and what came of it.

    Attributes:
        turn: its number in the conversation, from 1.
        act: the tool call: its name and arguments.
        planner: who made the act, `model` or `rules`.
        state: of the conversation after the turn; another process can go on from it.
        shown: the list after the turn, in order.
        answer: for a person.
        cites: ids that the answer speaks of; each of them is shown.
        notes: what was read as something else, or cannot be promised.
    """

    conversation: str
    turn: int
    say: str
    act: Mapping[str, Any]
    planner: str
    state: Mapping[str, Any]
    shown: tuple[SearchResult, ...]
    answer: str
    cites: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: TurnSeconds


@dataclass(frozen=True, kw_only=True)
class ChatReport:
    """Turns of one run.

    Attributes:
        turns: in the order in which they were said.
        load_seconds: until the first turn could begin.
    """

    table: str
    rows: int
    turns: tuple[Turn, ...]
    load_seconds: float
