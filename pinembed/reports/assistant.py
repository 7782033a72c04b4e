"""What `chat` and `evaluate-chat` return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """How many of some were right."""

    right: int
    of: int

    @property
    def value(self) -> float:
        """0 to 1; NaN of none."""
        return self.right / self.of if self.of else float("nan")


@dataclass(frozen=True, kw_only=True)
class ChatFigures:
    """One planner on scripted conversations.

    Attributes:
        planner: its name.
        acts: turns whose act is the one expected, in wordings that the rules were made by.
        acts_held_out: the same in wordings that are held out.
        whole_acts, whole_acts_held_out: turns whose act and all of its arguments but texts are the expected ones.
        references, references_held_out: turns that spoke of the very items that were meant.
        conditions, conditions_held_out: lists of which every item satisfies all that was said in the turn.
        citations: turns that cite shown items only.
        median_s, p95_s: of a whole turn.
    """

    planner: str
    acts: Share
    acts_held_out: Share
    whole_acts: Share
    whole_acts_held_out: Share
    references: Share
    references_held_out: Share
    conditions: Share
    conditions_held_out: Share
    citations: Share
    median_s: float
    p95_s: float


@dataclass(frozen=True, kw_only=True)
class AnswerFigures:
    """Answers to the letter in one turn of conversations about items.

    Attributes:
        turn: from 1.
        model: out of stored embeddings, with the model's own answers before.
        alone: by the model too, the plain question of the same item without the turns before.
        shuffled: by the model, with the items of another conversation.
        rules: by the rules, which read the value in the table.
    """

    turn: int
    model: Share
    alone: Share
    shuffled: Share
    rules: Share


@dataclass(frozen=True, kw_only=True)
class ComposedFigures:
    """This item, but in another colour: mean average precision over the whole table.

    Attributes:
        column: whose value is changed.
        map_column: where the column holds the value.
        map_hidden: where the column is hidden, so that the pictures decide.
        map_image: by the item's vector alone.
    """

    column: str
    queries: int
    map_column: float
    map_hidden: float
    map_image: float


@dataclass(frozen=True, kw_only=True)
class EvaluateChatReport:
    """What `evaluate-chat` measured.

    Attributes:
        conversations, turns: of the scripts.
        figures: of each planner, and of the same with states shuffled between conversations.
        composed: by column.
        answers: of the model by turn; none without one.
        calls: turns of the first conversations in which the model called a tool of the grammar, before the rules took
            over; None without a model. Where there is none, the model has no figures of its own.
        scripts: the file that the scripts were written to; None where none was asked for.
        plot: the same for the plot.
    """

    table: str
    conversations: int
    turns: int
    figures: tuple[ChatFigures, ...]
    composed: tuple[ComposedFigures, ...]
    answers: tuple[AnswerFigures, ...]
    calls: Share | None
    scripts: Path | None
    plot: Path | None
