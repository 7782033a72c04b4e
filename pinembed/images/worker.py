"""The process that loads images for a LoadingPool: `python -m pinembed.images.worker FD`.

It is a process of its own so that a decoder that crashes or never ends costs one image and not the run. It loads
torch's libraries only for the fast JPEG path and never LanceDB, and it is started with a plain command, so that a
user's script needs no `__main__` guard.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection

from pinembed.errors import ImageError
from pinembed.images.jpeg import LoadJpeg, jpeg_loaders
from pinembed.images.loading import LoadedImage, LoadRequest, WorkerSetup, load_image
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.failure import Failure

STANDARD_ERROR = 2


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
