"""Manifest: what an exported folder holds, file by file. It is written last, so a folder that has one is whole."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.stored import list_of, object_of, record_of, shown, typed_record_of

FORMAT_VERSION, PAGED_VERSION = 1, 2  # who reads only the first looks for a header in each shard
VERSIONS = (FORMAT_VERSION, PAGED_VERSION)
SOURCE_FORMAT = "pinembed-source"
PARQUET_FORMAT = "pinembed-parquet"
NPY_FORMAT = "pinembed-npy"
VLLM_FORMAT = "pinembed-vllm"
SGLANG_FORMAT = "pinembed-sglang"
INDEXED_FORMATS = (SOURCE_FORMAT, NPY_FORMAT)
FORMATS = (*INDEXED_FORMATS, PARQUET_FORMAT, VLLM_FORMAT, SGLANG_FORMAT)
FLOAT_BYTES = {"float16": 2, "float32": 4}
DTYPE = "float16"
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestFile:
    """One file of the folder.

    Attributes:
        file: name in the folder; never a path.
        rows: embeddings or ids in it.
        size_bytes: its length.
        sha256: of its bytes.
        pages: of a shard that is a file of the table, its runs of rows, each with its first byte and its rows; none
            where a header tells.
    """

    file: str
    rows: int
    size_bytes: int
    sha256: str
    pages: tuple[tuple[int, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values in the order of the document."""
        told = dataclasses.asdict(self)
        return told if self.pages else {name: value for name, value in told.items() if name != "pages"}

    @classmethod
    def from_json(cls, stored: Any) -> ManifestFile:
        """The inverse of `to_json`.

        Raises:
            ValueError: a field is missing, unknown or of a value that cannot be.
        """
        entry = record_of(cls, stored, "an entry of the files")
        if not isinstance(entry.file, str) or not _FILE_NAME.fullmatch(entry.file):
            raise ValueError(f"the file name {entry.file!r} is no plain name; wanted letters, digits, `.`, `_` and `-`")
        if not isinstance(entry.sha256, str) or not _SHA256.fullmatch(entry.sha256):
            raise ValueError(f"the sha256 of {entry.file} is {entry.sha256!r}; wanted 64 hex digits")
        _whole_number(entry.rows, f"rows of {entry.file}")
        _whole_number(entry.size_bytes, f"size_bytes of {entry.file}")
        return replace(entry, pages=tuple(_page(page, entry.file) for page in list_of(entry.pages, "pages")))


@dataclass(frozen=True, kw_only=True, slots=True)
class Hidden:
    """Rows of the table that an export left out because an audit had flagged them.

    Attributes:
        rows: how many.
        states: of the flags that hid them.
        checks: by name, the version of the check and the rows that it hid; a row may have several flags.
    """

    rows: int
    states: tuple[str, ...]
    checks: Mapping[str, Mapping[str, int]]

    @classmethod
    def from_json(cls, stored: Any) -> Hidden:
        """The inverse of `dataclasses.asdict`.

        Raises:
            ValueError: a field is missing, or of a value that cannot be.
        """
        hidden = typed_record_of(cls, stored, "hidden")
        _whole_number(hidden.rows, "rows hidden")
        for name, found in hidden.checks.items():
            for key in ("version", "rows"):
                _whole_number(object_of(found, f"the check {name}", ("version", "rows")).get(key), f"{key} of {name}")
        return replace(hidden, states=tuple(map(str, list_of(hidden.states, "states of hidden"))))


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What an exported folder holds.

    Attributes:
        format: one of FORMATS.
        version: of the format; a reader refuses one that it does not know.
        encoder: identity of the encoder that made every embedding.
        count: N, items in the folder.
        dim: D, floats of one embedding.
        dtype: of a float, `float16` or `float32`.
        shards: the files that hold the embeddings, in row order.
        hidden: rows that were left out; None where nothing was asked to be hidden.
        index: the files that find an id's row, in row order; none in formats that hold the ids beside the vectors.
    """

    format: str
    version: int = FORMAT_VERSION
    encoder: EncoderSpec
    count: int
    dim: int
    dtype: str = DTYPE
    shards: tuple[ManifestFile, ...]
    index: tuple[ManifestFile, ...] = ()
    hidden: Hidden | None = None

    @property
    def files(self) -> tuple[ManifestFile, ...]:
        """Every file but the manifest and the checksum list."""
        return (*self.shards, *self.index)

    @property
    def size_bytes(self) -> int:
        """Length of all files together."""
        return sum(entry.size_bytes for entry in self.files)

    @property
    def row_bytes(self) -> int:
        """Length of one embedding."""
        return FLOAT_BYTES[self.dtype] * self.dim

    def to_json(self) -> dict[str, Any]:
        """Plain values in the order of the document."""
        return {
            "format": self.format,
            "version": self.version,
            "fingerprint": self.encoder.fingerprint,
            "encoder": self.encoder.to_json(),
            "count": self.count,
            "dim": self.dim,
            "dtype": self.dtype,
            "shards": [shard.to_json() for shard in self.shards],
            "index": [file.to_json() for file in self.index],
            **({} if self.hidden is None else {"hidden": dataclasses.asdict(self.hidden)}),
        }

    @classmethod
    def from_json(cls, stored: Any) -> Manifest:
        """The inverse of `to_json`; every relation between the fields is checked.

        Raises:
            KeyError, ValueError: a field is missing, or of a value that cannot be.
        """
        if not isinstance(stored, Mapping):
            raise ValueError(f"it holds {shown(stored)}; wanted an object")
        manifest = cls(
            format=stored["format"],
            version=stored["version"],
            encoder=EncoderSpec.from_json(stored["encoder"]),
            count=stored["count"],
            dim=stored["dim"],
            dtype=stored["dtype"],
            shards=tuple(map(ManifestFile.from_json, list_of(stored["shards"], "shards"))),
            index=tuple(map(ManifestFile.from_json, list_of(stored["index"], "index"))),
            hidden=Hidden.from_json(stored["hidden"]) if stored.get("hidden") is not None else None,
        )
        if manifest.format not in FORMATS:
            raise ValueError(f"the format is {manifest.format!r}; wanted one of {', '.join(FORMATS)}")
        if type(manifest.version) is not int or manifest.version not in VERSIONS:
            known = " and ".join(map(str, VERSIONS))
            raise ValueError(f"the format version is {manifest.version!r}; this pinembed reads {known}")
        _check_encoder(manifest, stored["fingerprint"])
        _check_counts(manifest)
        _check_pages(manifest)
        return manifest


def _check_encoder(manifest: Manifest, fingerprint: Any) -> None:
    if fingerprint != manifest.encoder.fingerprint:
        raise ValueError(
            f"the fingerprint is {fingerprint!r}, but the encoder written there has {manifest.encoder.fingerprint!r}"
        )
    if manifest.dim != manifest.encoder.dim:
        raise ValueError(
            f"dim is {manifest.dim!r}, but the encoder written there gives {manifest.encoder.dim!r} floats"
        )
    if manifest.dtype not in FLOAT_BYTES:
        raise ValueError(f"dtype is {manifest.dtype!r}; wanted {' or '.join(map(repr, FLOAT_BYTES))}")


def _check_counts(manifest: Manifest) -> None:
    _whole_number(manifest.count, "count")
    _whole_number(manifest.dim, "dim")
    if manifest.dim == 0:
        raise ValueError("dim is 0; wanted at least 1")
    names = [entry.file for entry in manifest.files]
    if len(set(names)) != len(names):
        raise ValueError("a file name stands there twice")
    held = sum(shard.rows for shard in manifest.shards)
    if held != manifest.count:
        raise ValueError(f"count is {manifest.count}, but the shards hold {held} rows together")
    if bool(manifest.index) != (manifest.format in INDEXED_FORMATS):
        raise ValueError(f"format {manifest.format} {'has an' if manifest.index else 'has no'} index entry")
    listed = sum(file.rows for file in manifest.index)
    if manifest.index and listed != manifest.count:
        raise ValueError(f"count is {manifest.count}, but the index holds {listed} ids")


def _check_pages(manifest: Manifest) -> None:
    paged = [entry.file for entry in manifest.files if entry.pages]
    if paged and manifest.version != PAGED_VERSION:
        raise ValueError(f"{paged[0]} has pages, which a format of version {manifest.version} does not know")
    if any(entry.pages for entry in manifest.index):
        raise ValueError("an id file has pages; wanted them in shards alone")
    for shard in manifest.shards:
        end = 0
        for begin, rows in shard.pages:
            if begin < end:
                raise ValueError(f"the pages of {shard.file} overlap, or do not ascend")
            end = begin + rows * manifest.row_bytes
        if shard.pages and (end > shard.size_bytes or sum(rows for _, rows in shard.pages) != shard.rows):
            raise ValueError(f"the pages of {shard.file} do not fit its {shard.rows} rows in {shard.size_bytes} bytes")


def _page(stored: Any, file: str) -> tuple[int, int]:
    numbers = list_of(stored, f"a page of {file}")
    if len(numbers) != 2:
        raise ValueError(f"a page of {file} is {shown(stored)}; wanted its first byte and its rows")
    for number in numbers:
        _whole_number(number, f"a page of {file}")
    begin, rows = numbers
    return begin, rows


def _whole_number(value: Any, name: str) -> None:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{name} is {value!r}; wanted a whole number of at least 0")
