"""A turn of a conversation: what was said to an act, the act to results or an answer, and the state after it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from pinembed.assistant.act import SEARCH, Act
from pinembed.assistant.answer import (
    Answer,
    about_answer,
    compare_answer,
    list_answer,
    nothing_answer,
    rest_notes,
)
from pinembed.assistant.apply import AskedBack, Told, Wanted, WentBack, apply
from pinembed.assistant.condition import Condition
from pinembed.assistant.lexicon import Lexicon
from pinembed.assistant.retrieval import Retriever
from pinembed.assistant.rules import Plan, plan_by_rules
from pinembed.assistant.state import Moment, Search, State
from pinembed.errors import ServerError
from pinembed.reports.assistant import Turn, TurnSeconds
from pinembed.reports.table import SearchResult

MOST_RELAXED = 3
LONGEST_SAY = 2000
Planner = Callable[[str, State, Sequence[SearchResult]], Plan | None]


class Speaker(Protocol):
    """Answers a question about items, from their stored embeddings."""

    def __call__(
        self,
        items: Sequence[SearchResult],
        question: str,
        *,
        compared: bool,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """The answer; empty where nothing can be said. `on_text` is called with its pieces as they come.

        Raises:
            ServerError: the server that should answer does not.
        """


class Assistant:
    """Answers turn after turn; it keeps nothing between turns but the catalogue.

    Args:
        retriever: finds items.
        lexicon: of the table.
        k: length of a list.
        planner: makes the act where it can, before the rules; None for the rules alone.
        speaker: answers questions about items beside the table's values; None for these alone.
        on_text: called with the pieces of an answer that a speaker takes part in, as they come.
    """

    def __init__(
        self,
        retriever: Retriever,
        lexicon: Lexicon,
        *,
        k: int,
        planner: Planner | None = None,
        speaker: Speaker | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> None:
        self._retriever = retriever
        self._lexicon = lexicon
        self._k = k
        self._planner = planner
        self._speaker = speaker
        self._on_text = on_text

    def turn(self, state: State, say: str) -> tuple[State, Turn]:
        """The state after something was said, and what is answered.

        Raises:
            TableError: the table cannot be read.
        """
        say = say[:LONGEST_SAY]
        began_s = time.perf_counter()
        shown = self._retriever.rows(state.now.shown)
        plan = self._plan(say, state, shown)
        planned_s = time.perf_counter()
        after, items, answer, notes = self._done(plan.act, state, shown)
        ended_s = time.perf_counter()
        after = dataclasses.replace(after, turns=state.turns + 1)
        turn = Turn(
            conversation=state.conversation,
            turn=after.turns,
            say=say,
            act=plan.act.to_json(),
            planner=plan.planner,
            state=after.to_json(),
            shown=tuple(items),
            answer=answer.text,
            cites=answer.cites,
            notes=tuple(dict.fromkeys((*plan.notes, *notes))),
            seconds=TurnSeconds(plan=planned_s - began_s, answer=ended_s - planned_s),
        )
        return after, turn

    def _plan(self, say: str, state: State, shown: Sequence[SearchResult]) -> Plan:
        notes = list[str]()
        try:
            if self._planner is not None and (made := self._planner(say, state, shown)) is not None:
                return made
        except ServerError as error:
            notes.append(_silent(error))
        plan = plan_by_rules(say, state, shown, self._lexicon)
        return dataclasses.replace(plan, notes=(*plan.notes, *notes))

    def _done(
        self, act: Act, state: State, shown: list[SearchResult]
    ) -> tuple[State, list[SearchResult], Answer, list[str]]:
        """The act carried out: the state, what is shown then, the answer, and notes."""
        outcome = apply(act, state, shown, self._lexicon.vocabulary)
        if isinstance(outcome, AskedBack):
            return state, shown, Answer(text=outcome.reason), []
        if isinstance(outcome, WentBack):
            items = self._retriever.rows(outcome.state.now.shown)
            return outcome.state, items, self._listed(outcome.state.now, items), []
        if isinstance(outcome, Told):
            return state.spoken_of(outcome.ids), shown, *self._told(outcome, shown)
        return self._found(act, outcome, state, shown)

    def _found(
        self, act: Act, wanted: Wanted, state: State, shown: list[SearchResult]
    ) -> tuple[State, list[SearchResult], Answer, list[str]]:
        """The results of a search; where there are none, a list that was to be refined stays as it was.

        A new search that finds nothing takes the place of what was before all the same: the next words refine it.
        """
        k = wanted.count or self._k
        items = self._retriever.find(wanted.search, start=wanted.start, k=k, user=state.user)
        notes = rest_notes(act.text, act.avoid)
        if not items:
            answer = nothing_answer(wanted.search, self._relaxed(wanted.search), goes_on=bool(wanted.start))
            if wanted.search == state.now.search:
                return state, shown, answer, notes
            if shown and act.name != SEARCH:
                return dataclasses.replace(state, tried=wanted.search), shown, answer, notes
            return state.moved_to(Moment(search=wanted.search)), [], answer, notes
        ids = tuple(item.id for item in items)
        moment = Moment(search=wanted.search, start=wanted.start, shown=ids)
        return state.moved_to(moment), items, self._listed(moment, items), notes

    def _listed(self, moment: Moment, items: Sequence[SearchResult]) -> Answer:
        search = moment.search or Search()
        count = self._retriever.count(search.filters, without=search)
        return list_answer(self._lexicon.vocabulary, search, items, count, moment.start)

    def _relaxed(self, search: Search) -> list[tuple[Condition, int]]:
        """What each condition costs: how many items fit without it, the most first."""
        found = [
            (left_out, self._retriever.count([one for one in search.filters if one is not left_out], without=search))
            for left_out in search.filters
        ]
        return sorted(found, key=lambda pair: -pair[1])[:MOST_RELAXED]

    def _told(self, told: Told, shown: Sequence[SearchResult]) -> tuple[Answer, list[str]]:
        """What the table says, then what the speaker does; without the latter, and a note, where a server fails."""
        items = [item for item in shown if item.id in told.ids]
        make = compare_answer if told.compared else about_answer
        answer = make(self._lexicon, items, told.question)
        if self._speaker is None:
            return answer, []
        if self._on_text is not None:
            self._on_text(answer.text)
        try:
            said = self._speaker(items, told.question, compared=told.compared, on_text=self._on_own_line())
        except ServerError as error:
            return answer, [_silent(error)]
        return dataclasses.replace(answer, text=f"{answer.text}\n{said}".rstrip()), []

    def _on_own_line(self) -> Callable[[str], None] | None:
        """What hands the speaker's pieces on, below what the table says."""
        on_text, lead = self._on_text, "\n"
        if on_text is None:
            return None

        def take(piece: str) -> None:
            nonlocal lead
            on_text(lead + piece)
            lead = ""

        return take


def _silent(error: ServerError) -> str:
    return f"The model did not answer: {error.message} {error.remedy}"
