"""What a policy hides: rows, or training images, whose contents have flags of some checks. Nothing is deleted.

Of items that share one file (`duplicate`) the first stays; of near duplicates the picture that they repeat.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pinembed.errors import ImageError
from pinembed.flags.checks import DUPLICATE, NEAR_DUPLICATE, PLACEHOLDER, VERSIONS
from pinembed.images.perceptual_hash import ImageHash, recall_hashes
from pinembed.images.read import read_file
from pinembed.nouns.flag import CONFIRMED, OPEN_STATES, Flag
from pinembed.nouns.item import Item
from pinembed.nouns.manifest import Hidden
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.quality_tables import FlagTable

LEFT_OUT_OF_TRAINING = (PLACEHOLDER, DUPLICATE, NEAR_DUPLICATE)


@dataclass(frozen=True, kw_only=True)
class HiddenRows:
    """Rows that an export leaves out, or a list sets last.

    Attributes:
        ids: of them.
        told: the policy and its counts, for the manifest.
    """

    ids: frozenset[str]
    told: Hidden


def hidden_rows(table: EmbeddingTable, checks: Sequence[str]) -> HiddenRows:
    """Rows whose content has an open flag of one of the checks: confirmed, or not answered yet.

    Raises:
        TableError: the table cannot be read.
    """
    flags = FlagTable(table.address).known().values()
    flagged = _by_content(flag for flag in flags if flag.check in checks and flag.state in OPEN_STATES)
    contents = {
        item_id: sha256
        for batch in (table.batches(["id", "sha256"]) if flagged else ())
        for item_id, sha256 in zip(batch["id"].to_pylist(), batch["sha256"].to_pylist(), strict=True)
    }
    there, ids, seen = set(contents.values()), set(), set()
    counts: Counter[str] = Counter()
    for item_id, sha256 in contents.items():
        hiding = _hiding(flagged.get(sha256, {}), is_first=sha256 not in seen, there=there)
        seen.add(sha256)
        counts.update(hiding)
        if hiding:
            ids.add(item_id)
    told = Hidden(
        rows=len(ids),
        states=OPEN_STATES,
        checks={check: {"version": VERSIONS[check], "rows": counts[check]} for check in checks},
    )
    return HiddenRows(ids=frozenset(ids), told=told)


def leave_out(items: Sequence[Item], root: Path, table: str) -> tuple[tuple[Item, ...], dict[str, int]]:
    """Training items without confirmed placeholders and confirmed copies of what is trained on anyway.

    Args:
        items: of the training split.
        root: the DATA folder, whose remembered hashes spare reading the files again.
        table: whose flags count.

    Returns:
        the items that stay, and how many were left out by which check.

    Raises:
        TableError: there is no such table, or it cannot be read.
    """
    flags = FlagTable(EmbeddingTable.open(table).address).known().values()
    flagged = _by_content(flag for flag in flags if flag.check in LEFT_OUT_OF_TRAINING and flag.state == CONFIRMED)
    remembered = recall_hashes(root)
    contents = {item.id: _content(item, remembered) for item in items} if flagged else {}
    trained = set(contents.values()) - {sha256 for sha256, by in flagged.items() if PLACEHOLDER in by}
    kept: list[Item] = []
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    for item in items:
        sha256 = contents.get(item.id, "")
        hiding = _hiding(flagged.get(sha256, {}), is_first=sha256 not in seen, there=trained)
        seen.add(sha256)
        counts.update(hiding[:1])
        if not hiding:
            kept.append(item)
    return tuple(kept), dict(sorted(counts.items()))


def _by_content(flags: Iterable[Flag]) -> dict[str, dict[str, Flag]]:
    found: dict[str, dict[str, Flag]] = {}
    for flag in flags:
        found.setdefault(flag.sha256, {})[flag.check] = flag
    return found


def _hiding(flags: Mapping[str, Flag], *, is_first: bool, there: Collection[str]) -> list[str]:
    """The checks that hide one item with these flags.

    Args:
        flags: of its content, by check.
        is_first: no item before it has the content.
        there: contents of which a near duplicate's original has to be one.
    """
    return [
        check
        for check, flag in flags.items()
        if (check != DUPLICATE or not is_first) and (check != NEAR_DUPLICATE or flag.partner in there)
    ]


def _content(item: Item, remembered: Mapping[str, ImageHash]) -> str:
    """sha256 of the item's file; empty where it cannot be read, which training tells."""
    known = remembered.get(item.file_name)
    if known is not None and known.holds_for(item.path):
        return known.sha256.hex()
    try:
        return hashlib.sha256(read_file(item.path)[0]).hexdigest()
    except ImageError:
        return ""
