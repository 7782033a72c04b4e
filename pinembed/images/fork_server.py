"""ForkServer: one process that has loaded what decodes, and forks the workers from itself.

torch's libraries take some 200 MB and a quarter of a second of a process. Forked workers share the memory with the
fork server, and start at once, also in the place of one that crashed. The fork server itself is started afresh, never
forked from the user's process, whose threads a fork would not survive.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection

from pinembed.errors import InstallationError
from pinembed.images.loading import WorkerSetup

_START_LIMIT_S = 300.0


class ForkServer:
    """The process, and the line to it; several threads may use it.

    Args:
        module: what the process runs: `pinembed.images.worker`.
        setup: what the workers have to know.
    """

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
