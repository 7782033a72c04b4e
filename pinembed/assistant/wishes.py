"""Wish: what one utterance asks for, part by part: values, limits, comparisons, references, and the words left over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pinembed.assistant import cues, measures
from pinembed.assistant.act import LONGEST_LIST, Relative, Sort
from pinembed.assistant.amounts import CURRENCY, number_of
from pinembed.assistant.condition import IN, LESS, LOWER, MORE, NOT_IN, UPPER, Condition, Value, merged
from pinembed.assistant.lexicon import A_KIND, A_REFERENCE, ANY_VALUE, KIND, LIMIT, REFERENCE, Found, Lexicon
from pinembed.assistant.lifted import take_lifted
from pinembed.assistant.limits import take_limits
from pinembed.assistant.references import COUNT, NO_LIST, Listed, Reference, in_order, take_references
from pinembed.assistant.rewordings import reworded
from pinembed.assistant.units import UNIT_WORDS, is_rating, unit_names
from pinembed.assistant.walk import Walk

DOWN = r"descending|desc|(?:from )?high(?:est)? to low(?:est)?|downwards|(?:best|highest|largest|biggest|most) first"
UP = r"ascending|asc|(?:from )?low(?:est)? to high(?:est)?|upwards|(?:lowest|smallest|least) first"
SORTING = (
    r"(?:in )?(?:sort(?:ed)?|order(?:ed)?|rank(?:ed)?|arrange[d]?|list(?:ed)?|organi[sz]e[d]?)"
    r"(?: (?:them|these|those|it|this|everything|all|results|(?:the|this|my) (?:list|results|items|products|ones)))?"
)
SOME = COUNT.replace("one|", "", 1)
"""Numbers of more than one in words, and figures."""
NOUN = rf"(?:{A_KIND}|ones|items|things|products|results|options|pieces|alternatives|suggestions|pictures)"
COUNTS = (
    r"(?<!first )(?<!last )(?<!final )(?<!bottom )(?<!these )(?<!those )(?<!the )(?<!number )(?<!item )(?<!than )"
    rf"(?<!\w)(?P<said>(?:top |best )?(?P<count>{SOME}))(?! (?:-|{UNIT_WORDS}|{CURRENCY})(?!\w))"
    rf"(?= (?:\S+ ){{0,2}}?(?:{NOUN}|more|others?|of (?:them|these|those))(?!\w))",
    r"(?:\b(?:another|next|(?:show|give|list)(?: me| us)?(?: only| just)?(?: the)?|^only|^just) |^(?=best|top))"
    rf"(?P<said>(?:best |top )?(?P<count>{SOME}))$",
)
IS_TOO_DEAR = rf"({A_REFERENCE}) (?:is|was|are|costs?|seems?) (?:just |far |way |a bit )?(?:{measures.TOO_DEAR})"
OF_A_RANGE = rf"{LIMIT} (?:range|bracket|region|mark|ballpark)\b"
BUYS = r"\b(?:need|want|buy|order|for|with|after)(?: to)?(?: buy| order)?(?: the| a)? ?$"
"""Before a number of things that somebody wants to have, which says nothing of a list."""
NOT_SUCH = r"(?:not|without|no|never|nothing|except) "
A_CONDITION = r"(?:filter|limit|condition|restriction|thing|bit)\b"
OF_WHAT = r"(?: (?:the price of|for|what))?"


@dataclass(frozen=True, kw_only=True)
class Superlative:
    """The cheapest, the widest: an order, or the item at its head.

    Attributes:
        points: the words point at items (the cheapest one, the two cheapest of these).
        count: how many are meant.
    """

    sort: Sort
    points: bool
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The parts of an utterance.

    Attributes:
        plain: its words and marks before anything was taken out, without courtesies.
        left: the same with limits and references as marks; what cues of acts are looked for in.
        wanted: positive conditions.
        excluded: negative ones.
        forgotten: the same of values that shall go: what lifts them, where the search wants these and no others.
        limits: comparisons with numbers.
        relative: comparisons with items.
        than: the references of these.
        shared: columns of which the value of an item is wanted: in that colour, of the same brand as the first.
        unshared: columns of which it is not: any brand but that.
        avoid: excluded words that no column knows.
        rest: other words that nothing explains.
        references: as they stand.
        pointed: values of phrases such as `the blue one`, each as conditions on shown items.
        count: how many items are to be shown; 0 where nothing is said of it.
        obstacle: why it cannot be meant; empty where it can.
        notes: what was read as something else, for the person.
    """

    plain: str
    left: str
    wanted: tuple[Condition, ...]
    excluded: tuple[Condition, ...]
    forgotten: tuple[Condition, ...]
    limits: tuple[Condition, ...]
    relative: tuple[Relative, ...]
    than: tuple[Reference, ...]
    shared: tuple[str, ...]
    unshared: tuple[str, ...]
    avoid: str
    rest: str
    references: tuple[Reference, ...]
    pointed: tuple[tuple[Condition, ...], ...]
    superlative: Superlative | None
    sort: Sort | None
    drop: tuple[str, ...]
    count: int
    obstacle: str
    notes: tuple[str, ...]

    @property
    def filters(self) -> tuple[Condition, ...]:
        return (*self.wanted, *self.excluded, *self.limits)

    def has(self, cue: str) -> bool:
        """Whether a cue stands in it."""
        return re.search(cue, self.left) is not None


def read_wish(say: str, lexicon: Lexicon, listed: Listed = NO_LIST) -> Wish:
    """The parts of an utterance, as far as they can be told without knowing what the items that are shown are like."""
    return _Reader(say, lexicon, listed).wish()


class _Reader:
    """Takes part after part out of the text."""

    def __init__(self, say: str, lexicon: Lexicon, listed: Listed) -> None:
        self._lexicon, self._listed = lexicon, listed
        reading = lexicon.read(say)
        self._values, self._plurals = reading.values, reading.plurals
        self._notes = list(reading.notes)
        self._obstacle = ""
        self._than: list[Reference] = []
        self._text = reworded(reading.text)

    def wish(self) -> Wish:
        plain = self._text
        counted = bool(re.search(f"{cues.COMPARE_CUES}|{cues.QUESTION_CUES}", plain))
        unshared = self._take_shared(NOT_SUCH)
        self._text, drop = take_lifted(self._text, self._values, self._lexicon)
        limits = () if re.search(cues.COMPARE_CUES, plain) else self._take_limits()
        superlative, sort = self._take_superlative()
        count = 0 if re.search(cues.COMPARE_CUES, plain) else self._take_count()
        if superlative is not None and not superlative.points and superlative.count > 1:
            sort, count = superlative.sort, superlative.count
            superlative = None
        shared = self._take_shared()
        self._text, references = take_references(self._text, counted=counted, listed=self._listed)
        self._text = re.sub(IS_TOO_DEAR, lambda match: _cheaper_than(match[1], references), self._text)
        pointed = self._pointed()
        left = self._text
        relative = [one for one in self._take_relatives(references) if one.items or not _is_said(one, limits)]
        sort = sort or self._take_cheap()
        walk = self._walk()
        wanted = [one for one in walk.wanted if one not in walk.excluded]  # cream gets dirty, so no cream
        return Wish(
            plain=plain,
            left=left,
            wanted=self._conditions(wanted, IN),
            excluded=self._conditions(walk.excluded, NOT_IN),
            forgotten=self._conditions(walk.forgotten, NOT_IN),
            limits=merged((), limits),
            relative=tuple(relative),
            than=tuple(self._than),
            shared=shared,
            unshared=unshared,
            avoid=" ".join(walk.avoid),
            rest=" ".join(walk.rest),
            references=tuple(in_order(left, references)),
            pointed=pointed,
            superlative=superlative,
            sort=sort,
            drop=tuple(name for name in drop if all(name != one.column for one in walk.wanted)),
            count=min(count, LONGEST_LIST),
            obstacle=self._obstacle,
            notes=tuple(self._notes),
        )

    def _take(self, pattern: str) -> re.Match[str] | None:
        """The first match, taken out of the text."""
        found = re.search(pattern, self._text)
        if found is not None:
            self._text = " ".join(f"{self._text[: found.start()]} {self._text[found.end() :]}".split())
        return found

    def _take_shared(self, before: str = "") -> tuple[str, ...]:
        """The columns of which an item's own value is wanted; or not, behind what denies it."""
        found = list[str]()
        if re.search(rf"\b{before}(?:\w+ )?(?:the )?(?:very )?(?:same|that|this) ", self._text) is None:
            return ()
        for name in self._lexicon.vocabulary.choices:
            said = rf"(?:(?:the )?(?:very )?same|that|this) {self._lexicon.said_of(name)}"
            if self._take(rf"(?<!\w){before}(?:(?:in|of|with|from|by) )?{said}(?!\w)(?! {A_CONDITION})"):
                found.append(name)
        return tuple(found)

    def _take_limits(self) -> tuple[Condition, ...]:
        found = take_limits(self._text, self._lexicon)
        self._text, self._obstacle = re.sub(OF_A_RANGE, LIMIT, found.text), found.obstacle
        self._notes += found.notes
        return found.conditions

    def _superlatives(self) -> Iterator[tuple[str, bool, str]]:
        """Columns, whether their greatest come first, and the words for it."""
        price = self._lexicon.vocabulary.price
        for word, descending, words in measures.SUPERLATIVES:
            if column := self._column_by(word):
                yield column, descending, words
        for name in self._lexicon.vocabulary.quantities:
            said = self._lexicon.said_of(name)
            yield name, name != price, rf"best {said}"
            yield name, True, rf"(?:{measures.GREATEST}) {said}"
            yield name, False, rf"(?:{measures.LEAST}) {said}"

    def _take_superlative(self) -> tuple[Superlative | None, Sort | None]:
        price = self._lexicon.vocabulary.price
        for pattern, is_dear in ((cues.CHEAP_TO_DEAR, False), (cues.DEAR_TO_CHEAP, True)):
            if price and self._take(rf"(?:\b{SORTING} )?(?:{pattern})"):
                return None, Sort(column=price, descending=is_dear)
        for column, descending, words in self._superlatives():
            if re.search(r"est\b.* to ", self._text) and self._take(
                rf"\b(?:from )?(?:the )?(?:{words}) to (?:the )?(?:\w+est|most \w+)(?!\w)"
            ):
                return None, Sort(column=column, descending=descending)
        for column, descending, words in self._superlatives():
            found = self._take(
                rf"\b(?:the )?(?:(?<!first )(?<!last )(?P<before>{SOME}) )?(?:{words})"
                rf"(?: (?P<behind>{SOME})(?! euros?\b))?(?P<points> (?:ones?|items?|of (?:them|these|those|all)))?"
                r"(?:(?P<first> (?:first|(?:at|on)(?: the)? top|up front))|"
                r"(?P<last> (?:last|at the (?:end|bottom))))?(?!\w)"
            )
            if found is not None:
                sort = Sort(column=column, descending=descending != bool(found["last"]))
                count = int(number_of(found["before"] or found["behind"] or "one"))
                points = bool(found["points"]) and (count == 1 or " of " in found["points"])
                points = points or re.search(r"\bone with$", self._text[: found.start()].strip()) is not None
                points = points and not (count > 1 and re.search(r"\b(?:just|only)\b", self._text[: found.start()]))
                points = points or re.search(cues.COMPARE_CUES, self._text) is not None
                return (
                    (None, sort)
                    if found["first"] or found["last"]
                    else (Superlative(sort=sort, points=points, count=count), None)
                )
        return None, self._take_order()

    def _take_count(self) -> int:
        """How many items are to be shown: `show me 5 lamps`, `three more`; a number that is bought is none."""
        for pattern in COUNTS:
            found = re.search(pattern, self._text)
            if found is not None:
                start, end = found.span("said")
                self._text = " ".join(f"{self._text[:start]} {self._text[end:]}".split())
                bought = re.search(BUYS, self._text[:start])
                return 0 if bought else int(number_of(found["count"]))
        return 0

    def _take_order(self) -> Sort | None:
        """Sort by price, descending; the lighter the better."""
        for word, op, words in measures.COMPARATIVES:
            column = self._column_by(word)
            better = rf"\bthe (?:{words})(?: (?:they|it) (?:are|is))? (?:, )?the better\b"
            if column and self._take(rf"{better}|(?:\bthe )?\b(?:{words})(?: ones)? (?:first|at the top|on top)\b"):
                return Sort(column=column, descending=op == MORE)
        for name in self._lexicon.vocabulary.quantities:
            word = self._lexicon.said_of(name)
            found = self._take(
                rf"(?:\bby|\b{SORTING}(?: (?:{UP}|(?P<down_before>{DOWN})))?(?: by| of| on)?) (?:the )?{word}"
                rf"(?:(?: ,)? (?:(?P<down>{DOWN})|{UP}))?(?!\w)|"
                rf"\b(?:the )?{word}(?: ,)? (?:(?P<behind>{DOWN})|{UP})(?!\w)"
            )
            if found is not None:
                best_first = is_rating(name) and not re.search(rf"\b(?:{UP})", found.group())
                return Sort(column=name, descending=best_first or any(found.group("down", "down_before", "behind")))
        return None

    def _column_by(self, word: str) -> str:
        return self._lexicon.vocabulary.price if word == "price" else self._lexicon.quantity(word)

    def _take_relatives(self, references: Sequence[Reference]) -> tuple[Relative, ...]:
        """Cheaper, and cheaper than the second."""
        taken = list(self._take_more_of(references))
        for word, op, words in measures.COMPARATIVES:
            found = re.search(
                rf"\b(?:{words})(?: (?:\S+ )?(?:than|to|of){OF_WHAT} (?P<than>{A_REFERENCE}))?(?!\w)", self._text
            )
            if found is None:
                continue
            column = self._column_by(word)
            if not column:
                if word == "price":
                    self._obstacle = "This catalogue has no column of prices."
                continue
            items = self._compared_with(found["than"], references) if found["than"] else ()
            taken.append(Relative(column=column, op=op, items=items))
            self._text = f"{self._text[: found.start()]} {self._text[found.end() :]}"
        return (*taken, *self._take_beside_prices(references))

    def _take_more_of(self, references: Sequence[Reference]) -> Iterator[Relative]:
        """A longer warranty than the first, a lower weight."""
        for name in self._lexicon.vocabulary.quantities:
            for op, words in ((MORE, measures.GREATER), (LESS, measures.LESSER)):
                called = rf"\b(?:an? )?(?:{words}) (?:{self._lexicon.said_of(name)}|{unit_names(name)})"
                found = self._take(rf"{called}(?: (?:than|to) (?P<than>{A_REFERENCE}))?(?!\w)")
                if found is not None:
                    items = self._compared_with(found["than"], references) if found["than"] else ()
                    yield Relative(column=name, op=op, items=items)

    def _take_beside_prices(self, references: Sequence[Reference]) -> Iterator[Relative]:
        """Below the second, above the price of the first."""
        for op, words in ((LESS, "under|below|less than"), (MORE, "over|above|more than")):
            found = re.search(rf"\b(?:{words}){OF_WHAT} (?P<than>{A_REFERENCE})", self._text)
            price = self._lexicon.vocabulary.price
            if found is not None and price:
                self._text = f"{self._text[: found.start()]} {self._text[found.end() :]}"
                yield Relative(column=price, op=op, items=self._compared_with(found["than"], references))

    def _compared_with(self, mark: str, references: Sequence[Reference]) -> tuple[int, ...]:
        self._than.append(references[ord(mark) - ord(REFERENCE)])
        return self._than[-1].items

    def _take_cheap(self) -> Sort | None:
        price = self._lexicon.vocabulary.price
        return Sort(column=price) if price and self._take(rf"\b{measures.CHEAP}\b") else None

    def _pointed(self) -> tuple[tuple[Condition, ...], ...]:
        """The values of each `the blue one` and `the plum mug`."""
        phrases = re.findall(
            rf"(?<!for )(?<!in )(?<!on )\bthe ((?:{ANY_VALUE} ?)+)(?!(?: ?(?:and|or|,) (?:the )?{ANY_VALUE})* ?ones)",
            self._text,
        )
        return tuple(
            self._conditions([self._values[mark] for mark in phrase.split()], IN)
            for phrase in map(str.strip, phrases)
            if phrase and not (phrase[-1] in self._plurals and phrase[-1] >= KIND)  # just the mugs
        )

    def _walk(self) -> Walk:
        """Through the words, part by part between corrections."""
        walk = Walk(self._values, self._lexicon)
        for place, part in enumerate(self._text.split(cues.CORRECTION)):
            before, walk = walk, Walk(self._values, self._lexicon)
            for token in part.split():
                walk.step(token)
            if place:
                walk.corrected(before)
        return walk

    def _conditions(self, found: Sequence[Found], op: str) -> tuple[Condition, ...]:
        """One condition a column: what all phrases mean where there is such a value, else what any means."""
        by_column: dict[str, list[Found]] = {}
        for one in found:
            by_column.setdefault(one.column, []).append(one)
        conditions = []
        for column, several in by_column.items():
            if op == IN:  # wine, white or red
                several = [one for one in several if not any(set(one.values) > set(other.values) for other in several)]
            joint = [value for value in several[0].values if all(value in one.values for one in several)]
            every = [value for one in several for value in one.values]
            values = joint if joint and op == IN else every
            conditions.append(self._condition(column, op, tuple(dict.fromkeys(values))))
        return tuple(conditions)

    def _condition(self, column: str, op: str, values: tuple[Value, ...]) -> Condition:
        """A condition; what is not so in a column of yes and no is the other of the two."""
        if op == NOT_IN and all(isinstance(value, bool) for value in values):
            known = self._lexicon.vocabulary.choices[column].counts
            if others := tuple(value for value in known if value not in values):
                return Condition(column=column, op=IN, values=others)
        return Condition(column=column, op=op, values=values)


def _is_said(relative: Relative, limits: Sequence[Condition]) -> bool:
    """Whether a number says what is wanted instead: too expensive, 150 at most."""
    side = UPPER if relative.op in UPPER else LOWER
    return any(one.column == relative.column and one.op in side for one in limits)


def _cheaper_than(mark: str, references: Sequence[Reference]) -> str:
    """What is wanted where an item is too expensive."""
    return f"cheaper than {mark}" if references[ord(mark) - ord(REFERENCE)].items else "cheaper"
