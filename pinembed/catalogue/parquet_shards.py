"""Parquet files with a column of image bytes, plain or as Hugging Face's struct {bytes, path}: a row is an item.

The other columns are its metadata, and a column `id` names it. Only they are read here; the images stay where they lie.
Convention: https://huggingface.co/docs/datasets/image_dataset#parquet
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from pinembed.catalogue.shards import PARQUET, TAR, Shard, ShardScan
from pinembed.errors import DataError
from pinembed.machine import mtime_ns_of
from pinembed.nouns.item import Candidate, ParquetCell

BEST_NAME = "image"
USUAL_NAMES = (BEST_NAME, "img", "picture", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")
BATCH_ROWS = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """The columns of one file.

    Attributes:
        image: column of the images.
        fields: metadata columns, `id` not among them.
        has_id: there is an `id` column.
        left_out: further columns of bytes.
    """

    image: str
    fields: tuple[str, ...]
    has_id: bool
    left_out: tuple[str, ...]


def scan_parquets(shards: Sequence[Shard], image_column: str | None) -> ShardScan:
    """The items of Parquet files.

    Args:
        shards: the files.
        image_column: column of the images; None looks for it.

    Raises:
        DataError: several columns could be the images, or the files' columns do not go together.
    """
    scan = ShardScan()
    schemas = [_scan_one(shard, image_column, scan) for shard in shards]
    try:
        scan.schema = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(
            f"The Parquet files hold columns of one name and different types: {str(error).splitlines()[0]}",
            remedy="Make the types alike, or encode the files into different tables.",
        ) from error
    return scan


def _scan_one(shard: Shard, image_column: str | None, scan: ShardScan) -> pa.Schema:
    """Add the items of one file, as far as it can be read, and give the types of its metadata columns."""
    schema = pa.schema([])
    try:
        mtime_ns = mtime_ns_of(shard.path.stat())
        with pa.parquet.ParquetFile(shard.path) as file:
            layout = _layout(shard, file.schema_arrow, image_column)
            if layout is None:
                columns = ", ".join(file.schema_arrow.names) or "none"
                scan.give_up(shard, "no_image_column", f"has no column of image bytes; its columns are {columns}")
                return schema
            if layout.left_out:
                scan.notes.append(f"{shard.path}: {', '.join(layout.left_out)}: bytes too, and left out of the table.")
            written = pa.schema([file.schema_arrow.field(name) for name in layout.fields])
            schema = _to_microseconds(written)
            if schema != written:
                scan.notes.append(f"{shard.path}: times to the nanosecond are stored to the microsecond.")
            scan.candidates.extend(_items(shard, file, layout, mtime_ns))
    except (pa.ArrowException, OSError, UnicodeError) as error:  # a damaged column of text may be no UTF-8
        scan.give_up(shard, "broken_shard", f"cannot be read as Parquet: {str(error).splitlines()[0]}")
    return schema


def _items(shard: Shard, file: Any, layout: _Layout, mtime_ns: int) -> Iterator[Candidate]:
    number = 0
    for row_group in range(file.num_row_groups):
        for row, fields in enumerate(_fields(file, row_group, layout)):
            given_id = fields.pop("id", None) if layout.has_id else None
            image = ParquetCell(
                path=shard.path, column=layout.image, number=number, row_group=row_group, row=row, mtime_ns=mtime_ns
            )
            yield Candidate(
                id=f"{shard.file_name}/{number}" if given_id is None else str(given_id),
                file_name=f"{shard.file_name}/{layout.image}/{number}",
                image=image,
                size_bytes=None,
                mtime_ns=mtime_ns,
                fields=fields,
            )
            number += 1


def _fields(file: Any, row_group: int, layout: _Layout) -> Iterator[dict[str, Any]]:
    """The metadata of each row of a group."""
    columns = [*layout.fields, *(["id"] if layout.has_id else [])]
    if not columns:
        yield from ({} for _ in range(file.metadata.row_group(row_group).num_rows))
        return
    for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=[row_group], columns=columns):
        yield from batch.cast(_to_microseconds(batch.schema), safe=False).to_pylist()


def _to_microseconds(schema: pa.Schema) -> pa.Schema:
    """The same columns, with moments and durations as Python knows them."""
    kinds = []
    for field in schema:
        kind = field.type
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            kind = pa.timestamp("us", kind.tz)
        elif pa.types.is_duration(kind) and kind.unit == "ns":
            kind = pa.duration("us")
        kinds.append(field.with_type(kind))
    return pa.schema(kinds)


def _layout(shard: Shard, schema: pa.Schema, wanted: str | None) -> _Layout | None:
    """Which column is what; None where no column can hold images.

    Raises:
        DataError: the column that was asked for is none, or several could be meant.
    """
    able = [field.name for field in schema if _holds_bytes(field.type)]
    if wanted is not None and wanted not in able:
        raise DataError(
            f"{shard.path} has no column {wanted} of image bytes; it has {', '.join(able) or 'no column of bytes'}.",
            remedy="Name one of these with --image-column.",
        )
    structs = [name for name in able if pa.types.is_struct(schema.field(name).type)]
    usual = [name for name in able if name in USUAL_NAMES]
    choices = [wanted] if wanted is not None else structs or usual or able
    if not choices:
        return None
    if len(choices) > 1 and BEST_NAME not in choices:
        raise DataError(
            f"{shard.path} has {len(choices)} columns of image bytes: {', '.join(choices)}.",
            remedy="Name the one to encode with --image-column.",
        )
    image = BEST_NAME if BEST_NAME in choices else choices[0]
    return _Layout(
        image=image,
        fields=tuple(field.name for field in schema if field.name not in {*able, "id"}),
        has_id="id" in schema.names and "id" not in able,
        left_out=tuple(name for name in able if name != image),
    )


def are_records_of_tars(parquets: Sequence[Shard], tars: Sequence[Shard]) -> bool:
    """Whether Parquet files are a downloader's records of the tars of the same names, and hold no images themselves."""
    names = {tar.file_name.removesuffix(TAR) for tar in tars}
    try:
        return all(
            shard.file_name.removesuffix(PARQUET) in names
            and not any(_holds_bytes(field.type) for field in pa.parquet.read_schema(shard.path))
            for shard in parquets
        )
    except (pa.ArrowException, OSError):
        return False


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
