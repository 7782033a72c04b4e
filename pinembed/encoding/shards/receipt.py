"""Receipt: what a worker made of one shard, written once where the run that adopts it finds it."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from lance.fragment import FragmentMetadata

from pinembed.nouns.failure import Failure
from pinembed.nouns.run_record import Counts
from pinembed.reports.encode import EncodeStages
from pinembed.stored import plain

RECEIPT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """An image that was read and not encoded, because the table has its content's vector.

    Attributes:
        id: of the item.
        sha256: of its bytes.
        size_bytes: number of them.
        mtime_ns: of the file when it was read.
    """

    id: str
    sha256: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What became of one shard.

    Attributes:
        number: of the shard in its epoch.
        shard: its digest.
        table: identity of the table that the fragments were written for.
        backend: what computed.
        worker: where, for people.
        images: that were read, failures among them; fewer than the shard has where the run was stopped.
        added: fragments of new rows; no reader sees them before they are committed.
        changed: fragments of rows that take the place of stored ones; never committed, but read and merged.
        copied: images whose vector the table has.
        failures: images without an embedding.
        measures: as the measures table keeps them, an Arrow stream; empty where nothing was measured.
        counts: of items.
        stages: of the shard.
    """

    number: int
    shard: str
    table: str
    backend: str
    worker: str
    images: int
    added: tuple[FragmentMetadata, ...]
    changed: tuple[FragmentMetadata, ...] = ()
    copied: tuple[Copied, ...] = ()
    failures: tuple[Failure, ...] = ()
    measures: bytes = b""
    counts: Counts = field(default_factory=Counts)
    stages: EncodeStages = field(default_factory=EncodeStages)

    def to_bytes(self) -> bytes:
        """JSON, in which an old receipt stays readable for people."""
        failures = [dataclasses.asdict(failure) for failure in self.failures]
        return json.dumps(plain(self) | {"version": RECEIPT_VERSION, "failures": failures}).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> Receipt | None:
        """The receipt; None of bytes that are none of this version."""
        try:
            told: Mapping[str, Any] = json.loads(stored)
            if told["version"] != RECEIPT_VERSION:
                return None
            fields = {name: value for name, value in told.items() if name != "version"}
            return cls(
                **fields
                | {
                    "added": _fragments(told["added"]),
                    "changed": _fragments(told["changed"]),
                    "copied": tuple(Copied(**copied) for copied in told["copied"]),
                    "failures": tuple(Failure(**failure) for failure in told["failures"]),
                    "measures": base64.b64decode(told["measures"]),
                    "counts": Counts(**told["counts"]),
                    "stages": EncodeStages(**told["stages"]),
                }
            )
        except (ValueError, KeyError, TypeError):
            return None

    def measured(self) -> pa.Table | None:
        """Rows of the measures table; None where nothing was measured."""
        return pa.ipc.open_stream(self.measures).read_all() if self.measures else None

    @property
    def files(self) -> list[str]:
        """Names of the data files of its new rows."""
        return [file.path for fragment in self.added for file in fragment.files]


def _fragments(told: list[Mapping[str, Any]]) -> tuple[FragmentMetadata, ...]:
    return tuple(FragmentMetadata.from_json(json.dumps(fragment)) for fragment in told)
