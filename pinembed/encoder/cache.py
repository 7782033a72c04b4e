"""What is remembered in the cache folder between runs: all of it may be deleted at any time."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from pinembed.machine import cache_folder


def recall(name: str) -> dict[str, str]:
    """Everything that was remembered under this name, by key."""
    try:
        stored = json.loads(_path(name).read_text(encoding="utf-8"))
        return {str(key): str(value) for key, value in stored.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def remember(name: str, key: str, value: str, *, at_most: int | None = None) -> None:
    """Best effort: where the cache cannot be written, the next run has to find out again.

    Args:
        name: of the memory.
        key: of the value; a value of the same key is replaced.
        value: to be remembered.
        at_most: values that are kept, the latest; None keeps all.
    """
    path = _path(name)
    kept = {**{other: old for other, old in recall(name).items() if other != key}, key: value}
    if at_most is not None:
        kept = dict(list(kept.items())[-at_most:])
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        partial.replace(path)


def _path(name: str) -> Path:
    return cache_folder() / f"{name}.json"
