"""RayEngine: workers as actors of a Ray cluster, one shard each at a time.

A shard goes to a worker as names and places of images, and what comes back is that it is done; pixels and vectors never
lie in Ray's object store. Whatever becomes of a worker, its node or its answer, the receipts decide what is done.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from pinembed.encoding.shards.engine import Advance
from pinembed.encoding.shards.ray_head import Head, no_cluster, refuse_nobody
from pinembed.encoding.shards.shard import Shard, ShardQueue
from pinembed.encoding.shards.worker import ShardWork, ShardWorker
from pinembed.errors import EngineError, MissingExtraError, PinembedError
from pinembed.machine import usable_cores
from pinembed.nouns.progress import Silent, Stop
from pinembed.stores.options import use_storage_options
from pinembed.version import __version__

POLL_S = 1.0
SHUTDOWN_S = 60.0
STOPPING_S = 120.0  # what workers have to finish their batches and fragments
MOST_DEATHS = 4  # of the workers of one shard; the fifth would die as well
OBJECT_STORE_BYTES = 200 << 20  # of a cluster that is started here; shards are names, not pixels


class RayWorker(Silent):
    """The actor: opens the encoder, encodes shards, and tells meanwhile how far it is.

    Args:
        work: what the run is about.
    """

    def __init__(self, work: ShardWork) -> None:
        self._work = work
        self._stop = Stop()
        self._images = 0
        self._worker: ShardWorker | None = None

    def advance(self, n: int = 1, note: str = "") -> None:
        """Called for each image."""
        self._images += n

    def open(self, version: str) -> PinembedError | None:
        """Get ready; the error that ends the run where that cannot be."""
        if version != __version__:
            return EngineError(
                f"A machine of the cluster has pinembed {__version__}; the run is one of {version}.",
                remedy="Install the same version on every machine of the cluster.",
            )
        use_storage_options(self._work.storage)
        try:
            self._worker = ShardWorker(self._work)
        except PinembedError as error:
            return error
        return None

    def encode(self, shard: Shard) -> PinembedError | None:
        """Encode a shard and put its receipt; the error that ends the run where that cannot be."""
        assert self._worker is not None
        try:
            self._worker.encode(shard, self._stop, self)
        except PinembedError as error:
            return error
        return None

    def images(self) -> int:
        """How many it has done."""
        return self._images

    def end_early(self) -> None:
        """Finish the batch and put a receipt for what is done."""
        self._stop.signum = signal.SIGTERM


@dataclass(kw_only=True)
class Hired:
    """A worker as the driver knows it.

    Attributes:
        actor: Ray's handle.
        shard: that it has; None while it opens or waits.
        since_s: time.perf_counter() when it got that.
        images_per_s: of its last shard.
        images: that the watcher was told of.
        expected: images that it has done when the shard is.
        asked: for a newer number of images; None where no question is open.
    """

    actor: Any
    shard: Shard | None = None
    since_s: float = 0.0
    images_per_s: float = 0.0
    images: int = 0
    expected: int = 0
    asked: Any = None

    def advance_to(self, images: int) -> int:
        """How many more, or fewer, the watcher has to be told of."""
        more, self.images = images - self.images, images
        return more


class RayEngine:
    """Workers on a Ray cluster.

    Args:
        work: what the run is about.
        address: of the cluster; None starts one on this machine, which ends with the run.
        workers: actors; None takes as many as the cluster has cores or GPUs for.

    Raises:
        MissingExtraError: ray is not installed.
        EngineError: there is no such cluster, or it has no room for a worker.
    """

    def __init__(self, work: ShardWork, *, address: str | None, workers: int | None) -> None:
        self._ray = import_ray()
        self._work = work
        self._deaths: dict[int, int] = {}
        self._running: dict[Any, Hired] = {}
        self._idle: list[Hired] = []
        self._advance: Advance = lambda images, note: None
        _connect(self._ray, address)
        try:
            self._head = Head(self._ray.get_runtime_context().gcs_address)
            self.workers = self._room(workers)
        except BaseException:
            _shut_down(self._ray)
            raise

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _shut_down(self._ray)

    def done(self, queue: ShardQueue, stop: Stop, advance: Advance) -> Iterator[Shard]:
        """As Engine says.

        Raises:
            PinembedError: as Engine says.
            EngineError: the cluster is gone, or a shard ends every worker that has it.
        """
        self._advance = advance
        try:
            yield from self._done(queue, stop)
        except self._ray.exceptions.RayError as error:
            raise EngineError(
                f"The Ray cluster is gone, or refuses: {_first_line(error)}",
                remedy="Start it again, and run the same command again; what was committed is whole.",
            ) from error

    def _done(self, queue: ShardQueue, stop: Stop) -> Iterator[Shard]:
        for _ in range(self.workers):
            self._hire()
        give_up_s = float("inf")
        while self._running and time.monotonic() < give_up_s:
            if stop.requested and give_up_s == float("inf"):
                give_up_s = time.monotonic() + STOPPING_S
                self._end_early()
            self._head.check()
            answered, _ = self._ray.wait(list(self._running), num_returns=1, timeout=POLL_S)
            for answer in answered:
                shard = self._take(answer, queue)
                if shard is not None:
                    yield shard
            if not stop.requested:
                self._assign(queue)
            elif not any(hired.shard for hired in self._running.values()):
                return
            self._ask()

    def _room(self, workers: int | None) -> int:
        """How many workers there are to be."""
        cluster = self._ray.cluster_resources()
        kind, each = ("GPU", 1) if self._needs_gpu else ("CPU", self._work.threads)
        room = int(cluster.get(kind, 0) // each)
        if room < 1:
            raise EngineError(
                f"The cluster has {cluster.get(kind, 0):g} {kind}(s); a worker wants {each}.",
                remedy="Give fewer --threads-per-worker, or a larger cluster.",
            )
        return workers or room

    @property
    def _needs_gpu(self) -> bool:
        return self._work.settings.device.startswith("cuda")

    def _hire(self) -> None:
        """A new worker, which gets its first shard when it has opened the encoder."""
        remote = self._ray.remote(
            num_cpus=self._work.threads, num_gpus=int(self._needs_gpu), max_restarts=0, max_concurrency=2
        )(RayWorker)
        hired = Hired(actor=remote.remote(self._work))
        self._running[hired.actor.open.remote(__version__)] = hired

    def _take(self, answer: Any, queue: ShardQueue) -> Shard | None:
        """What a worker answers, or that it died; the shard that has a receipt by that, if one has."""
        hired = self._running.pop(answer)
        shard, hired.shard = hired.shard, None
        try:
            error = self._ray.get(answer)
        except self._ray.exceptions.RayActorError as lost:
            return self._bury(hired, shard, queue, lost)
        if error is not None:
            raise error
        self._idle.append(hired)
        if shard is not None:
            self._advance(hired.advance_to(hired.expected), "")
            hired.images_per_s = shard.images / (time.perf_counter() - hired.since_s)
        return shard

    def _bury(self, hired: Hired, shard: Shard | None, queue: ShardQueue, lost: Exception) -> Shard | None:
        """Let another worker have the shard of a dead one, unless that had put its receipt."""
        number = -1 if shard is None else shard.number
        self._deaths[number] = self._deaths.get(number, 0) + 1
        if self._deaths[number] > MOST_DEATHS:
            over = "while they opened the encoder" if shard is None else f"over shard {number}"
            raise EngineError(
                f"{self._deaths[number]} workers died {over}: {_first_line(lost)}",
                remedy="Look at Ray's logs, for memory above all; fewer --workers or --shard-images need less of it.",
            ) from lost
        self._head.require()  # it may be what ended the worker
        self._hire()
        is_done = shard is None or self._work.epoch.receipt(number) is not None
        done = 0 if shard is None else shard.images
        self._advance(hired.advance_to(hired.expected if is_done else hired.expected - done), "")
        if is_done or shard is None:
            return shard
        queue.give_back(shard)
        return None

    def _assign(self, queue: ShardQueue) -> None:
        """Give idle workers shards; when none is left, they wait for those that may come back."""
        while self._idle and (shard := queue.next(self._idle[-1].images_per_s)) is not None:
            hired = self._idle.pop()
            hired.shard, hired.since_s = shard, time.perf_counter()
            hired.expected += shard.images
            self._running[hired.actor.encode.remote(shard)] = hired
        if not any(hired.shard for hired in self._running.values()) and not queue.images_left:
            self._running.clear()  # who still opens is not needed

    def _end_early(self) -> None:
        for hired in self._running.values():
            hired.actor.end_early.remote()

    def _ask(self) -> None:
        """How far the workers are, as far as they have answered."""
        busy = [hired for hired in self._running.values() if hired.shard is not None]
        for hired in busy:
            if hired.asked is None:
                hired.asked = hired.actor.images.remote()
            told, _ = self._ray.wait([hired.asked], timeout=0)
            if told:
                note = f"{len(busy)} of {self.workers} workers encode"
                self._advance(hired.advance_to(self._told(hired)), note)

    def _told(self, hired: Hired) -> int:
        asked, hired.asked = hired.asked, None
        try:
            return int(self._ray.get(asked))
        except self._ray.exceptions.RayError:  # it has died, as its shard's answer will say
            return hired.images


def import_ray() -> Any:
    """Ray, or a sentence that says how to get it.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a run calls nobody
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--engine ray", extra="ray", package="ray") from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options |= {
            "num_cpus": usable_cores(),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    refuse_nobody(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with warnings.catch_warnings():  # what Ray forks becomes another program at once
            warnings.filterwarnings("ignore", message="lance is not fork-safe")
            ray.init(address=address, **options)
        for number, handler in handlers.items():  # Ray puts its own in their place, which end the process at once
            if threading.current_thread() is threading.main_thread():
                signal.signal(number, handler)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        _shut_down(ray)
        raise no_cluster(address, _first_line(error)) from error


def _shut_down(ray: Any) -> None:
    """Leave the cluster; a driver that hangs in that ends hard, since what was committed is whole."""

    def end_hard() -> None:
        sys.stderr.write("Ray does not let go of this process, which ends now; what was committed is whole.\n")
        sys.stderr.flush()
        os._exit(1)

    watch = threading.Timer(SHUTDOWN_S, end_hard)
    watch.daemon = True
    watch.start()
    ray.shutdown()
    watch.cancel()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
