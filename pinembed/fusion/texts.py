"""The texts of items field by field: what can be fused, and what can ask without giving the answer away."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinembed.nouns.item import Item
from pinembed.nouns.values import text_of_value

FEWEST_SHARE = 0.1
COPIED_SHARE = 0.5
FEWEST_PHRASE_WORDS = 3
LEAST_WEIGHT = 0.01  # a word that every item has still tells equal texts from others
WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class FieldTexts:
    """The values of one field in words.

    Attributes:
        texts: distinct ones.
        text_of_N: int64, index of an item's in `texts`; -1 where it is missing.
    """

    texts: tuple[str, ...]
    text_of_N: Tensor


def text_fields(items: Sequence[Item], names: Sequence[str]) -> tuple[str, ...]:
    """Of these columns those that hold text, in at least a tenth of the items and not the same one in all.

    Numbers and dates are none: no text tower reads digits well.
    """
    found = []
    for name in names:
        values = [value for item in items if text_of_value(value := item.fields.get(name))]
        is_text = all(isinstance(value, str | list | tuple) for value in values)
        if is_text and len(values) >= FEWEST_SHARE * len(items) and len(set(map(text_of_value, values))) > 1:
            found.append(name)
    return tuple(found)


def field_texts(items: Sequence[Item], name: str, phrase: Callable[[str], str] = str) -> FieldTexts:
    """The values of one field, phrased."""
    indices: dict[str, int] = {}
    text_of = []
    for item in items:
        value = text_of_value(item.fields.get(name))
        text_of.append(indices.setdefault(phrase(value), len(indices)) if value else -1)
    return FieldTexts(texts=tuple(indices), text_of_N=torch.tensor(text_of, dtype=torch.int64))


def copied_texts(queries: FieldTexts, fused: Sequence[FieldTexts], group_of_N: Tensor) -> set[int]:
    """Queries that a positive carries as its own text, in the same words or nearly so.

    Near is half of the words of both, weighed by how rare a word is: `Ginger` and `Ginger Class 1` are copies where
    every item has a class, `mug` and `Floral mug in mustard` are not. A description that repeats a title of three words
    or more, word for word, makes copies of both.

    Args:
        queries: texts of one field.
        fused: texts of the other fields that are, or may become, part of the items.
        group_of_N: code of the item's group; its items are positives too.

    Returns:
        indices in `queries.texts`.
    """
    weigh = _rarity([queries, *fused])
    asked = [_words(text) for text in queries.texts]
    carried = [[_words(text) for text in field.texts] for field in fused]
    groups_of_text: dict[int, set[int]] = defaultdict(set)
    texts_of_group: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for index, (group, text) in enumerate(zip(group_of_N.tolist(), queries.text_of_N.tolist(), strict=True)):
        groups_of_text[text].add(group)
        texts_of_group[group].update((number, int(field.text_of_N[index])) for number, field in enumerate(fused))
    copied = set()
    for text, asked_words in enumerate(asked):
        answers = set().union(*(texts_of_group[group] for group in groups_of_text[text]))
        if any(index >= 0 and _is_copy(asked_words, carried[field][index], weigh) for field, index in answers):
            copied.add(text)
    return copied


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower()) or [text]


def _rarity(fields: Sequence[FieldTexts]) -> Mapping[str, float]:
    """Logarithm of the share of items that a word does not occur in."""
    items = len(fields[0].text_of_N)
    found: list[set[str]] = [set() for _ in range(items)]
    for field in fields:
        split = [set(_words(text)) for text in field.texts]
        for index, text in enumerate(field.text_of_N.tolist()):
            found[index] |= split[text] if text >= 0 else set()
    counts = Counter(word for some in found for word in some)
    return {word: LEAST_WEIGHT + math.log(items / count) for word, count in counts.items()}


def _is_copy(one: Sequence[str], other: Sequence[str], weigh: Mapping[str, float]) -> bool:
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) >= FEWEST_PHRASE_WORDS and f" {' '.join(shorter)} " in f" {' '.join(longer)} ":
        return True
    ours, theirs = set(one), set(other)
    shared, all_of_them = (sum(weigh[word] for word in some) for some in (ours & theirs, ours | theirs))
    return shared >= COPIED_SHARE * all_of_them
