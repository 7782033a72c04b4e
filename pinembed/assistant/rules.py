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
    Relative,
)
from pinembed.assistant.asked import Asked
from pinembed.assistant.condition import IN, NOT_IN, Condition, same_as
from pinembed.assistant.lexicon import A_KIND, A_REFERENCE, ANY_VALUE, Lexicon
from pinembed.assistant.references import Listed
from pinembed.assistant.refined import added, cleared, moved, reversed_order
from pinembed.assistant.small_talk import is_gibberish, is_remark, is_service, is_small_talk, parts_of
from pinembed.assistant.state import Search, State
from pinembed.assistant.walk import NOTHING_SAID
from pinembed.assistant.wishes import Wish, read_wish
from pinembed.assistant.words import clean
from pinembed.reports.table import SearchResult

OTHERS = (
    rf"{A_REFERENCE}.* [,;.?] (?:is there |are there |do you have |have you |got |but )*(?:anything|something|any|some|"
    r"others?)\b"
)
"""Behind an item that others are compared with."""
REFINES_KIND = r"^(?:but|or|and|also|what about|how about|only|just|instead|make)\b|\binstead\b|\bonly$"
CHANGES_FOCUS = r"^(?:but|in|and|what about|how about|with|the same|same|make|i(?:'d)? prefer|rather)\b"
ASKS_FOR = (
    r"^(?:(?:i|we)(?:'m| am|'d| would|'re)? )?(?:now )?(?:show|find|search|looking|need|want|after|get|buy|is there|"
    r"are there|"
    r"do you (?:have|sell|stock|carry)|have you got|got|any)\b(?! (?:something|anything|some|it|them))"
)
"""Before a thing that is wanted, where this is no `something` like what is shown."""
A_BARE_KIND = (
    rf"(?:(?:any|the|some|maybe|perhaps) )*{A_KIND}(?: (?:or|and) {A_KIND})*(?: ,)?(?: (?:ideally|maybe|perhaps))?"
)
OF_BOTH = r"^(?:and )?(?:(?:are|do|have|were|can) (?:they|these|those)|(?:\S+ )?both)\b"
"""A question about each of several things, and no choice between them."""
WHICH_OF = rf"^(?:and )?(?:which|who|what)(?: one)?(?: of {A_REFERENCE}|'s\b| is\b)"
"""A choice between those that are named, or were just compared."""
ANOTHER_KIND = rf"\b(?:look(?:ing)?|see|switch|move|go) (?:at|to|for|on to|over to)? ?(?:some |the )?{A_KIND} instead\b"
WHAT_ABOUT = r"^(?:what|how) about\b"
WHICH_ONES = r"^(?:which (?:ones?|of \S+)|(?:are|is) (?:some|any|one|there any) of \S+)(?= |$)"
ADDS = r"^(?:or|plus|as well|add)\b|\balso\b|\b(?:as well|too|in addition)$"
NO_REMARK = r"[\d{}<>\[\]]"
"""What stands in no remark beside a cue: numbers, which may be limits, and the signs of markup."""
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
    wish = _with_unshared(read_wish(say, lexicon, _listed(state, shown)), state, shown)
    wish = _with_forgotten(wish, state)
    asked = Asked(say=clean(say), wish=wish, state=state, shown=shown, lexicon=lexicon)
    act = next((act for rule in RULES if (act := rule(asked)) is not None), None)
    act = _in_grammar(act) if act is not None else Act(name=UNCLEAR, reason=NOTHING)
    return Plan(act=act, planner="rules", notes=asked.wish.notes)


def _listed(state: State, shown: Sequence[SearchResult]) -> Listed:
    places = {one.id: place for place, one in enumerate(shown, start=1)}
    return Listed(count=len(shown), spoken=tuple(places[name] for name in state.now.focus if name in places))


def _with_unshared(wish: Wish, state: State, shown: Sequence[SearchResult]) -> Wish:
    """Without the values of some columns that were wanted till now, or that what was spoken of last has."""
    search, focus = state.now.search, [one for one in shown if one.id in state.now.focus]
    known = [one for one in (search.filters if search else ()) if one.op == IN]
    known += [one for item in focus for name in wish.unshared for one in same_as(item.fields, name)]
    first = {one.column: one for one in reversed(known) if one.column in wish.unshared}
    gone = (dataclasses.replace(one, op=NOT_IN) for one in first.values())
    return dataclasses.replace(wish, excluded=(*wish.excluded, *gone))


def _with_forgotten(wish: Wish, state: State) -> Wish:
    """Values that shall go: the condition that wants no others is lifted, else items that have them are excluded."""
    search = state.now.search
    wanted = {one.column: set(one.values) for one in (search.filters if search else ()) if one.op == IN}
    new = {*wish.drop, *(one.column for one in wish.wanted)}
    gone = [one for one in wish.forgotten if one.column not in new]
    lifted = [one for one in gone if wanted.get(one.column, {""}) <= set(one.values)]
    excluded = (one for one in gone if one not in lifted)
    return dataclasses.replace(
        wish, drop=(*wish.drop, *(one.column for one in lifted)), excluded=(*wish.excluded, *excluded)
    )


def _in_grammar(act: Act) -> Act:
    """The act within the bounds that its grammar sets, however long what was said is."""
    if 0 in act.items:
        return Act(name=UNCLEAR, reason="The list has no number 0.")
    text, avoid, question = (text[:LONGEST_TEXT] for text in (act.text, act.avoid, act.question))
    return dataclasses.replace(act, text=text, avoid=avoid, question=question, items=act.items[:MOST_PARTS])


NOTHING = "What are you looking for? Name a kind of thing, a value, or a price."
OUT_OF_REACH = (
    "I know the items of this catalogue alone: ask for a kind of thing, a value or a price, or about an item."
)


def _service(asked: Asked) -> Act | None:
    """What is asked of the shop, or of nobody, and no word of a language."""
    words = asked.wish.rest.split()
    is_noise = bool(words) and all(map(is_gibberish, words)) and not asked.wish.avoid
    wants_nod = is_small_talk(asked.wish.plain) and not any(one.is_placed for one in asked.wish.references)
    if asked.names_nothing and (is_service(asked.said, asked.wish.plain) or wants_nod or is_noise):
        return Act(name=UNCLEAR, reason=OUT_OF_REACH)
    return None


def _remark(asked: Asked) -> Act | None:
    """What wants nothing of the catalogue; what is left behind it are wishes."""
    wish = asked.wish
    if (
        asked.names_nothing
        and (wish.rest or wish.avoid)
        and is_remark(asked.said, wish.plain)
        and not wish.has(cues.FILTER_CUES)
    ):
        return Act(name=UNCLEAR, reason=OUT_OF_REACH)
    return None


def _obstacle(asked: Asked) -> Act | None:
    return Act(name=UNCLEAR, reason=asked.wish.obstacle) if asked.wish.obstacle else None


def _says_only(asked: Asked, cue: str, known: Sequence[Condition] = ()) -> bool:
    """Whether a cue is there, and no value but known ones, number, place or unexplained word stands beside it."""
    wish = asked.wish
    rest = re.sub(cue, "", f"{wish.rest} {wish.avoid}").strip()
    is_apart = not re.search(NO_REMARK, asked.say) and any(_is_only(cue, part) for part in parts_of(wish.left))
    if not re.search(cue, wish.plain) or (rest and not is_apart):
        return False
    places = any(reference.is_placed for reference in wish.references)
    is_new = any(condition not in known for condition in wish.filters) or bool(wish.drop or wish.shared)
    is_compared = bool(wish.relative) and not (is_apart and cue == cues.UNDO_CUES)  # go back, that was too cheap
    return not (is_new or is_compared or wish.sort or wish.superlative or places)


def _is_only(cue: str, part: str) -> bool:
    """Whether a part of what was said is a cue and words that say nothing: slim pickings, go back."""
    words = re.sub(rf"{cue}|{ANY_VALUE}", "", part).split()
    return re.search(cue, part) is not None and set(words) <= NOTHING_SAID


def _undo(asked: Asked) -> Act | None:
    before = [moment.search for moment in asked.state.before[-1:] if moment.search is not None]
    known = [condition for search in before for condition in search.filters]
    return Act(name=UNDO) if _says_only(asked, cues.UNDO_CUES, known) else None


def _more(asked: Asked) -> Act | None:
    wish, search = asked.wish, asked.state.now.search
    if search is None or not _says_only(asked, cues.MORE_CUES, search.filters):
        return None
    if re.search(cues.TELLS, wish.plain) or wish.has(cues.ALIKE_CUES) or (wish.references and wish.has(cues.GOES_CUES)):
        return None
    return Act(name=MORE_OF, count=wish.count)


def _compare(asked: Asked) -> Act | None:
    wish = asked.wish
    items = asked.items()
    is_choice = wish.has(cues.QUESTION_CUES) or wish.has(f"{A_REFERENCE} (?:or|against) (?:the )?{A_REFERENCE}")
    is_choice = is_choice and len(wish.references) > 1 and len(items) > 1 and not wish.filters
    is_choice = is_choice and not re.search(OF_BOTH, asked.said)
    has_two = len(items) > 1 if wish.references else len(asked.state.now.focus) == 2
    is_choice = is_choice or (bool(wish.relative) and wish.has(WHICH_OF) and has_two)
    if not asked.has_search or not (wish.has(cues.COMPARE_CUES) or is_choice):
        return None
    return Act(name=COMPARE, items=items, question=asked.say)


def _goes_with(asked: Asked) -> Act | None:
    if not asked.has_search or not asked.wish.has(cues.GOES_CUES):
        return None
    items = asked.items()
    filters = () if asked.wish.pointed and items and not asked.wish.references else asked.wish.filters
    return Act(name=GOES_WITH, items=items[:1], filters=filters, count=asked.wish.count)


def _about(asked: Asked) -> Act | None:
    """A question about shown items, or nothing but a reference to some."""
    wish = asked.wish
    if not asked.has_search:
        return None
    items = asked.items()
    is_offered = wish.has(cues.OFFERED_IN) and not all(one.values[0] in (True, False) for one in wish.wanted)
    is_question = wish.has(cues.QUESTION_CUES) and not is_offered
    is_question = is_question and not (
        wish.limits and all(one.several for one in wish.references)
    )  # what costs under 20?
    points = bool(wish.references or items) and (wish.superlative is None or wish.superlative.points or is_question)
    if wish.drop and not items:
        return None  # what if the colour didn't matter
    if wish.sort and not is_question:
        return None  # put them in order, cheapest to dearest
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
    is_known = items or asked.state.now.focus or len(asked.shown) < 2 or any(one.several for one in wish.references)
    if points and is_known and is_bare and (not wish.wanted or is_named):
        several = any(reference.several and not reference.items for reference in wish.references)
        every = tuple(range(1, len(asked.shown) + 1)) if several and not items else items
        return Act(name=ABOUT, items=every, question=asked.say)
    return None


def _modify(asked: Asked) -> Act | None:
    """Like a shown item, with other values."""
    wish, focus = asked.wish, asked.state.now.focus
    if not asked.has_search:
        return None
    is_known = bool(focus) or len(asked.shown) < 2  # what `it` is
    is_alike = re.search(cues.ALIKE_CUES, wish.plain) is not None
    single = [one for one in wish.references if not one.several and (one.items or is_known or one.named or is_alike)]
    single = [reference for reference in single if reference not in wish.than or len(single) > 1]
    points = bool(single) and (asked.changes_an_item or is_alike)
    is_one = len(focus) == 1 or (len(asked.shown) == 1 and is_alike)
    changes_focus = is_one and not wish.references and asked.has_changes
    changes_focus = changes_focus and (is_alike or (wish.has(CHANGES_FOCUS) and bool(wish.wanted or wish.rest)))
    changes_focus = changes_focus and not wish.has(ADDS)
    changes_focus = changes_focus and (is_alike or not wish.has(r"\b(?:any|some)$|\bones\b"))
    pointed = bool(wish.pointed) and (is_alike or asked.changes_pointed) and not wish.references and bool(asked.items())
    if not (points or changes_focus or pointed) or _seeks_others(asked):
        return None
    items = next((one.items for one in single if one.items), ()) if single else asked.items() if pointed else ()
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


def _seeks_others(asked: Asked) -> bool:
    """Whether an item is named only to ask for others: the first is nice, anything cheaper?"""
    wish = asked.wish
    return bool(wish.relative) and not wish.filters and wish.has(OTHERS)


def _filter(asked: Asked) -> Act | None:
    """The search that is shown, with other conditions."""
    wish = asked.wish
    if wish.relative and not asked.has_search:
        return Act(name=UNCLEAR, reason="There is no list yet to compare with. What are you looking for?")
    search = asked.state.now.search
    if search is None:
        return None
    if _begins_anew(asked, search):
        return None
    sort = wish.sort or (wish.superlative.sort if wish.superlative else None)
    said = asked.has_changes or wish.drop or sort or wish.count or asked.state.user
    if not said:
        return None
    filters, drop = added(asked) if re.search(ADDS, wish.left) else (wish.filters, wish.drop)
    return Act(
        name=FILTER,
        text=wish.rest,
        avoid=wish.avoid,
        filters=filters,
        relative=_beside_named(asked) if _seeks_others(asked) else wish.relative,
        drop=drop,
        sort=sort,
        count=wish.count,
    )


def _beside_named(asked: Asked) -> tuple[Relative, ...]:
    return tuple(one if one.items else dataclasses.replace(one, items=asked.items()) for one in asked.wish.relative)


def _begins_anew(asked: Asked, search: Search) -> bool:
    """Whether a wish is no change of the search: another kind of thing, or one that no column knows."""
    wish = asked.wish
    if wish.has(rf"{cues.FRESH}|{cues.CLEARED}"):
        return True
    if not (len(wish.filters) > 1 and wish.has(ANOTHER_KIND)) and (wish.relative or wish.has(REFINES_KIND)):
        return False
    if asked.names_kind:
        had_kind = any(one.column == asked.kind and one.op == IN for one in search.filters)
        is_bare = bool(search.filters or search.text) and re.fullmatch(A_BARE_KIND, wish.left)
        return had_kind or not is_bare
    return asked.names_nothing and bool(wish.rest) and wish.has(ASKS_FOR) and not wish.has(cues.FILTER_CUES)


def _shared(asked: Asked) -> Act | None:
    """What has an item's own value of a column: anything else in that style."""
    wish, focus = asked.wish, asked.state.now.focus
    pointed = [asked.shown[place - 1] for place in asked.items()[:1] if 1 <= place <= len(asked.shown)]
    items = pointed or [one for one in asked.shown if one.id in focus or len(asked.shown) == 1]
    if not wish.shared or len(items) != 1 or wish.has(cues.QUESTION_CUES):
        return None
    filters = (*wish.filters, *(one for name in wish.shared for one in same_as(items[0].fields, name)))
    made = Act(name=SEARCH, text=wish.rest, avoid=wish.avoid, filters=filters, sort=wish.sort, count=wish.count)
    if asked.names_kind:
        return made
    relative = (one if one.items else dataclasses.replace(one, items=asked.items()[:1]) for one in wish.relative)
    return dataclasses.replace(made, name=FILTER, relative=tuple(relative), drop=wish.drop)


def _search(asked: Asked) -> Act | None:
    wish = asked.wish
    sort = wish.sort or (wish.superlative.sort if wish.superlative else None)
    everything = re.fullmatch(cues.EVERYTHING, wish.plain)
    if not (wish.filters or wish.rest or wish.avoid or sort or everything):
        return None
    return Act(name=SEARCH, text=wish.rest, avoid=wish.avoid, filters=wish.filters, sort=sort, count=wish.count)


RULES: Sequence[Callable[[Asked], Act | None]] = (
    *(
        _obstacle,
        cleared,
        _service,
        _undo,
        _more,
        _compare,
        _goes_with,
        reversed_order,
        moved,
        _shared,
        _about,
        _modify,
        _remark,
    ),
    *(_filter, _search),
)
