"""Flag: what an audit says of one content by one check, with evidence, and what people answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

FLAGGED, CONFIRMED, APPEALED, CLEARED = "flagged", "confirmed", "appealed", "cleared"
OPEN_STATES = (FLAGGED, CONFIRMED)
AUDIT = "audit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """One content, one check.

    Attributes:
        sha256: of the content, whatever file holds it.
        check: name of the check.
        score: by which the check decides; for people to sort by.
        evidence: a sentence.
        state: `flagged` by the audit; `confirmed`, `appealed` or `cleared` by people.
        by: who gave the state: `audit`, or whom the file of answers names.
        at: when, UTC.
        version: of the check that the state is about.
        partner: sha256 of the content that this one repeats; empty for checks that look at one content alone.
    """

    sha256: str
    check: str
    score: float
    evidence: str
    state: str
    by: str
    at: datetime
    version: int
    partner: str = ""

    @property
    def key(self) -> str:
        """What a table of flags knows it by."""
        return flag_key(self.sha256, self.check)


def flag_key(sha256: str, check: str) -> str:
    """Of the flag of one content by one check."""
    return f"{sha256}/{check}"
