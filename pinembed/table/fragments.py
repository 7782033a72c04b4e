"""What two versions of a table share: Lance never writes a file twice, so rows in the same files are the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from lance import LanceFragment

from pinembed.table.embedding_table import EmbeddingTable, reading


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
