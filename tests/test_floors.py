"""Imports point down only: cli -> jobs -> parts -> nouns -> errors; parts do not know each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pinembed"
FLOOR_OF_PLACE = {
    "errors": 0,
    "version": 0,
    "nouns": 1,
    "catalogue": 2,
    "encoder": 2,
    "images": 2,
    "metrics": 2,
    "outfolder": 2,
    "source": 2,
    "table": 2,
    "training": 2,
    "trimmed": 2,
    "jobs": 3,
    "cli": 4,
    "__init__": 5,
    "__main__": 5,
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
