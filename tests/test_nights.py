"""A table that two folders fed, moved, renamed and pruned over ten nights equals one that is made at the end.

More scripts: PINEMBED_NIGHTS=20 pytest tests/test_nights.py
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinembed.jobs.encode import encode
from pinembed.settings.encoding import EncodeSettings
from tests.encoding import failures_of, rows_of

SCRIPTS = int(os.environ.get("PINEMBED_NIGHTS", "1"))
NIGHTS = 10


class Shop:
    """Two folders of pictures that a script changes; equal file names in both are the rule."""

    def __init__(self, root: Path, rng: np.random.Generator) -> None:
        self.root = root
        self.rng = rng
        self.folders = {"shoes": root / "shoes", "bags": root / "bags"}
        for folder in self.folders.values():
            folder.mkdir()
            for index in range(4):
                self.paint(folder / f"{index}.png")

    def paint(self, path: Path) -> None:
        Image.fromarray(self.rng.integers(0, 256, (24, 24, 3), np.uint8)).save(path)

    def change(self) -> None:
        """One to three changes of a night."""
        for _ in range(int(self.rng.integers(1, 4))):
            name = str(self.rng.choice(list(self.folders)))
            folder = self.folders[name]
            files = sorted(folder.iterdir())
            file = files[int(self.rng.integers(len(files)))]
            new = folder / f"{int(self.rng.integers(100))}.png"
            what = int(self.rng.integers(6))
            if what == 0 or len(files) < 3:
                self.paint(new)
            elif what == 1:
                self.paint(file)
            elif what == 2:
                file.unlink()
            elif what == 3:
                file.replace(new)
            elif what == 4:
                shutil.copy2(file, new)  # the same picture under another name, with size and time of the old one
            else:
                self.folders[name] = folder.rename(self.root / f"{name}-{int(self.rng.integers(10**6))}")


@pytest.mark.parametrize("script", range(SCRIPTS))
def test_ten_nights_end_where_a_table_made_at_the_end_begins(script: int, tmp_path: Path, tiny_encoder: Path) -> None:
    shop = Shop(tmp_path, np.random.default_rng(script))

    def bring_up_to_date(table: str, before: dict[str, Path]) -> None:
        for name, folder in shop.folders.items():
            was = before.get(name, folder)
            settings = EncodeSettings(
                images=folder,
                table=table,
                encoder=str(tiny_encoder),
                backend="torch",
                workers=1,
                id_prefix=f"{name}/",
                moved_from=None if was == folder else was,
                prune=True,
                force=True,
            )
            report = encode(settings)
            assert report.counts.failed == 0, report.failures

    lived, fresh = f"{tmp_path}/db/lived", f"{tmp_path}/db/fresh"
    before: dict[str, Path] = {}
    for _ in range(NIGHTS):
        bring_up_to_date(lived, before)
        before = dict(shop.folders)
        shop.change()
    bring_up_to_date(lived, before)
    bring_up_to_date(fresh, {})

    there, here = rows_of(fresh), rows_of(lived)
    assert here.keys() == there.keys()
    for item, row in here.items():
        facts = ("folder", "file_name", "sha256", "size_bytes", "mtime_ns", "width_px", "height_px")
        assert [row[name] for name in facts] == [there[item][name] for name in facts], item
        np.testing.assert_allclose(row["vector"], there[item]["vector"], atol=2e-3)
    assert failures_of(lived) == {}
