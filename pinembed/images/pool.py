"""LoadingPool: worker processes that load images while the encoder computes.

`encode` gives it all its images at once and takes them as they come, in bounded memory. Training and evaluation ask for
one image after the other, and take each when its turn has come.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType

from pinembed.images.loading import LoadedImage, LoadRequest, WorkerSetup
from pinembed.images.remote import is_remote
from pinembed.images.staging import Staging, put_unless
from pinembed.images.worker import ForkServer
from pinembed.machine import usable_cores
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.failure import Failure
from pinembed.settings.encoding import IMAGE_LIMIT_S

Answer = tuple[int, LoadedImage | Failure]
"""The index of a request, and the image, or why there is none."""
WORKER = "pinembed.images.worker"
ASKED_AT_ONCE = 3  # requests that a worker holds, so that it never waits for the next one
LOADED_AHEAD = 128  # images; at 224 px they are 20 MB, and what is decoded while the encoder opens


class LoadingPool:
    """Worker processes, forked from one fork server and each fed by a thread; use it as a context manager.

    Args:
        setup: what the workers are told first.
        workers: number of processes.
        image_limit_s: a worker that takes longer for one image is replaced, and the image failed.
        ahead: images of `load` that may wait for the encoder.
    """

    def __init__(self, setup: WorkerSetup, *, workers: int, image_limit_s: float, ahead: int = 1) -> None:
        self._image_limit_s = image_limit_s
        self._answers: queue.Queue[Answer | None] = queue.Queue(maxsize=ahead)
        self._closing = threading.Event()
        self._staging = Staging(())
        self._requests: Iterator[LoadRequest] = iter(())
        self._requests_lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="pinembed-load")
        self._feeding: list[Future[None]] = []
        self._fork_server = ForkServer(WORKER, setup)
        self._workers = [_Worker(self._fork_server) for _ in range(workers)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def __enter__(self) -> LoadingPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; what was asked for and is not loaded yet fails."""
        self._closing.set()
        self._staging.close()
        self._fork_server.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.close()
        self._fork_server.close()

    def submit(self, requests: Sequence[LoadRequest]) -> Future[list[Answer]]:
        """Begin to load a few images by one worker, whose answers come in order; not on a pool that `load` uses.

        The future raises InstallationError where a worker process does not start.
        """
        return self._threads.submit(self._load_few, requests)

    def _load_few(self, requests: Sequence[LoadRequest]) -> list[Answer]:
        worker = self._idle.get()  # there are as many as threads
        staging = Staging(requests) if any(is_remote(request.image) for request in requests) else None
        try:
            return list(worker.answers(iter(staging or requests), self._image_limit_s))
        finally:
            self._idle.put(worker)
            if staging is not None:
                staging.close()

    def load(self, requests: Iterable[LoadRequest]) -> Iterator[Answer]:
        """`begin` and `answers` in one, for who has nothing to do in between."""
        self.begin(requests)
        return self.answers()

    def begin(self, requests: Iterable[LoadRequest]) -> None:
        """Let the workers start, and load ahead as far as there is room; again only when all answers were taken."""
        self._staging.close()
        self._staging = Staging(requests)
        self._requests = iter(self._staging)
        self._feeding = [self._threads.submit(self._feed, worker) for worker in self._workers]

    def answers(self) -> Iterator[Answer]:
        """What was loaded, as it comes and not in order; each with the index of its request.

        Raises:
            InstallationError: a worker process does not start.
        """
        ended = 0
        while ended < len(self._feeding):
            answer = self._answers.get()
            if answer is None:
                ended += 1
            else:
                self._staging.loaded(answer[0])
                yield answer
        for future in self._feeding:
            future.result()

    @property
    def waiting(self) -> int:
        """Images that are loaded and wait for the encoder; 0 means that the encoder waits."""
        return self._answers.qsize()

    def _feed(self, worker: _Worker) -> None:
        """Thread: hand requests to one worker until there are no more."""
        try:
            for answer in worker.answers(self._next_requests(), self._image_limit_s):
                put_unless(self._closing, self._answers, answer)
                if self._closing.is_set():
                    return
        finally:
            put_unless(self._closing, self._answers, None)

    def _next_requests(self) -> Iterator[LoadRequest]:
        """What is left for whoever asks first; the threads share one iterator."""
        while True:
            with self._requests_lock:
                request = next(self._requests, None)
            if request is None:
                return
            yield request


@functools.cache
def shared_pool(preprocessing: Preprocessing) -> LoadingPool:
    """The one pool of this process whose images are asked for by `submit`; it ends with the process.

    All splits of a run, and all encoders with the same preprocessing, share its start and its workers.
    """
    pool = LoadingPool(WorkerSetup(preprocessing=preprocessing), workers=usable_cores(), image_limit_s=IMAGE_LIMIT_S)
    atexit.register(pool.close)
    return pool


class _Worker:
    """One worker process and the line to it; forked when there is something to ask."""

    def __init__(self, fork_server: ForkServer) -> None:
        self._fork_server = fork_server
        self._pid = 0
        self._line: Connection | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it was forked and has not been seen to end."""
        return self._line is not None

    def answers(self, requests: Iterator[LoadRequest], limit_s: float) -> Iterator[Answer]:
        """The answer to each request, in order; the worker always has the next one at hand."""
        asked: deque[LoadRequest] = deque()
        while True:
            for request in itertools.islice(requests, ASKED_AT_ONCE - len(asked)):
                self.ask(request)
                asked.append(request)
            if not asked:
                return
            request = asked.popleft()
            yield request.index, self.answer(request, limit_s)
            if not self.is_alive:
                for request in asked:
                    self.ask(request)

    def ask(self, request: LoadRequest) -> None:
        """Send a request; answers come in the same order.

        Raises:
            InstallationError: the process does not start.
        """
        if self._line is None:
            self._pid, self._line = self._fork_server.fork()
        with suppress(OSError):  # the process has just died; `answer` says so
            self._line.send(request)

    def answer(self, request: LoadRequest, limit_s: float) -> LoadedImage | Failure:
        """The worker's answer to the oldest request, or what became of the worker."""
        assert self._line is not None
        try:
            if self._line.poll(limit_s):
                answer: LoadedImage | Failure = self._line.recv()
                return answer
        except (EOFError, OSError):
            message = f"{request.image} ended the decoder with {self._end()}."
            return Failure(file_name=str(request.image), reason="decoder_crash", message=message)
        self._end()
        message = f"{request.image} was not decoded within {limit_s:g} s."
        return Failure(file_name=str(request.image), reason="timeout", message=message)

    def _end(self) -> str:
        ending = self._fork_server.end(self._pid)
        self.close()
        return ending

    def close(self) -> None:
        """Close the line; a worker that lives ends with it."""
        if self._line is not None:
            self._line.close()
            self._line = None
