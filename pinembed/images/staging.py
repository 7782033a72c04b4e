"""Images from stores brought to this machine ahead of the workers, in few large requests; files pass as they are.

Workers that decode never wait for a network. A thread asks for what they will need next: neighbouring members of a tar
in one range, loose objects side by side, values of Parquet columns in one pass. What it gets lies in a file until the
last of its images is loaded.
"""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pinembed.errors import ImageError
from pinembed.images.loading import LoadRequest
from pinembed.images.read import read_content, read_members
from pinembed.images.remote import is_remote
from pinembed.nouns.item import FileRange, Locator, ParquetCell, StagedRange, Unread

RANGE_BYTES = 32 << 20
GAP_BYTES = 1 << 20  # that is read for nothing rather than asking once more
AT_ONCE = 32  # loose objects, and values of Parquet columns
AHEAD = 2  # batches that wait for the workers
_POLL_S = 0.2
CLOSE_S = 5.0
Found = TypeVar("Found")


@dataclass(kw_only=True, slots=True)
class _Batch:
    """What one file holds.

    Attributes:
        requests: with the place in the file; those without one can be told at once.
        file: None where it holds nothing.
        left: images that are not loaded yet.
    """

    requests: list[LoadRequest]
    file: Path | None
    left: int


class Staging:
    """Requests whose images lie on this machine, in the order of those that were given.

    Args:
        requests: read ahead, by another thread from the first image in a store on.
    """

    def __init__(self, requests: Iterable[LoadRequest]) -> None:
        self._requests = iter(requests)
        self._batches: queue.Queue[_Batch | BaseException | None] = queue.Queue(maxsize=AHEAD)
        self._of: dict[int, _Batch] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files = 0

    def __iter__(self) -> Iterator[LoadRequest]:
        for request in self._requests:
            if is_remote(request.image):
                yield from self._staged(request)
                return
            yield request

    def loaded(self, index: int) -> None:
        """An image was loaded, or failed; the file of the last one of its batch goes."""
        batch = self._of.pop(index, None)
        if batch is None:
            return
        batch.left -= 1
        if not batch.left and batch.file is not None:
            batch.file.unlink(missing_ok=True)

    def close(self) -> None:
        """End the thread and remove its files."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)  # a request that hangs ends with the process
        if self._folder is not None:
            self._folder.cleanup()

    def _staged(self, first: LoadRequest) -> Iterator[LoadRequest]:
        self._folder = tempfile.TemporaryDirectory(prefix="pinembed-")
        self._thread = threading.Thread(target=self._run, args=(first,), daemon=True, name="pinembed-stage")
        self._thread.start()
        while (batch := self._next_batch()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            for request in batch.requests:
                self._of[request.index] = batch
                yield request

    def _next_batch(self) -> _Batch | BaseException | None:
        while not self._closing.is_set():
            with suppress(queue.Empty):
                return self._batches.get(timeout=_POLL_S)
        return None

    def _run(self, first: LoadRequest) -> None:
        """Thread: bring batch after batch."""
        end: BaseException | None = None
        try:
            with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="pinembed-get") as threads:
                for requests in _batched(first, self._requests):
                    if not self._put(self._bring(requests, threads)):
                        return
        except BaseException as error:  # noqa: BLE001  (it is raised where the requests are read)
            end = error
        self._put(end)

    def _put(self, batch: _Batch | BaseException | None) -> bool:
        return put_unless(self._closing, self._batches, batch)

    def _bring(self, requests: Sequence[LoadRequest], threads: ThreadPoolExecutor) -> _Batch:
        images = [request.image for request in requests]
        if not is_remote(images[0]):
            return _Batch(requests=list(requests), file=None, left=len(requests))
        contents: Iterable[tuple[bytes, int] | ImageError]
        if isinstance(images[0], FileRange):
            contents = read_members([image for image in images if isinstance(image, FileRange)])
        elif isinstance(images[0], ParquetCell):
            contents = map(_content, images)
        else:
            contents = threads.map(_content, images)
        assert self._folder is not None
        self._files += 1
        path = Path(self._folder.name, str(self._files))
        placed: list[Locator] = []
        with path.open("wb") as file:
            for image, content in zip(images, contents, strict=True):
                placed.append(_placed(image, path, file.tell(), content))
                if not isinstance(content, ImageError):
                    file.write(content[0])
        staged = [replace(request, image=image) for request, image in zip(requests, placed, strict=True)]
        return _Batch(requests=staged, file=path, left=len(staged))


def put_unless(closing: threading.Event, waiting: queue.Queue[Found], found: Found) -> bool:
    """Put into a queue as soon as there is room; False where that is not wanted any more."""
    while not closing.is_set():
        with suppress(queue.Full):
            waiting.put(found, timeout=_POLL_S)
            return True
    return False


def _placed(image: Locator, path: Path, offset: int, content: tuple[bytes, int] | ImageError) -> Locator:
    if isinstance(content, ImageError):
        return Unread(name=str(image), reason=content.reason, message=content.message, remedy=content.remedy)
    return StagedRange(path=path, name=str(image), offset=offset, size_bytes=len(content[0]), mtime_ns=content[1])


def _batched(first: LoadRequest, requests: Iterator[LoadRequest]) -> Iterator[list[LoadRequest]]:
    """Requests in lists that are answered at once."""
    batch = [first]
    for request in requests:
        if not _goes_with(batch, request.image):
            yield batch
            batch = []
        batch.append(request)
    yield batch


def _goes_with(batch: Sequence[LoadRequest], image: Locator) -> bool:
    head, last = batch[0].image, batch[-1].image
    if isinstance(head, FileRange) and isinstance(last, FileRange) and is_remote(head):
        if not isinstance(image, FileRange) or image.path != head.path:
            return False
        gap = image.offset - (last.offset + last.size_bytes)
        return 0 <= gap <= GAP_BYTES and image.offset + image.size_bytes - head.offset <= RANGE_BYTES
    return type(image) is type(head) and is_remote(image) == is_remote(head) and len(batch) < AT_ONCE


def _content(image: Locator) -> tuple[bytes, int] | ImageError:
    try:
        return read_content(image)
    except ImageError as error:
        return error
