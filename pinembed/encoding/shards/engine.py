"""Engine: where shards are encoded. LocalEngine does it in this process, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from types import TracebackType
from typing import Protocol

from pinembed.encoding.shards.shard import Shard, ShardQueue
from pinembed.encoding.shards.worker import ShardWork, ShardWorker
from pinembed.nouns.progress import Silent, Stop

Advance = Callable[[int, str], None]
"""Takes the number of images that were done since the last call, and a word about the workers."""


class Engine(Protocol):
    """Encodes shards; a context manager that frees what it holds, however the run ends.

    Attributes:
        workers: that encode at the same time, at most.
    """

    workers: int

    def __enter__(self) -> Engine: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def done(self, queue: ShardQueue, stop: Stop, advance: Advance) -> Iterator[Shard]:
        """Shards that have a receipt now, as they come, until the queue is empty or `stop` is asked for.

        Raises:
            PinembedError: what no other worker could do better: no encoder, no images, no space.
        """


class ImageCount(Silent):
    """A Progress that hands the images on.

    Args:
        advance: takes them.
    """

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def advance(self, n: int = 1, note: str = "") -> None:
        self._advance(n, note)


class LocalEngine:
    """One worker in this process.

    Args:
        work: what the run is about.
    """

    workers = 1

    def __init__(self, work: ShardWork) -> None:
        self._work = work

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def done(self, queue: ShardQueue, stop: Stop, advance: Advance) -> Iterator[Shard]:
        images_per_s = 0.0
        with closing(ShardWorker(self._work)) as worker:
            while not stop.requested and (shard := queue.next(images_per_s)) is not None:
                started_s = time.perf_counter()
                worker.encode(shard, stop, ImageCount(advance))
                images_per_s = shard.images / (time.perf_counter() - started_s)
                yield shard
