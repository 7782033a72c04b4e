"""run.json of an aligned model's folder: where it is, and what it says of the model's calls of tools."""

from __future__ import annotations

from pathlib import Path

from pinembed.trimmed.checkpoint import read_json

RUN_NAME = "run.json"


def calls_right(folder: Path) -> float | None:
    """Share of the calls that judged a model in `align --calls`; None where none did.

    Raises:
        ModelError: the file is damaged.
    """
    if not (folder / RUN_NAME).is_file():
        return None
    found = read_json(folder / RUN_NAME, wanted="the run of align").get("calls")
    right = found.get("right") if isinstance(found, dict) else None
    return float(right) if isinstance(right, int | float) else None
