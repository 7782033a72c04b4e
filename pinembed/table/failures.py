"""The failures table, NAME_failures beside NAME: the images that have no embedding, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import pyarrow as pa
from lance import write_dataset

from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import id_conditions, open_if_there, reading, writing
from pinembed.table.schema import PRIMARY_KEY
from pinembed.table.upkeep import compact

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False, metadata=PRIMARY_KEY),
        pa.field("folder", pa.string()),
        pa.field("file_name", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("message", pa.string()),
        pa.field("failed_at", pa.timestamp("s", tz="UTC")),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One image without an embedding.

    Attributes:
        id: of the item.
        folder: the IMAGES folder.
        file_name: relative to `folder`; bytes that are no UTF-8 are written as backslash and number.
        size_bytes: of the file as the scan saw it.
        mtime_ns: of the file as the scan saw it.
        reason: short class of the failure.
        message: a sentence for people.
    """

    id: str
    folder: str
    file_name: str
    size_bytes: int
    mtime_ns: int
    reason: str
    message: str


class FailureTable:
    """The failures of one embedding table; exists once something has failed.

    Args:
        address: of the embedding table.
    """

    def __init__(self, address: TableAddress) -> None:
        self.address = address.failures
        self._dataset = open_if_there(self.address)

    def known(self) -> dict[str, Failure]:
        """All failures by item id."""
        if self._dataset is None:
            return {}
        columns = [name for name in SCHEMA.names if name != "failed_at"]
        with reading(self.address):
            rows = self._dataset.to_table(columns=columns).to_pylist()
        return {row["id"]: Failure(**row) for row in rows}

    def record(self, failures: Sequence[Failure]) -> None:
        """Store failures; a newer one of the same item takes the place of the older.

        Raises:
            TableError: the table cannot be written.
        """
        if not failures:
            return
        now = datetime.now(timezone.utc)
        latest = {failure.id: failure for failure in failures}
        rows = [
            {name: now if name == "failed_at" else getattr(failure, name) for name in SCHEMA.names}
            for failure in latest.values()
        ]
        with writing(self.address):
            if self._dataset is None:
                self._dataset = write_dataset(SCHEMA.empty_table(), self.address.uri, schema=SCHEMA)
            merge = self._dataset.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(pa.Table.from_pylist(rows, schema=SCHEMA))

    def forget(self, ids: Iterable[str]) -> None:
        """Take out the items that have an embedding now, or that are gone.

        Raises:
            TableError: the table cannot be written.
        """
        if self._dataset is not None:
            with writing(self.address):
                for condition in id_conditions(sorted(ids)):
                    self._dataset.delete(condition)

    def tidy(self) -> None:
        """Join what many runs have left in pieces.

        Raises:
            TableError: the table cannot be written.
        """
        if self._dataset is not None:
            compact(self.address, self._dataset)
