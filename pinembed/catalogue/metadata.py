"""DATA folder to Catalogue, in the Hugging Face ImageFolder convention.

A folder holds `metadata.csv`, `.jsonl` or `.parquet` with `file_name` and any other columns, at its top or in each
split folder; or no metadata at all. `id` and `split` columns are optional. Where there is no split column, the folders
`train`, `val` or `validation`, and `test` at the top name the split.
Convention: https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from pinembed.catalogue.files import ScannedFile, scan_images
from pinembed.errors import DataError
from pinembed.nouns.item import Catalogue, Item

METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
SPLIT_FOLDERS = {"train": "train", "val": "val", "validation": "val", "valid": "val", "dev": "val", "test": "test"}
RESERVED = ("file_name", "id", "split")


@dataclass(frozen=True, kw_only=True)
class CatalogueScan:
    """A catalogue and what does not fit it.

    Attributes:
        catalogue: items that have both a file and, where there is metadata, a row.
        rows_without_file: `file_name`s of the metadata whose file is missing.
        files_without_row: image files that the metadata does not name.
    """

    catalogue: Catalogue
    rows_without_file: tuple[str, ...]
    files_without_row: tuple[str, ...]


def read_catalogue(root: Path, *, metadata: Path | None = None) -> Catalogue:
    """A catalogue in which every metadata row has its file and every file has its row.

    Args:
        root: the DATA folder.
        metadata: a metadata file elsewhere; its `file_name`s are relative to `root`.

    Raises:
        DataError: the folder is missing, empty or without metadata, or rows and files do not match.
    """
    scan = scan_catalogue(root, metadata=metadata)
    if scan.catalogue.metadata is None:
        raise DataError(
            f"{root} has no metadata; wanted one of {', '.join(METADATA_NAMES)}.",
            remedy="Write a metadata.csv with a file_name column and at least one column of text.",
        )
    if scan.rows_without_file:
        raise DataError(
            f"{scan.catalogue.metadata} names {len(scan.rows_without_file)} file(s) that {root} does not hold: "
            f"{shown(scan.rows_without_file)}.",
            remedy="Bring the files back or take the rows out.",
        )
    if scan.files_without_row:
        raise DataError(
            f"{root} holds {len(scan.files_without_row)} image(s) without a row in {scan.catalogue.metadata}: "
            f"{shown(scan.files_without_row)}.",
            remedy="Add the rows or move the images away.",
        )
    return scan.catalogue


def scan_catalogue(root: Path, *, metadata: Path | None = None) -> CatalogueScan:
    """Join a folder's image files with its metadata; without metadata every image file is an item.

    Args:
        root: the folder.
        metadata: a metadata file elsewhere; its `file_name`s are relative to `root`.

    Raises:
        DataError: no such folder, no image in it, unreadable metadata, no `file_name` column, an id that occurs twice.
    """
    require_folder(root)
    files = {scanned.file_name: scanned for scanned in scan_images(root)}
    tables = metadata_tables(root, metadata)
    if not files:
        raise no_image_in(root)
    if not tables:
        items = tuple(
            Item(id=name, file_name=name, path=scanned.path, split=split_of(name))
            for name, scanned in sorted(files.items())
        )
        bare = Catalogue(root=root, items=items, schema=pa.schema([]), metadata=None)
        return CatalogueScan(catalogue=bare, rows_without_file=(), files_without_row=())
    table = pa.concat_tables([table for _, table in tables], promote_options="permissive")
    return _join(root, tables[0][0], table, files)


def require_folder(root: Path) -> None:
    """Let only a folder pass.

    Raises:
        DataError: it is a file, or not there.
    """
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {found}; wanted a folder of images.", remedy="Check the path.")


def no_image_in(root: Path) -> DataError:
    """The error for a folder without images."""
    return DataError(f"{root} holds no image file.", remedy="Check the path; images lie in it or in folders below it.")


def shown(names: Sequence[str], limit: int = 3) -> str:
    """The first few names for a message."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _join(root: Path, metadata: Path, table: pa.Table, files: dict[str, ScannedFile]) -> CatalogueScan:
    rows = table.to_pylist()
    fields = [name for name in table.column_names if name not in RESERVED]
    items = [_item(row, fields, files) for row in rows if row["file_name"] in files]
    ids = Counter(row.get("id") if row.get("id") is not None else row["file_name"] for row in rows)
    repeated = [str(name) for name, count in ids.items() if count > 1]
    refuse_repeated_ids(metadata, repeated, has_ids="id" in table.column_names)
    return CatalogueScan(
        catalogue=Catalogue(
            root=root,
            items=tuple(sorted(items, key=lambda item: item.file_name)),
            schema=pa.schema([table.schema.field(name) for name in fields]),
            metadata=metadata,
        ),
        rows_without_file=tuple(sorted(str(row["file_name"]) for row in rows if row["file_name"] not in files)),
        files_without_row=tuple(sorted(files.keys() - {row["file_name"] for row in rows})),
    )


def refuse_repeated_ids(metadata: Path, repeated: Sequence[str], *, has_ids: bool) -> None:
    """Let pass metadata in which each item has an id of its own.

    Args:
        metadata: the file.
        repeated: ids that several rows have.
        has_ids: there is an `id` column; without one the file names are the ids.

    Raises:
        DataError: there are repeated ones.
    """
    if repeated:
        column = "id" if has_ids else "file_name"
        raise DataError(
            f"{metadata} holds {len(repeated)} {column}(s) more than once: {shown(repeated)}.",
            remedy=f"Give each item a {column} of its own; put what several items share into another column.",
        )


def _item(row: dict[str, Any], fields: list[str], files: dict[str, ScannedFile]) -> Item:
    name = row["file_name"]
    split = row.get("split")
    return Item(
        id=name if row.get("id") is None else str(row["id"]),
        file_name=name,
        path=files[name].path,
        fields={field: row[field] for field in fields},
        split=SPLIT_FOLDERS.get(str(split), str(split)) if split is not None else split_of(name),
    )


def split_of(file_name: str) -> str | None:
    """The split that a file's folder at the top names."""
    top, slash, _ = file_name.partition("/")
    return SPLIT_FOLDERS.get(top) if slash else None


def metadata_tables(root: Path, metadata: Path | None) -> list[tuple[Path, pa.Table]]:
    """The metadata file that was named, or the one at the top, or those of the split folders, each with its rows.

    Raises:
        DataError: unreadable, no `file_name` column, or a row without one.
    """
    if metadata is not None:
        return [(metadata, _read(metadata))]
    for folders in ([root], [root / name for name in SPLIT_FOLDERS]):
        found = [folder / name for folder in folders for name in METADATA_NAMES if (folder / name).is_file()]
        if found:
            return [(path, _relative_to(root, path, _read(path))) for path in found]
    return []


def _relative_to(root: Path, metadata: Path, table: pa.Table) -> pa.Table:
    prefix = metadata.parent.relative_to(root).as_posix()
    if prefix == ".":
        return table
    names = [f"{prefix}/{name}" for name in table["file_name"].to_pylist()]
    return table.set_column(table.column_names.index("file_name"), "file_name", pa.array(names))


def _read(path: Path) -> pa.Table:
    try:
        table = _parse(path)
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise DataError(
            f"{path} cannot be read as metadata: {str(error).splitlines()[0]}",
            remedy="Give UTF-8 CSV with a header line, JSON lines, or Parquet.",
        ) from error
    if "file_name" not in table.column_names:
        raise DataError(
            f"{path} has no file_name column; found {', '.join(table.column_names) or 'no column'}.",
            remedy="Name the column that holds the image's path relative to the folder file_name.",
        )
    if table["file_name"].null_count:
        raise DataError(
            f"{path} has {table['file_name'].null_count} row(s) without a file_name.",
            remedy="Fill in the file name or take the rows out.",
        )
    for name in RESERVED:
        if name in table.column_names:
            column = table[name].cast(pa.string())
            table = table.set_column(table.column_names.index(name), name, column)
    return table


def _parse(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pa.parquet.read_table(path)
    if path.suffix in {".jsonl", ".json"}:
        return pa.json.read_json(path)
    if path.suffix not in {".csv", ".tsv"}:
        raise pa.ArrowInvalid(f"unknown kind of metadata file: {path.suffix or 'no suffix'}")
    table = pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, delimiter="\t" if path.suffix == ".tsv" else ","),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(RESERVED, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )
    undecoded = [field.name for field in table.schema if pa.types.is_binary(field.type)]
    if undecoded:  # Arrow reads text that is not UTF-8 as bytes, without a word
        raise pa.ArrowInvalid(f"column {undecoded[0]} is not UTF-8")
    return table
