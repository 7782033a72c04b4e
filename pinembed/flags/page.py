"""What is flagged, as one HTML page with the evidence beside each picture; it needs no other file and no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pinembed.flags.stored import StoredRows
from pinembed.images.contact_sheet import thumbnail
from pinembed.nouns.flag import Flag
from pinembed.outfolder import whole_file
from pinembed.templates import template

SHOWN = 24  # of each check
PICTURE_PX = 240


@dataclass(frozen=True, kw_only=True)
class ShownFlag:
    """One flag as the page shows it; a copy stands beside the picture that it repeats.

    Attributes:
        name: of the first item with the content.
        items: with the content.
        picture: a data address; empty where the file cannot be read any more. `partner_picture` alike.
        partner_name: of the item that it repeats; empty where it repeats none that is there.
    """

    name: str
    items: int
    picture: str
    evidence: str
    score: str
    state: str
    by: str
    at: str
    partner_name: str
    partner_picture: str


@dataclass(frozen=True, kw_only=True)
class CheckGroup:
    """The worst flags of one check, and how many there are."""

    check: str
    count: int
    shown: tuple[ShownFlag, ...]


def write_flag_page(path: Path, flags: Sequence[Flag], rows: StoredRows, *, heading: str) -> None:
    """Write the page; flags come sorted by check, the worst first.

    Names and evidence may hold whatever somebody wrote into a file: all of it is escaped.

    Raises:
        OutputError: the file cannot be written.
    """
    groups = [_group(check, list(found), rows) for check, found in groupby(flags, key=lambda flag: flag.check)]
    told = f"{len(flags)} open flags on {len(rows)} rows."
    text = template("pinembed.flags", "page.html").render(heading=heading, told=told, groups=groups)
    with whole_file(path, option="--html") as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def _group(check: str, flags: Sequence[Flag], rows: StoredRows) -> CheckGroup:
    return CheckGroup(check=check, count=len(flags), shown=tuple(_shown(flag, rows) for flag in flags[:SHOWN]))


def _shown(flag: Flag, rows: StoredRows) -> ShownFlag:
    has_partner = flag.partner in rows.of_content
    return ShownFlag(
        name=rows.name(flag.sha256),
        items=len(rows.of_content[flag.sha256]),
        picture=thumbnail(rows.path(flag.sha256), PICTURE_PX),
        evidence=flag.evidence,
        score=f"{flag.score:.4g}",
        state=flag.state,
        by=flag.by,
        at=f"{flag.at:%Y-%m-%d}",
        partner_name=rows.name(flag.partner) if has_partner else "",
        partner_picture=thumbnail(rows.path(flag.partner), PICTURE_PX) if has_partner else "",
    )
