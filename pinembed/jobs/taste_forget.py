"""The taste forget job: a user out of every table, of the graph and of old versions."""

from __future__ import annotations

import time

from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.taste import TasteForgetReport
from pinembed.settings.taste import TasteForgetSettings
from pinembed.table.address import parse_address
from pinembed.table.lock import run_lock
from pinembed.taste.forget import find_traces, forget_user
from pinembed.taste.store import no_store
from pinembed.taste.update import TasteStore


def taste_forget(settings: TasteForgetSettings, *, progress: Progress = SILENT) -> TasteForgetReport:
    """Forget a user.

    Raises:
        DataError: there is no such store.
        TableLockedError: another run holds the store.
        TableError: a table cannot be read or written.
    """
    started_s = time.perf_counter()
    address = parse_address(settings.users)
    with run_lock(address):
        store = TasteStore(address)
        if store.events.dataset is None:
            raise no_store(address)
        progress.start("forget")
        events = forget_user(store, settings.user)
        progress.start("verify")
        traces = find_traces(address, settings.user) if settings.verify else None
        progress.finish()
    return TasteForgetReport(
        store=str(address),
        user=settings.user,
        events=events,
        verified=traces is not None,
        versions=traces.versions if traces else 0,
        files=traces.files if traces else 0,
        size_bytes=traces.size_bytes if traces else 0,
        traces=traces.found if traces else (),
        seconds=time.perf_counter() - started_s,
    )
