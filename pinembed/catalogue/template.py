"""A sentence with gaps for metadata, `a {color} {title}, {category}`, that reads well when values are missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter

from pinembed.errors import UsageError

STRANDED = " ,.;:-/|&"


@dataclass(frozen=True, kw_only=True)
class Template:
    """What stands before a gap belongs to it and goes with it.

    Where only a space lies between a missing value and the next gap, that one takes over what stood before: `a {color}
    {title}` becomes `a mug` without a colour, and `{title} in {color}, {category}` becomes `mug, kitchen`.

    Attributes:
        text: as the user wrote it.
        gaps: what stands before each gap, and the field that fills it.
        tail: what stands after the last gap, and goes with it.
    """

    text: str
    gaps: tuple[tuple[str, str], ...]
    tail: str

    @property
    def fields(self) -> tuple[str, ...]:
        """Each once, in the order of the gaps."""
        return tuple(dict.fromkeys(name for _, name in self.gaps))

    def filled(self, said: Mapping[str, str]) -> str:
        """The sentence with the values that there are; empty without any."""
        spoken, waiting = "", ""
        for before, name in self.gaps:
            lead = before if before.strip() or not waiting else waiting
            if said.get(name):
                spoken, waiting = spoken + lead + said[name], ""
            else:
                waiting = lead
        if not spoken:
            return ""
        spoken += "" if waiting else self.tail
        return re.sub(r"\s+", " ", spoken).strip().lstrip(STRANDED)


def parse_template(text: str) -> Template:
    """Read a template.

    Raises:
        UsageError: braces that do not close, gaps without a name or with more than a name, or no gap at all.
    """
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise _refused(text, f"its braces do not fit: {error}") from error
    gaps, tail = [], ""
    for literal, name, form, conversion in parts:
        if name is None:
            tail += literal
            continue
        if not name or form or conversion:
            raise _refused(text, "a gap holds something other than the name of a column")
        gaps.append((tail + literal, name))
        tail = ""
    if not gaps:
        raise _refused(text, "it names no column")
    return Template(text=text, gaps=tuple(gaps), tail=tail)


def _refused(text: str, why: str) -> UsageError:
    return UsageError(
        f"--template {text!r} cannot be used: {why}.",
        remedy="Write column names in braces, such as 'a {color} {title}, {category}'; a brace itself is {{ or }}.",
    )
