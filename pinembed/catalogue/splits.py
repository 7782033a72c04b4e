"""Which items train, which select, which judge: decided here for all commands that ask.

A split column or split folder is respected. Without one the hash of an item's group decides, 80/10/10, so a group lies
on one side and stays there as the catalogue grows. Groups that share a picture lie on one side too: that of the item
with the smallest id, numbers in ids compared as numbers. New items with higher ids therefore move nothing; only one
that shows the same as two older groups on different sides brings the later group over.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pinembed.catalogue.captions import Captioner
from pinembed.catalogue.novelty import KNOWN, identity_columns, known_share, tied_by
from pinembed.catalogue.split_words import ALL, TEST, TRAIN, VALIDATION, split_of
from pinembed.errors import DataError, UsageError
from pinembed.images.near_duplicates import NearDuplicates, find_near_duplicates
from pinembed.nouns.item import Catalogue, Item, text_of_value
from pinembed.nouns.progress import SILENT, Progress
from pinembed.settings.option import refuse_unknown_columns

if TYPE_CHECKING:
    from torch import Tensor

COLUMN, FOLDERS, HASH = "split column", "split folders", "hash"
HASH_BUCKETS = 100
TRAIN_BUCKETS, VALIDATION_BUCKETS = 80, 90


@dataclass(frozen=True, kw_only=True)
class SplitDecision:
    """Which items lie on which side.

    Attributes:
        items: by split, each in the order of the catalogue; a split without items may be missing.
        decided_by: COLUMN, FOLDERS or HASH.
        near_duplicates: what a look at all pictures found, by indices in the catalogue; empty where nothing looked.
    """

    items: Mapping[str, tuple[Item, ...]]
    decided_by: str
    near_duplicates: NearDuplicates


@dataclass(frozen=True, kw_only=True)
class LabelledItems:
    """Items of a split with what makes two of them positives of each other.

    Attributes:
        items: in the order of the catalogue.
        texts: distinct captions of the items.
        text_of_N: int64, index of an item's caption in `texts`; -1 for an item without text.
        groups: distinct groups' names; empty without a group column.
        group_of_N: int64, index of an item's group in `groups`; a code of its own where the value is missing.
    """

    items: tuple[Item, ...]
    texts: tuple[str, ...]
    text_of_N: Tensor
    groups: tuple[str, ...]
    group_of_N: Tensor

    def __len__(self) -> int:
        return len(self.items)


def decide_splits(
    catalogue: Catalogue, *, group: str | None, always_look: bool = False, progress: Progress = SILENT
) -> SplitDecision:
    """The one split of a catalogue: the same for every command that is given the same items and group.

    Args:
        catalogue: the items.
        group: column whose equal values stay on one side of a hashed split.
        always_look: look for near duplicates also where a given split leaves nothing to the hash.
        progress: told of the look.

    Raises:
        UsageError: the metadata has no such group column.
    """
    check_group(catalogue, group)
    near = NearDuplicates()
    if always_look or is_hashed(catalogue):
        near = find_near_duplicates(catalogue.items, root=catalogue.root, progress=progress)
    return SplitDecision(
        items=split_items(catalogue, group=group, near_duplicates=near.pairs),
        decided_by=_decided_by(catalogue),
        near_duplicates=near,
    )


def check_group(catalogue: Catalogue, group: str | None) -> None:
    """Refuse a group column that is not there.

    Raises:
        UsageError: the metadata has no such column.
    """
    if group is not None:
        remedy = "Name a column whose equal values mean the same product or kind."
        refuse_unknown_columns("--group", [group], catalogue.schema.names, place=catalogue.metadata, remedy=remedy)


def is_hashed(catalogue: Catalogue) -> bool:
    """Whether a hash decides on the side of any item."""
    splits = set(catalogue.splits)
    return not splits or (TRAIN in splits and VALIDATION not in splits)


def split_items(
    catalogue: Catalogue, *, group: str | None, near_duplicates: Sequence[tuple[int, int]] = ()
) -> dict[str, tuple[Item, ...]]:
    """Items by split. A catalogue with a train but no val split gives a tenth of train to val, as test differs from it.

    Where training knows most of test's groups, items move one by one; what test has new, groups or products, is new in
    val too, for a split that selects must ask what the gate will ask.

    Args:
        catalogue: the items.
        group: column whose equal values stay on one side.
        near_duplicates: pairs of indices in the catalogue whose pictures show the same; they stay on one side as well.
    """
    found: dict[str, list[Item]] = defaultdict(list)
    splits = set(catalogue.splits)
    if TRAIN in splits and VALIDATION not in splits:
        keys = _mirroring_keys(catalogue, group, near_duplicates)
    else:
        keys = deciding_keys(catalogue.items, group, near_duplicates)
    for item, key in zip(catalogue, keys, strict=True):
        if not splits:
            found[_hashed_split(key)].append(item)
        elif item.split == TRAIN and VALIDATION not in splits:
            bucket = _bucket(key)
            found[VALIDATION if TRAIN_BUCKETS <= bucket < VALIDATION_BUCKETS else TRAIN].append(item)
        elif item.split is not None:
            found[item.split].append(item)
    return {name: tuple(items) for name, items in found.items()}


def _mirroring_keys(catalogue: Catalogue, group: str | None, near_duplicates: Sequence[tuple[int, int]]) -> list[str]:
    """What is hashed where val is taken from train: what is new in test stays together."""
    items = catalogue.items
    indices = [index for index, item in enumerate(items) if item.split == TRAIN]
    trained, judged = [items[index] for index in indices], [item for item in items if item.split == TEST]
    if group is not None and (known_share(judged, trained, group) or 0) > KNOWN:
        group = None
    columns = identity_columns(trained, judged, catalogue.schema.names)
    return deciding_keys(items, group, [*near_duplicates, *tied_by(items, indices, columns)])


def deciding_keys(items: Sequence[Item], group: str | None, near_duplicates: Sequence[tuple[int, int]]) -> list[str]:
    """What is hashed for each item: its group or id, or that of the first item which it is tied to."""
    keys = [_key(item, group) for item in items]
    if not near_duplicates:
        return keys
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    number_N = np.array([numbers[key] for key in keys])
    tied_2P = number_N[np.array(near_duplicates).T]
    ties = coo_matrix((np.ones(tied_2P.shape[1]), tuple(tied_2P)), shape=(len(numbers), len(numbers)))
    _, tied_of_key = connected_components(ties, directed=False)
    first: dict[int, str] = {}
    for index in sorted(range(len(items)), key=lambda index: _natural(items[index].id)):
        first.setdefault(int(tied_of_key[number_N[index]]), keys[index])
    return [first[int(tied_of_key[number])] for number in number_N]


def items_of_split(
    catalogue: Catalogue, splits: Mapping[str, tuple[Item, ...]], split: str, *, group: str | None
) -> tuple[Item, ...]:
    """The items of one split; `all` for the complete catalogue.

    Args:
        catalogue: the items.
        splits: of the catalogue, from `split_items`.
        split: name of the wanted one.
        group: column by which the hash may have decided.

    Raises:
        UsageError: no such split.
        DataError: the hash put no item into it.
    """
    if split == ALL:
        return catalogue.items
    if split in splits:
        return splits[split]
    if not catalogue.splits and split in {TRAIN, VALIDATION, TEST}:
        raise DataError(
            f"{catalogue.root} has no split column, and the hash of {group or 'the id'} puts none of its "
            f"{len(catalogue)} items into {split}.",
            remedy="Give --split all, add a split column, or bring more groups.",
        )
    known = sorted(splits) or [TRAIN, VALIDATION, TEST]
    raise UsageError(
        f"--split {split} does not occur in {catalogue.root}; found {', '.join(known)}.",
        remedy="Name one of these, or all.",
    )


def label_items(items: tuple[Item, ...], captioner: Captioner, *, group: str | None) -> LabelledItems:
    """Captions and groups as codes."""
    import torch

    texts, text_of_N = codes_of(captioner.caption(item) for item in items)
    groups, group_of_N = codes_of(group_name(item, group) for item in items)
    alone_N = (1 << 40) + torch.arange(len(items))
    return LabelledItems(
        items=items,
        texts=texts,
        text_of_N=text_of_N,
        groups=groups,
        group_of_N=torch.where(group_of_N < 0, alone_N, group_of_N),
    )


def codes_of(words: Iterable[str]) -> tuple[tuple[str, ...], Tensor]:
    """The distinct words in the order of their first occurrence, and the index (N,) of each; -1 for an empty one."""
    import torch

    indices: dict[str, int] = {}
    code_of = [indices.setdefault(word, len(indices)) if word else -1 for word in words]
    return tuple(indices), torch.tensor(code_of, dtype=torch.int64)


def group_name(item: Item, group: str | None) -> str:
    """The item's value of the group column as words; empty where it is missing or there is no such column.

    3.0 is 3: whole numbers become floats where one is missing, and no item may change sides by that.
    """
    value = item.fields.get(group) if group else None
    return text_of_value(int(value) if isinstance(value, float) and value.is_integer() else value)


def _decided_by(catalogue: Catalogue) -> str:
    if not catalogue.splits:
        return HASH
    return FOLDERS if all(item.split == split_of(item.file_name) for item in catalogue) else COLUMN


def _key(item: Item, group: str | None) -> str:
    return group_name(item, group) or item.id


def _natural(identity: str) -> tuple[str | int, ...]:
    """Sorts item 9 before item 10."""
    return tuple(int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", identity)))


def _bucket(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % HASH_BUCKETS


def _hashed_split(key: str) -> str:
    bucket = _bucket(key)
    return TRAIN if bucket < TRAIN_BUCKETS else VALIDATION if bucket < VALIDATION_BUCKETS else TEST
