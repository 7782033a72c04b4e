"""What an embedding table says of its contents: which rows have them, where their pictures lie, how large they are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from pinembed.table.embedding_table import EmbeddingTable

COLUMNS = ("id", "folder", "file_name", "sha256", "width_px", "height_px", "mtime_ns")
SELLER_COLUMNS = ("seller", "seller_id", "shop", "merchant", "vendor", "user", "owner")


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    """The rows of a table without their vectors, in storage order.

    Attributes:
        columns: COLUMNS, and the seller's where there is one.
        seller: name of that column; empty where there is none.
    """

    columns: pa.Table
    seller: str

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    @cached_property
    def of_content(self) -> dict[str, list[int]]:
        """Indices of the rows of each content."""
        rows: dict[str, list[int]] = defaultdict(list)
        for index, sha256 in enumerate(self.columns["sha256"].to_pylist()):
            rows[sha256].append(index)
        return dict(rows)

    def first(self, sha256: str) -> dict[str, Any]:
        """The first row of a content."""
        found: dict[str, Any] = self.columns.slice(self.of_content[sha256][0], 1).to_pylist()[0]
        return found

    def name(self, sha256: str) -> str:
        """The id of the first item with this content."""
        return str(self.columns["id"][self.of_content[sha256][0]].as_py())

    def path(self, sha256: str) -> Path:
        """Where the picture of the first item lies."""
        row = self.first(sha256)
        return Path(str(row["folder"])) / str(row["file_name"])


def read_rows(table: EmbeddingTable, seller: str | None) -> StoredRows:
    """The table's rows; the seller is the named column, or one of a usual name.

    Raises:
        TableError: there is no such column, or the table cannot be read.
    """
    usual = next((name for name in SELLER_COLUMNS if name in table.schema.names), "")
    name = usual if seller is None else seller
    names = [*COLUMNS, *([name] if name and name not in COLUMNS else [])]
    batches = list(table.batches(names))
    schema = pa.schema([table.schema.field(column) for column in names])
    return StoredRows(
        columns=pa.Table.from_batches(batches, schema=batches[0].schema if batches else schema), seller=name
    )
