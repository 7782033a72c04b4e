"""LoadingPool: several worker processes that load images while the encoder computes, in bounded memory."""

from __future__ import annotations

import queue
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType

from pinembed.errors import InstallationError
from pinembed.images.loading import FailedLoad, LoadedImage, LoadRequest, WorkerSetup

Answer = LoadedImage | FailedLoad
WORKER = "pinembed.images.worker"
ASKED_AT_ONCE = 3  # requests that a worker holds, so that it never waits for the next one
_POLL_S = 0.2
_START_LIMIT_S = 300.0


class LoadingPool:
    """Worker processes, each fed by a thread; use it as a context manager.

    Args:
        setup: what the workers are told first.
        workers: number of processes.
        image_limit_s: a worker that takes longer for one image is replaced, and the image failed.
        ahead: images that may wait, loaded, for the encoder.
    """

    def __init__(self, setup: WorkerSetup, *, workers: int, image_limit_s: float, ahead: int) -> None:
        self._image_limit_s = image_limit_s
        self._answers: queue.Queue[Answer | None] = queue.Queue(maxsize=ahead)
        self._closing = threading.Event()
        self._requests: Iterator[LoadRequest] = iter(())
        self._requests_lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="pinembed-load")
        self._workers = [_Worker(setup) for _ in range(workers)]

    def __enter__(self) -> LoadingPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(wait=True)
        for worker in self._workers:
            worker.close()

    def load(self, requests: Iterable[LoadRequest]) -> Iterator[Answer]:
        """Answers as they come, not in order; each names the place of its request. Call it once.

        Raises:
            InstallationError: a worker process does not start.
        """
        self._requests = iter(requests)
        futures: list[Future[None]] = [self._threads.submit(self._feed, worker) for worker in self._workers]
        ended = 0
        while ended < len(futures):
            answer = self._answers.get()
            if answer is None:
                ended += 1
            else:
                yield answer
        for future in futures:
            future.result()

    @property
    def waiting(self) -> int:
        """Images that are loaded and wait for the encoder; 0 means that the encoder waits."""
        return self._answers.qsize()

    def _feed(self, worker: _Worker) -> None:
        """Thread: hand requests to one worker until there are no more; it always has the next one at hand."""
        asked: deque[LoadRequest] = deque()
        try:
            while True:
                while len(asked) < ASKED_AT_ONCE and (request := self._next_request()) is not None:
                    worker.ask(request)
                    asked.append(request)
                if not asked:
                    return
                self._put(worker.answer(asked.popleft(), self._image_limit_s))
                if self._closing.is_set():
                    return
                if not worker.is_alive:
                    worker.restart()
                    for request in asked:
                        worker.ask(request)
        finally:
            self._put(None)

    def _next_request(self) -> LoadRequest | None:
        with self._requests_lock:
            return next(self._requests, None)

    def _put(self, answer: Answer | None) -> None:
        while not self._closing.is_set():
            with suppress(queue.Full):
                self._answers.put(answer, timeout=_POLL_S)
                return


class _Worker:
    """One worker process and the line to it."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", WORKER, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._line = Connection(ours.detach())
        self._is_ready = False

    def restart(self) -> None:
        """A fresh process in the place of a dead one."""
        self.close()
        self._start()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: LoadRequest) -> None:
        """Send a request; answers come in the same order.

        Raises:
            InstallationError: the process does not start.
        """
        self._wait_until_ready()
        with suppress(OSError):  # the process has just died; `answer` says so
            self._line.send(request)

    def answer(self, request: LoadRequest, limit_s: float) -> Answer:
        """The worker's answer to the oldest request, or what became of the worker."""
        try:
            if self._line.poll(limit_s):
                answer: Answer = self._line.recv()
                return answer
        except (EOFError, OSError):
            message = f"{request.image} ended the decoder with {self._ending()}."
            return FailedLoad(place=request.place, reason="decoder_crash", message=message)
        self.kill()
        message = f"{request.image} was not decoded within {limit_s:g} s."
        return FailedLoad(place=request.place, reason="timeout", message=message)

    def kill(self) -> None:
        """End the process at once; the line stays open for the thread that may wait on it."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self._line.close()

    def _wait_until_ready(self) -> None:
        if self._is_ready:
            return
        try:
            self._line.send(self._setup)
            if not self._line.poll(_START_LIMIT_S):
                raise EOFError
            self._line.recv()
        except (EOFError, OSError) as error:
            raise InstallationError(
                f"The process that decodes images does not start; it ended with {self._ending()}.",
                remedy=f"Run `{sys.executable} -m {WORKER}` to see why.",
            ) from error
        self._is_ready = True

    def _ending(self) -> str:
        try:
            code = self._process.wait(timeout=5)
            return signal.Signals(-code).name if code < 0 else f"exit code {code}"
        except subprocess.TimeoutExpired:
            self.kill()
            return "a closed line"
