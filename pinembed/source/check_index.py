"""Whether an id index is what its ids make it: sorted, complete, without duplicates.

Legend: N items.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pinembed.nouns.verify_report import Finding
from pinembed.source.id_hash import hash_ids
from pinembed.source.id_index import IDS_PER_READ, IdIndex
from pinembed.source.rows import shown_ids


def index_findings(index: IdIndex, file: str) -> Iterator[Finding]:
    """Look at every entry of an index whose header is right."""
    count = len(index)
    if (index.hash_N[1:] < index.hash_N[:-1]).any():
        yield Finding(file=file, problem="index", detail="the hashes do not ascend, so ids cannot be found")
    if (index.offset_N[1:] < index.offset_N[:-1]).any():
        yield Finding(file=file, problem="index", detail="the offsets of the ids do not ascend")
        return
    listed_N = np.zeros(count, np.bool_)
    in_range_N = index.row_N < count
    listed_N[index.row_N[in_range_N].astype(np.int64)] = True
    if not listed_N.all():
        lost = int(count - listed_N.sum())
        yield Finding(file=file, problem="index", detail=f"{lost} of {count} rows cannot be found by an id")
        return
    hash_of_row_N = np.empty(count, np.uint64)
    hash_of_row_N[index.row_N.astype(np.int64)] = index.hash_N
    yield from _ids_findings(index, hash_of_row_N, file)
    yield from _duplicates(index, file)


def _ids_findings(index: IdIndex, hash_of_row_N: NDArray[np.uint64], file: str) -> Iterator[Finding]:
    wrong = not_text = 0
    for start in range(0, len(index), IDS_PER_READ):
        ids_utf8 = [index.id_bytes(row) for row in range(start, min(start + IDS_PER_READ, len(index)))]
        wrong += int((hash_ids(ids_utf8) != hash_of_row_N[start : start + len(ids_utf8)]).sum())
        not_text += sum(not _is_text(id_utf8) for id_utf8 in ids_utf8)
    if wrong:
        yield Finding(file=file, problem="index", detail=f"{wrong} id(s) are filed under a hash that is not theirs")
    if not_text:
        yield Finding(file=file, problem="index", detail=f"{not_text} id(s) are no UTF-8 text")


def _duplicates(index: IdIndex, file: str) -> Iterator[Finding]:
    """Equal ids have equal hashes, which stand side by side."""
    shared = np.flatnonzero(index.hash_N[1:] == index.hash_N[:-1])
    places = np.union1d(shared, shared + 1)
    seen: set[bytes] = set()
    twice: dict[str, None] = {}
    for row in index.row_N[places].tolist():
        id_utf8 = index.id_bytes(row)
        if id_utf8 in seen:
            twice[id_utf8.decode(errors="replace")] = None
        seen.add(id_utf8)
    if twice:
        detail = f"{len(twice)} id(s) occur more than once: {shown_ids(list(twice))}"
        yield Finding(file=file, problem="duplicate_id", detail=detail)


def _is_text(id_utf8: bytes) -> bool:
    try:
        id_utf8.decode()
    except UnicodeDecodeError:
        return False
    return True
