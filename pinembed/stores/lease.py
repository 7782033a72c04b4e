"""A lease: an object that says who may write beside it, renewed while its holder lives.

It is made where none is (If-None-Match), renewed by who knows its mark (If-Match, or the generation of GCS), and may be
taken over when it was not renewed for EXPIRES_S. Its age is read off the store's own clock, so that those of the
machines need not agree. Given back, it stays as an object that says so: a store removes objects without asking for
their mark.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pinembed.errors import MissingObjectError, PinembedError, StoreError
from pinembed.stores.address import Address
from pinembed.stores.objects import (
    Mark,
    create_object,
    modified_s,
    put_object,
    read_object,
    remove_object,
    replace_object,
)

RENEW_S = 20.0
EXPIRES_S = 90.0
TRUSTED_S = 70.0
"""So long after the last renewal its holder still writes; what it has begun then ends before the lease does."""
OWN_PROGRAMS = ("pinembed", "__main__.py")
NO_MARK = Mark('"pinembed-never-had-this"', "1")


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseCard:
    """What a lease says, and beside a lock on this machine who holds it.

    Attributes:
        host: machine of its holder.
        pid: process there.
        since: when it was taken, ISO 8601.
        command: what the process does.
        token: of this one taking, so that no two are alike.
        renewals: how often it was renewed, so that each has a mark of its own.
        is_free: it was given back.
    """

    host: str
    pid: int
    since: str
    command: str
    token: str
    renewals: int = 0
    is_free: bool = False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} ({self.command})"

    def to_bytes(self) -> bytes:
        """As the object holds it."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> LeaseCard:
        """Of an object; of one that nobody can read, a stranger's.

        Returns:
            a card that has to expire like any other.
        """
        try:
            fields: dict[str, Any] = json.loads(content)
            return cls(**fields)
        except (ValueError, TypeError):
            return cls(host="an unknown host", pid=0, since="an unknown time", command="unreadable", token="")

    @classmethod
    def of_this_process(cls) -> LeaseCard:
        """A new one; of a command it tells the name without arguments and options, which may hold a secret."""
        program = Path(sys.argv[0]).name
        command = program
        if program in OWN_PROGRAMS:
            command = " ".join(["pinembed", *(word for word in sys.argv[1:2] if not word.startswith("-"))])
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            since=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=command,
            token=secrets.token_hex(8),
        )


def holder_of_lease(place: Address) -> LeaseCard | None:
    """Who holds a lease now; None where nobody does, or its holder has not renewed it in time by this machine's clock.

    Args:
        place: of its object, which only has to be read.

    Raises:
        StoreError: the store cannot be asked.
    """
    found = _read(place)
    if found is None or found[0].is_free:
        return None
    return found[0] if time.time() - modified_s(place) < EXPIRES_S else None


def steady_s() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def store_age_s(place: Address) -> float:
    """Seconds since an object was written, by the clock of its store, of which an object that is written now tells.

    Raises:
        StoreError: the store cannot be asked or written.
    """
    probe = place.parent / f"{place.name}.{secrets.token_hex(4)}"
    put_object(probe, b"")
    try:
        return modified_s(probe) - modified_s(place)
    finally:
        remove_object(probe)


class Lease:
    """A lease that this process takes, keeps and gives back; use `take`.

    Args:
        place: of its object.
        age_s: seconds since the object was written.
        clock_s: of this machine; it goes on while the process, or the machine, is stopped.

    Attributes:
        is_taken_over: it was another's before, which did not give it back and may still be about to write.
    """

    def __init__(
        self,
        place: Address,
        *,
        age_s: Callable[[Address], float] = store_age_s,
        clock_s: Callable[[], float] = steady_s,
    ) -> None:
        self.place = place
        self.is_taken_over = False
        self._age_s = age_s
        self._clock_s = clock_s
        self._card = LeaseCard.of_this_process()
        self._mark = Mark("")
        self._renewed_s = 0.0
        self._lost_to = ""
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> LeaseCard | None:
        """Take the lease.

        Returns:
            the card of who holds it; None where it is ours now.

        Raises:
            StoreError: the store cannot be written, or has no conditional PUT.
        """
        self._renewed_s = self._clock_s()  # before the request: what the store counts begins later
        taken = create_object(self.place, self._card.to_bytes())
        if taken is None:
            found = _read(self.place)
            if found is None:  # it went a moment ago; whoever makes the next one first has it
                return self.take()
            holder, mark = found
            if not holder.is_free and self._age_s(self.place) < EXPIRES_S:
                return holder
            taken = replace_object(self.place, self._card.to_bytes(), mark)
            if taken is None:  # another one was faster
                return self._present_holder()
            self.is_taken_over = not holder.is_free
        self._mark = taken if taken.e_tag else self._look_for_mark()
        self._refuse_unconditional()
        return None

    def keep(self) -> None:
        """Renew it from now on, in a thread."""
        self._thread = threading.Thread(target=self._keep, daemon=True, name="pinembed-lease")
        self._thread.start()

    def renew(self) -> None:
        """Once; what keeps it from being renewed is not raised but told by `trouble`."""
        with self._lock:
            begun_s = self._clock_s()
            card = dataclasses.replace(self._card, renewals=self._card.renewals + 1)
            try:
                mark = replace_object(self.place, card.to_bytes(), self._mark)
            except PinembedError:  # the store is away; the next try may reach it, while the lease lasts
                return
            if mark is None and not self._is_ours():
                return
            if mark is not None:
                self._card, self._mark = card, mark
            self._renewed_s = begun_s

    def trouble(self) -> str:
        """Why nothing more may be written; empty while the lease is ours."""
        if self._lost_to:
            return f"it was taken over by {self._lost_to}"
        silent_s = self._clock_s() - self._renewed_s
        return "" if silent_s < TRUSTED_S else f"it could not be renewed for {silent_s:.0f} s"

    def give_back(self) -> None:
        """End the thread, and say that the lease is free, where it is still ours.

        Raises:
            StoreError: the store cannot be written.
        """
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        if not self._lost_to:
            replace_object(self.place, dataclasses.replace(self._card, is_free=True).to_bytes(), self._mark)

    def _keep(self) -> None:
        while not self._ending.wait(RENEW_S) and not self._lost_to:
            self.renew()

    def _is_ours(self) -> bool:
        """Whether the object is our own after a renewal that was refused: its first answer may have been lost."""
        try:
            found = _read(self.place)
        except StoreError:
            return False
        if found is not None and found[0].token == self._card.token:
            self._card, self._mark = found
            return True
        self._lost_to = "nobody, its object is gone" if found is None else str(found[0])
        return False

    def _present_holder(self) -> LeaseCard:
        found = _read(self.place)
        return self._card if found is None else found[0]

    def _look_for_mark(self) -> Mark:
        found = _read(self.place)
        return Mark("") if found is None else found[1]

    def _refuse_unconditional(self) -> None:
        """Let no store pass that writes whatever the condition is: two runs would both have its lease."""
        content = self._card.to_bytes()
        if create_object(self.place, content) is None and replace_object(self.place, content, NO_MARK) is None:
            return
        raise StoreError(
            f"The store of {self.place} writes objects although the condition of the request does not hold.",
            remedy="Wanted a store with conditional PUT (If-None-Match, If-Match), as S3, GCS, Azure, MinIO and "
            "SeaweedFS have; put the table elsewhere.",
        )


def _read(place: Address) -> tuple[LeaseCard, Mark] | None:
    try:
        content, found = read_object(place)
    except MissingObjectError:
        return None
    return LeaseCard.from_bytes(content), found.mark
