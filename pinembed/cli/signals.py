"""SIGINT and SIGTERM to a Stop: deferred where the job commits in steps, at once elsewhere."""

from __future__ import annotations

import os
import signal
from types import FrameType

from pinembed.errors import StoppedError
from pinembed.nouns.stop import Stop


def stop_on_signals() -> Stop:
    """A Stop that the process's signals set. The second signal does not wait for the job's moment."""
    stop = Stop()

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.requested or not stop.is_deferred:
            stop.signum = signum
            raise StoppedError(signum)
        stop.signum = signum
        # not sys.stderr.write: the signal may come while a progress line is written through the same buffer
        os.write(2, b"\nStopping after this step; once more to stop at once.\n")

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    return stop
