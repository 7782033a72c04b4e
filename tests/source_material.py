"""Seeded rows, and sources made of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing
from pinembed.source.manifest_file import write_manifest
from pinembed.source.writer import write_source

DIM = 8
SPEC = EncoderSpec(
    architecture="tiny",
    config_sha256="c" * 64,
    weights_sha256="e" * 64,
    dim=DIM,
    preprocessing=Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)
SHARD_BYTES = 2 * DIM * 10  # 10 rows a shard


def item_ids(count: int) -> list[str]:
    return [f"item-{number:04d}" for number in range(count)]


def embeddings(count: int, seed: int = 0) -> NDArray[np.float16]:
    """(count, DIM) float16 of norm 1."""
    rows_ND = np.random.default_rng(seed).standard_normal((count, DIM))
    return (rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)).astype(np.float16)


def in_batches(
    ids: Sequence[str], embedding_ND: NDArray[np.float16], rows: int = 7
) -> Iterator[tuple[Sequence[str], NDArray[np.float16]]]:
    for start in range(0, len(ids), rows):
        yield ids[start : start + rows], embedding_ND[start : start + rows]


def make_source(folder: Path, count: int = 25, *, ids: Sequence[str] | None = None) -> Path:
    """A source folder of `count` rows in shards of 10."""
    folder.mkdir(parents=True)
    ids = item_ids(count) if ids is None else ids
    rows = in_batches(ids, embeddings(len(ids)))
    write_source(folder, SPEC, rows, count=len(ids), shard_bytes=SHARD_BYTES)
    return folder


def edit_manifest(folder: Path, edit: Any, *, fix_checksum: bool = True) -> None:
    """Change manifest.json by a function of its object; with a fitting SHA256SUMS, as a careful attacker would."""
    path = folder / "manifest.json"
    stored = json.loads(path.read_text())
    edit(stored)
    path.write_text(json.dumps(stored))
    if fix_checksum:
        fix_manifest_checksum(folder)


def fix_manifest_checksum(folder: Path) -> None:
    """Write the manifest's checksum as it is now into SHA256SUMS."""
    sums = folder / "SHA256SUMS"
    lines = [line for line in sums.read_bytes().split(b"\n") if line and not line.endswith(b"  manifest.json")]
    lines.append(hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest().encode() + b"  manifest.json")
    sums.write_bytes(b"\n".join(lines) + b"\n")


def refresh_entry(folder: Path, file: str) -> None:
    """Make manifest and checksums agree with a file that was changed on purpose."""
    from pinembed.nouns.manifest import Manifest
    from pinembed.source.hashed_file import hash_file

    manifest = Manifest.from_json(json.loads((folder / "manifest.json").read_text()))
    stored = manifest.to_json()
    for entry in (*stored["shards"], *stored["index"]):
        if entry["file"] == file:
            fresh = hash_file(folder / file, rows=entry["rows"])
            entry.update(size_bytes=fresh.size_bytes, sha256=fresh.sha256)
    for name in ("manifest.json", "SHA256SUMS"):
        (folder / name).unlink()
    write_manifest(folder, Manifest.from_json(stored))
