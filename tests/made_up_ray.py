"""A stand-in for the module ray: actors are threads of this process, which a test can let die."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from types import SimpleNamespace
from typing import Any


class RayError(Exception): ...


class RayActorError(RayError): ...


class Actor:
    """A handle: `actor.method.remote(...)` is a Future; none is answered once it is dead."""

    def __init__(self, made: Any) -> None:
        self._made = made
        self._threads = ThreadPoolExecutor(2)
        self.is_dead = False

    def __getattr__(self, name: str) -> SimpleNamespace:
        def call(*args: Any) -> Any:
            answer = None if self.is_dead else getattr(self._made, name)(*args)
            if self.is_dead:
                raise RayActorError("The actor died")
            return answer

        return SimpleNamespace(remote=lambda *args: self._threads.submit(call, *args))


class MadeUpRay:
    """What RayEngine uses of ray.

    Attributes:
        actors: all that were started.
        head: its HOST:PORT; empty for one that nobody can ask.
    """

    exceptions = SimpleNamespace(RayError=RayError, RayActorError=RayActorError)

    def __init__(self, cpus: int) -> None:
        self._cpus = cpus
        self.actors: list[Actor] = []
        self.is_up = False
        self.head = ""

    def init(self, **options: Any) -> None:
        self.is_up = True

    def shutdown(self) -> None:
        self.is_up = False

    def get_runtime_context(self) -> SimpleNamespace:
        return SimpleNamespace(gcs_address=self.head)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self._cpus)}

    def remote(self, **options: Any) -> Callable[[type], SimpleNamespace]:
        def started(kind: type, *args: Any) -> Actor:
            self.actors.append(Actor(kind(*args)))
            return self.actors[-1]

        return lambda kind: SimpleNamespace(remote=lambda *args: started(kind, *args))

    def kill(self, worker: Any) -> None:
        """Let the actor die that holds a ShardWorker."""
        next(actor for actor in self.actors if actor._made._worker is worker).is_dead = True

    def wait(
        self, calls: Sequence[Future[Any]], *, num_returns: int = 1, timeout: float | None = None
    ) -> tuple[list[Future[Any]], list[Future[Any]]]:
        done, left = wait_for(calls, timeout=timeout, return_when=FIRST_COMPLETED)
        return list(done)[:num_returns], list(left)

    def get(self, call: Future[Any]) -> Any:
        return call.result()
