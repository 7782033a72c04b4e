"""Answers in words, made by code: ids, prices, ordinals and values come from the table, never out of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pinembed.assistant.condition import Condition, number_in
from pinembed.assistant.lexicon import Lexicon
from pinembed.assistant.measures import COMPARATIVES, SUPERLATIVES
from pinembed.assistant.state import Search
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.assistant.wishes import read_wish
from pinembed.assistant.words import clean, stem, stems_of, tokens_of
from pinembed.nouns.item import text_of_value
from pinembed.reports.table import SearchResult
from pinembed.trimmed.questions import spoken

LONGEST_TITLE = 80
YES_NO = re.compile(r"^(?:is|are|does|do|has|was)\b")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is said, and of which items.

    Attributes:
        cites: ids that the text speaks of; all of them are shown.
    """

    text: str
    cites: tuple[str, ...] = ()


def title_of(item: SearchResult) -> str:
    """A title as one printable line without marks of chat templates."""
    return title_line(item.title)


def title_line(title: str) -> str:
    """Any title as such a line."""
    title = clean(title)
    return title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1].rstrip() + "…"


def amount_text(vocabulary: Vocabulary, item: SearchResult) -> str:
    """The price as the catalogue has it, with its currency where that is known; empty where there is none."""
    value = number_in(item.fields, vocabulary.price)
    return "" if value is None else f"{value:,.2f}{' ' + vocabulary.currency if vocabulary.currency else ''}"


def listed(vocabulary: Vocabulary, item: SearchResult) -> str:
    """An item as a line of a list: place, title, price, id."""
    parts = (title_of(item), amount_text(vocabulary, item), f"[{clean(item.id)}]")
    return f"{item.rank}. " + "  ".join(filter(None, parts))


def list_answer(
    vocabulary: Vocabulary, search: Search, items: Sequence[SearchResult], count: int, start: int
) -> Answer:
    """A list that was found, and what it was found by."""
    head = f"{described(search) or 'everything'}: {count:,} fit."
    if start:
        head += f" From number {start + 1} on."
    return Answer(text="\n".join([head, *(listed(vocabulary, item) for item in items)]), cites=_ids(items))


def described(search: Search) -> str:
    """A search in words."""
    parts = [str(condition) for condition in search.filters]
    parts += [f'"{search.text}"'] if search.text else []
    parts += [f'away from "{search.avoid}"'] if search.avoid else []
    if search.sort is not None:
        parts.append(f"by {spoken(search.sort.column)}, {'highest' if search.sort.descending else 'lowest'} first")
    lead = f"like {search.like}" if search.like else f"beside {search.beside}" if search.beside else ""
    return ", ".join(filter(None, [lead, *parts]))


def nothing_answer(search: Search, relaxed: Sequence[tuple[Condition, int]], *, goes_on: bool) -> Answer:
    """Nothing was found; which condition leaves the most without it."""
    if goes_on:
        return Answer(text="That is all there is.")
    told = [f"Without {condition} there {_are(count)} {count:,}." for condition, count in relaxed if count]
    return Answer(text=" ".join([f"Nothing fits {described(search) or 'that'}.", *told]))


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def about_answer(lexicon: Lexicon, items: Sequence[SearchResult], question: str) -> Answer:
    """What the table says of items: the columns that were asked about, else all that describe them."""
    vocabulary = lexicon.vocabulary
    wish = read_wish(question, lexicon)
    asked = asked_columns(lexicon, question)
    lines = []
    for item in items:
        said = _verdict(item, (*wish.wanted, *wish.limits)) if YES_NO.match(" ".join(tokens_of(question))) else ""
        columns = asked or _telling(vocabulary)
        values = "; ".join(f"{spoken(name)}: {value}" for name in columns if (value := _value(vocabulary, item, name)))
        lines.append(f"{item.rank}. {title_of(item)} [{clean(item.id)}]: {said}{values or 'no more is known.'}")
    return Answer(text="\n".join(lines), cites=_ids(items))


def _verdict(item: SearchResult, conditions: Iterable[Condition]) -> str:
    """Yes or no, where the question names values."""
    answers = [condition.holds(item.fields) for condition in conditions]
    return "" if not answers else "yes; " if all(answers) else "no; "


def asked_columns(lexicon: Lexicon, question: str) -> list[str]:
    """The columns that a question is about: by name, by a value of theirs, and the price by what asks for one."""
    tokens = tokens_of(question)
    text = " ".join(tokens)
    vocabulary = lexicon.vocabulary
    stems = {stem(token) for token in tokens}
    named = {name for phrase, name in lexicon.columns.items() if set(phrase) <= stems}
    if vocabulary.price and re.search(r"\bhow much\b|\bcosts?\b|\bprices?\b|\bexpensive\b|\bcheap", text):
        named.add(vocabulary.price)
    for word, _, words in (*COMPARATIVES, *SUPERLATIVES):
        column = vocabulary.price if word == "price" else lexicon.quantity(word)
        if column and re.search(rf"\b(?:{words})\b", text):
            named.add(column)
    if YES_NO.match(text):
        named |= {condition.column for condition in read_wish(question, lexicon).wanted}
    described_by = {name for name in vocabulary.fields if set(stems_of(spoken(name))) <= stems}
    return [name for name in vocabulary.fields if name in named | described_by]


def _telling(vocabulary: Vocabulary) -> list[str]:
    """The columns that describe an item to a person."""
    return [name for name in vocabulary.fields if name in vocabulary.choices or name in vocabulary.quantities]


def _value(vocabulary: Vocabulary, item: SearchResult, name: str) -> str:
    return amount_text(vocabulary, item) if name == vocabulary.price else clean(text_of_value(item.fields.get(name)))


def compare_answer(lexicon: Lexicon, items: Sequence[SearchResult], question: str) -> Answer:
    """Items side by side: where they differ, then what they share; who has the least where the question asks."""
    vocabulary = lexicon.vocabulary
    columns = asked_columns(lexicon, question) or _telling(vocabulary)
    differ, share = [], []
    for name in columns:
        values = [_value(vocabulary, item, name) for item in items]
        if len(set(values)) == 1:
            share.extend([f"{spoken(name)} {values[0]}"] if values[0] else [])
        else:
            shown = ", ".join(f"{item.rank}. {value or 'unknown'}" for item, value in zip(items, values, strict=True))
            differ.append(f"{spoken(name)}: {shown}")
    heads = [f"{item.rank}. {title_of(item)} [{clean(item.id)}]" for item in items]
    tail = [f"The same: {', '.join(share)}."] if share else []
    return Answer(text="\n".join([*heads, *differ, *tail]), cites=_ids(items))


def rest_notes(text: str, avoid: str) -> list[str]:
    """Which words of a wish no column holds."""
    notes = [f'No column holds "{text}": the pictures decide, nothing is left out.'] if text else []
    return notes + ([f'No column holds "{avoid}": results are only ranked away from it.'] if avoid else [])


def _ids(items: Iterable[SearchResult]) -> tuple[str, ...]:
    return tuple(item.id for item in items)
