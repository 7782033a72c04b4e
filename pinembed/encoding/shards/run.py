"""The driver's side of encoding in shards: an epoch, an engine, and receipts that become rows as they come."""

from __future__ import annotations

import time

import pyarrow as pa

from pinembed.encoding.pipeline import Counters
from pinembed.encoding.plan import Plan
from pinembed.encoding.shards.adopt import commit, merge_changed
from pinembed.encoding.shards.engine import Engine
from pinembed.encoding.shards.epoch import Epoch
from pinembed.encoding.shards.receipt import Receipt
from pinembed.encoding.shards.shard import Shard, ShardQueue
from pinembed.errors import TableError
from pinembed.nouns.progress import Progress, Stop
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.rows import EmbeddingRow
from pinembed.table.side_tables import FailureTable
from pinembed.table.writer import TableWriter

COMMIT_SHARDS = 64  # that wait for a commit at most


class ShardRun:
    """Encodes the images of a plan in shards; the caller holds the run lock.

    Args:
        plan: what to load.
        epoch: of this run.
        table: to write to.
        failures: of the table.
        writer: takes rows whose vector the table has.
        counters: to count in.
        commit_s: receipts wait this long for a commit.
        progress: is told of images.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        epoch: Epoch,
        table: EmbeddingTable,
        failures: FailureTable,
        writer: TableWriter,
        counters: Counters,
        commit_s: float,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._epoch = epoch
        self._table = table
        self._failures = failures
        self._writer = writer
        self._counters = counters
        self._commit_s = commit_s
        self._progress = progress
        self._waiting: list[Receipt] = []
        self._committed_s = time.monotonic()
        self._backends: set[str] = set()

    def go(self, engine: Engine, stop: Stop, *, shard_images: int | None) -> str:
        """Encode everything; what has a receipt when it ends, however it ends, is in the table or will be adopted.

        Returns:
            what computed.

        Raises:
            PinembedError: as for Engine and for commits.
        """
        self._progress.start("encode", total=len(self._plan.load), unit="img")
        queue = ShardQueue(self._plan, workers=engine.workers, fixed=shard_images)
        try:
            for shard in engine.done(queue, stop, self._progress.advance):
                self._waiting.append(self._receipt(shard))
                is_due = time.monotonic() - self._committed_s >= self._commit_s
                if is_due or len(self._waiting) >= COMMIT_SHARDS:
                    self._commit()
        finally:
            self._commit()
        self._progress.finish()
        return ", ".join(sorted(self._backends))

    def _receipt(self, shard: Shard) -> Receipt:
        receipt = self._epoch.receipt(shard.number)
        if receipt is None or receipt.shard != shard.digest:
            raise TableError(
                f"Shard {shard.number} of table {self._table.address} has no receipt, or one of other images.",
                remedy="Check that the folder of the table is one and the same for every machine of the cluster.",
            )
        return receipt

    def _commit(self) -> None:
        receipts, self._waiting = self._waiting, []
        started_s = self._committed_s = time.monotonic()
        if receipts:
            commit(self._table, self._failures, receipts, epoch=self._epoch.number)
            merge_changed(self._table, receipts)
            for receipt in receipts:
                self._copy(receipt)
                self._count(receipt)
            self._counters.write_s += time.monotonic() - started_s
            self._writer.flush()  # which counts its own seconds

    def _copy(self, receipt: Receipt) -> None:
        """Store the images whose content the table has under the items of today."""
        candidates = self._plan.inputs.candidates
        indices = candidates.find(pa.array([copied.id for copied in receipt.copied], pa.large_string()))
        for copied, index, candidate in zip(receipt.copied, indices.tolist(), candidates.at(indices), strict=True):
            self._writer.add(
                EmbeddingRow(
                    id=copied.id,
                    folder=self._plan.inputs.folder,
                    file_name=candidate.file_name,
                    sha256=copied.sha256,
                    size_bytes=copied.size_bytes,
                    mtime_ns=copied.mtime_ns,
                    fields=candidate.fields,
                    is_new=self._plan.stored.of(index) is None,
                )
            )

    def _count(self, receipt: Receipt) -> None:
        counts, counters, stages = self._counters.counts, self._counters, receipt.stages
        counts.added += receipt.counts.added
        counts.updated += receipt.counts.updated
        counts.duplicate += receipt.counts.duplicate
        counts.failed += receipt.counts.failed
        counts.encoded += receipt.counts.encoded
        counters.failures += receipt.failures
        counters.decode_s += stages.decode
        counters.encode_s += stages.encode
        counters.wait_s += stages.wait
        counters.write_s += stages.write
        if receipt.backend:
            self._backends.add(receipt.backend)
