"""Items to pixels for evaluation and training: the pixels of `encode`, broken images named and passed over.

Shape legend: N items, B batch, C channels (3), H = W = image_px.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pinembed.errors import DataError, ImageError
from pinembed.images.loading import LoadedImage, LoadRequest
from pinembed.images.pool import Answer, LoadingPool, shared_pool
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.failure import Failure
from pinembed.nouns.item import Item
from pinembed.nouns.progress import Progress
from pinembed.reports.finetune import PixelReport

BATCH_SIZE = 64
BATCHES_AHEAD = 2
READ_BATCHES = 5
LOADED_IN_A_ROW = 8


@dataclass(frozen=True, kw_only=True)
class DecodedBatch:
    """Some consecutive items.

    Attributes:
        pixels_BCHW: uint8; a row for each item that could be decoded.
        indices: indices of these items in the sequence that was asked for.
        broken: file names of the items that could not.
    """

    pixels_BCHW: Tensor
    indices: tuple[int, ...]
    broken: tuple[str, ...]


def decoded_batches(
    items: Sequence[Item], pool: LoadingPool, *, batch_size: int = BATCH_SIZE
) -> Iterator[DecodedBatch]:
    """Decode all items in order, two batches ahead of the one that is being used."""
    waiting: deque[tuple[range, list[Future[list[Answer]]]]] = deque()
    for start in range(0, len(items), batch_size):
        indices = range(start, min(start + batch_size, len(items)))
        waiting.append((indices, [pool.submit(few) for few in _requests(items, indices)]))
        if len(waiting) > BATCHES_AHEAD:
            yield _collect(items, *waiting.popleft())
    for indices, futures in waiting:
        yield _collect(items, indices, futures)


def _requests(items: Sequence[Item], indices: Sequence[int]) -> Iterator[list[LoadRequest]]:
    """As many at once as one worker loads in a row: whoever waits for each image sleeps longer than it takes."""
    for start in range(0, len(indices), LOADED_IN_A_ROW):
        few = indices[start : start + LOADED_IN_A_ROW]
        yield [LoadRequest(index=index, image=items[index].path) for index in few]


def _collect(items: Sequence[Item], indices: range, futures: Sequence[Future[list[Answer]]]) -> DecodedBatch:
    answers = dict(answer for future in futures for answer in future.result())
    whole = {
        index: answer.pixels_CHW
        for index, answer in answers.items()
        if isinstance(answer, LoadedImage) and answer.pixels_CHW is not None
    }
    return DecodedBatch(
        pixels_BCHW=torch.from_numpy(np.stack([*whole.values()])) if whole else torch.empty(0, dtype=torch.uint8),
        indices=tuple(whole),
        broken=tuple(items[index].file_name for index in indices if index not in whole),
    )


def refuse_all_broken(items: Sequence[Item], broken: Sequence[str], split: str) -> None:
    """A split of which nothing is left has no figures.

    Raises:
        DataError: not one image could be decoded.
    """
    if len(broken) == len(items):
        raise DataError(
            f"None of the {len(items)} images of the split {split} can be decoded; the first is {items[0].path}.",
            remedy="Check that the files are whole images.",
        )


class PixelCache:
    """The pixels of items, decoded once and kept as uint8 up to a limit of memory; the rest is decoded when asked for.

    Where reading what is kept turns out slower than decoding (a machine that swaps), nothing is kept. The pool is by
    default the one that all of the process shares.

    Attributes:
        items: those that could be decoded.
        broken: file names of the others.
        report: what was kept, and what it takes to decode and to read an image.
    """

    def __init__(
        self,
        items: Sequence[Item],
        preprocessing: Preprocessing,
        *,
        limit_bytes: int,
        progress: Progress,
        pool: LoadingPool | None = None,
    ) -> None:
        side_px = preprocessing.image_px
        self._pool = pool or shared_pool(preprocessing)
        self._begun: dict[int, Future[list[Answer]]] = {}
        kept = min(len(items), limit_bytes // (3 * side_px * side_px))
        self._pixels_NCHW = torch.empty(kept, 3, side_px, side_px, dtype=torch.uint8)
        whole: list[Item] = []
        broken: list[str] = []
        started_s = time.perf_counter()
        for batch in decoded_batches(items, self._pool):
            for pixels_CHW, index in zip(batch.pixels_BCHW, batch.indices, strict=True):
                if len(whole) < kept:
                    self._pixels_NCHW[len(whole)] = pixels_CHW
                whole.append(items[index])
            broken.extend(batch.broken)
            progress.advance(len(batch.indices) + len(batch.broken), f"{len(broken)} broken" if broken else "")
        self.items = tuple(whole)
        self.broken = tuple(broken)
        self.report = self._keep_if_faster((time.perf_counter() - started_s) / max(len(items), 1))

    def __len__(self) -> int:
        return len(self.items)

    def prepare(self, indices: Sequence[int]) -> None:
        """Begin to decode what is not kept of a batch that will be asked for next, while this one is in use."""
        missing = [index for index in indices if index >= len(self._pixels_NCHW) and index not in self._begun]
        for few in _requests(self.items, list(dict.fromkeys(missing))):
            future = self._pool.submit(few)
            self._begun.update({request.index: future for request in few})

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Pixels of some items by their place in `items`; (B, 3, H, W) uint8.

        Raises:
            ImageError: a file that was whole is not so any more.
        """
        self.prepare(indices)
        wanted = set(indices)
        futures = {self._begun.pop(index) for index in wanted & self._begun.keys()}
        answers = [answer for future in futures for answer in future.result()]
        loaded = {index: _whole(answer) for index, answer in answers if index in wanted}
        return torch.stack([loaded[index] if index in loaded else self._pixels_NCHW[index] for index in indices])

    def _keep_if_faster(self, decode_s: float) -> PixelReport:
        self._pixels_NCHW = self._pixels_NCHW[: len(self.items)]  # broken ones took no place
        kept = len(self._pixels_NCHW)
        read_s = _seconds_to_read(self._pixels_NCHW) if kept else decode_s
        report = PixelReport(
            images=len(self.items),
            kept=kept,
            kept_bytes=self._pixels_NCHW.numel(),
            decode_ms=1000 * decode_s,
            read_ms=1000 * read_s,
        )
        if report.is_faster_kept:
            return report
        self._pixels_NCHW = self._pixels_NCHW[:0].clone()
        return dataclasses.replace(report, kept=0, kept_bytes=0)


def _whole(answer: LoadedImage | Failure) -> Tensor:
    if isinstance(answer, Failure):
        remedy = "Bring the file back as it was when the run began."
        raise ImageError(answer.message, remedy=remedy, reason=answer.reason)
    assert answer.pixels_CHW is not None  # no content is known
    return torch.from_numpy(answer.pixels_CHW)


def _seconds_to_read(pixels_NCHW: Tensor) -> float:
    """For one image of a batch from all over the memory that holds them; the median of a few batches."""
    drawn = np.random.default_rng(0).integers(0, len(pixels_NCHW), (READ_BATCHES, BATCH_SIZE))
    seconds = []
    for indices in drawn.tolist():
        started_s = time.perf_counter()
        torch.stack([pixels_NCHW[index] for index in indices])
        seconds.append((time.perf_counter() - started_s) / BATCH_SIZE)
    return statistics.median(seconds)
