"""The switch job: a generation comes into use by a person's word."""

from __future__ import annotations

from pinembed.generation.home import Home
from pinembed.generation.ledger import await_switch, forgive
from pinembed.reports.home import SwitchReport
from pinembed.settings.home import SwitchSettings


def switch(settings: SwitchSettings) -> SwitchReport:
    """Take a generation into use; its encoder may be promoted again where it was rolled back before.

    Raises:
        GenerationError: no home, no such generation, or one that was edited.
    """
    home = Home.open(settings.home)
    record = home.read(settings.number)
    switched = home.switch(settings.number)
    await_switch(home, None)
    forgive(home, record.fingerprint)
    return SwitchReport(
        home=home.folder, before=switched.before, now=settings.number, refused="", switch_ms=switched.switch_ms
    )
