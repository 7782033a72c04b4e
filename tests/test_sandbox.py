"""Sandboxes: a copy of a generation in which people try things, and nothing of what serves is touched."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pinembed.errors import EncoderMismatchError, GenerationError, OutputExistsError, TableLockedError, UsageError
from pinembed.generation import build
from pinembed.generation.home import Home
from pinembed.generation.record import check_whole
from pinembed.generation.sandbox import folder_of_sandbox, make_sandbox, remove_sandbox
from pinembed.jobs.audit import audit
from pinembed.jobs.encode import encode
from pinembed.jobs.sandbox import sandbox
from pinembed.jobs.search import search
from pinembed.jobs.verify import verify
from pinembed.settings.encoding import EncodeSettings, SearchSettings
from pinembed.settings.home import SandboxSettings
from pinembed.settings.quality import AuditSettings
from pinembed.settings.source import VerifySettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.lock import run_lock
from tests.conftest import CliResult, draw_item, write_catalogue
from tests.homes import add_generation

Cli = Callable[..., CliResult]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A catalogue, data, and home with one generation of it, in use; not to be changed."""
    root = tmp_path_factory.mktemp("made")
    encoded = write_catalogue(root / "before" / "data")
    add_generation(root / "home", encoded, tiny_encoder)
    encoded.rename(root / "data")  # so that each test's copy is where it has moved to
    return root


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Home:
    """One generation, in use; the test may change it, and the catalogue beside it."""
    shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Home.open(tmp_path / "home")


def stamps(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """What somebody would see who looks whether anything was touched."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, status.st_ino, content)
    return found


def test_a_sandbox_is_read_as_a_home_is_and_takes_no_space(home: Home, cli: Cli) -> None:
    made = sandbox(SandboxSettings(home=home.folder, name="try-1"))
    assert (made.generation, made.rows, made.copied_bytes) == (1, 24, 0)
    assert made.own_bytes < made.size_bytes / 2
    folder = home.folder / "sandboxes" / "try-1"
    assert EmbeddingTable.open(str(folder)).reference == str(folder.resolve() / "encoder")
    assert search(SearchSettings(text="a red circle", table=str(folder), k=3)).rows == 24
    with EmbeddingSource.open(folder) as source:
        assert len(source) == 24
    assert cli("evaluate", home.folder.parent / "data", "--encoder", folder, "--json").exit_code == 0
    assert verify(VerifySettings(folder=folder)).exit_code == 0


def test_whatever_is_done_in_a_sandbox_leaves_what_serves_as_it_was(
    home: Home, made: Path, cli: Cli, other_encoder: Path, tmp_path: Path
) -> None:
    images, before = tmp_path / "data", stamps(home.folder_of(1))
    sandbox(SandboxSettings(home=home.folder, name="try"))
    inside = home.folder / "sandboxes" / "try"
    (images / "images" / "red-circle-0.png").unlink()
    draw_item("red", "circle", 7).save(images / "images" / "red-circle-1.png")
    moved = {"moved_from": made / "before" / "data", "prune": True, "force": True, "backend": "torch"}
    first = encode(EncodeSettings(images=images, table=str(inside), encoder=str(inside), **moved))
    assert (first.counts.rows, first.counts.encoded, first.counts.removed) == (23, 1, 1)
    audit(AuditSettings(table=str(inside), confirm=("tiny",), appeals=inside / "answers.csv"))
    assert cli("appeal", inside / "answers.csv", "--table", inside).exit_code == 0
    encode(
        EncodeSettings(
            images=images, table=str(inside / "table" / "other"), encoder=str(other_encoder), backend="torch"
        )
    )
    other = EmbeddingTable.open(str(inside / "table" / "other"))
    assert other.reference == str(other_encoder)
    with pytest.raises(EncoderMismatchError):
        encode(EncodeSettings(images=images, table=str(inside), encoder=str(other_encoder)))
    (inside / "encoder" / "open_clip_config.json").write_text("{}")
    out = inside / "source-2"
    assert cli("export", "--table", inside, "--out", out, "--hide", "duplicate", "--json").json["items"] == 23
    assert EmbeddingTable.open(str(home.folder)).count_rows() == 24
    remove_sandbox(home, "try")
    after = stamps(home.folder_of(1))
    assert after == before
    assert home.current == 1
    check_whole(home.folder_of(1), home.read(1))
    assert not inside.exists()


def test_nothing_in_a_sandbox_that_belongs_to_what_serves_may_be_written(home: Home) -> None:
    make_sandbox(home, "try", by="Ada")
    inside = home.folder / "sandboxes" / "try"
    linked = [path for path in inside.rglob("*") if path.is_file() and path.stat().st_nlink > 1]
    assert {path.relative_to(inside).parts[0] for path in linked} == {"encoder", "source", "table"}
    for path in (*linked, inside / "source", *(inside / "source").rglob("*")):
        assert not path.stat().st_mode & 0o222
    assert (inside / "encoder" / "open_clip_config.json").stat().st_mode & 0o200


def test_a_sandbox_is_never_switched_to_and_holds_no_generation(home: Home, cli: Cli) -> None:
    sandbox(SandboxSettings(home=home.folder, name="2"))
    inside = home.folder / "sandboxes" / "2"
    assert cli("switch", home.folder, "2").exit_code == 1
    assert cli("switch", inside, "1").words.startswith(f"error: {inside} is no home of generations")
    with pytest.raises(UsageError, match="which is no home of generations"):
        EmbeddingTable.open(str(inside), generation=1)
    assert (home.current, home.numbers) == (1, [1])


def test_sandboxes_are_told_in_the_list_of_generations(home: Home, cli: Cli) -> None:
    assert cli("generations", home.folder, "--json").json["sandboxes"] == []
    cli("sandbox", home.folder, "try", "--json")
    (told,) = cli("generations", home.folder, "--json").json["sandboxes"]
    assert (told["name"], told["generation"], told["problem"]) == ("try", 1, "")
    assert "sandboxes" in cli("generations", home.folder).words
    (home.folder / "sandboxes" / "try" / "sandbox.json").write_text("{}")
    assert "is no sandbox that pinembed made" in cli("generations", home.folder).words


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../generations", "a/b", "/etc", "-x", ".hidden", "a b", "a\nb", "ä", "x" * 65, "a\0b", "~"]
)
def test_a_name_that_could_lead_elsewhere_is_refused(home: Home, name: str) -> None:
    for remove in (False, True):
        with pytest.raises(UsageError, match="is no name of a sandbox; wanted at most 64 letters"):
            sandbox(SandboxSettings(home=home.folder, name=name, remove=remove))
    assert not (home.folder / "sandboxes").exists()


def test_a_name_that_is_taken_or_not_there_is_told_with_what_to_do(home: Home, cli: Cli) -> None:
    assert cli("sandbox", home.folder, "try").exit_code == 0
    again = cli("sandbox", home.folder, "try")
    assert again.exit_code == 1
    assert (
        f"has a sandbox try already. remedy: Give another name, or remove it with: pinembed sandbox {home.folder}"
        in (again.words)
    )
    assert cli("sandbox", home.folder, "none", "--remove").exit_code == 1
    assert cli("sandbox", home.folder, "try", "--remove", "--generation", "1").exit_code == 2
    assert "Sandbox try is gone" in cli("sandbox", home.folder, "try", "--remove").words


def test_removing_follows_no_link_and_takes_no_stranger(home: Home, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    (home.folder / "sandboxes").mkdir()
    (home.folder / "sandboxes" / "plain").mkdir()
    make_sandbox(home, "real", by="Ada")
    shutil.copyfile(home.folder / "sandboxes" / "real" / "sandbox.json", precious / "sandbox.json")
    (home.folder / "sandboxes" / "link").symlink_to(precious)
    (home.folder / "sandboxes" / "real" / "out").symlink_to(precious)
    for name, words in (("link", "is a link, which pinembed did not make"), ("plain", "is no sandbox")):
        with pytest.raises(GenerationError, match=words):
            remove_sandbox(home, name)
    remove_sandbox(home, "real")
    assert (precious / "file").read_text() == "mine"


def test_an_edited_generation_is_not_copied(home: Home) -> None:
    manifest = home.folder_of(1) / "source" / "manifest.json"
    manifest.parent.chmod(0o755)
    manifest.chmod(0o644)
    manifest.write_text("{}")
    with pytest.raises(GenerationError, match="is not as it was sealed"):
        make_sandbox(home, "try", by="Ada")
    assert not (home.folder / "sandboxes").exists()


def test_of_two_that_make_one_name_at_once_one_has_it_whole(home: Home) -> None:
    ended: list[BaseException | None] = []

    def make() -> None:
        try:
            make_sandbox(home, "try", by="Ada")
            ended.append(None)
        except OutputExistsError as error:
            ended.append(error)

    both = [threading.Thread(target=make) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(type(one).__name__ for one in ended) == ["NoneType", "OutputExistsError"]
    assert [path.name for path in (home.folder / "sandboxes").iterdir()] == ["try"]
    assert EmbeddingTable.open(str(home.folder / "sandboxes" / "try")).count_rows() == 24


def test_a_home_without_hard_links_gets_copies_that_change_nothing_either(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(build.os, "link", no_links)
    made = sandbox(SandboxSettings(home=home.folder, name="try"))
    assert made.copied_bytes > 0
    inside = home.folder / "sandboxes" / "try"
    assert not any(path.stat().st_mode & 0o222 for path in (inside / "source").rglob("*"))
    assert EmbeddingTable.open(str(inside)).count_rows() == 24


def test_what_a_killed_run_left_is_removed_by_the_next_and_is_no_sandbox(home: Home) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom pinembed.generation import sandbox\n"
        "from pinembed.generation.home import Home\n"
        "sandbox.make_read_only = lambda folder: os._exit(9)\n"
        f"sandbox.make_sandbox(Home.open(Path({str(home.folder)!r})), 'try', by='Ada')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    place = home.folder / "sandboxes"
    (left,) = place.iterdir()
    assert left.name.startswith(".try.partial-")
    with pytest.raises(GenerationError, match="is no sandbox"):
        remove_sandbox(home, "try")
    make_sandbox(home, "other", by="Ada")
    gone = place / ".removed-old-12345678"
    (place / "other").rename(gone)
    make_sandbox(home, "next", by="Ada")
    assert [path.name for path in place.iterdir()] == ["next"]
    check_whole(home.folder_of(1), home.read(1))


def test_a_sandbox_in_which_a_run_writes_is_not_removed(home: Home) -> None:
    sandbox(SandboxSettings(home=home.folder, name="try"))
    inside = folder_of_sandbox(home, "try")
    with run_lock(parse_address(str(inside / "table" / "items"))), pytest.raises(TableLockedError, match="sandbox try"):
        sandbox(SandboxSettings(home=home.folder, name="try", remove=True))
    assert sandbox(SandboxSettings(home=home.folder, name="try", remove=True)).removed


def test_a_sandbox_outlives_its_generation(home: Home, tmp_path: Path, tiny_encoder: Path) -> None:
    make_sandbox(home, "try", by="Ada", generation=1)
    add_generation(home.folder, tmp_path / "data", tiny_encoder)
    assert build.prune(home, keep=1) == ([1], [])
    inside = home.folder / "sandboxes" / "try"
    assert search(SearchSettings(text="a red circle", table=str(inside), k=3)).rows == 24
    assert build.own_bytes(inside) > 0
