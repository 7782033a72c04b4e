"""The pipeline: worker processes load, this thread embeds and writes, and all of them work at the same time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import NonFiniteEmbeddingError
from pinembed.images.loading import FailedLoad, LoadedImage
from pinembed.images.pool import LoadingPool
from pinembed.jobs.encode.backend import BackendOfRun
from pinembed.jobs.encode.inputs import Inputs
from pinembed.jobs.encode.plan import Plan
from pinembed.nouns.progress import Progress
from pinembed.nouns.stop import Stop
from pinembed.table.failures import Failure
from pinembed.table.writer import EmbeddingRow, TableWriter

GONE = {"missing_file", "unreadable"}  # reasons that a lost disk has as well
MAX_WAITING = 512  # copies and failures that wait behind a batch


@dataclass(kw_only=True)
class Tally:
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
    """

    added: int = 0
    updated: int = 0
    duplicate: int = 0
    encoded: int = 0
    failures: list[Failure] = field(default_factory=list)
    decode_s: float = 0.0
    encode_s: float = 0.0
    wait_s: float = 0.0


class EncodeRun:
    """One run of the pipeline over a plan.

    Args:
        plan: what to load.
        inputs: that it was made of.
        tally: to count in.
        writer: of the table.
        progress: is told of every item.
    """

    def __init__(self, plan: Plan, inputs: Inputs, *, tally: Tally, writer: TableWriter, progress: Progress) -> None:
        self.tally = tally
        self._plan = plan
        self._inputs = inputs
        self._writer = writer
        self._progress = progress
        self._waiting: list[LoadedImage] = []  # in the order in which they came, so that copies follow their original
        self._batch: dict[str, LoadedImage] = {}  # the first of each new content among them
        self._seen: set[str] = set()
        self._non_finite: set[str] = set()

    def rewrite(self, rows: Sequence[EmbeddingRow]) -> None:
        """Store rows of known content again, with the metadata of today."""
        for row in rows:
            self._writer.add(row)
        self.tally.updated += len(rows)

    def load_and_encode(self, pool: LoadingPool, backend: BackendOfRun, stop: Stop) -> None:
        """Take every image of the plan to the writer; ends early when asked to stop.

        Args:
            pool: loads the images.
            backend: the encoder.
            stop: is asked after every image.

        Raises:
            DataError: the folder of images is gone.
        """
        self._progress.start("encode", total=len(self._plan.load), unit="img")
        asked_s = time.perf_counter()
        for answer in pool.load(self._plan.requests()):
            self.tally.wait_s += time.perf_counter() - asked_s
            if isinstance(answer, FailedLoad):
                self._fail(answer.place, answer.reason, answer.message)
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
        self._progress.finish()

    def _note(self, pool: LoadingPool) -> str:
        failed = f"{len(self.tally.failures)} failed, " if self.tally.failures else ""
        return f"{failed}{'encoder' if pool.waiting else 'decoding'} is the limit"

    def _take(self, image: LoadedImage) -> None:
        self.tally.decode_s += image.seconds
        is_new = not self._plan.has_vector_of(image.sha256, image.size_bytes) and image.sha256 not in self._seen
        if image.pixels_CHW is not None and is_new:
            self._seen.add(image.sha256)
            self._batch[image.sha256] = image
        self._waiting.append(dataclasses.replace(image, pixels_CHW=None))

    def _encode_waiting(self, backend: BackendOfRun) -> None:
        """Embed the batch and hand everything that waits to the writer."""
        vectors = self._vectors(backend, list(self._batch.values())) if self._batch else {}
        for image in self._waiting:
            vector_D = vectors.pop(image.sha256, None)
            if vector_D is None and image.sha256 in self._non_finite:
                candidate = self._plan.load[image.place]
                self._fail(image.place, "non_finite", f"The encoder gave NaN or inf for {candidate.image}.")
            else:
                self._store(image, vector_D)
        self._batch, self._waiting = {}, []

    def _store(self, image: LoadedImage, vector_D: NDArray[np.float32] | None) -> None:
        candidate = self._plan.load[image.place]
        stored = self._plan.stored.get(candidate.id)
        if vector_D is None and (stored is None or stored.sha256 != image.sha256):
            self.tally.duplicate += 1
        elif stored is None:
            self.tally.added += 1
        else:
            self.tally.updated += 1
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

    def _vectors(self, backend: BackendOfRun, images: Sequence[LoadedImage]) -> dict[str, NDArray[np.float32]]:
        """Embeddings by content; a batch with NaN in it is taken one by one, and the culprits are remembered."""
        started_s = time.perf_counter()
        try:
            vectors_BD = backend.embed(np.stack([cast(NDArray[np.uint8], image.pixels_CHW) for image in images]))
        except NonFiniteEmbeddingError:
            if len(images) == 1:
                self._non_finite.add(images[0].sha256)
                return {}
            return {sha256: row_D for image in images for sha256, row_D in self._vectors(backend, [image]).items()}
        self.tally.encode_s += time.perf_counter() - started_s
        self.tally.encoded += len(images)
        return {image.sha256: vector_D for image, vector_D in zip(images, vectors_BD, strict=True)}

    def _fail(self, place: int, reason: str, message: str) -> None:
        if reason in GONE:
            self._inputs.check_presence()
        candidate = self._plan.load[place]
        failure = Failure(
            id=candidate.id,
            folder=self._inputs.folder,
            file_name=candidate.file_name,
            size_bytes=candidate.size_bytes or 0,
            mtime_ns=candidate.mtime_ns,
            reason=reason,
            message=message,
        )
        self.tally.failures.append(failure)
        if self._plan.known_failures.get(failure.id) != failure:
            self._writer.fail(failure)
