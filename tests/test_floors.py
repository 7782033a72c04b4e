"""The plan of the house: a part may import the parts before it on the way of the data, never one behind it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pinembed"
ORDER = (
    *(
        "errors",
        "version",
        "stored",
        "disk",
        "outfolder",
        "templates",
        "generation",
        "machine",
        "stores",
        "nouns",
        "settings",
        "reports",
    ),
    *("quality", "images", "metrics", "encoder", "table", "source", "catalogue"),
    *("fusion", "taste", "evaluation", "encoding", "flags", "training", "trimmed", "assistant", "nightly"),
    *("jobs", "cli", "__init__", "__main__"),
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(module: Path) -> Iterator[tuple[str, list[str]]]:
    """Each module of the package that this one imports, also inside of functions, and the names that it takes."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pinembed"):
            names = [alias.name for alias in node.names]
            for name in names:
                below = PACKAGE.joinpath(*node.module.split(".")[1:], f"{name}.py")
                yield (f"{node.module}.{name}", []) if below.exists() else (node.module, names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names if alias.name.startswith("pinembed."))


def imported_parts(module: Path) -> set[str]:
    return {name.split(".")[1] for name, _ in imports_of(module) if "." in name}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.relative_to(PACKAGE).as_posix())
def test_module_imports_only_parts_before_its_own(module: Path) -> None:
    own = part_of(module)
    behind = {part for part in imported_parts(module) if ORDER.index(part) > ORDER.index(own)}
    assert not behind, f"{own} imports {behind}"


def test_every_part_has_its_place_in_the_order() -> None:
    assert {part_of(module) for module in MODULES} == set(ORDER)


@pytest.mark.parametrize("module", sorted((PACKAGE / "jobs").glob("*.py")), ids=lambda module: module.stem)
def test_job_takes_nothing_of_another_but_the_job_itself(module: Path) -> None:
    taken = {(name.rpartition(".")[2], *names) for name, names in imports_of(module) if ".jobs." in name}
    assert all(set(names) == {job} for job, *names in taken), taken


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {".".join(("pinembed", *module.relative_to(PACKAGE).with_suffix("").parts)): module for module in MODULES}
    below = {name: {found for found, _ in imports_of(module)} & names.keys() for name, module in names.items()}
    while free := {name for name, imported in below.items() if not imported}:
        below = {name: imported - free for name, imported in below.items() if name not in free}
    assert not below, f"these import each other: {sorted(below)}"
