"""LookupReport: what reading and writing an embedding source costs on this machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LookupReport:
    """Result of `pinembed bench lookup`.

    Attributes:
        items: N, rows of the source.
        dim: D.
        size_bytes: of the source.
        ids_per_gather: M, ids asked for at once.
        gathers: timed calls of `get`, after a warm-up.
        open_ms: median of the times to open the source.
        gather_p50_ms: median time of a gather.
        gather_p99_ms: 99 of 100 gathers took at most this.
        gather_cpu_p99_ms: the same in CPU time, which does not grow when other processes want the same cores.
        resident_growth_bytes: by which a fresh process grew from before it opened the source to after the last gather.
        write_bytes_per_s: rows handed over until the source is on the disk under its name.
        disk_bytes_per_s: as many bytes written in one file and brought to the disk; the mean of before and after.
    """

    items: int
    dim: int
    size_bytes: int
    ids_per_gather: int
    gathers: int
    open_ms: float
    gather_p50_ms: float
    gather_p99_ms: float
    gather_cpu_p99_ms: float
    resident_growth_bytes: int
    write_bytes_per_s: float
    disk_bytes_per_s: float

    @property
    def write_share(self) -> float:
        """Rate of the export as a share of the disk's own."""
        return self.write_bytes_per_s / self.disk_bytes_per_s
