"""Everything that can be wrong with an exported folder, found in one pass over its bytes.

Legend: N items, D floats of one embedding, R rows of one run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pinembed.errors import SourceError
from pinembed.nouns.manifest import NPY_FORMAT, PARQUET_FORMAT, SOURCE_FORMAT, Manifest, ManifestFile
from pinembed.reports.source import Finding
from pinembed.source.formats import npy_header
from pinembed.source.id_index import IDS_PER_READ, IndexFile, hash_ids
from pinembed.source.manifest_file import (
    CHECKSUMS,
    MANIFEST,
    folder_descriptor,
    manifest_edit,
    parse_manifest,
    read_checksums,
    read_manifest,
    read_manifest_bytes,
)
from pinembed.source.rows import non_finite_rows, shown_ids
from pinembed.source.shard_files import pages_of

Pages = Sequence[tuple[int, int]]
"""Runs of rows in a file, each with its first byte and its rows."""


def json_lines_findings(path: Path, entry: ManifestFile) -> Iterator[Finding]:
    """Look at every line of ids.jsonl."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    lines = wrong = 0
    with path.open("rb") as file:
        for line in file:
            lines += 1
            item_id = _json_string(line)
            if item_id is None:
                wrong += 1
            elif item_id in seen:
                twice[item_id] = None
            else:
                seen.add(item_id)
    if lines != entry.rows:
        yield Finding(file=entry.file, problem="count", detail=f"has {lines} lines; the manifest says {entry.rows}")
    if wrong:
        yield Finding(file=entry.file, problem="index", detail=f"{wrong} line(s) are no JSON strings")
    if twice:
        detail = f"{len(twice)} id(s) occur more than once: {shown_ids(list(twice))}"
        yield Finding(file=entry.file, problem="duplicate_id", detail=detail)


def parquet_rows_finding(path: Path, entry: ManifestFile) -> Iterator[Finding]:
    """Compare a Parquet file's own row count with the manifest's."""
    try:
        rows = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        first_line = str(error).split("\n", 1)[0]
        yield Finding(file=entry.file, problem="layout", detail=f"is no Parquet file: {first_line}")
        return
    if rows != entry.rows:
        yield Finding(file=entry.file, problem="count", detail=f"has {rows} rows; the manifest says {entry.rows}")


def _json_string(line: bytes) -> str | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None


def index_findings(files: Mapping[str, IndexFile], *, verified: Collection[str] = ()) -> Iterator[Finding]:
    """Look at every entry of the index files whose headers are right, and for ids that two files hold.

    Args:
        files: by name, in row order.
        verified: names of those that hold nothing wrong in themselves.
    """
    sound: dict[str, IndexFile] = {}
    for name, file in files.items():
        if name in verified:
            sound[name] = file
            continue
        if (file.hash_N[1:] < file.hash_N[:-1]).any():
            yield Finding(file=name, problem="index", detail="the hashes do not ascend, so ids cannot be found")
        broken = _broken_rows(file)
        if broken:
            yield Finding(file=name, problem="index", detail=broken)
        else:
            sound[name] = file
            yield from _ids_findings(file, name)
    yield from _duplicates(sound)


def _broken_rows(file: IndexFile) -> str:
    """Why the ids of a file cannot be told one from another; empty where they can."""
    if (file.offset_N[1:] < file.offset_N[:-1]).any():
        return "the offsets of the ids do not ascend"
    count = len(file)
    listed_N = np.zeros(count, np.bool_)
    listed_N[file.row_N[file.row_N < count].astype(np.int64)] = True
    return "" if listed_N.all() else f"{int(count - listed_N.sum())} of {count} rows cannot be found by an id"


def _ids_findings(file: IndexFile, name: str) -> Iterator[Finding]:
    hash_of_row_N = np.empty(len(file), np.uint64)
    hash_of_row_N[file.row_N.astype(np.int64)] = file.hash_N
    wrong = not_text = 0
    for start in range(0, len(file), IDS_PER_READ):
        ids_utf8 = [file.id_bytes(row) for row in range(start, min(start + IDS_PER_READ, len(file)))]
        wrong += int((hash_ids(ids_utf8) != hash_of_row_N[start : start + len(ids_utf8)]).sum())
        not_text += sum(not _is_text(id_utf8) for id_utf8 in ids_utf8)
    if wrong:
        yield Finding(file=name, problem="index", detail=f"{wrong} id(s) are filed under a hash that is not theirs")
    if not_text:
        yield Finding(file=name, problem="index", detail=f"{not_text} id(s) are no UTF-8 text")


def _duplicates(files: Mapping[str, IndexFile]) -> Iterator[Finding]:
    """Equal ids have equal hashes; they stand in one file or in two."""
    if not files:
        return
    hash_N = np.concatenate([file.hash_N for file in files.values()])
    order_N = np.argsort(hash_N, kind="stable")
    shared = np.flatnonzero(hash_N[order_N[1:]] == hash_N[order_N[:-1]])
    places = order_N[np.union1d(shared, shared + 1)]
    starts = np.cumsum([0, *map(len, files.values())])
    names = list(files)
    seen: set[bytes] = set()
    twice: dict[str, dict[str, None]] = {}
    for place in places.tolist():
        number = int(np.searchsorted(starts, place, side="right")) - 1
        file = files[names[number]]
        id_utf8 = file.id_bytes(int(file.row_N[place - int(starts[number])]))
        if id_utf8 in seen:
            twice.setdefault(names[number], {})[id_utf8.decode(errors="replace")] = None
        seen.add(id_utf8)
    for name, ids in twice.items():
        detail = f"{len(ids)} id(s) occur more than once: {shown_ids(list(ids))}"
        yield Finding(file=name, problem="duplicate_id", detail=detail)


def _is_text(id_utf8: bytes) -> bool:
    try:
        id_utf8.decode()
    except UnicodeDecodeError:
        return False
    return True


READ_BYTES = 8 << 20
_SHOWN = 5


class FolderCheck:
    """One look at an exported folder; `run` fills the attributes.

    Args:
        folder: to look at.
        descriptor: of it.
        read: hears of the bytes that were read.
        base: an earlier source that was verified; None for none. A file that is the very same in both is as it was.

    Attributes:
        manifest: None where it cannot be used.
    """

    def __init__(self, folder: Path, descriptor: int, *, read: Callable[[int], None], base: Path | None = None) -> None:
        self.manifest: Manifest | None = None
        self.findings: list[Finding] = []
        self.files = 0
        self.size_bytes = 0
        self._folder, self._descriptor, self._read = folder, descriptor, read
        self._sha256_of = {} if base is None else _verified(base)
        self._verified: set[str] = set()

    def run(self) -> None:
        """Check the manifest, and every file that it or the checksum list names.

        Raises:
            SourceError: there is neither a manifest nor a checksum list: the folder is no export.
        """
        checksums = read_checksums(self._folder, self._descriptor)
        try:
            text = read_manifest_bytes(self._folder, self._descriptor)
            self.manifest = parse_manifest(text, folder=self._folder)
        except SourceError as error:
            if not checksums:
                raise
            self._find(MANIFEST, "manifest", error.message)
            self._check_listed(checksums)
            return
        edited = manifest_edit(text, checksums)
        if edited:
            self._find(MANIFEST, "manifest", edited)
        self._compare_lists(self.manifest, checksums)
        for shard in self.manifest.shards:
            self._check_file(shard, self._pages_of(self.manifest, shard))
        whole = [entry for entry in self.manifest.index if self._check_file(entry, None)]
        self._check_index(self.manifest, whole)

    def _find(self, file: str, problem: str, detail: str) -> None:
        self.findings.append(Finding(file=file, problem=problem, detail=detail))

    def _compare_lists(self, manifest: Manifest, checksums: dict[str, str]) -> None:
        for entry in manifest.files:
            listed = checksums.get(entry.file)
            if listed != entry.sha256:
                says = f"says {listed[:12]}..." if listed else "has no line"
                self._find(CHECKSUMS, "checksum", f"{says} for {entry.file}; the manifest says {entry.sha256[:12]}...")

    def _check_listed(self, checksums: dict[str, str]) -> None:
        """Without a manifest there are still the checksums."""
        for file, sha256 in sorted(checksums.items()):
            plain = file == Path(file).name
            if file != MANIFEST and plain and (descriptor := self._open(file)) is not None:
                with os.fdopen(descriptor, "rb", buffering=0):
                    self._compare_sha256(file, descriptor, sha256)

    def _pages_of(self, manifest: Manifest, shard: ManifestFile) -> Callable[[int], Pages] | None:
        """How to check a shard's header and learn where its rows stand; None where the format has no rows."""
        if manifest.format == SOURCE_FORMAT:
            return lambda descriptor: pages_of(descriptor, shard, manifest, file=shard.file)
        if manifest.format == NPY_FORMAT:
            header = npy_header(shard.rows, manifest.dim, manifest.dtype)
            return lambda descriptor: ((_npy_start(descriptor, header, shard.file), shard.rows),)
        return None

    def _check_file(self, entry: ManifestFile, pages_in: Callable[[int], Pages] | None) -> bool:
        """Length, header, checksum and rows of one file; False where its contents cannot be used."""
        descriptor = self._open(entry.file)
        if descriptor is None:
            return False
        with os.fdopen(descriptor, "rb", buffering=0):
            found_bytes = os.fstat(descriptor).st_size
            if found_bytes != entry.size_bytes:
                self._find(entry.file, "size", f"has {found_bytes} bytes; the manifest says {entry.size_bytes}")
                return False
            if self._sha256_of.get(_identity(os.fstat(descriptor))) == entry.sha256:
                self._verified.add(entry.file)
                self.files += 1
                return True
            pages: Pages = ()
            if pages_in is not None:
                try:
                    pages = pages_in(descriptor)
                except SourceError as error:
                    self._find(entry.file, "layout", error.message)
            self._compare_sha256(entry.file, descriptor, entry.sha256, pages=pages)
            if self.manifest is not None and self.manifest.format == PARQUET_FORMAT:
                self.findings += parquet_rows_finding(self._folder / entry.file, entry)
        return True

    def _open(self, file: str) -> int | None:
        try:
            return os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._descriptor)
        except FileNotFoundError:
            self._find(file, "missing", "is not there")
        except OSError as error:
            self._find(file, "missing", f"cannot be opened: {error.strerror}")
        return None

    def _compare_sha256(self, file: str, descriptor: int, wanted: str, *, pages: Pages = ()) -> None:
        """Read a file once: for its checksum and, in its pages, for rows that are not finite."""
        sha256 = hashlib.sha256()
        bad_rows: list[int] = []
        row = at = 0
        try:
            for begin, rows in pages:
                for chunk in self._chunks(descriptor, at, begin):
                    sha256.update(chunk)
                at = begin + rows * self._row_bytes
                for chunk in self._chunks(descriptor, begin, at):
                    sha256.update(chunk)
                    bad_rows += (self._non_finite_rows(chunk) + row).tolist()
                    row += len(chunk) // self._row_bytes
            for chunk in self._chunks(descriptor, at, os.fstat(descriptor).st_size):
                sha256.update(chunk)
        except OSError as error:
            self._find(file, "unreadable", f"cannot be read: {error.strerror}")
            return
        self.files += 1
        found = sha256.hexdigest()
        if found != wanted:
            self._find(file, "checksum", f"has sha256 {found[:12]}...; {wanted[:12]}... was written")
        if bad_rows:
            shown = ", ".join(map(str, bad_rows[:_SHOWN])) + (" ..." if len(bad_rows) > _SHOWN else "")
            self._find(file, "non_finite", f"holds NaN or inf in {len(bad_rows)} row(s): {shown}")

    @property
    def _row_bytes(self) -> int:
        return self.manifest.row_bytes if self.manifest is not None else 1

    def _non_finite_rows(self, chunk: bytes) -> NDArray[np.intp]:
        """Numbers of such rows among those of a chunk."""
        assert self.manifest is not None  # it tells where rows are
        return non_finite_rows(np.frombuffer(chunk, self.manifest.dtype).reshape(-1, self.manifest.dim))

    def _chunks(self, descriptor: int, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` to `end`, whole rows at a time."""
        chunk_bytes = max(1, READ_BYTES // self._row_bytes) * self._row_bytes
        while start < end and (chunk := os.pread(descriptor, min(chunk_bytes, end - start), start)):
            start += len(chunk)
            self.size_bytes += len(chunk)
            self._read(len(chunk))
            yield chunk

    def _check_index(self, manifest: Manifest, entries: list[ManifestFile]) -> None:
        if manifest.format == NPY_FORMAT:
            for entry in entries:
                self.findings += json_lines_findings(self._folder / entry.file, entry)
            return
        files = {entry.file: file for entry in entries if (file := self._index_file(entry)) is not None}
        self.findings += index_findings(files, verified=self._verified)

    def _index_file(self, entry: ManifestFile) -> IndexFile | None:
        descriptor = self._open(entry.file)
        if descriptor is None:
            return None
        try:
            return IndexFile(descriptor, count=entry.rows, file=entry.file)
        except SourceError as error:
            self._find(entry.file, "layout", error.message)
            return None
        finally:
            os.close(descriptor)


def _verified(base: Path) -> dict[tuple[int, int], str]:
    """The sha256 of each file of an earlier source, by what tells one file from another; empty where it has none."""
    try:
        with folder_descriptor(base) as descriptor:
            manifest = read_manifest(base, descriptor)
            return {_identity((base / entry.file).stat()): entry.sha256 for entry in manifest.files}
    except (SourceError, OSError):
        return {}


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _npy_start(descriptor: int, header: bytes, file: str) -> int:
    if os.pread(descriptor, len(header), 0) != header:
        raise SourceError(f"{file} does not begin with the header of its rows.", remedy="Export the table again.")
    return len(header)
