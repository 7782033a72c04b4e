"""EmbeddingTable: the LanceDB table that holds one encoder's embeddings of one catalogue."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from lance import LanceDataset, write_dataset
from lance import dataset as open_dataset

from pinembed.disk import remove_tree
from pinembed.errors import EncoderMismatchError, TableError, UnknownItemError, UsageError
from pinembed.generation.reading import Held, hold
from pinembed.generation.record import ENCODER, TABLE, TABLE_NAME
from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.stores.answers import store_answer
from pinembed.stores.objects import is_prefix
from pinembed.table.address import SIDE_TABLES, TableAddress, parse_address
from pinembed.table.leases import refuse_without_lease
from pinembed.table.schema import DTYPES, FP16, IMAGE_VECTOR, REFERENCE_KEY, VECTOR, stored_spec, table_schema

IDS_PER_CONDITION = 500
REFINE_FACTOR = 10
SCORE = "_score"  # which is no name of a metadata column
RUST_PLACE = re.compile(r",? *(/\S+)?\.rs:\d+:\d+.*$")
OF_A_STORE = re.compile(r"Generic \w+ error|<Code>|status code|error sending request|credential", re.IGNORECASE)
NO_HARD_LINKS = re.compile(r"Unable to rename file: .*\(os error (1|31|38|45|95)\)")
"""EPERM, EMLINK, ENOSYS and ENOTSUP of macOS and Linux, from the link that a new manifest gets its name by."""
LANCE_ERRORS = (RuntimeError, OSError, ValueError)  # what the Rust core raises, and what its wrappers add


class EmbeddingTable:
    """One encoder's embeddings of one catalogue; open it with `open` or `create`.

    Attributes:
        address: where it lies.
        dataset: the Lance dataset that it is; what a run of encode needs, at a tenth of the start-up of lancedb.
        spec: identity of the encoder that made every vector in it.
        held: the generation that it lies in, which stays as long as this table lives; None outside of a home.
    """

    def __init__(self, address: TableAddress, dataset: LanceDataset, *, held: Held | None = None) -> None:
        self.address = address
        self.held = held
        self.dataset = dataset
        self._schema = (dataset.version, dataset.schema)
        self.spec: EncoderSpec = stored_spec(self.schema, table=str(address))

    @classmethod
    def open(cls, table: str, *, generation: int | None = None) -> EmbeddingTable:
        """Open a table that exists.

        Args:
            table: DATABASE/NAME, or a home of generations.
            generation: of the home; None for the one in use.

        Raises:
            TableError: no such table, or one that pinembed did not make.
            GenerationError, UsageError: as for `hold`.
        """
        held = hold(table, generation=generation)
        address = parse_address(table if held is None else str(held.part(f"{TABLE}/{TABLE_NAME}")))
        found = cls.find(address, held=held)
        if found is None:
            raise TableError(
                f"There is no table {address}; {_tables_there(address)}.",
                remedy=f"Make it with: pinembed encode IMAGES --table {address} --encoder ENCODER",
            )
        return found

    @classmethod
    def find(cls, address: TableAddress, *, held: Held | None = None) -> EmbeddingTable | None:
        """The table at an address; None where there is none yet.

        Raises:
            TableError: one that pinembed did not make, or that cannot be read.
        """
        if not table_exists(address):
            return None
        try:
            return cls(address, open_dataset(address.uri, storage_options=address.storage_options), held=held)
        except LANCE_ERRORS as error:
            if (answer := _answer(address, error)) is not None:
                raise answer from error
            raise TableError(
                f"Table {address} cannot be opened: {first_line(error)}",
                remedy="Check the permissions; a table that is damaged has to be made anew under another name.",
            ) from error

    @classmethod
    def create(
        cls, table: str, spec: EncoderSpec, metadata_schema: pa.Schema, *, reference: str = "", dtype: str = FP16
    ) -> EmbeddingTable:
        """Make an empty table with `id` as its primary key.

        Args:
            table: DATABASE/NAME.
            spec: identity of the encoder.
            metadata_schema: Arrow types of the catalogue's own columns.
            reference: how the encoder was named, so that `search` can load it again.
            dtype: of a stored float, `fp16` or `fp32`.

        Raises:
            TableError: the table exists, or the database cannot be written.
            DataError: a metadata column has a name that the table cannot take.
        """
        address = parse_address(table)
        schema = table_schema(spec, metadata_schema, reference=reference, dtype=dtype)
        return cls(address, new_dataset(address, schema))

    @cached_property
    def lance(self) -> Any:
        """The lancedb table, for indexing and statistics; of the version that was the latest at the first use."""
        return _database(self.address).open_table(self.address.name)

    @property
    def schema(self) -> pa.Schema:
        version = self.dataset.version
        if self._schema[0] != version:  # Lance makes it anew at each call, 6 ms of 3,000 columns
            self._schema = (version, self.dataset.schema)
        return self._schema[1]

    @property
    def reference(self) -> str:
        """Where the encoder lies: in the table's generation or sandbox, or as the run named it that made the table."""
        if self.held is not None and (self.held.is_sealed or self.address.name == TABLE_NAME):
            return str(self.held.folder / ENCODER)
        return str((self.schema.metadata or {}).get(REFERENCE_KEY, b"").decode())

    @property
    def dtype(self) -> str:
        """Of a stored float, `fp16` or `fp32`."""
        stored = self.schema.field(VECTOR).type.value_type
        return next(name for name, kind in DTYPES.items() if kind == stored)

    def check_encoder(self, spec: EncoderSpec) -> None:
        """Let only the table's own encoder pass.

        Raises:
            EncoderMismatchError: the fingerprints differ.
        """
        if spec.fingerprint == self.spec.fingerprint:
            return
        if dataclasses.replace(spec, dim=self.spec.dim).fingerprint == self.spec.fingerprint:
            raise EncoderMismatchError(
                f"Table {self.address} holds {self.spec.dim} floats of each embedding of {spec.architecture}; "
                f"this run keeps {spec.dim}.",
                remedy="Leave --dims out for as many as the table has, or give another --table.",
            )
        if spec.quantisation != self.spec.quantisation and _in_fp32(spec) == _in_fp32(self.spec):
            raise EncoderMismatchError(
                f"Table {self.address} holds {self.spec.quantisation or 'fp32'} embeddings of {_named(spec)}; "
                f"this run makes {spec.quantisation or 'fp32'} ones, and their neighbours differ.",
                remedy=f"Give --backend {'onnx-int8' if self.spec.quantisation else 'auto'}, or another --table.",
            )
        raise EncoderMismatchError(
            f"Table {self.address} holds {_named(self.spec)} embeddings of {self.spec.dim} floats; "
            f"this run makes {_named(spec)} ones of {spec.dim}.",
            remedy="Give another --table for the new encoder; the old table stays usable until you switch.",
        )

    def count_rows(self, where: str | None = None) -> int:
        """Rows, or those that an SQL condition picks."""
        with reading(self.address, where):
            return int(self.dataset.count_rows(where))

    def batches(self, columns: Sequence[str], batch_rows: int = 8192) -> Iterator[pa.RecordBatch]:
        """All rows in storage order, at most `batch_rows` at a time.

        Args:
            columns: names of the columns to read; the others stay on disk.
            batch_rows: bound on memory.

        Raises:
            TableError: a column is missing or the table cannot be read.
        """
        missing = sorted(set(columns) - set(self.schema.names))
        if missing:
            raise TableError(
                f"Table {self.address} has no column {', '.join(missing)}; it has {', '.join(self.schema.names)}.",
                remedy="Name a column that is there.",
            )
        with reading(self.address):
            yield from self.dataset.to_batches(columns=list(columns), batch_size=batch_rows, scan_in_order=True)

    def remove(self, ids: Sequence[str]) -> None:
        """Take rows out; the caller holds the run lock.

        Raises:
            TableError: the table cannot be written.
        """
        with writing(self.address):
            for condition in id_conditions(ids):
                self.dataset.delete(condition)

    def vector_of(self, item_id: str) -> list[float]:
        """The stored vector of one item.

        Raises:
            UnknownItemError: no such item.
        """
        return [float(value) for value in self.row_of(item_id, [VECTOR])[VECTOR]]

    def row_of(self, item_id: str, columns: Sequence[str]) -> dict[str, Any]:
        """Some columns of one item.

        Raises:
            UnknownItemError: no such item.
        """
        with reading(self.address):
            rows = self.dataset.to_table(columns=list(columns), filter=f"id = {sql_text(item_id)}", limit=1)
        if not rows.num_rows:
            raise UnknownItemError(
                f"Table {self.address} holds no item {item_id!r} among its {self.count_rows()} rows.",
                remedy="Check the id; it is the `id` column of the metadata, or the file name where there is none.",
            )
        row: dict[str, Any] = rows.to_pylist()[0]
        return row

    def nearest(self, vector: Sequence[float], k: int, *, where: str | None = None) -> pa.Table:
        """The k rows with the greatest cosine to a vector of norm 1, best first, with the column SCORE.

        Args:
            vector: D floats.
            k: number of rows.
            where: SQL condition on the columns; applied before the search.

        Raises:
            UsageError: the condition is not one that the table understands.
        """
        with reading(self.address, where):
            found = self.dataset.to_table(
                nearest={
                    "column": VECTOR,
                    "q": np.asarray(vector, np.float32),
                    "k": k,
                    "metric": "cosine",
                    "refine_factor": REFINE_FACTOR,  # an index's candidates are scored by their vectors
                },
                filter=where,
                prefilter=True,
            )
        score = pa.array([1.0 - distance for distance in found["_distance"].to_pylist()], pa.float32())
        dropped = [name for name in ("_distance", IMAGE_VECTOR, VECTOR) if name in found.column_names]
        return found.drop_columns(dropped).append_column(SCORE, score)


@contextmanager
def reading(address: TableAddress, where: str | None = None) -> Iterator[None]:
    """Turn what Lance raises into a sentence: about the condition where one is given, else about the table.

    Raises:
        UsageError: a condition was given.
        TableError: none was.
    """
    try:
        yield
    except LANCE_ERRORS as error:
        if (answer := _answer(address, error)) is not None:
            raise answer from error
        if where is not None:
            raise UsageError(
                f"The condition {where!r} cannot be used on table {address}: {first_line(error)}",
                remedy="Write it as SQL on the table's columns, such as \"category = 'mug' and price < 20\".",
            ) from error
        raise TableError(
            f"Table {address} cannot be read: {first_line(error)}",
            remedy="Check that the disk is there and the permissions allow reading.",
        ) from error


@contextmanager
def writing(address: TableAddress) -> Iterator[None]:
    """Turn what Lance raises on a write into a sentence.

    Raises:
        LeaseLostError: the run's lease on the table is not its own any more.
        TableError: disk full, no permission, a table of that name, ...
    """
    refuse_without_lease(address)
    try:
        yield
    except LANCE_ERRORS as error:
        if (answer := _answer(address, error)) is not None:
            raise answer from error
        if NO_HARD_LINKS.search(str(error)):
            raise TableError(
                f"Table {address} cannot be written: its file system has no hard links, by which Lance commits.",
                remedy="Put it on a local disk, or into an object store.",
            ) from error
        raise TableError(
            f"Table {address} cannot be written: {first_line(error)}",
            remedy="Check free disk space and permissions, then run the same command again; "
            "what was committed is whole.",
        ) from error


def _answer(address: TableAddress, error: Exception) -> TableError | None:
    """What the object store that a table lies in has said; None where it is Lance that speaks."""
    said = str(error)
    answer = None if address.place is None or not OF_A_STORE.search(said) else store_answer(address.place, said)
    return None if answer is None else TableError(answer.message, remedy=answer.remedy)


def table_exists(address: TableAddress) -> bool:
    """Whether a database holds a table of this name; nothing is created.

    A folder without a version is what a run leaves that was killed in its first commit: no table yet.
    """
    if address.folder is not None:
        return any((address.folder / "_versions").glob("*.manifest"))
    assert address.place is not None
    return is_prefix(address.place / "_versions")


def open_if_there(address: TableAddress) -> LanceDataset | None:
    """The dataset; None where there is none.

    Raises:
        TableError: it cannot be read.
    """
    if not table_exists(address):
        return None
    with reading(address):
        return open_dataset(address.uri, storage_options=address.storage_options)


def new_dataset(address: TableAddress, schema: pa.Schema) -> LanceDataset:
    """A table without rows, which is there from now on; where it cannot be made, nothing of it stays.

    Raises:
        TableError: there is one, or it cannot be written.
    """
    folder = address.folder
    was_there = folder is None or folder.exists()
    options = address.storage_options
    try:
        with writing(address):
            if folder is not None:
                folder.parent.mkdir(parents=True, exist_ok=True)
            return write_dataset(schema.empty_table(), address.uri, schema=schema, storage_options=options)
    except BaseException:
        if folder is not None and not was_there and not table_exists(address):
            remove_tree(folder)
        raise


def sql_text(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def id_conditions(ids: Sequence[str], column: str = "id") -> list[str]:
    """SQL conditions that together pick these ids, none of them too long."""
    quoted = [sql_text(item_id) for item_id in ids]
    chunks = [quoted[start : start + IDS_PER_CONDITION] for start in range(0, len(quoted), IDS_PER_CONDITION)]
    return [f"{column} IN ({', '.join(chunk)})" for chunk in chunks]


def first_line(error: BaseException) -> str:
    """What an error says, without Lance's note of where in its own source it was raised."""
    line = str(error).strip().split("\n", 1)[0]
    return RUST_PLACE.sub("", line).removeprefix("lance error: ")[:300]


def _names(address: TableAddress) -> list[str]:
    if address.folder is not None:
        return sorted(path.stem for path in Path(address.database).glob("*.lance"))
    return sorted(_database(address).list_tables().tables)


def _database(address: TableAddress) -> Any:
    import lancedb  # which can list what lies in an object store

    return lancedb.connect(address.database, storage_options=address.storage_options)


def _tables_there(address: TableAddress) -> str:
    every = set(_names(address))
    beside = {name + suffix for name in every for suffix in SIDE_TABLES}
    names = sorted(every - beside)
    return f"{address.database} holds {', '.join(names[:5])}" if names else f"{address.database} holds no table"


def _named(spec: EncoderSpec) -> str:
    return f"{spec.architecture} ({spec.fingerprint})"


def _in_fp32(spec: EncoderSpec) -> str:
    """Fingerprint of the encoder itself, whatever precision its vectors were made in."""
    return dataclasses.replace(spec, quantisation="").fingerprint
