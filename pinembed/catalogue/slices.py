"""Parts of a split that deserve figures of their own: kinds of items, rare and new ones, items with little text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from pinembed.catalogue.captions import Captioner
from pinembed.catalogue.class_labels import are_class_numbers
from pinembed.catalogue.splits import group_name
from pinembed.nouns.item import Catalogue, CutPoints, FieldValue, Item, cut_points, is_missing, text_of_value, third_of
from pinembed.nouns.scores import Slice
from pinembed.settings.option import refuse_unknown_columns

USUAL_COLUMNS = ("category", "coarse_label", "department", "type", "kind", "class", "label")
MOST_VALUES = 50
SHORT_TEXT_WORDS = 2
RARE_IMAGES = 2
FEWEST_NUMBERS = 10
"""Columns of fewer distinct numbers are taken as kinds."""


def slice_columns(catalogue: Catalogue, columns: Sequence[str], *, group: str | None) -> tuple[str, ...]:
    """The columns that were named, or one that says what kind of thing an item is.

    By default the first column of a usual name, else the group's, that has between 2 and 50 values.

    Raises:
        UsageError: a column that the metadata does not have.
    """
    known = catalogue.schema.names
    remedy = "Name columns that say what kind of thing an item is, each with its own --slice."
    refuse_unknown_columns("--slice", columns, known, place=catalogue.metadata, remedy=remedy)
    if columns:
        return tuple(columns)
    candidates = [name for name in (*USUAL_COLUMNS, group or "") if name in known]
    return tuple(name for name in candidates if 2 <= len(_values(catalogue, name)) <= MOST_VALUES)[:1]


def make_slices(
    items: Sequence[Item],
    captioner: Captioner,
    *,
    columns: Sequence[str],
    group: str | None,
    trained: Sequence[Item],
) -> tuple[Slice, ...]:
    """Slices of some items, in the order in which they are shown.

    A slice without an item is left out, and so is one that holds all of them: it says what the whole says.

    Args:
        items: what is cut up; indices in slices are indices in it.
        captioner: tells whose text is missing or short.
        columns: a slice for each value of these, the 50 most frequent; the others of a column are one slice. A column
            of many numbers is cut into thirds, those that captions speak of where they speak of any.
        group: column of the groups; without it none is rare or new.
        trained: items of the training split; empty where nothing is known about it.
    """
    found: dict[str, list[int]] = {}
    for column in columns:
        found |= _by_value(items, column, captioner)
    found |= _by_group(items, group, trained)
    found |= _by_text(items, captioner)
    return tuple(
        Slice(name=name, indices=tuple(indices)) for name, indices in found.items() if 0 < len(indices) < len(items)
    )


def _by_value(items: Sequence[Item], column: str, captioner: Captioner) -> dict[str, list[int]]:
    cuts = _cuts(items, column, captioner)
    if cuts is not None:
        return _by_third(items, column, cuts)
    indices = defaultdict(list)
    for index, item in enumerate(items):
        for value in _said(item.fields.get(column)):
            indices[value].append(index)
    by_size = sorted(indices, key=lambda value: (-len(indices[value]), value))
    kept, others = by_size[:MOST_VALUES], by_size[MOST_VALUES:]
    slices = {f"{column}: {value}": indices[value] for value in kept}
    if others:
        slices[f"{column}: {len(others)} others"] = sorted({index for value in others for index in indices[value]})
    without = [index for index, item in enumerate(items) if not _said(item.fields.get(column))]
    return {**slices, f"{column}: missing": without}


def _cuts(items: Sequence[Item], column: str, captioner: Captioner) -> CutPoints | None:
    """Where a column of many numbers is cut: where captions cut it, else into thirds of these items."""
    values = [item.fields.get(column) for item in items]
    cuts = cut_points(values)
    if cuts is None or len({value for value in values if not is_missing(value)}) < FEWEST_NUMBERS:
        return None
    if column in captioner.classes or (column not in captioner.levels and are_class_numbers(column, values)):
        return None
    return captioner.levels.get(column, cuts)


def _by_third(items: Sequence[Item], column: str, cuts: CutPoints) -> dict[str, list[int]]:
    low, high = cuts
    name_of = {
        "low": f"{column}: low, up to {low:g}",
        "medium": f"{column}: medium",
        "high": f"{column}: high, above {high:g}",
        "": f"{column}: missing",
    }
    slices: dict[str, list[int]] = {name: [] for name in name_of.values()}
    for index, item in enumerate(items):
        slices[name_of[third_of(item.fields.get(column), cuts)]].append(index)
    return slices


def _by_group(items: Sequence[Item], group: str | None, trained: Sequence[Item]) -> dict[str, list[int]]:
    """By how many training images show the same product."""
    if group is None or not trained:
        return {}
    shown = Counter(group_name(item, group) for item in trained)
    named = [(index, name) for index, item in enumerate(items) if (name := group_name(item, group))]
    return {
        f"{group}: new, no training image": [index for index, name in named if shown[name] == 0],
        f"{group}: rare, at most {RARE_IMAGES} training images": [
            index for index, name in named if 0 < shown[name] <= RARE_IMAGES
        ],
    }


def _by_text(items: Sequence[Item], captioner: Captioner) -> dict[str, list[int]]:
    lengths = [len(captioner.caption(item).split()) for item in items]
    return {
        "text: missing": [index for index, length in enumerate(lengths) if length == 0],
        f"text: short, at most {SHORT_TEXT_WORDS} words": [
            index for index, length in enumerate(lengths) if 0 < length <= SHORT_TEXT_WORDS
        ],
    }


def _said(value: FieldValue) -> list[str]:
    """A list of tags puts its item into a slice for each."""
    parts: Iterable[FieldValue] = value if isinstance(value, list | tuple) else [value]
    return [said for said in dict.fromkeys(map(text_of_value, parts)) if said]


def _values(catalogue: Catalogue, column: str) -> set[str]:
    return {said for item in catalogue for said in _said(item.fields.get(column))}
