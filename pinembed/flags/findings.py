"""What an audit finds, before anybody's answers are looked at: contents, checks, scores and evidence."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from pinembed.flags.checks import CHECKS, DUPLICATE, FLOOD, NEAR_DUPLICATE, Contents
from pinembed.flags.copies import Copy
from pinembed.flags.stored import StoredRows

FLOOD_ITEMS = 10
SHOWN_NAMES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One content that a check flags.

    Attributes:
        sha256: of the content.
        check: its name.
        score: more is worse.
        evidence: a sentence.
        partner: sha256 of the content that this one repeats; else empty.
    """

    sha256: str
    check: str
    score: float
    evidence: str
    partner: str = ""


def find_damage(contents: Contents, checks: Collection[str]) -> Iterator[Finding]:
    """What each content shows by itself."""
    sha256 = contents.texts("sha256")
    for check in CHECKS:
        if check.name in checks:
            scores = check.score(contents)
            for index in np.flatnonzero(scores >= check.threshold).tolist():
                score = float(scores[index])
                evidence = check.evidence(contents, index, score)
                yield Finding(sha256=sha256[index], check=check.name, score=score, evidence=evidence)


def find_duplicates(rows: StoredRows) -> Iterator[Finding]:
    """Contents that several items have, byte for byte."""
    ids = rows.columns["id"]
    for sha256, indices in rows.of_content.items():
        if len(indices) > 1:
            names = ", ".join(ids[index].as_py() for index in indices[:SHOWN_NAMES])
            more = ", …" if len(indices) > SHOWN_NAMES else ""
            evidence = f"{len(indices)} items have this very file: {names}{more}."
            yield Finding(sha256=sha256, check=DUPLICATE, score=len(indices), evidence=evidence)


def near_duplicates(copies: Iterable[Copy], sha256: list[str], rows: StoredRows) -> Iterator[Finding]:
    """Copies, by their indices among the contents, as findings."""
    for copy in copies:
        how = "mirrored, " if copy.is_mirrored else ""
        yield Finding(
            sha256=sha256[copy.index],
            check=NEAR_DUPLICATE,
            score=copy.similarity,
            evidence=f"The picture of {rows.name(sha256[copy.of])}, {how}{copy.similarity:.3f} alike.",
            partner=sha256[copy.of],
        )


def find_floods(rows: StoredRows, partners: Mapping[str, str]) -> Iterator[Finding]:
    """Pictures that many items of one seller, or of files of one day, show.

    Args:
        rows: of the table.
        partners: the content that each near duplicate repeats.
    """
    shown: dict[str, list[str]] = defaultdict(list)
    for sha256 in rows.of_content:
        shown[_original(sha256, partners)].append(sha256)
    for contents in shown.values():
        indices = [index for sha256 in contents for index in rows.of_content[sha256]]
        if len(indices) >= FLOOD_ITEMS:
            who, count = _most_by_one(rows, indices)
            if count >= FLOOD_ITEMS:
                evidence = f"{count} items {who} show this picture."
                yield from (Finding(sha256=sha256, check=FLOOD, score=count, evidence=evidence) for sha256 in contents)


def _original(sha256: str, partners: Mapping[str, str]) -> str:
    seen = {sha256}
    while (partner := partners.get(sha256)) is not None and partner not in seen:
        seen.add(partner)
        sha256 = partner
    return sha256


def _most_by_one(rows: StoredRows, indices: list[int]) -> tuple[str, int]:
    """In words, the seller or the day with most of these rows, and how many."""
    picked = rows.columns.take(indices)
    days = Counter(
        f"of files of {datetime.fromtimestamp(mtime_ns / 1e9, tz=timezone.utc):%Y-%m-%d}"
        for mtime_ns in picked["mtime_ns"].to_pylist()
    )
    sellers: Counter[str] = Counter()
    if rows.seller:
        sellers.update(f"of {rows.seller} {name}" for name in picked[rows.seller].to_pylist() if name is not None)
    return max([*sellers.most_common(1), *days.most_common(1)], key=lambda found: found[1])
