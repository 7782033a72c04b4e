"""The wheel stands alone: whatever the commands need at work lies inside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
BUILT_FROM = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "pinembed", "sample_images")


def run(*command: str, cwd: Path, **environment: str) -> str:
    """What a process prints, which has to end well."""
    ended = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the source distribution, as releases are; nothing is fetched."""
    pytest.importorskip("setuptools", minversion="77", reason="building needs the setuptools that pyproject.toml names")
    pytest.importorskip("pip", reason="pip builds the wheel")
    tree = tmp_path_factory.mktemp("tree")
    for name in BUILT_FROM:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, tree / name)
    run(sys.executable, "-c", "from setuptools.build_meta import build_sdist; build_sdist('dist')", cwd=tree)
    sdist = next((tree / "dist").glob("*.tar.gz"))
    build = ("wheel", str(sdist), "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(tree))
    run(sys.executable, "-m", "pip", *build, cwd=tree)
    return next(tree.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of nothing but the wheel's files."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder)
    return folder


def test_the_wheel_holds_every_file_of_the_package_and_the_sample_shop(installed: Path) -> None:
    package = REPOSITORY / "pinembed"
    wanted = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    wanted |= {
        "py.typed",
        "flags/page.html",
        "nightly/page.html",
        "training/card.md.jinja",
        "trimmed/tiny_chat_template.jinja",
        *(f"encoder/architectures/{path.name}" for path in package.rglob("architectures/*.json")),
    }
    shop = REPOSITORY / "sample_images"
    wanted |= {path.relative_to(REPOSITORY).as_posix() for path in (shop / "metadata.csv", *shop.glob("images/*.webp"))}
    packed = installed / "pinembed"
    assert {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()} == wanted


def test_the_wheel_holds_one_package_and_stays_below_four_megabytes(wheel: Path, installed: Path) -> None:
    assert {path.name.partition("-")[0] for path in installed.iterdir()} == {"pinembed"}
    assert wheel.stat().st_size < 4_000_000


def test_the_installed_command_shows_help_and_finds_its_shop(installed: Path, tmp_path: Path) -> None:
    assert "finetune" in run(sys.executable, "-m", "pinembed", "--help", cwd=tmp_path, PYTHONPATH=str(installed))
    code = "from pinembed.jobs.demo import sample_shop; print(sample_shop())"
    found = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(installed)).strip()
    assert Path(found) == installed / "pinembed" / "sample_images"
