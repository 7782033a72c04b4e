"""The process of the `pinembed` command; `python -m pinembed` is the same."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

from pinembed.cli.main import main


def run() -> NoReturn:
    """Run the command, and end the process once every exit handler has run.

    The interpreter is not taken down: the threads of a native library may still be at work then and abort the process,
    and with it the exit code (https://github.com/lancedb/lancedb/pull/4175).
    """
    exit_code = 1

    def leave() -> None:
        sys.stderr.flush()
        with suppress(OSError):  # the reader of our output went away
            sys.stdout.flush()
        os._exit(exit_code)

    atexit.register(leave)  # the first to be registered is the last to run
    try:
        main()
    except SystemExit as end:
        exit_code = end.code if isinstance(end.code, int) else 1
        raise


if __name__ == "__main__":
    run()
