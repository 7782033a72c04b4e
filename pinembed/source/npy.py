"""The table as vectors.npy and ids.jsonl, for whoever reads arrays and nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.nouns.manifest import DTYPE, NPY_FORMAT, Manifest
from pinembed.source.hashed_file import WriteThread
from pinembed.source.manifest_file import write_manifest
from pinembed.source.rows import Rows, checked_rows, refuse_no_rows

VECTORS_FILE = "vectors.npy"
IDS_FILE = "ids.jsonl"


def write_npy(folder: Path, spec: EncoderSpec, batches: Iterable[Rows], *, count: int, dtype: str = DTYPE) -> Manifest:
    """Write vectors.npy, (N, D), and ids.jsonl, whose line i is the id of row i as a JSON string.

    JSON keeps an id that holds a line break on one line, and unlike an npy of strings it needs no pickle.

    Args:
        folder: exists and is empty.
        spec: identity of the encoder that made the embeddings.
        batches: ids and (n, D) embeddings.
        count: N.
        dtype: of the embeddings, `float16` or `float32`.

    Raises:
        SourceError: no rows, or another shape, type or number than announced.
        NonFiniteEmbeddingError: a row holds NaN or inf.
        OSError: the disk is full.
    """
    refuse_no_rows(count)
    with WriteThread() as thread:
        vectors, ids = thread.open(folder / VECTORS_FILE), thread.open(folder / IDS_FILE)
        thread.write(vectors, npy_header(count, spec.dim, dtype))
        for batch_ids, embedding_ND in checked_rows(batches, dim=spec.dim, dtype=dtype, count=count):
            thread.write(vectors, embedding_ND)
            lines = "".join(json.dumps(item_id, ensure_ascii=False) + "\n" for item_id in batch_ids)
            thread.write(ids, lines.encode())
        for file in (vectors, ids):
            thread.end(file)
        thread.wait()
        manifest = Manifest(
            format=NPY_FORMAT,
            encoder=spec,
            count=count,
            dim=spec.dim,
            dtype=dtype,
            shards=(vectors.entry(count),),
            index=ids.entry(count),
        )
    write_manifest(folder, manifest)
    return manifest


def npy_header(rows: int, dim: int, dtype: str) -> bytes:
    """The start of an npy file of (rows, dim)."""
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        start, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (rows, dim)}
    )
    return start.getvalue()
