"""ExportReport: what an export wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        out: the folder.
        format: `source`, `parquet`, `npy`, `vllm` or `sglang`.
        items: N, rows of the table.
        dim: D, floats of one embedding.
        shards: files that hold embeddings.
        size_bytes: length of all files that hold embeddings or ids.
        fingerprint: of the encoder that made the embeddings.
        seconds: wall time.
    """

    out: Path
    format: str
    items: int
    dim: int
    shards: int
    size_bytes: int
    fingerprint: str
    seconds: float
