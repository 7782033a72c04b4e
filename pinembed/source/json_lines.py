"""Rows as JSON lines, in files of bounded length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.nouns.manifest import DTYPE, Manifest, ManifestFile
from pinembed.source.hashed_file import HashedFile, WriteThread
from pinembed.source.manifest_file import write_manifest
from pinembed.source.rows import Floats, Rows, checked_rows, refuse_no_rows

Lines = Callable[[Sequence[str], Floats], Iterator[bytes]]


def write_json_lines(
    folder: Path,
    spec: EncoderSpec,
    batches: Iterable[Rows],
    *,
    format: str,
    lines_of: Lines,
    count: int,
    dtype: str = DTYPE,
    shard_bytes: int,
) -> Manifest:
    """Write parts-NNNNN.jsonl, one line an item in the order of the rows.

    Args:
        folder: exists and is empty.
        spec: identity of the encoder that made the embeddings.
        batches: ids and (n, D) embeddings.
        format: of the manifest.
        lines_of: a line for each row of a batch, with its line break.
        count: N.
        dtype: of the embeddings, `float16` or `float32`.
        shard_bytes: a file ends with the line that reaches this length.

    Raises:
        SourceError: no rows, or another shape, type or number than announced.
        NonFiniteEmbeddingError: a row holds NaN or inf.
        OSError: the disk is full.
    """
    refuse_no_rows(count)
    with WriteThread() as thread:
        files = _Files(folder, thread, shard_bytes)
        for ids, embedding_ND in checked_rows(batches, dim=spec.dim, dtype=dtype, count=count):
            for line in lines_of(ids, embedding_ND):
                files.add(line)
        shards = files.finish()
    manifest = Manifest(format=format, encoder=spec, count=count, dim=spec.dim, dtype=dtype, shards=shards, index=None)
    write_manifest(folder, manifest)
    return manifest


class _Files:
    """Cuts the stream of lines into files; a file ends with the line that reaches the bound."""

    def __init__(self, folder: Path, thread: WriteThread, shard_bytes: int) -> None:
        self._folder, self._thread, self._shard_bytes = folder, thread, shard_bytes
        self._files: list[HashedFile] = []
        self._rows: list[int] = []
        self._left_bytes = 0

    def add(self, line: bytes) -> None:
        if self._left_bytes <= 0:
            self._start()
        self._thread.write(self._files[-1], line)
        self._rows[-1] += 1
        self._left_bytes -= len(line)

    def finish(self) -> tuple[ManifestFile, ...]:
        self._thread.end(self._files[-1])
        self._thread.wait()
        return tuple(file.entry(rows) for file, rows in zip(self._files, self._rows, strict=True))

    def _start(self) -> None:
        if self._files:
            self._thread.end(self._files[-1])
        self._files.append(self._thread.open(self._folder / f"parts-{len(self._files):05d}.jsonl"))
        self._rows.append(0)
        self._left_bytes = self._shard_bytes
