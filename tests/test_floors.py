"""A part may import the parts that stand before it on the way of the data, and never one behind it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pinembed"
ORDER = (
    *("errors", "version", "outfolder", "machine", "nouns"),
    *("images", "catalogue", "metrics", "encoder", "table", "source", "training", "trimmed"),
    *("jobs", "cli", "__init__", "__main__"),
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(module: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith("pinembed.")}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.relative_to(PACKAGE).as_posix())
def test_module_imports_only_parts_before_its_own(module: Path) -> None:
    own = part_of(module)
    behind = {part for part in imported_parts(module) if ORDER.index(part) > ORDER.index(own)}
    assert not behind, f"{own} imports {behind}"


def test_every_part_has_its_place_in_the_order() -> None:
    assert {part_of(module) for module in MODULES} == set(ORDER)
