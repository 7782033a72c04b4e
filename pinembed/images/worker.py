"""Both ends of the line between a LoadingPool and the processes that load images for it.

ForkServer is the pool's end: it starts `python -m pinembed.images.worker FD`, which loads what decodes and forks the
workers from itself. torch's libraries take some 200 MB and a quarter of a second of a process. Forked workers share the
memory with the fork server, and start at once, also in the place of one that crashed. The fork server itself is started
afresh, never forked from the user's process, whose threads a fork would not survive, and with a plain command, so that
a user's script needs no `__main__` guard.

Workers are processes of their own so that a decoder that crashes or never ends costs one image and not the run. They
load torch's libraries only for the fast JPEG path and never LanceDB.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection

from pinembed.errors import ImageError, InstallationError
from pinembed.images.jpeg import LoadJpeg, jpeg_loaders
from pinembed.images.loading import LoadedImage, LoadRequest, WorkerSetup, load_image
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.failure import Failure

STANDARD_ERROR = 2
_START_LIMIT_S = 300.0


class ForkServer:
    """The process, which runs this module, and the line to it; several threads may use it."""

    def __init__(self, module: str, setup: WorkerSetup) -> None:
        self._module = module
        self._setup = setup
        self._lock = threading.Lock()
        self._is_closed = False
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a group of its own, so that `kill` reaches every worker at once
            )
        self._line = Connection(ours.detach())
        self._is_ready = False

    def fork(self) -> tuple[int, Connection]:
        """A new worker: its process id, and the line to it.

        Raises:
            InstallationError: the process does not start.
        """
        with self._lock:
            try:
                return self._forked()
            except (EOFError, OSError) as error:
                if not self._is_ready or self._is_closed:
                    raise self._does_not_start() from error
            self._line.close()  # it had started, and was killed from outside; the workers live on
            self._start()
            try:
                return self._forked()
            except (EOFError, OSError) as error:
                raise self._does_not_start() from error

    def end(self, pid: int) -> str:
        """Kill a worker where it still lives.

        Returns:
            how it ended, such as `SIGSEGV` or `exit code 1`.
        """
        with self._lock:
            try:
                self._line.send(pid)
                return named(self._line.recv())
            except (EOFError, OSError):
                return "a closed line"

    def kill(self) -> None:
        """End the process and all its workers for good; threads that wait for it get an error."""
        self._is_closed = True
        self._end_group()

    def _end_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS refuses for a group of which only a zombie is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self._line.close()

    def _forked(self) -> tuple[int, Connection]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._wait_until_ready()
            self._line.send(None)
            reduction.send_handle(self._line, theirs.fileno(), self._process.pid)
            pid = int(self._line.recv())
            return pid, Connection(ours.detach())

    def _does_not_start(self) -> InstallationError:
        return InstallationError(
            f"The process that decodes images does not start; it ended with {self._ending()}.",
            remedy=f"Run `{sys.executable} -m {self._module}` to see why.",
        )

    def _wait_until_ready(self) -> None:
        if not self._is_ready:
            self._line.send(self._setup)
            if not self._line.poll(_START_LIMIT_S):
                raise EOFError
            self._line.recv()
            self._is_ready = True

    def _ending(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            return named(self._process.wait(timeout=5))
        self._end_group()
        return "a closed line"


def named(code: int) -> str:
    """An exit code for people; negative ones are signals."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def serve(control: Connection) -> None:
    """Load what decodes, then fork a worker for each line that comes, and end those that are named."""
    # Ctrl-C and a service manager's SIGTERM go to the whole group; the parent says when to end, by closing the line
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # Pillow's remarks about odd files; what matters comes as an ImageError
    with suppress(EOFError, OSError):  # the parent has closed the line, or was killed
        setup: WorkerSetup = control.recv()
        os.environ["OMP_NUM_THREADS"] = "1"  # for torch's libraries, of which each worker uses one core
        shortcuts = jpeg_loaders(fast=setup.fast_jpeg, reduced=setup.reduced)
        gc.collect()
        gc.freeze()  # a collection in a worker would touch, and so copy, every page of this process
        control.send("ready")
        while True:
            pid: int | None = control.recv()
            control.send(_fork(control, setup, shortcuts) if pid is None else _end(pid))


def _fork(control: Connection, setup: WorkerSetup, shortcuts: Sequence[LoadJpeg]) -> int:
    """Process id of a new worker on the line that comes now."""
    with Connection(reduction.recv_handle(control)) as line:
        pid = os.fork()
        if pid:
            return pid
        try:
            control.close()
            _mute()
            with suppress(EOFError, OSError):
                while True:
                    line.send(answer(line.recv(), setup.preprocessing, shortcuts))
            os._exit(0)
        finally:
            os._exit(1)


def _mute() -> None:
    """Libraries print remarks about odd files past Python; what matters comes as an ImageError, or by the exit code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STANDARD_ERROR)
    os.close(nowhere)


def _end(pid: int) -> int:
    """Exit code of a worker; what has ended already keeps its own."""
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def answer(request: LoadRequest, preprocessing: Preprocessing, shortcuts: Sequence[LoadJpeg]) -> LoadedImage | Failure:
    """The image, or the reason why there is none."""
    started_s = time.perf_counter()
    try:
        loaded = load_image(request, preprocessing, shortcuts)
    except ImageError as error:
        return Failure(file_name=str(request.image), reason=error.reason, message=error.message)
    except MemoryError:
        message = f"{request.image} needs more memory than is free."
        return Failure(file_name=str(request.image), reason="too_large", message=message)
    return dataclasses.replace(loaded, seconds=time.perf_counter() - started_s)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
