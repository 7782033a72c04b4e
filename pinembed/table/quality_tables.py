"""NAME_measures, what was measured on each content, and NAME_flags, what the audit says of it.

Both are keyed by content, so that they outlive names, folders, encoders and removed rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from pinembed.nouns.flag import Flag
from pinembed.nouns.measures import MEASURES_VERSION, ImageMeasures, PictureMeasures
from pinembed.table.address import TableAddress
from pinembed.table.schema import PRIMARY_KEY
from pinembed.table.side_tables import SideTable

COMPARED = "compared"
OF_PICTURE = {field.name for field in dataclasses.fields(PictureMeasures)}
MEASURES_SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False, metadata=PRIMARY_KEY),
        pa.field("version", pa.int32()),
        pa.field(COMPARED, pa.int32()),
        *(pa.field(name, pa.binary()) for name in ("luma", "chroma")),
        *(pa.field(name, pa.float32()) for name in ("sharpness", "entropy", "ground")),
        pa.field("cut", pa.float32()),
        pa.field("jpeg_quality", pa.int32()),
        pa.field("made_by_ai", pa.string()),
        pa.field("has_unread", pa.bool_()),
    ]
)


class MeasureTable(SideTable):
    """The measures of the contents of one embedding table; exists once one was measured.

    Args:
        address: of the embedding table.
    """

    def __init__(self, address: TableAddress) -> None:
        super().__init__(address.measures, MEASURES_SCHEMA)

    def current(self) -> pa.Table:
        """All that was measured by this version of the measures; `compared` is the version of the search for copies."""
        return self.read(where=f"version = {MEASURES_VERSION}")

    def contents(self) -> set[str]:
        """sha256 of all that was measured by this version of the measures."""
        return set(self.read(["sha256"], where=f"version = {MEASURES_VERSION}")["sha256"].to_pylist())

    def record(self, measures: Mapping[str, ImageMeasures]) -> None:
        """Store measures by content; such a content is compared with the others at the next audit.

        Raises:
            TableError: the table cannot be written.
        """
        self.upsert_rows(measured_rows(measures))

    def mark_compared(self, rows: pa.Table, version: int) -> None:
        """Store that rows of this table were compared with all others.

        Raises:
            TableError: the table cannot be written.
        """
        marked = pa.array([version] * rows.num_rows, pa.int32())
        self.upsert_rows(
            rows.set_column(rows.schema.get_field_index(COMPARED), MEASURES_SCHEMA.field(COMPARED), marked)
        )


def measured_rows(measures: Mapping[str, ImageMeasures]) -> pa.Table:
    """Measures by content as the measures table stores them."""
    found, count = measures.values(), len(measures)
    columns: dict[str, list[Any]] = {"sha256": list(measures)}
    columns |= {"version": [MEASURES_VERSION] * count, COMPARED: [0] * count}
    for name in MEASURES_SCHEMA.names[len(columns) :]:
        columns[name] = [getattr(one.picture if name in OF_PICTURE else one, name) for one in found]
    return pa.Table.from_pydict(columns, schema=MEASURES_SCHEMA)


FLAGS_SCHEMA = pa.schema(
    [
        pa.field("flag", pa.string(), nullable=False, metadata=PRIMARY_KEY),
        *(pa.field(name, pa.string()) for name in ("sha256", "check")),
        pa.field("score", pa.float32()),
        *(pa.field(name, pa.string()) for name in ("evidence", "state", "by")),
        pa.field("at", pa.timestamp("s", tz="UTC")),
        pa.field("version", pa.int32()),
        pa.field("partner", pa.string()),
    ]
)


class FlagTable(SideTable):
    """The flags of one embedding table; exists once there is one.

    Args:
        address: of the embedding table.
    """

    def __init__(self, address: TableAddress) -> None:
        super().__init__(address.flags, FLAGS_SCHEMA)

    def known(self) -> dict[str, Flag]:
        """All flags by their keys, also those of contents that the table does not hold now."""
        return {row.pop("flag"): Flag(**row) for row in self.read().to_pylist()}

    def record(self, flags: Iterable[Flag]) -> None:
        """Store flags; one of the same content and check takes the place of the older.

        Raises:
            TableError: the table cannot be written.
        """
        self.upsert([{"flag": flag.key, **dataclasses.asdict(flag)} for flag in flags])
