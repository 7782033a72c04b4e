"""The generations job: what a home holds."""

from __future__ import annotations

from pinembed.errors import GenerationError
from pinembed.generation.build import own_bytes, size_of
from pinembed.generation.home import Home
from pinembed.generation.ledger import Ledger, read_ledger
from pinembed.generation.sandbox import folder_of_sandbox, read_sandbox, sandbox_names
from pinembed.reports.home import GenerationLine, GenerationsReport, SandboxLine
from pinembed.settings.home import GenerationsSettings


def generations(settings: GenerationsSettings) -> GenerationsReport:
    """List the generations of a home.

    Raises:
        GenerationError: no home, or a link `current` that leads nowhere.
    """
    home = Home.open(settings.home)
    current, ledger = home.current, read_ledger(home)
    return GenerationsReport(
        home=home.folder,
        current=current,
        generations=tuple(_line(home, number, current, ledger) for number in home.numbers),
        sandboxes=tuple(_sandbox_line(home, name) for name in sandbox_names(home)),
        refused=tuple(sorted(ledger.refused)),
    )


def _line(home: Home, number: int, current: int | None, ledger: Ledger) -> GenerationLine:
    state = "current" if number == current else "awaits switch" if number == ledger.awaiting else ""
    try:
        record = home.read(number)
    except GenerationError as error:
        return GenerationLine(number=number, state=state, problem=error.message)
    return GenerationLine(
        number=number,
        state=state,
        created_at=record.created_at,
        fingerprint=record.fingerprint,
        rows=record.rows,
        size_bytes=record.size_bytes,
        own_bytes=own_bytes(home.folder_of(number)),
        why=record.why,
    )


def _sandbox_line(home: Home, name: str) -> SandboxLine:
    folder = folder_of_sandbox(home, name)
    try:
        made = read_sandbox(folder)
    except GenerationError as error:
        return SandboxLine(name=name, problem=error.message)
    return SandboxLine(
        name=name,
        generation=made.generation,
        created_at=made.created_at,
        by=made.by,
        size_bytes=size_of(folder),
        own_bytes=own_bytes(folder),
    )
