"""Imports point down only: cli -> jobs -> catalogue -> images and other parts -> nouns -> errors."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pinembed"
FLOOR_OF_PLACE = {
    "errors": 0,
    "version": 0,
    "machine": 0,
    "nouns": 1,
    "images": 2,
    "encoder": 3,
    "metrics": 3,
    "outfolder": 3,
    "source": 3,
    "table": 3,
    "training": 3,
    "trimmed": 3,
    "catalogue": 4,
    "jobs": 5,
    "cli": 6,
    "__init__": 7,
    "__main__": 7,
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def place_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_places(module: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith("pinembed.")}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.relative_to(PACKAGE).as_posix())
def test_module_imports_only_from_floors_below(module: Path) -> None:
    own = place_of(module)
    upward = {
        place for place in imported_places(module) if place != own and FLOOR_OF_PLACE[place] >= FLOOR_OF_PLACE[own]
    }
    assert not upward, f"{own} (floor {FLOOR_OF_PLACE[own]}) imports {upward}"


def test_every_place_in_the_folder_has_a_floor() -> None:
    assert {place_of(module) for module in MODULES} == set(FLOOR_OF_PLACE)
