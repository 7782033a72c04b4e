"""Findings beside what people answered: what is flagged anew, what stays, and what is flagged no more."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pinembed.flags.checks import VERSIONS
from pinembed.flags.findings import Finding
from pinembed.nouns.flag import AUDIT, CLEARED, CONFIRMED, FLAGGED, Flag, flag_key


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What an audit changes in the table of flags.

    Attributes:
        stored: new flags, and known ones whose evidence or version is another.
        new: keys of those that were not there.
        reopened: keys of those that had been cleared under another version of the check.
        resolved: keys of flags that nobody confirmed and that are found no more.
    """

    stored: tuple[Flag, ...]
    new: frozenset[str]
    reopened: frozenset[str]
    resolved: frozenset[str]


def compare_with_answers(
    findings: Iterable[Finding], known: Mapping[str, Flag], *, looked_at: Mapping[str, Collection[str]], now: datetime
) -> Changes:
    """What to store.

    Args:
        findings: of this audit.
        known: all stored flags, by key.
        looked_at: by check, the contents that this audit would have found again.
        now: time of this audit.
    """
    stored, new, reopened, found = [], set(), set(), set()
    for finding in findings:
        key = flag_key(finding.sha256, finding.check)
        found.add(key)
        old, version = known.get(key), VERSIONS[finding.check]
        flag = Flag(**dataclasses.asdict(finding), state=FLAGGED, by=AUDIT, at=now, version=version)
        if old is None:
            new.add(key)
            stored.append(flag)
        elif old.state == CLEARED and old.version != version:
            reopened.add(key)
            cleared = f" {old.by} cleared it on {old.at:%Y-%m-%d}, by version {old.version} of the check."
            stored.append(dataclasses.replace(flag, evidence=flag.evidence + cleared))
        elif old.state == FLAGGED and (old.version, old.partner) != (version, finding.partner):
            stored.append(flag)
    resolved = {
        key
        for key, flag in known.items()
        if flag.state == FLAGGED and key not in found and flag.sha256 in looked_at.get(flag.check, ())
    }
    return Changes(stored=tuple(stored), new=frozenset(new), reopened=frozenset(reopened), resolved=frozenset(resolved))


def confirmed(flags: Iterable[Flag], checks: Collection[str], *, now: datetime) -> list[Flag]:
    """The open flags of some checks, confirmed as a whole."""
    return [
        dataclasses.replace(flag, state=CONFIRMED, at=now)
        for flag in flags
        if flag.check in checks and flag.state == FLAGGED
    ]
