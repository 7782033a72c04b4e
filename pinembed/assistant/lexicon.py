"""Lexicon: the words of a table's values and columns, found in a wish and replaced by marks.

A mark is one character of Unicode's private use, which no cleaned text holds: what follows reads a wish as a string of
words and marks, in which a value, whatever its words, is one sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pinembed.assistant.condition import Value
from pinembed.assistant.cues import CUE_WORDS, STOP_WORDS
from pinembed.assistant.vocabulary import Choice, Vocabulary
from pinembed.assistant.words import spelled_like, stem, stems_of, tokens_of
from pinembed.trimmed.questions import spoken

VALUE, KIND, LIMIT, REFERENCE = (chr(0xE000 + 0x400 * index) for index in range(4))
"""The first marks of values, of values of the kind column, of limits and of references."""
MOST_MARKS = 0x400
ANY_VALUE = f"[{VALUE}-{chr(ord(LIMIT) - 1)}]"
A_KIND = f"[{KIND}-{chr(ord(LIMIT) - 1)}]"
A_REFERENCE = f"[{REFERENCE}-{chr(ord(REFERENCE) + MOST_MARKS - 1)}]"


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
        notes: what was read as something else, for the person.
    """

    text: str
    values: Mapping[str, Found]
    notes: tuple[str, ...]


class Lexicon:
    """What the words of a wish can mean in one table."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._meant: dict[tuple[str, ...], list[tuple[str, Found]]] = {}
        for choice in vocabulary.choices.values():
            self._add(choice)
        names = {stems_of(spoken(name)): name for name in (*vocabulary.choices, *vocabulary.quantities)}
        self.columns = {phrase: name for phrase, name in names.items() if phrase}
        self._longest = max(map(len, (*self._meant, *self.columns)), default=1)
        words = {word for meant in self._meant.values() for phrase, _ in meant for word in tokens_of(phrase)}
        self._words = sorted(words | {word for phrase in self.columns.values() for word in tokens_of(spoken(phrase))})
        self._known = {stem(word) for word in self._words} | {stem(word) for word in STOP_WORDS | CUE_WORDS}

    def _add(self, choice: Choice) -> None:
        for phrase, values in choice.phrases.items():
            if stems := stems_of(phrase):
                self._meant.setdefault(stems, []).append((phrase, Found(column=choice.name, values=values)))

    def quantity(self, word: str) -> str:
        """The column of numbers whose name has this word; empty where there is none."""
        return next((name for name in self.vocabulary.quantities if stem(word) in stems_of(spoken(name))), "")

    def read(self, say: str) -> Reading:
        """A wish with its values as marks."""
        notes: list[str] = []
        tokens = [self._spelled(token, notes) for token in tokens_of(say)]
        values: dict[str, Found] = {}
        written: list[str] = []
        place = 0
        while place < len(tokens):
            length, found = self._longest_at(tokens, place)
            if found is None or len(values) == MOST_MARKS:
                written.append(tokens[place])
                place += 1
                continue
            mark = chr(ord(KIND if found.column == self.vocabulary.kind else VALUE) + len(values))
            values[mark] = found
            written.append(mark)
            place += length
        return Reading(text=" ".join(written), values=values, notes=tuple(notes))

    def _spelled(self, token: str, notes: list[str]) -> str:
        if stem(token) in self._known:
            return token
        meant = spelled_like(token, (*self._words, *CUE_WORDS))
        if meant:
            notes.append(f"{token} was read as {meant}.")
        return meant or token

    def _longest_at(self, tokens: Sequence[str], place: int) -> tuple[int, Found | None]:
        """The longest phrase that begins here, its number of tokens and what it means."""
        for length in range(min(self._longest, len(tokens) - place), 0, -1):
            words = tokens[place : place + length]
            meant = self._meant.get(tuple(map(stem, words)))
            if meant and not (length == 1 and words[0] in STOP_WORDS | CUE_WORDS):
                beside = (*tokens[max(0, place - 1) : place], *tokens[place + length : place + length + 1])
                return length, self._chosen(meant, words, beside)
        return 0, None

    def _chosen(self, meant: Iterable[tuple[str, Found]], words: Sequence[str], beside: Sequence[str]) -> Found:
        """Of several meanings the values that are written so, of the column named beside, else of most items."""
        by_column: dict[str, list[tuple[bool, Found]]] = {}
        for phrase, found in meant:
            by_column.setdefault(found.column, []).append((tokens_of(phrase) == list(words), found))
        named = {self.columns.get((stem(word),)) for word in beside}
        column = max(by_column, key=lambda name: (name in named, self._items(name, by_column[name])))
        exact = [found for is_exact, found in by_column[column] if is_exact]
        kept = exact or [found for _, found in by_column[column]]
        return Found(column=column, values=tuple(dict.fromkeys(value for found in kept for value in found.values)))

    def _items(self, column: str, found: Iterable[tuple[bool, Found]]) -> int:
        counts = self.vocabulary.choices[column].counts
        return sum(counts[value] for _, one in found for value in one.values)
