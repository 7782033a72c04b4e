"""ShardWorker: one shard to its fragments and its receipt; what every engine calls, wherever it runs."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from pinembed.encoder.locate import EncoderFiles, encoder_spec, keep_dims, locate_encoder
from pinembed.encoding.pipeline import Counters, EncodePipeline
from pinembed.encoding.plan import Plan
from pinembed.encoding.run_backend import BackendOfRun
from pinembed.encoding.shards.epoch import Epoch
from pinembed.encoding.shards.receipt import Copied, Receipt
from pinembed.encoding.shards.shard import Shard
from pinembed.encoding.shards.writer import ShardWriter, table_identity
from pinembed.errors import DataError, EncoderMismatchError, TableError
from pinembed.fusion.item_fuser import ItemFuser
from pinembed.images.loading import WorkerSetup
from pinembed.images.pool import LOADED_AHEAD, LoadingPool
from pinembed.machine import disk_of
from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.reports.encode import EncodeStages
from pinembed.settings.encoding import EncodeSettings
from pinembed.stores.address import is_address
from pinembed.table.embedding_table import EmbeddingTable


@dataclass(frozen=True, kw_only=True)
class ShardWork:
    """What is the same for all shards of a run; it goes to every worker.

    Attributes:
        settings: of the run, with absolute places.
        files: the encoder.
        spec: its identity.
        tower_fingerprint: of what computes.
        backend: that all workers use, so that their vectors do not differ.
        epoch: where receipts go, and the table.
        threads: that a worker decodes and computes with.
        storage: options of object stores, as the driver has them.
    """

    settings: EncodeSettings
    files: EncoderFiles
    spec: EncoderSpec
    tower_fingerprint: str
    backend: str
    epoch: Epoch
    threads: int
    storage: Mapping[str, str]


class ShardWorker:
    """Encodes shards, one after the other, with an encoder that it opens once.

    Args:
        work: what the run is about.

    Raises:
        EncoderError: the encoder is not there, from here, or is another one.
        TableError: the table is not there, from here.
    """

    def __init__(self, work: ShardWork) -> None:
        self._work = work
        settings = work.settings
        table = EmbeddingTable.find(work.epoch.table)
        if table is None:
            raise TableError(
                f"{_where()} does not see table {work.epoch.table}.",
                remedy="Put the table where every machine of the cluster sees it under one path.",
            )
        self._table = table
        files = _files_here(work)
        self._backend = BackendOfRun(
            files,
            fingerprint=work.tower_fingerprint,
            name=settings.backend,
            device=settings.device,
            batch_size=settings.batch_size,
            images=0,
            progress=SILENT,
            cores=work.threads,
            pinned=work.backend,
        )
        fusion = work.spec.fusion
        self._fuser = None if fusion is None else ItemFuser(files, fusion, device=settings.device)
        self._backend.open_ahead()
        self._pool = self._new_pool()

    def close(self) -> None:
        """End the processes that decode."""
        self._pool.close()

    def encode(self, shard: Shard, stop: Stop, progress: Progress = SILENT) -> None:
        """Encode a shard, and put its receipt; where another worker was earlier, what this one made is not used.

        Args:
            shard: to encode.
            stop: ends it early, with a receipt for what was done.
            progress: is told of each image.

        Raises:
            DataError: the folder of images is not there, from here.
            EncoderError: the encoder cannot be loaded.
            TableError: the fragments or the receipt cannot be written.
        """
        counters, writer = Counters(), ShardWriter(self._table, fuse=self._fuser)
        plan = _seen_from_here(shard.plan)
        pipeline = EncodePipeline(plan, counters=counters, writer=writer, dims=self._work.spec.dim, progress=progress)
        self._pool.begin(plan.requests(is_measured=self._work.settings.measure))
        pipeline.load_and_encode(self._pool, self._backend, stop)
        writer.finish()
        self._work.epoch.put(self._receipt(shard, counters, writer))

    def _new_pool(self) -> LoadingPool:
        settings = self._work.settings
        setup = WorkerSetup(preprocessing=self._work.spec.preprocessing, reduced=settings.reduced_decode)
        return LoadingPool(setup, workers=self._work.threads, image_limit_s=settings.image_limit_s, ahead=LOADED_AHEAD)

    def _receipt(self, shard: Shard, counters: Counters, writer: ShardWriter) -> Receipt:
        counts = counters.counts
        copied = (
            Copied(id=row.id, sha256=row.sha256, size_bytes=row.size_bytes, mtime_ns=row.mtime_ns)
            for row in writer.copied
        )
        return Receipt(
            number=shard.number,
            shard=shard.digest,
            table=table_identity(self._table),
            backend=self._backend.name,
            worker=_where(),
            images=counts.added + counts.updated + counts.duplicate + counts.failed,
            added=writer.added,
            changed=writer.changed,
            copied=tuple(copied),
            failures=tuple(writer.failures),
            measures=writer.measures(),
            counts=counts,
            stages=EncodeStages(
                decode=counters.decode_s, encode=counters.encode_s, wait=counters.wait_s, write=writer.seconds
            ),
        )


def _files_here(work: ShardWork) -> EncoderFiles:
    """The encoder's files on this machine; one that was fetched from a store or a hub is fetched here as well.

    Raises:
        EncoderError: it is not there.
        EncoderMismatchError: it has other weights than the driver's.
    """
    if work.files.weights is None or work.files.weights.exists():
        return work.files
    found = keep_dims(locate_encoder(work.files.reference), work.files.kept_dims)
    if encoder_spec(found).weights_sha256 != work.spec.weights_sha256:
        raise EncoderMismatchError(
            f"{_where()} finds other weights under {work.files.reference} than the run began with.",
            remedy="Put one encoder where every machine of the cluster sees it.",
        )
    return found


def _seen_from_here(plan: Plan) -> Plan:
    """The plan with the number that this machine gives the disk of the images, so that a lost disk can be told."""
    folder = plan.inputs.folder
    if is_address(folder):
        return plan
    try:
        disk = disk_of(folder)
    except OSError as error:
        raise DataError(
            f"{_where()} does not see {folder}: {error.strerror or error}.",
            remedy="Put the images where every machine of the cluster sees them under one path.",
        ) from error
    return dataclasses.replace(plan, inputs=dataclasses.replace(plan.inputs, disk=disk))


def _where() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
