"""The rollback job: an older generation serves again, and the encoder that was left is not promoted by itself."""

from __future__ import annotations

from datetime import datetime, timezone

from pinembed.errors import GenerationError
from pinembed.generation.home import Home
from pinembed.generation.ledger import Refusal, await_switch, note_refusal
from pinembed.reports.home import SwitchReport
from pinembed.settings.home import RollbackSettings


def rollback(settings: RollbackSettings) -> SwitchReport:
    """Switch to an older generation; nothing is loaded or copied.

    Raises:
        GenerationError: no home, no older generation, or one that was edited.
    """
    home = Home.open(settings.home)
    current = home.current
    number = settings.number if settings.number is not None else _before(home, current)
    target, left = home.read(number), None if current is None else home.read(current)
    refused = "" if left is None or left.fingerprint == target.fingerprint else left.fingerprint
    switched = home.switch(number)
    await_switch(home, None)
    if refused and current is not None:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        note_refusal(home, Refusal(at=now, fingerprint=refused, generation=current))
    return SwitchReport(
        home=home.folder, before=switched.before, now=number, refused=refused, switch_ms=switched.switch_ms
    )


def _before(home: Home, current: int | None) -> int:
    older = [number for number in home.numbers if current is not None and number < current]
    if not older:
        raise GenerationError(
            f"{home.folder} has no generation before {current or 'the first'}.",
            remedy="See what there is with: pinembed generations HOME",
        )
    return older[-1]
