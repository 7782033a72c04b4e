"""The sandbox job: a copy of a generation to try things in, made or removed."""

from __future__ import annotations

import time
from contextlib import ExitStack

from pinembed.errors import TableLockedError
from pinembed.generation.build import own_bytes, size_of
from pinembed.generation.home import Home
from pinembed.generation.record import TABLE
from pinembed.generation.sandbox import folder_of_sandbox, make_sandbox, read_sandbox, remove_sandbox
from pinembed.machine import user_name
from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.home import SandboxReport
from pinembed.settings.home import SandboxSettings
from pinembed.table.lock import file_lock


def sandbox(settings: SandboxSettings, *, progress: Progress = SILENT) -> SandboxReport:
    """Make a sandbox of a generation, or remove one with all that is in it.

    Raises:
        UsageError: a name that is none.
        GenerationError: no home, no such generation or sandbox, or a generation that was edited.
        OutputExistsError: there is a sandbox of this name.
        OutputError: it cannot be written.
        TableLockedError: a run writes to a table of the sandbox that is to be removed.
    """
    started_s = time.perf_counter()
    home = Home.open(settings.home)
    folder = folder_of_sandbox(home, settings.name)
    if settings.remove:
        made = read_sandbox(folder)
        sizes = size_of(folder), own_bytes(folder)
        with ExitStack() as locks:
            for lock in sorted((folder / TABLE).glob(".*.lock")):
                held = file_lock(lock, of=f"a table of sandbox {settings.name}", is_held=TableLockedError)
                locks.enter_context(held)
            remove_sandbox(home, settings.name)
    else:
        made = make_sandbox(home, settings.name, by=user_name(), generation=settings.generation)
        sizes = size_of(folder), own_bytes(folder)
        if made.copied_bytes:
            progress.say(f"This file system has no hard links: {made.copied_bytes:,} bytes were copied.")
    return SandboxReport(
        home=home.folder,
        name=settings.name,
        folder=folder,
        removed=settings.remove,
        generation=made.generation,
        fingerprint=made.fingerprint,
        rows=made.rows,
        size_bytes=sizes[0],
        own_bytes=sizes[1],
        copied_bytes=made.copied_bytes,
        seconds=time.perf_counter() - started_s,
    )
