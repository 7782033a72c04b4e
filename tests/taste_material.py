"""A table of drawn vectors in planted groups, and simulated shoppers who like them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pinembed.jobs.taste_update import taste_update
from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing
from pinembed.reports.taste import TasteUpdateReport
from pinembed.settings.taste import TasteUpdateSettings
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.rows import EmbeddingRow
from pinembed.table.side_tables import FailureTable
from pinembed.table.writer import TableWriter
from pinembed.taste.event import Event
from pinembed.taste.shoppers import write_events

DIM = 32
SPEC = EncoderSpec(
    architecture="tiny",
    config_sha256="c" * 64,
    weights_sha256="t" * 64,
    dim=DIM,
    preprocessing=Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)
GROUPS = {f"group-{group}": [f"g{group}-{number:02}" for number in range(16)] for group in range(10)}
GROUP_OF = {item: group for group, items in GROUPS.items() for item in items}
SCHEMA = pa.schema([("title", pa.string()), ("kind", pa.string()), ("price", pa.float64())])


def item_row(item: str, *, is_new: bool = True) -> EmbeddingRow:
    group = int(item[1 : item.index("-")])
    centre_D = np.random.default_rng(group).standard_normal(DIM)
    own_D = np.random.default_rng([group, int(item[-2:])]).standard_normal(DIM)
    vector_D = (centre_D + 0.5 * own_D).astype(np.float32)
    return EmbeddingRow(
        id=item,
        folder="/photos",
        file_name=f"{item}.png",
        sha256=item,
        size_bytes=1,
        mtime_ns=1,
        width_px=8,
        height_px=8,
        fields={"title": f"thing {item}", "kind": f"group-{group}", "price": 10.0 * group},
        vector_D=vector_D / np.linalg.norm(vector_D),
        is_new=is_new,
    )


def add_items(table: str, items: Sequence[str]) -> None:
    opened = EmbeddingTable.open(table)
    writer = TableWriter(opened, FailureTable(opened.address), commit_rows=10_000, commit_s=60)
    for item in items:
        writer.add(item_row(item))
    writer.flush()


def make_table(folder: Path, items: Sequence[str] = tuple(GROUP_OF)) -> str:
    table = f"{folder}/items"
    EmbeddingTable.create(table, SPEC, SCHEMA, reference="encoders/tiny")
    add_items(table, items)
    return table


def update(
    events: Sequence[Event] | Path, table: str, users: str, folder: Path, name: str = "log.csv"
) -> TasteUpdateReport:
    """Write events as a log of this name, or take the log, and run `taste update`."""
    path = events if isinstance(events, Path) else folder / name
    if not isinstance(events, Path):
        write_events(events, path)
    return taste_update(TasteUpdateSettings(events=path, table=table, users=users))
