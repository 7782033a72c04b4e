"""Scripts against an assistant: acts, references, conditions and citations, beside a control of shuffled states."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from pinembed.assistant.act import ABOUT, COMPARE, FILTER, GOES_WITH, MODIFY, SEARCH, Act
from pinembed.assistant.apply import UnclearError, limit_of, picked
from pinembed.assistant.condition import Condition
from pinembed.assistant.conversation import Assistant
from pinembed.assistant.scripts import ScriptedTurn, by_conversation
from pinembed.assistant.state import State
from pinembed.reports.assistant import ChatFigures, Share, Turn
from pinembed.reports.table import SearchResult


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One turn judged; None where there is nothing to judge."""

    held_out: bool
    name_right: bool
    whole_right: bool
    reference_right: bool | None
    conditions_hold: bool | None
    cites_shown: bool
    seconds: float


def measure_scripts(
    assistant: Assistant, turns: Sequence[ScriptedTurn], *, name: str
) -> tuple[ChatFigures, ChatFigures]:
    """Figures of an assistant, and of the same with the state of another conversation in each turn.

    Args:
        assistant: to be measured.
        turns: of all conversations.
        name: of the planner, for the report.
    """
    own, shuffled = list[Judged](), list[Judged]()
    strange: dict[int, State] = {}
    for place, scripted, judged, state, shown in _turn_by_turn(assistant, turns):
        own.append(judged)
        shuffled.append(_judged(assistant, strange.get(place, State()), scripted, state, shown)[0])
        strange[place] = state  # for the conversation after this one
    return _figures(own, name), _figures(shuffled, f"{name}, states shuffled")


def measure_turns(assistant: Assistant, turns: Sequence[ScriptedTurn], *, name: str) -> ChatFigures:
    """The figures of an assistant alone, in half of the time."""
    return _figures([judged for _, _, judged, _, _ in _turn_by_turn(assistant, turns)], name)


def _turn_by_turn(
    assistant: Assistant, turns: Sequence[ScriptedTurn]
) -> Iterator[tuple[int, ScriptedTurn, Judged, State, list[SearchResult]]]:
    """Each turn with its place in its conversation, its judgement, and the state and the list that it was said in."""
    for conversation in by_conversation(turns):
        state, shown = State(conversation=conversation[0].say.conversation), list[SearchResult]()
        for place, scripted in enumerate(conversation):
            judged, after, now = _judged(assistant, state, scripted, state, shown)
            yield place, scripted, judged, state, shown
            state, shown = after, now


def count_calls(assistant: Assistant, turns: Sequence[ScriptedTurn]) -> Share:
    """In how many turns the model made the act."""
    state, planned = State(), 0
    for scripted in turns:
        state, turn = assistant.turn(state, scripted.say.say)
        planned += turn.planner == "model"
    return Share(right=planned, of=len(turns))


def _judged(
    assistant: Assistant, given: State, scripted: ScriptedTurn, state: State, shown: list[SearchResult]
) -> tuple[Judged, State, list[SearchResult]]:
    """A turn from a given state, judged by what its own state shows."""
    began_s = time.perf_counter()
    after, turn = assistant.turn(given, scripted.say.say)
    seconds = time.perf_counter() - began_s
    expect = scripted.expect
    judged = Judged(
        held_out=scripted.held_out,
        name_right=turn.act["name"] == expect.name,
        whole_right=_comparable(turn.act) == _comparable(expect.to_json()),
        reference_right=_refers_right(expect, turn, after, state, shown),
        conditions_hold=_holds(expect, turn, state, shown),
        cites_shown=set(turn.cites) <= {hit.id for hit in turn.shown},
        seconds=seconds,
    )
    return judged, after, list(turn.shown)


def _comparable(act: object) -> object:
    """A tool call without its texts, lists in any order."""
    if isinstance(act, dict):
        return {key: _comparable(value) for key, value in act.items() if key not in {"text", "question", "reason"}}
    if isinstance(act, list):
        return sorted(map(_comparable, act), key=str)
    return act


def _refers_right(expect: Act, turn: Turn, after: State, state: State, shown: Sequence[SearchResult]) -> bool | None:
    """Whether the turn spoke of the items that were meant; None where the list has no such places."""
    if expect.name not in {ABOUT, COMPARE, MODIFY, GOES_WITH} or not expect.items:
        return None
    if any(not 1 <= abs(place) <= len(shown) for place in expect.items):
        return None
    meant = {hit.id for hit in picked(expect.items, state, shown)}
    if expect.name == COMPARE and len(meant) < 2:
        return None  # the first and the last of a list of one
    if expect.name in {ABOUT, COMPARE}:
        return set(turn.cites) == meant
    search = after.now.search
    was_found = after.now != state.now and search is not None
    return {search.like or search.beside} == meant if was_found and search is not None else None


def _holds(expect: Act, turn: Turn, state: State, shown: Sequence[SearchResult]) -> bool | None:
    """Whether all that is shown satisfies the conditions that were said; None where nothing new is shown."""
    if expect.name not in {SEARCH, FILTER, MODIFY} or not turn.cites:
        return None
    conditions = [*expect.filters, *_limits(expect, state, shown)]
    return all(condition.holds(hit.fields) for condition in conditions for hit in turn.shown) if conditions else None


def _limits(expect: Act, state: State, shown: Sequence[SearchResult]) -> Iterator[Condition]:
    """The comparisons with items as the items stand on the list."""
    for relative in expect.relative:
        with suppress(UnclearError):
            yield limit_of(relative, state, shown, expect.items)


def _share(answers: Iterable[bool | None]) -> Share:
    judged = [answer for answer in answers if answer is not None]
    return Share(right=sum(judged), of=len(judged))


def _figures(judged: Sequence[Judged], name: str) -> ChatFigures:
    seconds = [one.seconds for one in judged] or [0.0]
    return ChatFigures(
        planner=name,
        acts=_share(one.name_right for one in judged if not one.held_out),
        acts_held_out=_share(one.name_right for one in judged if one.held_out),
        whole_acts=_share(one.whole_right for one in judged if not one.held_out),
        whole_acts_held_out=_share(one.whole_right for one in judged if one.held_out),
        references=_share(one.reference_right for one in judged if not one.held_out),
        references_held_out=_share(one.reference_right for one in judged if one.held_out),
        conditions=_share(one.conditions_hold for one in judged if not one.held_out),
        conditions_held_out=_share(one.conditions_hold for one in judged if one.held_out),
        citations=_share(one.cites_shown for one in judged),
        median_s=float(np.median(seconds)),
        p95_s=float(np.quantile(seconds, 0.95)),
    )
