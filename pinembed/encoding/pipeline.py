"""The pipeline: worker processes load, this thread embeds and writes, and all of them work at the same time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from pinembed.encoder.backends.base import Pending, unit_vectors
from pinembed.encoding.plan import Plan, id_held_away
from pinembed.encoding.run_backend import BackendOfRun
from pinembed.errors import NonFiniteEmbeddingError
from pinembed.images.loading import LoadedImage
from pinembed.images.pool import LoadingPool
from pinembed.nouns.failure import Failure
from pinembed.nouns.item import Candidate
from pinembed.nouns.progress import Progress, Stop
from pinembed.nouns.run_record import Counts
from pinembed.table.rows import EmbeddingRow

GONE = {"missing_file", "unreadable"}  # reasons that a lost disk has as well
MAX_WAITING = 512  # copies that wait behind a batch


@dataclass(kw_only=True)
class Counters:
    """What the run has done so far, and how long its steps took.

    Attributes:
        counts: of items.
        failures: of this run.
        decode_s: summed over the worker processes.
        encode_s: in the encoder.
        wait_s: the encoder waiting for pixels.
        write_s: commits.
        first_s: time.perf_counter() at the first image; 0 before it.
        pipeline_s: from the first image to the last commit, without loading the encoder and measuring backends.
    """

    counts: Counts = field(default_factory=Counts)
    failures: list[Failure] = field(default_factory=list)
    decode_s: float = 0.0
    encode_s: float = 0.0
    wait_s: float = 0.0
    write_s: float = 0.0
    first_s: float = 0.0
    pipeline_s: float = 0.0


@dataclass(kw_only=True)
class InFlightBatch:
    """A batch that the encoder has, with everything that came while it was filled.

    Attributes:
        images: of the batch by content; the first of each new one.
        waiting: all images, without pixels, each with its candidate's index, in the order in which they came.
        pending: the batch's embeddings; None where nothing had to be encoded.
        begun_s: time.perf_counter() when the encoder got it.
        done_s: when it was first seen to be done.
    """

    images: Mapping[str, LoadedImage]
    waiting: Sequence[tuple[int, LoadedImage]]
    pending: Pending | None
    begun_s: float
    done_s: float | None = None


class RowTaker(Protocol):
    """What the pipeline gives its rows and failures to."""

    def add(self, row: EmbeddingRow) -> None:
        """Take a row."""

    def fail(self, failure: Failure) -> None:
        """Take a failure."""


class EncodePipeline:
    """One run of the pipeline over a plan.

    Two batches are on their way at any time: the encoder computes one while this thread fills the next from what the
    workers have loaded. Only when the next one is full is the first one's result taken and given to the writer, so
    that neither the encoder nor the workers wait for a commit. The pixels in memory are those of two batches and of
    what the workers have loaded ahead.

    Args:
        plan: what to load.
        counters: to count in.
        writer: takes the rows.
        dims: floats to keep of each embedding.
        progress: is told of every item.
    """

    def __init__(self, plan: Plan, *, counters: Counters, writer: RowTaker, dims: int, progress: Progress) -> None:
        self.counters = counters
        self._plan = plan
        self._inputs = plan.inputs
        self._writer = writer
        self._dims = dims
        self._progress = progress
        self._waiting: list[tuple[int, LoadedImage]] = []  # as they came, so that copies follow their original
        self._batch: dict[str, LoadedImage] = {}  # the first of each new content among them
        self._seen: set[bytes] = set()  # sha256 of every new content so far
        self._non_finite: set[str] = set()
        self._in_flight: InFlightBatch | None = None
        self._free_s = 0.0  # time.perf_counter() when the encoder was done with the batch before

    def rewrite(self) -> None:
        """Store rows of known content again, with the metadata of today."""
        for row in self._plan.rewritten():
            self._writer.add(row)
        self.counters.counts.updated += len(self._plan.rewrite)

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
        for index, answer in pool.answers():
            self._count_wait(asked_s)
            if isinstance(answer, Failure):
                self._fail(index, answer)
            else:
                self._take(index, answer)
            # a batch is full of new contents; where nearly all are copies, it is given on before it is
            is_full = bool(self._batch) and len(self._batch) >= backend.batch_size
            if is_full or len(self._waiting) >= MAX_WAITING:
                self._submit_batch(backend)
            self._progress.advance(1, self._note(pool))
            if stop.requested:
                break
            asked_s = time.perf_counter()
        self._submit_batch(backend)  # what is left, and after it the result of this as well
        self._finish_batch(backend)
        self._progress.finish()

    def _note(self, pool: LoadingPool) -> str:
        failed = f"{len(self.counters.failures)} failed, " if self.counters.failures else ""
        return f"{failed}{'encoder' if pool.waiting else 'decoding'} is the limit"

    def _take(self, index: int, image: LoadedImage) -> None:
        """Let an image wait for its batch; its pixels join the batch only where nobody has its content's vector."""
        self.counters.decode_s += image.seconds
        if index in self._plan.unsure and self._plan.stored.of(index) != (image.sha256, image.size_bytes):
            candidate = self._inputs.candidates[index]
            self._note_failure(id_held_away(self._inputs, candidate, self._plan.unsure[index]))
            return
        digest = bytes.fromhex(image.sha256)
        is_new = digest not in self._seen and not self._plan.content_hashes.has(image.sha256, image.size_bytes)
        if image.pixels_CHW is not None and is_new:
            self._seen.add(digest)
            self._batch[image.sha256] = image
        self._waiting.append((index, dataclasses.replace(image, pixels_CHW=None)))

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

    def _submit_batch(self, backend: BackendOfRun) -> None:
        """Give the batch to the encoder, and the writer what the encoder made of the one before."""
        pending = backend.submit(_pixels(self._batch.values())) if self._batch else None
        in_flight = InFlightBatch(
            images=self._batch, waiting=self._waiting, pending=pending, begun_s=time.perf_counter()
        )
        self._batch, self._waiting = {}, []
        self._finish_batch(backend)
        self._in_flight = in_flight

    def _finish_batch(self, backend: BackendOfRun) -> None:
        """Wait for the batch that the encoder has, and give it and everything that waits for it to the writer."""
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is None:
            return
        vectors = self._vectors(in_flight, backend)
        indices = np.array([index for index, _ in in_flight.waiting], dtype=np.int64)
        candidates = self._inputs.candidates.at(indices)
        for (index, image), candidate in zip(in_flight.waiting, candidates, strict=True):
            vector_D = vectors.pop(image.sha256, None)  # the first of a content has it, the writer gives it to copies
            if vector_D is None and image.sha256 in self._non_finite:
                name = str(candidate.image)
                message = f"The encoder gave NaN or inf for {name}."
                self._fail(index, Failure(file_name=name, reason="non_finite", message=message))
            else:
                decoded = in_flight.images.get(image.sha256, image)  # itself, or one of the same content
                self._store(index, image, decoded, candidate, vector_D)

    def _store(
        self,
        index: int,
        image: LoadedImage,
        decoded: LoadedImage,
        candidate: Candidate,
        vector_D: NDArray[np.float32] | None,
    ) -> None:
        stored, counts = self._plan.stored.of(index), self.counters.counts
        if vector_D is None and (stored is None or stored[0] != image.sha256):
            counts.duplicate += 1
        elif stored is None:
            counts.added += 1
        else:
            counts.updated += 1
        self._writer.add(
            EmbeddingRow(
                id=candidate.id,
                folder=self._inputs.folder,
                file_name=candidate.file_name,
                sha256=image.sha256,
                size_bytes=image.size_bytes,
                mtime_ns=image.mtime_ns,
                width_px=decoded.width_px,
                height_px=decoded.height_px,
                fields=candidate.fields,
                vector_D=vector_D,
                is_new=stored is None,
                measures=image.measures,
            )
        )

    def _vectors(self, in_flight: InFlightBatch, backend: BackendOfRun) -> dict[str, NDArray[np.float32]]:
        """Embeddings by content; a batch with NaN in it is taken one by one, and the culprits are remembered."""
        if in_flight.pending is None:
            return {}
        try:
            vectors = dict(zip(in_flight.images, in_flight.pending.result(), strict=True))
        except NonFiniteEmbeddingError:
            vectors = self._one_by_one(in_flight.images, backend)
        # it was given while the encoder still had the batch before, and so waited there until that one was done
        done_s = in_flight.done_s or time.perf_counter()
        self.counters.encode_s += max(0.0, done_s - max(in_flight.begun_s, self._free_s))
        self.counters.counts.encoded += len(vectors)
        self._free_s = done_s
        return {sha256: self._kept(vector_D) for sha256, vector_D in vectors.items()}

    def _kept(self, vector_D: NDArray[np.float32]) -> NDArray[np.float32]:
        """The floats that the table stores."""
        return vector_D if len(vector_D) == self._dims else unit_vectors(vector_D[None, : self._dims])[0]

    def _one_by_one(self, images: Mapping[str, LoadedImage], backend: BackendOfRun) -> dict[str, NDArray[np.float32]]:
        vectors = {sha256: self._alone(image, backend) for sha256, image in images.items()}
        return {sha256: vector_D for sha256, vector_D in vectors.items() if vector_D is not None}

    def _alone(self, image: LoadedImage, backend: BackendOfRun) -> NDArray[np.float32] | None:
        try:
            vector_D: NDArray[np.float32] = backend.submit(_pixels([image])).result()[0]
            return vector_D
        except NonFiniteEmbeddingError:
            self._non_finite.add(image.sha256)
            return None

    def _fail(self, index: int, found: Failure) -> None:
        """Note a failure under the item that it is of."""
        if found.reason in GONE:
            self._inputs.check_presence()
        candidate = self._inputs.candidates[index]
        failure = dataclasses.replace(
            found,
            id=candidate.id,
            folder=self._inputs.folder,
            file_name=candidate.file_name,
            size_bytes=candidate.size_bytes or 0,
            mtime_ns=candidate.mtime_ns,
        )
        self._note_failure(failure)

    def _note_failure(self, failure: Failure) -> None:
        self.counters.failures.append(failure)
        self.counters.counts.failed += 1
        if self._plan.known_failures.get(failure.id) != failure:
            self._writer.fail(failure)


def _pixels(images: Iterable[LoadedImage]) -> NDArray[np.uint8]:
    """(B, 3, H, W) of images whose pixels were kept."""
    return np.stack([cast(NDArray[np.uint8], image.pixels_CHW) for image in images])
