"""WebDataset's lists of shards: `train-{000..099}.tar` stands for a hundred names.

Source: https://github.com/webdataset/braceexpand, whose numbers and lists are taken; not its steps and letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BRACES = re.compile(r"\{([^{}]*)\}")
_NUMBERS = re.compile(r"(\d+)\.\.(\d+)")


def has_braces(text: str) -> bool:
    """Whether it stands for several names."""
    return any(_meanings(found[1]) is not None for found in _BRACES.finditer(text))


def expand_braces(text: str) -> Iterator[str]:
    """Each name that it stands for, in order; itself where it has no braces."""
    for found in _BRACES.finditer(text):
        meanings = _meanings(found[1])
        if meanings is not None:
            for meaning in meanings:
                yield from expand_braces(text[: found.start()] + meaning + text[found.end() :])
            return
    yield text


def _meanings(inside: str) -> list[str] | None:
    """`000..099` or `a,b`; None for anything else."""
    numbers = _NUMBERS.fullmatch(inside)
    if numbers is None:
        return inside.split(",") if "," in inside else None
    first, last = numbers.groups()
    width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
    step = 1 if int(first) <= int(last) else -1
    return [str(number).zfill(width) for number in range(int(first), int(last) + step, step)]
