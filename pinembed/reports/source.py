"""What `export` and `verify` return."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        format: `source`, `parquet`, `npy`, `vllm` or `sglang`.
        items: N, rows of the table.
        dim: D, floats of one embedding.
        shards: files that hold embeddings.
        size_bytes: length of all files that hold embeddings or ids.
        hidden: rows that were left out because of their flags.
    """

    out: Path
    format: str
    items: int
    dim: int
    shards: int
    size_bytes: int
    fingerprint: str
    hidden: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        problem: short machine-readable class: `missing`, `size`, `checksum`, `layout`, `manifest`, `non_finite`,
            `index`, `duplicate_id`, `count`, `unreadable`.
        detail: found and wanted, in words.
    """

    file: str
    problem: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """Everything that is wrong with an exported folder.

    Attributes:
        format: as the manifest says; None where it cannot be read.
        items: N as the manifest says.
        dim: D as the manifest says.
        findings: empty for a folder that is as it was written.
    """

    folder: Path
    format: str | None
    items: int | None
    dim: int | None
    fingerprint: str | None
    files: int
    size_bytes: int
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """1 when anything is wrong."""
        return 1 if self.findings else 0
