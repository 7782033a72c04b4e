"""Parquet files with a column of image bytes, plain or as Hugging Face's struct {bytes, path}: a row is an item.

The other columns are its metadata, and a column `id` names it. Only they are read here; the images stay where they lie.
Convention: https://huggingface.co/docs/datasets/image_dataset#parquet
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from pinembed.catalogue.class_labels import with_class_names
from pinembed.catalogue.column_types import concatenated, is_bytes, plain_columns
from pinembed.catalogue.csv_rows import refuse_repeated
from pinembed.catalogue.metadata import with_item_columns_as_text
from pinembed.catalogue.packed import PackedFile
from pinembed.catalogue.shards import PARQUET, TAR, FoundImages, Shard, ShardScan
from pinembed.errors import DataError, MissingObjectError, ObjectChangedError
from pinembed.images.shard_file import opened_parquet

BEST_NAME = "image"
USUAL_NAMES = (BEST_NAME, "img", "picture", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")
ROW = "\0row"


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


def scan_parquets(shards: Sequence[Shard], image_column: str | None, *, most: int | None = None) -> ShardScan:
    """The items of Parquet files.

    Args:
        shards: the files.
        image_column: column of the images; None looks for it.
        most: no further file is scanned once there are so many rows.

    Raises:
        DataError: several columns could be the images, or the files' columns do not go together.
    """
    scan, found = ShardScan(), FoundImages()
    scanned: list[tuple[PackedFile, pa.Table]] = []
    for shard in shards:
        scanned.append(_scan_one(shard, image_column, scan))
        if most is not None and sum(len(table) for _, table in scanned) >= most:
            break
    scan.shards = len(scanned)
    try:
        rows = concatenated([table for _, table in scanned])
    except pa.ArrowException as error:
        raise DataError(
            f"The Parquet files hold columns of one name and different types: {str(error).splitlines()[0]}",
            remedy="Make the types alike, or encode the files into different tables.",
        ) from error
    ids = _values(rows["id"]) if "id" in rows.column_names else repeat(None)
    kept = []
    for file, table in scanned:
        found.add_file(file)
        for number, given_id in zip(range(len(table)), ids, strict=False):
            kept.append(
                found.add(
                    item_id=f"{file.file_name}/{number}" if given_id is None else given_id,
                    file_name=f"{file.file_name}/{file.column}/{number}",
                    place=number,
                )
            )
    fields = rows.select([name for name in rows.column_names if name not in {ROW, "id"}])
    scan.candidates = found.candidates(fields.filter(pa.array(kept, pa.bool_())))
    scan.unnamed = found.unnamed
    return scan


def _values(column: pa.ChunkedArray) -> Iterator[Any]:
    for part in column.chunks:
        yield from part.to_pylist()


def _scan_one(shard: Shard, image_column: str | None, scan: ShardScan) -> tuple[PackedFile, pa.Table]:
    """One file, and a row of metadata for each image as far as it can be read, with its number as ROW."""
    file = PackedFile(path=shard.path, file_name=shard.file_name, mtime_ns=0)
    groups: list[pa.Table] = []
    try:
        opened, mtime_ns, e_tag = opened_parquet(shard.path, shard.found)
        with pa.parquet.ParquetFile(opened) as parquet:
            refuse_repeated(parquet.schema_arrow.names)
            layout = _layout(shard, parquet.schema_arrow, image_column)
            if layout is None:
                columns = ", ".join(parquet.schema_arrow.names) or "none"
                scan.give_up(shard, "no_image_column", f"has no column of image bytes; its columns are {columns}")
                return file, _numbered(pa.table({}), 0)
            if layout.left_out:
                scan.notes.append(f"{shard.path}: {', '.join(layout.left_out)}: bytes too, and left out of the table.")
            file = replace(file, mtime_ns=mtime_ns, e_tag=e_tag, column=layout.image)
            groups.extend(_fields(parquet, row_group, layout) for row_group in range(parquet.num_row_groups))
    except (MissingObjectError, ObjectChangedError) as error:
        scan.give_up(shard, "unreadable", f"cannot be read: {error.message.removesuffix('.')}")
    except (pa.ArrowException, OSError, ValueError) as error:  # a damaged column of text may be no UTF-8
        scan.give_up(shard, "broken_shard", f"cannot be read as Parquet: {str(error).splitlines()[0]}")
    ends = tuple(accumulate(map(len, groups)))
    return replace(file, group_ends=ends), concatenated(groups) if groups else _numbered(pa.table({}), 0)


def _fields(file: Any, row_group: int, layout: _Layout) -> pa.Table:
    """The metadata of the rows of a group."""
    columns = [*layout.fields, *(["id"] if layout.has_id else [])]
    rows = file.metadata.row_group(row_group).num_rows
    table = file.read_row_group(row_group, columns=columns) if columns else pa.table({})
    table.validate(full=True)
    return _numbered(plain_columns(with_item_columns_as_text(with_class_names(table))), rows)


def _numbered(table: pa.Table, rows: int) -> pa.Table:
    """With a column that keeps the number of rows where there is no other."""
    numbers = pa.array(np.arange(rows))
    return table.append_column(ROW, numbers) if table.num_columns else pa.table({ROW: numbers})


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
            and not any(_holds_bytes(field.type) for field in _schema(shard))
            for shard in parquets
        )
    except (pa.ArrowException, OSError):
        return False


def _schema(shard: Shard) -> pa.Schema:
    opened, _, _ = opened_parquet(shard.path, shard.found)
    return pa.parquet.read_schema(opened)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return is_bytes(kind) and not pa.types.is_fixed_size_binary(kind)  # of which all images would be of one length
