"""What the judged items have new: groups and products that training never saw, or those it knows by other pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence

from pinembed.nouns.item import Item

NEW, KNOWN = 0.05, 0.5
"""At most so many of the judged items have a value that training knows; at least so many."""
FEWEST_VALUES, LARGEST_SHARE, MOST_DISTINCT = 10, 0.1, 0.8


def known_share(items: Sequence[Item], trained: Sequence[Item], column: str) -> float | None:
    """Share of the items whose value of the column occurs in training; None where none has a value."""
    seen = set(_values(trained, column))
    found = [value in seen for value in _values(items, column)]
    return sum(found) / len(found) if found else None


def identity_columns(trained: Sequence[Item], judged: Sequence[Item], columns: Iterable[str]) -> tuple[str, ...]:
    """Columns such as a product's number: several training items share a value, and the judged ones have new values."""
    found = []
    for name in columns:
        counts = Counter(_values(trained, name))
        total = sum(counts.values())
        if not FEWEST_VALUES <= len(counts) <= MOST_DISTINCT * total or max(counts.values()) > LARGEST_SHARE * total:
            continue
        share = known_share(judged, trained, name)
        if share is not None and share <= NEW:
            found.append(name)
    return tuple(found)


def _values(items: Sequence[Item], column: str) -> Iterator[Hashable]:
    for item in items:
        value = item.fields.get(column)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            yield value


def tied_by(items: Sequence[Item], indices: Sequence[int], columns: Iterable[str]) -> list[tuple[int, int]]:
    """Pairs of these indices whose items share a value of a column, each with the first that has it."""
    ties = []
    for name in columns:
        first: dict[Hashable, int] = {}
        seen = [(first.setdefault(value, index), index) for index in indices for value in _values([items[index]], name)]
        ties += [(other, index) for other, index in seen if other != index]
    return ties


def promises(
    trained: Sequence[Item],
    selecting: Sequence[Item],
    judged: Sequence[Item],
    columns: Iterable[str],
    group: str | None,
) -> list[str]:
    """Sentences on what the gate has new that the split which selects has not, so that validation promises too much."""
    if not selecting or not judged:
        return []
    named = [*identity_columns(trained, judged, columns), *([group] if group else [])]
    found = []
    for name in dict.fromkeys(named):
        easy, hard = known_share(selecting, trained, name), known_share(judged, trained, name)
        if easy is not None and hard is not None and easy - hard > KNOWN:
            found.append(
                f"training knows the {name} of {easy:.0%} of val's images, and of {hard:.0%} of test's: validation "
                "promises more than the gate will find, and selects for what is known."
            )
    return found
