"""Kinds of events, and how much each says about liking an item."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from pinembed.errors import DataError

Kinds = Mapping[str, float]
"""Weight by kind: above 0 the user likes the item, 0 only saw it, below 0 wants no more of it."""
KINDS: Kinds = {"view": 0.25, "click": 0.5, "save": 1.0, "purchase": 1.5, "hide": -1.0}
ENGAGED = 0.5
"""From this weight on an event is a choice of the item, which enters interests and the graph; less was only seen."""
DECIDED = 1.5
"""From this weight on an event is a decision for the item."""


def read_kinds(path: Path | None) -> Kinds:
    """The five kinds, and those of a JSON file `{"wishlist": 1.0, "share": 0.8}`, which win.

    Raises:
        DataError: the file cannot be read, or holds something else than weights.
    """
    if path is None:
        return KINDS
    try:
        own = json.loads(path.read_text(encoding="utf-8"))
        weights = {str(kind): float(weight) for kind, weight in own.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"--kinds {path} is no file of kinds: {error}.", remedy='Write JSON, such as {"wishlist": 1.0}.'
        ) from error
    odd = [kind for kind, weight in weights.items() if not kind or not math.isfinite(weight)]
    if odd:
        raise DataError(
            f"--kinds {path} gives {odd[0]!r} no finite weight or no name.", remedy="Give each kind a number."
        )
    return {**KINDS, **weights}
