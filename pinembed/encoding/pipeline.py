"""The pipeline: worker processes load, this thread embeds and writes, and all of them work at the same time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pinembed.catalogue.inputs import Inputs
from pinembed.encoder.backends.base import Pending, unit_vectors
from pinembed.encoding.backend import BackendOfRun
from pinembed.encoding.diff import DigestSet
from pinembed.encoding.plan import Plan
from pinembed.errors import NonFiniteEmbeddingError
from pinembed.images.loading import FailedLoad, LoadedImage
from pinembed.images.pool import LoadingPool
from pinembed.nouns.candidate import Candidate
from pinembed.nouns.failure import Failure
from pinembed.nouns.progress import Progress, Stop
from pinembed.table.writer import EmbeddingRow, TableWriter

GONE = {"missing_file", "unreadable"}  # reasons that a lost disk has as well
MAX_WAITING = 512  # copies and failures that wait behind a batch


@dataclass(kw_only=True)
class Counters:
    """What the run has done so far.

    Attributes:
        added: new rows that were encoded.
        updated: rows of known items that were encoded or rewritten.
        duplicate: rows whose vector came from equal content.
        encoded: images that went through the encoder.
        failures: of this run.
        decode_s: summed over the worker processes.
        encode_s: in the encoder.
        wait_s: the encoder waiting for pixels.
        first_s: time.perf_counter() at the first image; 0 before it.
    """

    added: int = 0
    updated: int = 0
    duplicate: int = 0
    encoded: int = 0
    failures: list[Failure] = field(default_factory=list)
    decode_s: float = 0.0
    encode_s: float = 0.0
    wait_s: float = 0.0
    first_s: float = 0.0


@dataclass(kw_only=True)
class InFlightBatch:
    """A batch on its way through the encoder, with everything that came while it was filled.

    Attributes:
        images: of the batch, each of another content.
        waiting: all images, in the order in which they came.
        pending: the batch's embeddings; None where nothing had to be encoded.
        begun_s: time.perf_counter() when the encoder had it.
        done_s: when it was first seen to be done.
    """

    images: list[LoadedImage]
    waiting: list[LoadedImage]
    pending: Pending | None
    begun_s: float
    done_s: float | None = None


class EncodePipeline:
    """One run of the pipeline over a plan.

    Args:
        plan: what to load.
        inputs: that it was made of.
        counters: to count in.
        writer: of the table.
        dims: floats to keep of each embedding.
        progress: is told of every item.
    """

    def __init__(
        self, plan: Plan, inputs: Inputs, *, counters: Counters, writer: TableWriter, dims: int, progress: Progress
    ) -> None:
        self.counters = counters
        self._plan = plan
        self._inputs = inputs
        self._writer = writer
        self._dims = dims
        self._progress = progress
        self._waiting: list[LoadedImage] = []  # in the order in which they came, so that copies follow their original
        self._batch: dict[str, LoadedImage] = {}  # the first of each new content among them
        self._seen = DigestSet(len(plan.load))
        self._non_finite: set[str] = set()
        self._in_flight: InFlightBatch | None = None
        self._free_s = 0.0  # time.perf_counter() when the encoder was done with the batch before

    def rewrite(self) -> None:
        """Store rows of known content again, with the metadata of today."""
        for row in self._plan.rewritten():
            self._writer.add(row)
        self.counters.updated += len(self._plan.rewrite)

    def load_and_encode(self, pool: LoadingPool, backend: BackendOfRun, stop: Stop) -> None:
        """Take every image of the plan to the writer; ends early when asked to stop.

        Args:
            pool: loads the images of the plan; it has begun.
            backend: the encoder.
            stop: is asked after every image.

        Raises:
            DataError: the folder of images is gone.
        """
        self._progress.start("encode", total=len(self._plan.load), unit="img")
        asked_s = time.perf_counter()
        for answer in pool.answers():
            self._count_wait(asked_s)
            if isinstance(answer, FailedLoad):
                self._fail(answer.index, answer.reason, answer.message)
            else:
                self._take(answer)
            is_full = bool(self._batch) and len(self._batch) >= backend.batch_size
            if is_full or len(self._waiting) >= MAX_WAITING:
                self._encode_waiting(backend)
            self._progress.advance(1, self._note(pool))
            if stop.requested:
                break
            asked_s = time.perf_counter()
        self._encode_waiting(backend)
        self._land(backend)
        self._progress.finish()

    def _note(self, pool: LoadingPool) -> str:
        failed = f"{len(self.counters.failures)} failed, " if self.counters.failures else ""
        return f"{failed}{'encoder' if pool.waiting else 'decoding'} is the limit"

    def _take(self, image: LoadedImage) -> None:
        self.counters.decode_s += image.seconds
        is_new = image.sha256 not in self._seen and not self._plan.content_hashes.has(image.sha256, image.size_bytes)
        if image.pixels_CHW is not None and is_new:
            self._seen.add(image.sha256)
            self._batch[image.sha256] = image
        self._waiting.append(dataclasses.replace(image, pixels_CHW=None))

    def _count_wait(self, asked_s: float) -> None:
        """Count the time since `asked_s` as the encoder's waiting, as far as it had nothing to do."""
        now_s, in_flight = time.perf_counter(), self._in_flight
        self.counters.first_s = self.counters.first_s or now_s
        if in_flight is None:
            self.counters.wait_s += now_s - asked_s
        elif in_flight.done_s is not None:
            self.counters.wait_s += now_s - max(asked_s, in_flight.done_s)
        elif in_flight.pending is None or in_flight.pending.done():
            in_flight.done_s = now_s

    def _encode_waiting(self, backend: BackendOfRun) -> None:
        """Give the batch to the encoder, and the writer what the encoder made of the one before."""
        images = list(self._batch.values())
        pending = backend.submit(_pixels(images)) if images else None
        in_flight = InFlightBatch(images=images, waiting=self._waiting, pending=pending, begun_s=time.perf_counter())
        self._batch, self._waiting = {}, []
        self._land(backend)
        self._in_flight = in_flight

    def _land(self, backend: BackendOfRun) -> None:
        """Hand the batch that is in the encoder, and everything that waits for it, to the writer."""
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is None:
            return
        vectors = self._vectors(in_flight, backend)
        indices = np.array([image.index for image in in_flight.waiting], dtype=np.int64)
        for image, candidate in zip(in_flight.waiting, self._inputs.candidates.at(indices), strict=True):
            vector_D = vectors.pop(image.sha256, None)
            if vector_D is None and image.sha256 in self._non_finite:
                self._fail(image.index, "non_finite", f"The encoder gave NaN or inf for {candidate.image}.")
            else:
                self._store(image, candidate, vector_D)

    def _store(self, image: LoadedImage, candidate: Candidate, vector_D: NDArray[np.float32] | None) -> None:
        stored = self._plan.stored.of(image.index)
        if vector_D is None and (stored is None or stored.sha256 != image.sha256):
            self.counters.duplicate += 1
        elif stored is None:
            self.counters.added += 1
        else:
            self.counters.updated += 1
        self._writer.add(
            EmbeddingRow(
                id=candidate.id,
                folder=self._inputs.folder,
                file_name=candidate.file_name,
                sha256=image.sha256,
                size_bytes=image.size_bytes,
                mtime_ns=image.mtime_ns,
                width_px=image.width_px,
                height_px=image.height_px,
                fields=candidate.fields,
                vector_D=vector_D,
                is_new=stored is None,
            )
        )

    def _vectors(self, in_flight: InFlightBatch, backend: BackendOfRun) -> dict[str, NDArray[np.float32]]:
        """Embeddings by content; a batch with NaN in it is taken one by one, and the culprits are remembered."""
        if in_flight.pending is None:
            return {}
        try:
            vectors = dict(zip((image.sha256 for image in in_flight.images), in_flight.pending.result(), strict=True))
        except NonFiniteEmbeddingError:
            vectors = self._one_by_one(in_flight.images, backend)
        done_s = in_flight.done_s or time.perf_counter()
        self.counters.encode_s += max(0.0, done_s - max(in_flight.begun_s, self._free_s))
        self.counters.encoded += len(vectors)
        self._free_s = done_s
        return {sha256: self._kept(vector_D) for sha256, vector_D in vectors.items()}

    def _kept(self, vector_D: NDArray[np.float32]) -> NDArray[np.float32]:
        """The floats that the table stores."""
        return vector_D if len(vector_D) == self._dims else unit_vectors(vector_D[None, : self._dims])[0]

    def _one_by_one(self, images: Sequence[LoadedImage], backend: BackendOfRun) -> dict[str, NDArray[np.float32]]:
        vectors = {image.sha256: self._alone(image, backend) for image in images}
        return {sha256: vector_D for sha256, vector_D in vectors.items() if vector_D is not None}

    def _alone(self, image: LoadedImage, backend: BackendOfRun) -> NDArray[np.float32] | None:
        try:
            vector_D: NDArray[np.float32] = backend.embed(_pixels([image]))[0]
            return vector_D
        except NonFiniteEmbeddingError:
            self._non_finite.add(image.sha256)
            return None

    def _fail(self, index: int, reason: str, message: str) -> None:
        if reason in GONE:
            self._inputs.check_presence()
        candidate = self._inputs.candidates[index]
        failure = Failure(
            id=candidate.id,
            folder=self._inputs.folder,
            file_name=candidate.file_name,
            size_bytes=candidate.size_bytes or 0,
            mtime_ns=candidate.mtime_ns,
            reason=reason,
            message=message,
        )
        self.counters.failures.append(failure)
        if self._plan.known_failures.get(failure.id) != failure:
            self._writer.fail(failure)


def _pixels(images: Sequence[LoadedImage]) -> NDArray[np.uint8]:
    """(B, 3, H, W) of images whose pixels were kept."""
    return np.stack([cast(NDArray[np.uint8], image.pixels_CHW) for image in images])
