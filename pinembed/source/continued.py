"""A source that goes on from an earlier one: files whose rows are still the same are taken over, the rest is written.

New rows that a file of the table holds alone get it as a shard, under a second name, so that they lie on the disk once.

The rows of the earlier source keep their order and the new ones come behind them, so that a night that adds one row in
a hundred writes these rows and an index of them, and one that changes a price writes no vector. Small files would pile
up: a file that is written takes in a neighbour of less than twice its rows, as LSM trees do. A row is so written again
some log2(N) times in all, and some log2(N) index files hold N rows.

Legend: N items of the new source, D floats of one embedding, R rows of one file.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import SourceError
from pinembed.generation.build import link_or_copy
from pinembed.nouns.manifest import FORMAT_VERSION, PAGED_VERSION, Manifest, ManifestFile
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.source.hashed_file import WriteThread
from pinembed.source.id_index import IDS_PER_READ, index_name
from pinembed.source.index_writer import IndexWriter
from pinembed.source.manifest_file import write_manifest
from pinembed.source.rows import Floats, Rows, checked_rows, shown_ids
from pinembed.source.shard_files import shard_name, shard_tensors
from pinembed.source.table_files import link_shard
from pinembed.source.tensor_file import header_bytes
from pinembed.table.fragments import Fragments, VectorFile

FRESH_SHARE = 4  # with more than one row in four to write, all of them are written in the table's order
GROWTH = 2  # a file that is written takes in a neighbour of less than so many times its rows
MOST_SHARDS, FEW_SHARDS = 4, 16  # more than so many times those of a source at once, and these: all is written anew
Entry = Callable[[], ManifestFile]
"""What the manifest tells of a file; to be called when everything is written."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """What has become of an earlier source.

    Attributes:
        base: the earlier source.
        kept_N: which of its rows are still the same.
        ids: of the rows that it has not, or has otherwise.
        fresh_RD: what these hold.
        place_R: which of the rows that were compared they are, counted as those came.
    """

    base: EmbeddingSource
    kept_N: NDArray[np.bool_]
    ids: Sequence[str]
    fresh_RD: Floats
    place_R: NDArray[np.int64]

    @property
    def order(self) -> NDArray[np.intp]:
        """The kept rows, as they follow one another in the new source."""
        return np.flatnonzero(self.kept_N)

    def ids_of(self, start: int, end: int) -> Iterator[list[str]]:
        """Ids of rows of the new source, some thousand at a time."""
        order = self.order
        for first in range(start, end, IDS_PER_READ):
            last = min(first + IDS_PER_READ, end)
            old = [self.base.ids[row] for row in order[first:last].tolist()]
            yield [*old, *self.ids[max(0, first - len(order)) : max(0, last - len(order))]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """What is known of the rows of an earlier source before any of them is compared.

    Attributes:
        same_N: rows that are still the same, for the files that hold them in the table are.
        rows: how many of all wanted rows are not among them, and so are to be looked at.
        files: of the table, that hold some of these.
    """

    same_N: NDArray[np.bool_]
    rows: int
    files: Sequence[VectorFile] = ()


def standing_without(base: EmbeddingSource, ids: Iterable[Sequence[str]], come: Fragments) -> Standing | None:
    """All rows of an earlier source but those that may be others now; None where the numbers do not agree.

    Args:
        base: the earlier source.
        ids: of the rows that may be others, or gone; some at a time.
        come: what the table has in their place.
    """
    same_N = np.ones(len(base), np.bool_)
    for some in ids:
        row_R = base.find(some)
        if (row_R < 0).any():
            return None
        same_N[row_R] = False
    return Standing(same_N=same_N, rows=come.rows, files=tuple(come.vector_files()))


def continue_source(
    folder: Path,
    base: EmbeddingSource,
    batches: Iterable[Rows],
    *,
    count: int,
    shard_bytes: int,
    standing: Standing | None = None,
) -> Manifest | None:
    """Write a source with the files of an earlier one, as far as they hold what is wanted.

    Args:
        folder: exists and is empty.
        base: the earlier source, of the same encoder and type.
        batches: ids and (n, D) embeddings, in any order.
        count: N.
        shard_bytes: bound on the embeddings of a file that is written.
        standing: rows that `batches` leaves out, because they are still the same; None where it gives all.

    Returns:
        None, with nothing written, where too little is the same.

    Raises:
        SourceError, NonFiniteEmbeddingError, OSError: as for `write_source`.
    """
    standing = standing or Standing(same_N=np.zeros(len(base), np.bool_), rows=count)
    rows = checked_rows(batches, dim=base.dim, dtype=base.dtype, count=standing.rows)
    change = _compared(base, rows, standing.same_N, most_fresh=count // FRESH_SHARE)
    if change is None:
        return None
    most_rows = max(1, shard_bytes // base.manifest.row_bytes)
    shards = _grouped(_shard_parts(change, most_rows, standing.files), most_rows)
    if len(shards) > MOST_SHARDS * -(-count // most_rows) + FEW_SHARDS:
        return None
    with WriteThread() as thread:
        shard_entries = [_put_shard(folder, place, change, parts, thread) for place, parts in enumerate(shards)]
        indexed = _grouped(_index_parts(change, count), count)
        index_entries = [_put_index(folder, place, change, parts, thread) for place, parts in enumerate(indexed)]
        thread.wait()
        entries = tuple(entry() for entry in shard_entries)
        manifest = dataclasses.replace(
            base.manifest,
            version=PAGED_VERSION if any(entry.pages for entry in entries) else FORMAT_VERSION,
            count=count,
            shards=entries,
            index=tuple(entry() for entry in index_entries),
            hidden=None,
        )
    return write_manifest(folder, manifest)


def _compared(
    base: EmbeddingSource, rows: Iterable[Rows], same_N: NDArray[np.bool_], *, most_fresh: int
) -> Change | None:
    """Look each row up in the earlier source; None where more than `most_fresh` are others there.

    Args:
        base: the earlier source.
        rows: all but those that are known to be the same.
        same_N: which are.
        most_fresh: rows that may be others.

    Raises:
        SourceError: an id occurs twice.
    """
    seen_N, kept_N = same_N.copy(), same_N.copy()
    ids: list[str] = []
    places: list[int] = []
    done = 0
    fresh: list[Floats] = [np.empty((0, base.dim), base.dtype)]
    for batch_ids, embedding_RD in rows:
        row_R = base.find(batch_ids)
        known_R = row_R >= 0
        known = row_R[known_R]
        _refuse_twice([base.ids[row] for row in known[seen_N[known]].tolist()])
        seen_N[known] = True
        same_R = known_R.copy()
        same_R[known_R] = (base.stored(known).view(np.uint8) == embedding_RD[known_R].view(np.uint8)).all(axis=1)
        kept_N[row_R[same_R]] = True
        others = np.flatnonzero(~same_R).tolist()
        ids += [batch_ids[place] for place in others]
        places += [done + place for place in others]
        done += len(batch_ids)
        fresh.append(embedding_RD[~same_R])
        if len(ids) > most_fresh:
            return None
    _refuse_twice([item_id for item_id, count in Counter(ids).items() if count > 1])
    place_R = np.array(places, np.int64)
    return Change(base=base, kept_N=kept_N, ids=ids, fresh_RD=np.concatenate(fresh), place_R=place_R)


def _refuse_twice(ids: Sequence[str]) -> None:
    if ids:
        raise SourceError(
            f"{len(ids)} item id(s) occur more than once: {shown_ids(ids)}.",
            remedy="Give each item its own id in the metadata and encode again.",
        )


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows that follow one another in the new source.

    Attributes:
        start: the first of them.
        rows: how many.
        old: number of the file of the earlier source that holds just these; None for rows that are to be written.
        file: of the table, that holds just these; None where there is none.
    """

    start: int
    rows: int
    old: int | None = None
    file: VectorFile | None = None


def _shard_parts(change: Change, most_rows: int, files: Sequence[VectorFile]) -> Iterator[Part]:
    """The earlier shards as far as they are left, and behind them the new rows."""
    start = first = 0
    for number, shard in enumerate(change.base.manifest.shards):
        left = int(change.kept_N[first : first + shard.rows].sum())
        first += shard.rows
        if left:
            yield Part(start=start, rows=left, old=number if left == shard.rows else None)
        start += left
    done = 0
    for file in files:
        at = int(np.searchsorted(change.place_R, file.first))
        wanted_R = np.arange(file.first, file.first + file.rows)
        if file.rows <= most_rows and np.array_equal(change.place_R[at : at + file.rows], wanted_R):
            yield from _cut(start + done, at - done, most_rows)
            yield Part(start=start + at, rows=file.rows, file=file)
            done = at + file.rows
    yield from _cut(start + done, len(change.ids) - done, most_rows)


def _cut(start: int, rows: int, most_rows: int) -> Iterator[Part]:
    for done in range(0, rows, most_rows):
        yield Part(start=start + done, rows=min(most_rows, rows - done))


def _index_parts(change: Change, count: int) -> Iterator[Part]:
    """The earlier index files that are left whole, and the rows between and behind them."""
    new_N = np.cumsum(change.kept_N) - 1
    done = 0
    starts = change.base.ids.first_rows.tolist()
    for number, (first, end) in enumerate(itertools.pairwise(starts)):
        if end > first and change.kept_N[first:end].all():
            start = int(new_N[first])
            if start > done:
                yield Part(start=done, rows=start - done)
            yield Part(start=start, rows=end - first, old=number)
            done = start + end - first
    if count > done:
        yield Part(start=done, rows=count - done)


def _grouped(parts: Iterable[Part], most_rows: int) -> list[list[Part]]:
    """Parts that become a file together: what is written takes in neighbours that are not much larger."""
    groups: list[list[Part]] = []
    for part in parts:
        groups.append([part])
        while len(groups) > 1 and _takes_in(groups[-2], groups[-1], most_rows):
            right = groups.pop()
            groups[-1] = [*groups[-1], *right]
    return groups


def _takes_in(left: list[Part], right: list[Part], most_rows: int) -> bool:
    is_written = len(left) > 1 or len(right) > 1 or left[0].old is None or right[0].old is None
    left_rows, right_rows = (sum(part.rows for part in group) for group in (left, right))
    return is_written and left_rows < GROWTH * right_rows and left_rows + right_rows <= most_rows


def _put_shard(folder: Path, number: int, change: Change, parts: list[Part], thread: WriteThread) -> Entry:
    path = folder / shard_name(number)
    old, file = (parts[0].old, parts[0].file) if len(parts) == 1 else (None, None)
    if old is not None:
        entry = change.base.manifest.shards[old]
        return _take_over(change.base.folder, entry, path.with_suffix(Path(entry.file).suffix))
    start, rows = parts[0].start, sum(part.rows for part in parts)
    order = change.order
    old_rows, new = order[start : start + rows], max(0, start + rows - len(order))
    embedding_RD = np.concatenate([change.base.stored(old_rows), change.fresh_RD[max(0, start - len(order)) : new]])
    linked = None if file is None else link_shard(file, path.with_suffix(file.path.suffix), embedding_RD)
    if linked is not None:
        return lambda: linked
    written = thread.open(path)
    thread.write(written, header_bytes(shard_tensors(rows, change.base.dim, change.base.dtype)))
    thread.write(written, embedding_RD)
    thread.end(written)
    return lambda: written.entry(rows)


def _put_index(folder: Path, number: int, change: Change, parts: list[Part], thread: WriteThread) -> Entry:
    old = parts[0].old if len(parts) == 1 else None
    if old is not None:
        return _take_over(change.base.folder, change.base.manifest.index[old], folder / index_name(number))
    start, rows = parts[0].start, sum(part.rows for part in parts)
    writer = IndexWriter(folder, thread, number=number)
    for ids in change.ids_of(start, start + rows):
        writer.add(ids)
    file = writer.finish()
    return lambda: file.entry(rows)


def _take_over(folder: Path, entry: ManifestFile, path: Path) -> Entry:
    link_or_copy(folder / entry.file, path)
    return lambda: dataclasses.replace(entry, file=path.name)
