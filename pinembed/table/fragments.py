"""What two versions of a table share: Lance never writes a file twice, so rows in the same files are the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from lance import LanceFragment
from lance.file import LanceFileReader

from pinembed.table.embedding_table import EmbeddingTable, reading
from pinembed.table.schema import VECTOR


@dataclass(frozen=True, kw_only=True)
class VectorFile:
    """A file of a table whose rows are all there, and where the vectors lie in it.

    Attributes:
        path: of the file; Lance never writes it again.
        first: its first row, among those of all fragments that were asked.
        rows: how many it has.
        pages: runs of rows, each with its first byte and its rows. That nothing but their bytes lies there is to be
            checked.
    """

    path: Path
    first: int
    rows: int
    pages: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fragments:
    """Some of the fragments of a table."""

    table: EmbeddingTable
    fragments: Sequence[LanceFragment]

    @property
    def rows(self) -> int:
        """How many rows they hold."""
        return sum(fragment.count_rows() for fragment in self.fragments)

    def batches(self, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Their rows in storage order, at most `batch_rows` at a time.

        Raises:
            TableError: the table cannot be read.
        """
        if not self.fragments:
            return
        with reading(self.table.address):
            scanner = self.table.dataset.scanner(
                columns=list(columns), fragments=list(self.fragments), batch_size=batch_rows, scan_in_order=True
            )
            yield from scanner.to_batches()

    def vector_files(self) -> Iterator[VectorFile]:
        """The files that hold whole vectors of fragments without any deleted row.

        Raises:
            TableError: the table cannot be read.
        """
        first = 0
        for fragment in self.fragments:
            rows = fragment.count_rows()
            if rows == fragment.physical_rows and (found := self._vector_file(fragment, first, rows)) is not None:
                yield found
            first += rows

    @property
    def _row_bytes(self) -> int:
        kind = self.table.schema.field(VECTOR).type
        return int(kind.list_size * kind.value_type.bit_width // 8)

    def _vector_file(self, fragment: LanceFragment, first: int, rows: int) -> VectorFile | None:
        """None where the pages are not those of flat vectors."""
        folder = self.table.address.folder
        field = next(field.id() for field in self.table.dataset.lance_schema.fields() if field.name() == VECTOR)
        holding = [file for file in fragment.metadata.files if field in file.fields]
        if folder is None or len(holding) != 1:
            return None
        [file] = holding
        path = folder / "data" / file.path
        with reading(self.table.address):
            pages = LanceFileReader(str(path)).metadata().columns[file.column_indices[file.fields.index(field)]].pages
        row_bytes = self._row_bytes
        buffers = [buffer for page in pages for buffer in page.buffers if buffer.size]
        runs = tuple((buffer.position, buffer.size // row_bytes) for buffer in buffers)
        is_flat = not any(buffer.size % row_bytes for buffer in buffers) and sum(held for _, held in runs) == rows
        return VectorFile(path=path, first=first, rows=rows, pages=runs) if is_flat else None


def differing(old: EmbeddingTable, new: EmbeddingTable) -> tuple[Fragments, Fragments]:
    """The fragments of a table that its clone has no more, or otherwise, and those that the clone has instead."""
    olds, news = ({_content(fragment): fragment for fragment in table.dataset.get_fragments()} for table in (old, new))
    gone = [fragment for content, fragment in olds.items() if content not in news]
    come = [fragment for content, fragment in news.items() if content not in olds]
    return Fragments(table=old, fragments=gone), Fragments(table=new, fragments=come)


def _content(fragment: LanceFragment) -> str:
    """What tells the rows of one fragment from those of any other: its files, and which rows of them are deleted."""
    described = fragment.metadata.to_json()
    return json.dumps([described[name] for name in ("files", "overlays", "physical_rows", "deletion_file")])
