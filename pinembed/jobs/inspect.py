"""The inspect job: what a table holds, without changing it."""

from __future__ import annotations

from collections import Counter
from datetime import timezone

from pinembed.reports.table import TableReport
from pinembed.settings.encoding import InspectSettings
from pinembed.table.embedding_table import EmbeddingTable, reading
from pinembed.table.lock import holder_of
from pinembed.table.side_tables import FailureTable, RunTable

SHOWN_FAILURES = 20
SHOWN_RUNS = 10


def inspect(settings: InspectSettings) -> TableReport:
    """Rows, encoder, tags, failures, fragments, size and last runs of a table.

    Raises:
        TableError: no such table, or one that pinembed did not make.
    """
    opened = EmbeddingTable.open(settings.table, generation=settings.generation)
    folders: Counter[str] = Counter()
    for batch in opened.batches(["folder"]):
        folders.update(batch.column("folder").to_pylist())
    failures = FailureTable(opened.address).known().values()
    with reading(opened.address):
        stats = opened.lance.stats()
        latest = opened.lance.list_versions()[-1]
        tags = opened.lance.tags.list()
        indices = tuple(index.name for index in opened.lance.list_indices())
    locked_by = holder_of(opened.address)
    return TableReport(
        table=str(opened.address),
        rows=opened.count_rows(),
        encoder=opened.spec,
        dtype=opened.dtype,
        fingerprint=opened.spec.fingerprint,
        reference=opened.reference,
        columns={field.name: str(field.type) for field in opened.schema},
        folders=dict(folders.most_common()),
        tags={name: int(tag["version"]) for name, tag in sorted(tags.items())},
        version=int(latest["version"]),
        last_commit=latest["timestamp"].astimezone(timezone.utc).isoformat(timespec="seconds"),
        fragments=int(stats["fragment_stats"]["num_fragments"]),
        size_bytes=int(stats["total_bytes"]),
        indices=indices,
        failures=dict(Counter(failure.reason for failure in failures).most_common()),
        failed_images=tuple(failures)[:SHOWN_FAILURES],
        locked_by=locked_by,
        runs=RunTable(opened.address).latest(SHOWN_RUNS, is_running=bool(locked_by)),
    )
