"""What `pinembed doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One finding.

    Attributes:
        found: the version, the device, the number.
        verdict: `ok`; `note`, worth knowing; or `wrong`, pinembed cannot do its main job.
        remedy: what to do; empty where nothing is to do.
    """

    name: str
    found: str
    verdict: str = "ok"
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class DoctorReport:
    """All findings, in the order in which a person reads them."""

    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """1 when something is wrong."""
        return int(any(check.verdict == "wrong" for check in self.checks))

    def to_json(self) -> dict[str, Any]:
        return {"checks": self.checks, "ok": self.exit_code == 0}
