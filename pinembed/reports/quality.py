"""What `audit` and `appeal` return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckCounts:
    """Contents by the state of their flag of one check, and what this audit changed.

    Attributes:
        check: its name.
        version: of its rule.
        flagged: flagged by the audit, without an answer.
        confirmed: by people, or by --confirm.
        appealed: somebody objects, nobody has decided.
        cleared: the flag was wrong.
        new: flagged for the first time now.
        reopened: cleared under another version of the check, flagged again now.
        resolved: flags without an answer that are found no more, and were taken out.
    """

    check: str
    version: int
    flagged: int
    confirmed: int
    appealed: int
    cleared: int
    new: int
    reopened: int
    resolved: int


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What an audit found.

    Attributes:
        rows: of the table.
        contents: different ones among them.
        measured: contents that this audit had to read and measure.
        unmeasured: contents without measures, because their pictures are gone, broken or changed.
        compared: contents that were compared with all others for the first time.
        answered: flags whose state the file of answers changed.
        checks: those that were done.
        silent: those of them that could say nothing, and why.
        flagged_rows: rows whose content has a flag, confirmed or without an answer.
        share: of these among all rows.
        max_share: above which the exit code is 3.
        sheet: None where none was asked for.
        html: None where none was asked for.
        appeals: None where none were asked for.
    """

    table: str
    rows: int
    contents: int
    measured: int
    unmeasured: int
    compared: int
    answered: int
    checks: tuple[CheckCounts, ...]
    silent: Mapping[str, str]
    flagged_rows: int
    share: float
    max_share: float
    sheet: Path | None
    html: Path | None
    appeals: Path | None
    seconds: float

    @property
    def exit_code(self) -> int:
        """0, or 3 when more rows are flagged than the user allows."""
        return 3 if self.share > self.max_share else 0


@dataclass(frozen=True, kw_only=True)
class AppealReport:
    """What a file of answers changed.

    Attributes:
        confirmed: flags that became so now.
        appealed: flags that became so now.
        cleared: flags that became so now.
        unknown: answers to flags that the table does not have.
    """

    table: str
    file: Path
    confirmed: int
    appealed: int
    cleared: int
    unknown: int
