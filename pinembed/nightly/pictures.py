"""Small pictures of a report, in packs: a night writes those that are new to it, and links the packs of the last night.

A pack is a JSON object, from side in pixels and sha256 of the content to a data address.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pinembed.generation.build import link_or_copy
from pinembed.images.contact_sheet import thumbnail
from pinembed.nightly.sample import SampleRow

FOLDER = "pictures"
GROWTH = 2  # a new pack takes in older ones of less than so many times its pictures, so that few packs pile up


class Pictures:
    """Pictures of items; those that are asked for are those that `write` keeps.

    Args:
        report: folder of a report that has some; None for none.
    """

    def __init__(self, report: Path | None) -> None:
        paths = [] if report is None else sorted((report / FOLDER).glob("*.json"))
        self._packs: dict[Path, dict[str, str]] = {path: _read(path) for path in paths}
        self._known = {key: data for pack in self._packs.values() for key, data in pack.items()}
        self._made: dict[str, str] = {}
        self._used: set[str] = set()

    def make(self, row: SampleRow, side_px: int) -> str:
        """A picture as a data address, at most so large; empty where its file cannot be read any more."""
        key = f"{side_px}/{row.content}"
        if key not in self._known and key not in self._made:
            self._made[key] = thumbnail(row.path, side_px)
        self._used.add(key)
        return self.get(row.content, side_px)

    def get(self, content: str, side_px: int) -> str:
        """A picture that is there; empty where it is not."""
        key = f"{side_px}/{content}"
        return self._known.get(key) or self._made.get(key, "")

    def write(self, report: Path) -> None:
        """Keep the pictures that were made or asked for with a report that has none yet."""
        folder = report / FOLDER
        folder.mkdir(parents=True)
        new = {key: data for key, data in self._made.items() if data}
        number = max((int(path.stem) for path in self._packs), default=0) + 1
        for path, pack in reversed(self._packs.items()):
            used = {key: data for key, data in pack.items() if key in self._used}
            if len(used) < GROWTH * len(new) or GROWTH * len(used) < len(pack):
                new.update(used)
            else:
                link_or_copy(path, folder / path.name)
        if new:
            (folder / f"{number:06}.json").write_text(json.dumps(new) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, str]:
    try:
        stored: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): str(data) for key, data in stored.items()}
    except (OSError, ValueError, AttributeError):
        return {}
