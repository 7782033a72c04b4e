"""Columns of an embedding table, and the encoder's identity in its schema.

| column     | Arrow type             | meaning                                                            |
|------------|------------------------|--------------------------------------------------------------------|
| id         | string, not null       | the item's id; primary key                                         |
| folder     | string                 | the IMAGES folder that the file lies in, absolute                  |
| file_name  | string                 | the file, relative to `folder`                                     |
| sha256     | string                 | of the file's bytes                                                |
| size_bytes | int64                  | of the file                                                        |
| mtime_ns   | int64                  | last change of the file, nanoseconds since 1970                    |
| width_px   | int32                  | of the upright picture                                             |
| height_px  | int32                  | of the upright picture                                             |
| split      | string                 | only where the catalogue has splits                                |
| ...        | as in the metadata     | one column for each metadata column                                |
| image_vector | fixed_size_list     | only where the encoder fuses: what the image alone gives           |
| vector     | fixed_size_list        | D floats of L2 norm 1, fp16 or fp32                                |
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pinembed.errors import DataError, TableError
from pinembed.nouns.encoder_spec import EncoderSpec

VECTOR = "vector"
FP16 = "fp16"
DTYPES = {FP16: pa.float16(), "fp32": pa.float32()}
IMAGE_VECTOR = "image_vector"
# Lance's own mark of a primary key; in the schema from the first commit on, so that no kill leaves a table without it
PRIMARY_KEY = {b"lance-schema:unenforced-primary-key:position": b"1"}
STATED = {b"pinembed.stated": b"1"}
"""Mark of a metadata column whose type the user has stated, so that no later value changes it."""
FILE_FIELDS = (
    pa.field("id", pa.string(), nullable=False, metadata=PRIMARY_KEY),
    pa.field("folder", pa.string()),
    pa.field("file_name", pa.string()),
    pa.field("sha256", pa.string()),
    pa.field("size_bytes", pa.int64()),
    pa.field("mtime_ns", pa.int64()),
    pa.field("width_px", pa.int32()),
    pa.field("height_px", pa.int32()),
)
LANCE_COLUMNS = (
    *("_distance", "_score", "_relevance_score", "_rowid", "_rowaddr", "_rowoffset"),
    *("_row_created_at_version", "_row_last_updated_at_version"),
)
"""What Lance adds to what it finds."""
OWN_COLUMNS = (*(field.name for field in FILE_FIELDS), IMAGE_VECTOR, VECTOR)
SPEC_KEY = b"pinembed.encoder"
FINGERPRINT_KEY = b"pinembed.fingerprint"
REFERENCE_KEY = b"pinembed.encoder_reference"


def table_schema(spec: EncoderSpec, metadata_schema: pa.Schema, *, reference: str, dtype: str = FP16) -> pa.Schema:
    """The Arrow schema of a table that holds this encoder's embeddings.

    Args:
        spec: the encoder's identity.
        metadata_schema: the catalogue's own columns.
        reference: how the encoder was named, so that `search` can load it again.
        dtype: of a float, one of DTYPES.

    Raises:
        DataError: a metadata column has the name of one of the table's own columns, or a name with a dot in it.
    """
    kind = pa.list_(DTYPES[dtype], spec.dim)
    names = (VECTOR,) if spec.fusion is None else (IMAGE_VECTOR, VECTOR)
    vectors = [pa.field(name, kind, nullable=False) for name in names]
    stored = {
        SPEC_KEY: json.dumps(spec.to_json()).encode(),
        FINGERPRINT_KEY: spec.fingerprint.encode(),
        REFERENCE_KEY: reference.encode(),
    }
    return pa.schema([*FILE_FIELDS, *metadata_fields(metadata_schema), *vectors], metadata=stored)


def name_obstacle(name: str) -> str:
    """Why no metadata column can have this name in the table; empty where it can."""
    if name in OWN_COLUMNS or name in LANCE_COLUMNS:
        return "the name is taken"
    if not name or set(name) & set(".`\0"):
        return "a name must not be empty or hold a dot, a backtick or a zero byte"
    return ""


def metadata_fields(metadata_schema: pa.Schema) -> list[pa.Field]:
    """Metadata columns as the table stores them: nullable, and what holds no value as text.

    Raises:
        DataError: as for `table_schema`.
    """
    for name in metadata_schema.names:
        if obstacle := name_obstacle(name):
            raise DataError(
                f"The metadata column {name!r} cannot be a column of the table: {obstacle}.",
                remedy="Rename the column in the metadata file.",
            )
    return [
        pa.field(field.name, _with_text_for_nothing(field.type), metadata=STATED if is_stated(field) else None)
        for field in metadata_schema
    ]


def column_of(values: Sequence[Any], field: pa.Field) -> pa.Array:
    """Values of a metadata column as Arrow keeps them.

    Raises:
        DataError: one is not of the column's type.
    """
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"The metadata column {field.name} has values that are no {field.type}: {error}.",
            remedy="Make the column's values alike.",
        ) from error


def is_stated(field: pa.Field) -> bool:
    """Whether the user has stated a column's type."""
    return STATED.items() <= (field.metadata or {}).items()


def stored_spec(schema: pa.Schema, *, table: str) -> EncoderSpec:
    """The encoder's identity out of a table's schema.

    Raises:
        TableError: the table was not made by pinembed, or its schema is damaged.
    """
    try:
        return EncoderSpec.from_json(json.loads((schema.metadata or {})[SPEC_KEY]))
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(
            f"Table {table} holds no encoder identity in its schema; pinembed did not make it.",
            remedy="Give the name of a table that `pinembed encode` made, or of a new one.",
        ) from error


def _with_text_for_nothing(kind: pa.DataType) -> pa.DataType:
    """A type with text in the place of one that has no value: of a column, of lists that are all empty, of fields."""
    if pa.types.is_list(kind):
        return pa.list_(_with_text_for_nothing(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_with_text_for_nothing(field.type)) for field in kind])
    return pa.string() if pa.types.is_null(kind) else kind
