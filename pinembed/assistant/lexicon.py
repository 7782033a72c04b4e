"""Lexicon: the words of a table's values and columns, found in a wish and replaced by marks.

A mark is one character of Unicode's private use, which no cleaned text holds: what follows reads a wish as a string of
words and marks, in which a value, whatever its words, is one sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from pinembed.assistant.amounts import LIMIT_WORDS, NUMBER_WORDS, ONES, TENS, amounts, number_of
from pinembed.assistant.condition import Value
from pinembed.assistant.cues import (
    CUE_WORDS,
    FOLLOWS_NAMES,
    LEADS_TO_NAMES,
    NAMED_WORDS,
    NAMES_TOO,
    SLIPPED,
    STOP_WORDS,
)
from pinembed.assistant.measures import COMPARATIVES, MEASURES
from pinembed.assistant.small_talk import ALONE, INTERJECTIONS
from pinembed.assistant.synonyms import COLUMN_WORDS, synonyms_of
from pinembed.assistant.units import FRAMES, column_unit, plain_name, unit_of
from pinembed.assistant.vocabulary import Choice, Vocabulary
from pinembed.assistant.words import SIGNS, spelled_alike, spelled_like, stem, stems_of, tokens_of
from pinembed.trimmed.questions import spoken

VALUE, KIND, LIMIT, REFERENCE = (chr(0xE000 + 0x400 * index) for index in range(4))
"""The first marks of values, of values of the kind column, of limits and of references."""
MOST_MARKS = 0x400
LONGEST_SPLIT, SHORTEST_JOINED = 2, 5
"""Words that one word may be written as, with a hyphen or without, and the letters that it then has at least."""
LEAST_CUT = 3
"""Letters that are left out of a word that is shortened."""
LEAST_VERB = 4
ANY_VALUE = f"[{VALUE}-{chr(ord(LIMIT) - 1)}]"
A_KIND = f"[{KIND}-{chr(ord(LIMIT) - 1)}]"
A_REFERENCE = f"[{REFERENCE}-{chr(ord(REFERENCE) + MOST_MARKS - 1)}]"

OF_HEADS = {stem(word) for word in ("color", "material", "fabric", "finish", "metal", "wood")}
"""Words in the names of columns of which a value is meant by its last word."""
_OF_YES_AND_NO = (
    "is are has have with can be needed required included available needs need requires require contains "
    "contain includes include"
)
OF_YES_AND_NO = frozenset(_OF_YES_AND_NO.split())
"""Words in the names of columns of yes and no that need not be said."""
_CALENDAR = (
    "january february march april june july august september october november december monday tuesday wednesday "
    "thursday friday saturday sunday"
)
_EVERYDAY = (
    "class school teacher mum mom dad granny grandma grandpa cousin girlfriend boyfriend husband wife uncle auntie "
    "former latter later form middle condition conditions filter filters"
)
NO_SLIPS = frozenset(f"{_CALENDAR} {_EVERYDAY}".split())
"""Words that are no slips of others and none cut short: the match of `in March`, the classical of `my class`."""
IN_WORDS = re.compile(rf"\b(?:{'|'.join(TENS)})(?: (?:{'|'.join(ONES[1:10])}))?\b")
"""Numbers of two figures in words."""
FIGURE = re.compile(r"\d+(?:[.,]\d+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Words that are values of a column."""

    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A wish as words and marks.

    Attributes:
        text: joined by spaces.
        values: by mark.
        plurals: the marks of words in the plural.
        notes: what was read as something else, for the person.
    """

    text: str
    values: Mapping[str, Found]
    plurals: Set[str]
    notes: tuple[str, ...]


class Lexicon:
    """What the words of a wish can mean in one table."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._meant: dict[tuple[str, ...], list[tuple[str, Found]]] = {}
        self._joined: dict[str, tuple[str, ...]] = {}
        for choice in vocabulary.choices.values():
            self._add(choice)
        self._add_synonyms()
        self._add_heads()
        own = {word for name in (*vocabulary.choices, *vocabulary.quantities) for word in tokens_of(spoken(name))}
        self._names = {
            name: tuple(dict.fromkeys((" ".join(tokens_of(spoken(name))), plain_name(name))))
            for name in (*vocabulary.choices, *vocabulary.quantities)
        }
        if vocabulary.price:
            self._names[vocabulary.price] = tuple(dict.fromkeys((*self._names[vocabulary.price], "price", "cost")))
        phrases = {stems_of(phrase): name for name, said in self._names.items() for phrase in reversed(said)}
        self.columns = {phrase: name for phrase, name in phrases.items() if phrase}
        for name, said in self._names.items():
            alike = (words.split() for words in COLUMN_WORDS if set(tokens_of(spoken(name))) & set(words.split()))
            more = (word for words in alike for word in words if word not in own)
            self._names[name] = tuple(dict.fromkeys((*said, *more)))
        self._quantities = {
            name: {stem(word) for said in self._names[name] for word in said.split()} - FRAMES
            for name in vocabulary.quantities
        }
        self._longest = LONGEST_SPLIT * max(map(len, (*self._meant, *self.columns)), default=1)
        words = {word for meant in self._meant.values() for phrase, _ in meant for word in tokens_of(phrase)}
        self._words = sorted(words | {word for phrase in self.columns.values() for word in tokens_of(spoken(phrase))})
        self._known = (
            {stem(word) for word in self._words}
            | set(self._joined)
            | {
                stem(word)
                for words in (NUMBER_WORDS, INTERJECTIONS, ALONE, NO_SLIPS, LIMIT_WORDS, NAMED_WORDS, MEASURES)
                for word in words
            }
            | {stem(word) for _, _, words in COMPARATIVES for word in re.findall(r"\w+", words)}
        )

    def _add(self, choice: Choice) -> None:
        for phrase, values in (*choice.phrases.items(), *_shorter(choice)):
            if stems := stems_of(phrase):
                self._meant.setdefault(stems, []).append((phrase, Found(column=choice.name, values=values)))
                if joined := _joined(tokens_of(phrase)):
                    self._joined.setdefault(joined, stems)

    def _add_synonyms(self) -> None:
        """Other words for values, where they are no value themselves."""
        for phrases in list(self._meant.values()):
            for phrase, found in phrases:
                for said in (*synonyms_of(phrase), *_verbs_of(phrase)):
                    self._meant.setdefault(stems_of(said), [(said, found)])

    def _add_heads(self) -> None:
        """The blue of light blue, the bikes and the road of road bikes, where the word is no value itself."""
        heads: dict[tuple[str, str], list[tuple[str, Found]]] = {}
        firsts: dict[tuple[str, ...], list[tuple[str, Found]]] = {}
        for phrases in self._meant.values():
            for phrase, found in phrases:
                if " " in phrase and "-" not in phrase:
                    heads.setdefault((found.column, stem(tokens_of(phrase)[-1])), []).append((phrase, found))
        for (column, head), named in heads.items():
            is_class = column == self.vocabulary.kind and len(named) > 1
            if is_class or set(stems_of(spoken(column))) & OF_HEADS:
                values = tuple(dict.fromkeys(value for _, found in named for value in found.values))
                self._meant.setdefault((head,), [(head, Found(column=column, values=values))])
            for phrase, found in named if is_class else ():
                firsts.setdefault(stems_of(phrase)[:-1], []).append((phrase, found))
        for first, named in firsts.items():
            if len(named) == 1:
                self._meant.setdefault(first, named)  # the white and the reds of a wine shop

    def quantity(self, word: str) -> str:
        """The column of numbers whose name has this word; empty where there is none."""
        called = [name for name, stems in self._quantities.items() if stem(word) in stems]
        return next((name for name in called if stem(word) in stems_of(spoken(name))), (*called, "")[0])

    def numbered(self, word: str) -> str:
        """The column of values that a word names, if some of these are numbers, as sizes are; else empty."""
        column = self._column_called(word)
        return column if column in self.vocabulary.choices and len(self.numbers_of(column)) > 1 else ""

    def numbers_of(self, column: str) -> dict[Value, float]:
        """Those values of a column of values that are numbers, the least first, and what they are."""
        numbers = {
            value: number_of(str(value))
            for value in self.vocabulary.choices[column].counts
            if FIGURE.fullmatch(str(value))
        }
        return dict(sorted(numbers.items(), key=lambda pair: pair[1]))

    def said_of(self, column: str) -> str:
        """A pattern of what people call a column, in the singular or the plural."""
        return rf"(?:{'|'.join(re.escape(re.sub('(?<=[^s])s$', '', said)) for said in self._names[column])})s?"

    def is_own(self, word: str, column: str) -> bool:
        """Whether a word is of what a column of numbers is called, or its unit."""
        return stem(word) in self._quantities[column]

    def is_age(self, column: str) -> bool:
        """Whether a column holds ages in years."""
        unit = column_unit(column)
        return self.is_own("age", column) and (unit is None or not unit.size or unit == unit_of("year"))

    def read(self, say: str) -> Reading:
        """A wish with its values as marks."""
        notes: list[str] = []
        tokens = self._in_figures([self._spelled(token, notes) for token in tokens_of(say)])
        numbers = self._amounts_in(tokens)
        values: dict[str, Found] = {}
        plurals = set[str]()
        written: list[str] = []
        place = 0
        while place < len(tokens):
            length, found = self._longest_at(tokens, place, numbers)
            if found is None or len(values) == MOST_MARKS:
                written.append(tokens[place])
                place += 1
                continue
            mark = chr(ord(KIND if found.column == self.vocabulary.kind else VALUE) + len(values))
            values[mark] = found
            if tokens[place + length - 1].endswith("s"):
                plurals.add(mark)
            written.append(mark)
            place += length
        return Reading(text=" ".join(written), values=values, plurals=frozenset(plurals), notes=tuple(notes))

    def _in_figures(self, tokens: Sequence[str]) -> list[str]:
        """Words of numbers that are values in figures: the 42 of `size forty two`."""
        text = " ".join(tokens)
        for said in reversed([*IN_WORDS.finditer(text)]):
            figure = f"{number_of(said[0]):g}"
            if (figure,) in self._meant and (" " in said[0] or self.numbered(text[: said.start()].split(" ")[-2:][0])):
                text = f"{text[: said.start()]}{figure}{text[said.end() :]}"
        return text.split()

    def _spelled(self, token: str, notes: list[str]) -> str:
        if stem(token) in self._known:
            return token
        known = (*self._words, *CUE_WORDS)
        meant = spelled_like(token, known) or spelled_like(token.removesuffix("s"), known)
        meant = meant or spelled_alike(token, SLIPPED) or _shortened(token, self._words)
        if meant:
            notes.append(f"{token} was read as {meant}.")
        return meant or token

    def _longest_at(self, tokens: Sequence[str], place: int, numbers: Set[int]) -> tuple[int, Found | None]:
        """The longest phrase that begins here, its number of tokens and what it means.

        Args:
            tokens: of the wish.
            place: of the first of them.
            numbers: places of the numbers and units of amounts.
        """
        for length in range(min(self._longest, len(tokens) - place), 0, -1):
            words = tokens[place : place + length]
            meant = self._meant_by(words)
            if not meant or (length == 1 and not self._is_a_value(tokens, place)):
                continue
            beside = (*tokens[max(0, place - 1) : place], *tokens[place + length : place + length + 1])
            if place not in numbers or length > 1:
                return length, self._chosen(meant, words, beside)
        return 0, None

    def _meant_by(self, words: Sequence[str]) -> Sequence[tuple[str, Found]]:
        """What words mean, however they are joined: zigzag, zig zag and zig-zag say the same."""
        if words[0] in SIGNS or words[-1] in SIGNS or (SIGNS - {"-", "."}) & set(words):
            return ()
        bare = [word for word in words if word not in SIGNS]
        found = self._meant.get(tuple(map(stem, bare))) or self._meant.get(self._joined.get(_joined(bare), ()))
        return found or ()

    def _is_a_value(self, tokens: Sequence[str], place: int) -> bool:
        """Whether a word is a value here that elsewhere says nothing: a case, but not `in case`."""
        word = tokens[place]
        if word not in STOP_WORDS | CUE_WORDS:
            return True
        before, after = tokens[place - 1] if place else ",", (*tokens[place + 1 : place + 2], ",")[0]
        return (
            word in NAMES_TOO
            and (before in LEADS_TO_NAMES or (stem(before),) in self._meant)
            and (after in FOLLOWS_NAMES or (stem(after),) in self._meant)
        )

    def _column_called(self, word: str) -> str:
        return self.columns.get((stem(word),), "")

    def _amounts_in(self, tokens: Sequence[str]) -> Set[int]:
        """Places of the numbers and units of amounts, which are no values."""
        text = " ".join(tokens)
        found = set[int]()
        for amount in amounts(text):
            first = len(text[: amount.start].split())
            last = first + len(text[amount.start : amount.end].split())
            found.update(place for place in range(first, last) if tokens[place][0].isdigit() or unit_of(tokens[place]))
        return found

    def _chosen(self, meant: Iterable[tuple[str, Found]], words: Sequence[str], beside: Sequence[str]) -> Found:
        """Of several meanings the values that are written so, of the column named beside, else of most items."""
        by_column: dict[str, list[tuple[bool, Found]]] = {}
        for phrase, found in meant:
            by_column.setdefault(found.column, []).append((tokens_of(phrase) == list(words), found))
        named = set(map(self._column_called, beside))
        kind = self.vocabulary.kind
        column = max(by_column, key=lambda name: (name in named, self._items(name, by_column[name]), name == kind))
        exact = [found for is_exact, found in by_column[column] if is_exact]
        kept = exact or [found for _, found in by_column[column]]
        return Found(column=column, values=tuple(dict.fromkeys(value for found in kept for value in found.values)))

    def _items(self, column: str, found: Iterable[tuple[bool, Found]]) -> int:
        counts = self.vocabulary.choices[column].counts
        return sum(counts[value] for _, one in found for value in one.values)


def _shorter(choice: Choice) -> Iterator[tuple[str, tuple[Value, ...]]]:
    """What a column of yes and no is called for short: assembly, of `assembly_needed` or `has_assembly`."""
    for phrase, values in choice.phrases.items():
        short = " ".join(word for word in phrase.split() if word not in OF_YES_AND_NO)
        if short and short != phrase and all(isinstance(value, bool) for value in values):
            yield short, values


def _verbs_of(phrase: str) -> Iterator[str]:
    """What is foldable can fold."""
    verb = phrase.removesuffix("able")
    if verb != phrase and verb.isalpha() and len(verb) >= LEAST_VERB:
        yield verb


def _shortened(token: str, words: Iterable[str]) -> str:
    """The one word that begins so and goes on, as scandinavian does for scandi; empty where there is none."""
    begun = [word for word in words if word.startswith(token) and len(word) >= len(token) + LEAST_CUT]
    return begun[0] if len(begun) == 1 and len(token) >= SHORTEST_JOINED else ""


def _joined(words: Sequence[str]) -> str:
    """The words in one; empty where that could be another word by chance."""
    joined = "".join(word for word in words if word not in SIGNS)
    return stem(joined) if joined.isalpha() and len(joined) >= SHORTEST_JOINED else ""
