"""Rules: a wish in English to one act, without a model. The first rule that applies decides."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pinembed.assistant import cues
from pinembed.assistant.act import (
    ABOUT,
    COMPARE,
    FILTER,
    GOES_WITH,
    LONGEST_TEXT,
    MODIFY,
    MORE_OF,
    MOST_PARTS,
    SEARCH,
    UNCLEAR,
    UNDO,
    Act,
    Sort,
)
from pinembed.assistant.condition import IN, Condition, number_in, same_as
from pinembed.assistant.lexicon import A_REFERENCE, ANY_VALUE, Lexicon
from pinembed.assistant.limits import moved_limit
from pinembed.assistant.state import State
from pinembed.assistant.wishes import Wish, read_wish
from pinembed.assistant.words import clean
from pinembed.reports.table import SearchResult

REFINES_KIND = r"^(?:but|or|and|also|what about|how about|only|just|instead|make)\b|\binstead\b"
CHANGES_FOCUS = r"^(?:but|in|and|what about|how about|with|the same|same|make|i(?:'d)? prefer|rather)\b"
WHAT_ABOUT = r"^(?:what|how) about\b"
WHICH_ONES = r"^(?:which (?:ones?|of \S+)|(?:are|is) (?:some|any|one|there any) of \S+)(?= |$)"
ADDS = r"^(?:or|plus|as well)\b|\balso\b|\b(?:as well|too|in addition)$"
A_VALUE_ONE = rf"\bthe (?:{ANY_VALUE} ?)+one\b"
FOR_USER = r"\b(?:customer|recommend\w*|would (?:he|she|they|\w+) like|suggest\w*)\b"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a planner made of an utterance.

    Attributes:
        planner: `rules` or `model`.
        notes: what was read as something else, for the person.
    """

    act: Act
    planner: str
    notes: tuple[str, ...] = ()


def plan_by_rules(say: str, state: State, shown: Sequence[SearchResult], lexicon: Lexicon) -> Plan:
    """The act that an utterance asks for.

    Args:
        say: what the person said.
        state: of the conversation.
        shown: the items of `state.now.shown`, in order.
        lexicon: of the table.
    """
    asked = _Asked(say=clean(say), wish=read_wish(say, lexicon), state=state, shown=shown, lexicon=lexicon)
    act = next((act for rule in RULES if (act := rule(asked)) is not None), None)
    act = _in_grammar(act) if act is not None else Act(name=UNCLEAR, reason=NOTHING)
    return Plan(act=act, planner="rules", notes=asked.wish.notes)


def _in_grammar(act: Act) -> Act:
    """The act within the bounds that its grammar sets, however long what was said is."""
    if 0 in act.items:
        return Act(name=UNCLEAR, reason="The list has no number 0.")
    text, avoid, question = (text[:LONGEST_TEXT] for text in (act.text, act.avoid, act.question))
    return dataclasses.replace(act, text=text, avoid=avoid, question=question, items=act.items[:MOST_PARTS])


NOTHING = "What are you looking for? Name a kind of thing, a value, or a price."


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """An utterance, its parts, and the moment it was said in."""

    say: str
    wish: Wish
    state: State
    shown: Sequence[SearchResult]
    lexicon: Lexicon

    @property
    def has_search(self) -> bool:
        return self.state.now.search is not None

    @property
    def kind(self) -> str:
        return self.lexicon.vocabulary.kind

    @property
    def names_kind(self) -> bool:
        return any(condition.column == self.kind for condition in self.wish.wanted)

    @property
    def has_changes(self) -> bool:
        wish = self.wish
        return bool(wish.filters or wish.relative or wish.rest or wish.avoid)

    @property
    def changes_an_item(self) -> bool:
        """Whether the words beside a reference change it; some that nothing explains may be but a remark on it."""
        wish = self.wish
        is_change = wish.has(cues.CHANGES) and not wish.has(cues.TELLS)
        return bool(wish.filters or wish.relative or ((wish.rest or wish.avoid) and is_change))

    @property
    def changes_pointed(self) -> bool:
        """Whether an item that is named by its values is wanted with another one: the floral one in teal."""
        wish = self.wish
        others = [one for one in wish.wanted if not any(one in pointed for pointed in wish.pointed)]
        return bool(others) and wish.has(A_VALUE_ONE)

    def items(self) -> tuple[int, ...]:
        """Positions that the words point at: by place, at the head of an order, or by what is shown of them."""
        wish = self.wish
        found = [position for reference in wish.references for position in reference.items] or self._beside()
        if not found and wish.superlative is not None:
            found = self._best(wish.superlative.sort, wish.superlative.count)
        if not found and not wish.references:
            found = [position for conditions in wish.pointed for position in self._which(conditions)]
        return tuple(dict.fromkeys(found))

    def _beside(self) -> list[int]:
        """The one after that, the one before it."""
        side, focus = re.search(rf"\bone (after|before) {A_REFERENCE}", self.wish.left), self.state.now.focus
        places = [place for place, one in enumerate(self.shown, start=1) if one.id in focus]
        if side is None or len(places) != 1:
            return []
        place = places[0] + (1 if side[1] == "after" else -1)
        return [place] if 1 <= place <= len(self.shown) else []

    def _best(self, sort: Sort, count: int) -> list[int]:
        known = [
            (number, position)
            for position, one in enumerate(self.shown, start=1)
            if (number := number_in(one.fields, sort.column)) is not None
            and all(condition.holds(one.fields) for condition in self.wish.wanted)
        ]
        ordered = sorted(known, key=lambda pair: (-pair[0] if sort.descending else pair[0], pair[1]))
        return [position for _, position in ordered[:count]]

    def _which(self, conditions: Sequence[Condition]) -> list[int]:
        """The first shown item of these values."""
        fitting = (
            position
            for position, one in enumerate(self.shown, start=1)
            if all(condition.holds(one.fields) for condition in conditions)
        )
        return [position for position in (next(fitting, None),) if position is not None]


def _obstacle(asked: _Asked) -> Act | None:
    return Act(name=UNCLEAR, reason=asked.wish.obstacle) if asked.wish.obstacle else None


def _says_only(wish: Wish, cue: str, known: Sequence[Condition] = ()) -> bool:
    """Whether a cue is there, and no value but known ones, number, place or unexplained word stands beside it."""
    if not re.search(cue, wish.plain) or re.sub(cue, "", f"{wish.rest} {wish.avoid}").strip():
        return False
    places = any(reference.items for reference in wish.references)
    is_new = any(condition not in known for condition in wish.filters) or bool(wish.drop or wish.shared)
    return not (is_new or wish.relative or wish.sort or wish.superlative or places)


def _undo(asked: _Asked) -> Act | None:
    before = [moment.search for moment in asked.state.before[-1:] if moment.search is not None]
    known = [condition for search in before for condition in search.filters]
    return Act(name=UNDO) if _says_only(asked.wish, cues.UNDO_CUES, known) else None


def _more(asked: _Asked) -> Act | None:
    wish, search = asked.wish, asked.state.now.search
    if search is None or not _says_only(wish, cues.MORE_CUES, search.filters):
        return None
    if re.search(cues.TELLS, wish.plain) or wish.has(cues.ALIKE_CUES) or (wish.references and wish.has(cues.GOES_CUES)):
        return None
    return Act(name=MORE_OF, count=wish.count)


def _compare(asked: _Asked) -> Act | None:
    wish = asked.wish
    items = asked.items()
    is_choice = wish.has(cues.QUESTION_CUES) or wish.has(f"{A_REFERENCE} (?:or|against) (?:the )?{A_REFERENCE}")
    is_choice = is_choice and len(wish.references) > 1 and len(items) > 1 and not wish.filters
    if not asked.has_search or not (wish.has(cues.COMPARE_CUES) or is_choice):
        return None
    return Act(name=COMPARE, items=items, question=asked.say)


def _goes_with(asked: _Asked) -> Act | None:
    if not asked.has_search or not asked.wish.has(cues.GOES_CUES):
        return None
    items = asked.items()
    filters = () if asked.wish.pointed and items and not asked.wish.references else asked.wish.filters
    return Act(name=GOES_WITH, items=items[:1], filters=filters, count=asked.wish.count)


def _about(asked: _Asked) -> Act | None:
    """A question about shown items, or nothing but a reference to some."""
    wish = asked.wish
    if not asked.has_search:
        return None
    items = asked.items()
    is_question = wish.has(cues.QUESTION_CUES) and not wish.has(cues.OFFERED_IN)
    is_question = is_question and not (wish.limits and not wish.references)  # what costs under 20?
    points = bool(wish.references or items) and (wish.superlative is None or wish.superlative.points or is_question)
    if wish.relative and all(reference.several or reference in wish.than for reference in wish.references):
        return None  # do these come cheaper? what costs less than the first?
    if re.search(WHICH_ONES, wish.left) and asked.has_changes and wish.superlative is None:
        return None
    if is_question and (points or (asked.state.now.focus and not asked.names_kind)):
        return Act(name=ABOUT, items=items, question=asked.say)
    is_open = is_question or (wish.has(WHAT_ABOUT) and bool(asked.state.now.focus))
    if is_open and not asked.has_changes and not wish.drop:
        return Act(name=ABOUT, items=items, question=asked.say)
    is_bare = not (wish.limits or wish.relative or wish.excluded or wish.drop or wish.has(cues.ALIKE_CUES))
    is_bare = is_bare and (not wish.rest or not asked.changes_an_item)
    is_named = bool(wish.pointed) and not wish.references and not asked.changes_pointed
    if points and is_bare and (not wish.wanted or is_named):
        several = any(reference.several and not reference.items for reference in wish.references)
        every = tuple(range(1, len(asked.shown) + 1)) if several and not items else items
        return Act(name=ABOUT, items=every, question=asked.say)
    return None


def _modify(asked: _Asked) -> Act | None:
    """Like a shown item, with other values."""
    wish, focus = asked.wish, asked.state.now.focus
    if not asked.has_search:
        return None
    is_known = bool(focus) or len(asked.shown) < 2  # what `it` is
    single = [one for one in wish.references if not one.several and (one.items or is_known)]
    single = [reference for reference in single if reference not in wish.than or len(single) > 1]
    is_alike = wish.has(cues.ALIKE_CUES)
    points = bool(single) and (asked.changes_an_item or is_alike)
    changes_focus = len(focus) == 1 and not wish.references and asked.has_changes
    changes_focus = changes_focus and (is_alike or (wish.has(CHANGES_FOCUS) and bool(wish.wanted or wish.rest)))
    changes_focus = changes_focus and not wish.has(r"\b(?:any|some)$|\bones\b")
    pointed = bool(wish.pointed) and (is_alike or asked.changes_pointed) and not wish.references and bool(asked.items())
    if not (points or changes_focus or pointed):
        return None
    items = single[0].items if single else asked.items() if pointed else ()
    wanted = [condition for condition in wish.wanted if not (pointed and condition in wish.pointed[0])]
    return Act(
        name=MODIFY,
        items=items[:1],
        text=wish.rest,
        avoid=wish.avoid,
        filters=(*wanted, *wish.excluded, *wish.limits),
        relative=wish.relative,
        count=wish.count,
    )


def _filter(asked: _Asked) -> Act | None:
    """The search that is shown, with other conditions."""
    wish = asked.wish
    if wish.relative and not asked.has_search:
        return Act(name=UNCLEAR, reason="There is no list yet to compare with. What are you looking for?")
    search = asked.state.now.search
    if search is None:
        return None
    begins_anew = asked.names_kind and not wish.has(REFINES_KIND) and not wish.relative
    sort = wish.sort or (wish.superlative.sort if wish.superlative else None)
    narrows = bool(
        wish.relative or wish.drop or wish.limits or wish.has(cues.FILTER_CUES) or wish.has(WHICH_ONES) or wish.excluded
    )
    narrows = narrows or (bool(wish.filters or sort or wish.avoid or wish.count) and not wish.rest)
    narrows = narrows or bool(asked.state.user and wish.has(FOR_USER))
    narrows = narrows or bool(wish.filters and any(one.column == asked.kind for one in search.filters))
    if begins_anew or not narrows:
        return None
    said = asked.has_changes or wish.drop or sort or wish.count or asked.state.user
    if not said:
        return None
    filters = _added(asked) if re.search(ADDS, wish.left) else wish.filters
    return Act(
        name=FILTER,
        text=wish.rest,
        avoid=wish.avoid,
        filters=filters,
        relative=wish.relative,
        drop=wish.drop,
        sort=sort,
        count=wish.count,
    )


def _moved_limit(asked: _Asked) -> Act | None:
    """Nothing but a number, where the search has a limit that it can be: that one, at the new number."""
    wish, search = asked.wish, asked.state.now.search
    if search is None or wish.filters or wish.relative or wish.references:
        return None
    if wish.rest.isdigit() and 1 <= int(wish.rest) <= len(asked.shown):
        return None  # a place on the list, perhaps
    limit = moved_limit(wish.rest, search.filters, asked.lexicon)
    return None if limit is None else Act(name=FILTER, filters=(limit,))


def _shared(asked: _Asked) -> Act | None:
    """What has an item's own value of a column: anything else in that style."""
    wish, focus = asked.wish, asked.state.now.focus
    pointed = [asked.shown[place - 1] for place in asked.items()[:1] if 1 <= place <= len(asked.shown)]
    items = pointed or [one for one in asked.shown if one.id in focus]
    if not wish.shared or len(items) != 1 or wish.has(cues.QUESTION_CUES):
        return None
    filters = (*wish.filters, *(one for name in wish.shared for one in same_as(items[0].fields, name)))
    made = Act(name=SEARCH, text=wish.rest, avoid=wish.avoid, filters=filters, sort=wish.sort, count=wish.count)
    if asked.names_kind:
        return made
    relative = (one if one.items else dataclasses.replace(one, items=asked.items()[:1]) for one in wish.relative)
    return dataclasses.replace(made, name=FILTER, relative=tuple(relative), drop=wish.drop)


def _added(asked: _Asked) -> tuple[Condition, ...]:
    """`Or red`: the values beside those that are wanted already."""
    search = asked.state.now.search
    old = {one.column: one.values for one in (search.filters if search else ()) if one.op == IN}
    wanted = tuple(
        Condition(column=one.column, op=IN, values=tuple(dict.fromkeys((*old.get(one.column, ()), *one.values))))
        for one in asked.wish.wanted
    )
    return (*wanted, *asked.wish.excluded, *asked.wish.limits)


def _search(asked: _Asked) -> Act | None:
    wish = asked.wish
    sort = wish.sort or (wish.superlative.sort if wish.superlative else None)
    everything = re.fullmatch(cues.EVERYTHING, wish.plain)
    if not (wish.filters or wish.rest or wish.avoid or sort or everything):
        return None
    return Act(name=SEARCH, text=wish.rest, avoid=wish.avoid, filters=wish.filters, sort=sort, count=wish.count)


RULES: Sequence[Callable[[_Asked], Act | None]] = (
    *(_obstacle, _undo, _more, _compare, _goes_with, _moved_limit, _shared, _about, _modify, _filter, _search),
)
