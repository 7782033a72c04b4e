"""Pictures that lie on both sides of a split: they flatter every figure measured on the second."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pinembed.nouns.finetune_report import Leak
from pinembed.nouns.item import Item


def find_leaks(train: Sequence[Item], judged: dict[str, Sequence[Item]]) -> tuple[Leak, ...]:
    """Items of other splits whose file is byte for byte one of the training split, by split.

    Only files of equal size are read.
    """
    sizes = Counter(size for size in map(_size, train) if size is not None)
    judging = {split: [item for item in items if _size(item) in sizes] for split, items in judged.items()}
    wanted = {_size(item) for items in judging.values() for item in items}
    seen = {digest for item in train if _size(item) in wanted and (digest := _digest(item.path))}
    found = (
        Leak(split=split, file_names=tuple(item.file_name for item in items if _digest(item.path) in seen))
        for split, items in judging.items()
    )
    return tuple(leak for leak in found if leak.file_names)


def _size(item: Item) -> int | None:
    try:
        return item.path.stat().st_size
    except OSError:
        return None


def _digest(path: Path) -> bytes | None:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None
