"""ledger.json: which challengers were tried, with how much of the year's error, and which encoders were rolled back.

A lost ledger costs nothing but one more training.
"""

from __future__ import annotations

import dataclasses
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pinembed.disk import sync
from pinembed.errors import GenerationError
from pinembed.generation.home import Home
from pinembed.generation.record import Generation
from pinembed.outfolder import locked

LEDGER = "ledger.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One challenger that was trained and judged.

    Attributes:
        at: ISO 8601 in UTC.
        fingerprint: of the challenger's encoder, or of what came back.
        promoted: it took the champion's place.
        alpha: probability of a false promotion that this attempt was allowed.
        p: that its gain had by chance; None where there was nothing to judge.
        reason: why; a sentence.
        changed: items that were new or other since the attempt before.
    """

    at: str
    fingerprint: str
    promoted: bool
    alpha: float
    p: float | None
    reason: str
    changed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """An encoder that was rolled back: it is not promoted again by itself.

    Attributes:
        at: ISO 8601 in UTC.
        fingerprint: of the encoder.
        generation: that was left.
    """

    at: str
    fingerprint: str
    generation: int


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What the home remembers beside its generations.

    Attributes:
        attempts: in the order of time.
        refusals: in the order of time.
        changed: items that were new or other since the last attempt.
        awaiting: number of a sealed generation that is to serve next: it waits for approval, or for a run that was
            killed just before its switch; None where there is none.
    """

    attempts: tuple[Attempt, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    changed: int = 0
    awaiting: int | None = None

    @property
    def refused(self) -> set[str]:
        """Fingerprints of the encoders that were rolled back."""
        return {refusal.fingerprint for refusal in self.refusals}


def read_ledger(home: Home) -> Ledger:
    """The ledger; an empty one where there is none or it cannot be read."""
    try:
        stored: dict[str, Any] = json.loads((home.folder / LEDGER).read_text(encoding="utf-8"))
        return Ledger(
            attempts=tuple(Attempt(**attempt) for attempt in stored["attempts"]),
            refusals=tuple(Refusal(**refusal) for refusal in stored["refusals"]),
            changed=int(stored["changed"]),
            awaiting=stored["awaiting"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return Ledger()


def base_of(home: Home, ledger: Ledger) -> Generation | None:
    """What the next generation begins from: the one that waits for approval, or the one in use."""
    waiting = ledger.awaiting if ledger.awaiting in home.numbers else None
    number = home.current if waiting is None else waiting
    return None if number is None else home.read(number)


def note_attempt(home: Home, attempt: Attempt) -> None:
    """Add an attempt, once however often a run comes by; items are counted from there anew."""
    with locked(home.folder):
        ledger = read_ledger(home)
        if any(known.at == attempt.at for known in ledger.attempts):
            return
        _write(home, dataclasses.replace(ledger, attempts=(*ledger.attempts, attempt), changed=0))


def note_changed(home: Home, items: int) -> None:
    """Count items that are new or other."""
    with locked(home.folder):
        ledger = read_ledger(home)
        _write(home, dataclasses.replace(ledger, changed=ledger.changed + items))


def note_refusal(home: Home, refusal: Refusal) -> None:
    """Remember that an encoder was rolled back."""
    with locked(home.folder):
        ledger = read_ledger(home)
        _write(home, dataclasses.replace(ledger, refusals=(*ledger.refusals, refusal)))


def await_switch(home: Home, number: int | None) -> None:
    """Remember which generation is to serve next; None for none."""
    with locked(home.folder):
        ledger = read_ledger(home)
        if ledger.awaiting != number:
            _write(home, dataclasses.replace(ledger, awaiting=number))


def switch_awaited(home: Home, number: int, *, expected: int | None = None) -> None:
    """Switch to the generation that is to serve next; none is, afterwards.

    Raises:
        GenerationError: as for `Home.switch`. Somebody went back meanwhile, and the next run must not overrule that.
    """
    try:
        home.switch(number, expected=expected)
    except GenerationError:
        await_switch(home, None)
        raise
    await_switch(home, None)


def forgive(home: Home, fingerprint: str) -> None:
    """Forget that an encoder was rolled back: somebody took it into use by hand."""
    with locked(home.folder):
        ledger = read_ledger(home)
        kept = tuple(refusal for refusal in ledger.refusals if refusal.fingerprint != fingerprint)
        if kept != ledger.refusals:
            _write(home, dataclasses.replace(ledger, refusals=kept))


def _write(home: Home, ledger: Ledger) -> None:
    path = home.folder / LEDGER
    beside = path.with_name(f".{LEDGER}-{os.getpid()}")
    try:
        beside.write_text(json.dumps(dataclasses.asdict(ledger), indent=1) + "\n", encoding="utf-8")
        sync(beside)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
