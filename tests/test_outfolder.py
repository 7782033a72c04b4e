"""Output folders appear whole or not at all, and never cost a stranger's file."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from pinembed import outfolder
from pinembed.errors import OutputError, OutputExistsError, StoppedError
from pinembed.images.contact_sheet import draw_sheet
from pinembed.outfolder import check_file, check_output, claimed_folder, staged_folder, whole_file


def write(out: Path, text: str = "new", *, overwrite: bool = False) -> None:
    with staged_folder(out, kind="test", overwrite=overwrite) as folder:
        (folder / "content.txt").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_output_folder_holds_the_files_and_the_list_of_them(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "out")
    assert names(tmp_path / "deep" / "out") == ["content.txt", "pinembed.json"]
    assert names(tmp_path / "deep") == ["out"]


def test_output_folder_may_exist_when_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out")
    assert (tmp_path / "out" / "content.txt").read_text() == "new"


def test_output_folder_with_files_is_refused_without_overwrite(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(OutputExistsError, match=r"exists and holds 2 file\(s\)") as caught:
        write(tmp_path / "out")
    assert "--overwrite" in caught.value.remedy
    assert (tmp_path / "out" / "content.txt").read_text() == "old"


def test_output_folder_of_ours_is_replaced_with_overwrite(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "content.txt").read_text() == "new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("stranger", ["notes.txt", "content.txt.bak", "more/notes.txt"])
def test_output_folder_with_a_strangers_file_is_never_replaced(tmp_path: Path, stranger: str) -> None:
    write(tmp_path / "out", "old")
    (tmp_path / "out" / stranger).parent.mkdir(exist_ok=True)
    (tmp_path / "out" / stranger).write_text("mine")
    with pytest.raises(OutputExistsError, match=r"holds 1 file\(s\) that pinembed did not write: " + stranger):
        write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / stranger).read_text() == "mine"
    assert names(tmp_path) == ["out"]


def test_output_folder_with_a_link_to_a_folder_is_never_replaced(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputExistsError, match="did not write: link"):
        write(tmp_path / "out", overwrite=True)


def test_output_folder_without_our_list_is_refused_without_a_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home" / "photos").mkdir(parents=True)
    monkeypatch.setattr(os, "walk", lambda *_: pytest.fail("walked through a stranger's folder"))
    with pytest.raises(OutputExistsError, match="did not write: photos"):
        check_output(tmp_path / "home", overwrite=True)


def test_output_folder_that_is_a_file_or_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(OutputExistsError, match="is not a plain folder"):
            write(tmp_path / name, overwrite=True)


def test_output_folder_below_a_file_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="could not be written"):
        write(tmp_path / "file" / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_folder_in_a_place_without_permission_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        write(tmp_path / "locked" / "out")


def test_output_folder_root_is_refused() -> None:
    with pytest.raises(OutputExistsError, match="exists and holds"):
        write(Path("/"))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoppedError(15), ValueError("no")])
def test_output_folder_does_not_appear_when_the_work_fails(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with staged_folder(tmp_path / "out", kind="test") as folder:
            (folder / "half.txt").write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert names(tmp_path) == []


def test_output_folder_stays_as_it_was_when_its_replacement_fails(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(ValueError, match="no"), staged_folder(tmp_path / "out", kind="test", overwrite=True):
        raise ValueError("no")
    assert (tmp_path / "out" / "content.txt").read_text() == "old"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_output_folder_on_a_full_disk_is_an_error_in_words(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(OutputError, match=f"out could not be written: {os.strerror(number)}") as caught,
        staged_folder(tmp_path / "out", kind="test"),
    ):
        raise OSError(number, os.strerror(number))
    assert "Free disk space" in caught.value.remedy
    assert names(tmp_path) == []


def test_output_folder_lets_errors_about_other_files_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staged_folder(tmp_path / "out", kind="test"):
        (tmp_path / "input.txt").read_text()


def test_output_folder_that_came_up_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def write_second() -> None:
        with staged_folder(tmp_path / "out", kind="test") as folder:
            (folder / "content.txt").write_text("second")
            write(tmp_path / "out", "first")

    with pytest.raises(OutputExistsError, match="exists and holds"):
        write_second()
    assert (tmp_path / "out" / "content.txt").read_text() == "first"
    assert names(tmp_path) == ["out"]


def test_output_folder_written_by_many_at_once_is_one_of_theirs_whole(tmp_path: Path) -> None:
    def replace(number: int) -> None:
        with staged_folder(tmp_path / "out", kind="test", overwrite=True) as folder:
            for name in ("a", "b"):
                (folder / name).write_text(str(number))

    threads = [threading.Thread(target=replace, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").read_text() == (tmp_path / "out" / "b").read_text()


def test_output_folder_removes_what_a_killed_run_left(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal\n"
        "from pinembed.outfolder import staged_folder\n"
        f"with staged_folder(pathlib.Path({str(tmp_path / 'out')!r}), kind='test') as folder:\n"
        "    (folder / 'half').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert [name.startswith(".out.partial-") for name in names(tmp_path)] == [True]
    write(tmp_path / "out")
    assert names(tmp_path) == ["out"]


def test_output_folder_leaves_what_a_running_run_writes(tmp_path: Path) -> None:
    with staged_folder(tmp_path / "out", kind="test", overwrite=True) as running:
        write(tmp_path / "out")
        assert running.is_dir()
    assert names(tmp_path / "out") == ["pinembed.json"]


def test_output_folder_that_was_moved_aside_by_a_killed_run_comes_back(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    (tmp_path / "out").rename(tmp_path / ".out.previous-1234abcd")
    with pytest.raises(OutputExistsError, match="exists and holds"):
        write(tmp_path / "out")
    assert (tmp_path / "out" / "content.txt").read_text() == "old"


def test_output_folder_comes_back_when_the_last_rename_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "out", "old")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError(errno.EIO, "the disk went away")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    monkeypatch.setattr(outfolder, "exchange", lambda *_: False)  # a file system that can only rename
    with pytest.raises(OSError, match="the disk went away"):
        write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "content.txt").read_text() == "old"
    assert names(tmp_path) == ["out"]


POLLS = """
import pathlib, sys
out, missing = pathlib.Path(sys.argv[1]), 0
print("ready", flush=True)
while not pathlib.Path(sys.argv[2]).exists():
    missing += not out.is_dir()
print(missing)
"""


def test_output_folder_is_there_at_every_moment_while_it_is_replaced(tmp_path: Path) -> None:
    out, stop = tmp_path / "out", tmp_path / "stop"
    write(out, "old")
    if not outfolder.exchange(out, out):
        pytest.skip("this file system cannot exchange two names")
    poller = subprocess.Popen([sys.executable, "-c", POLLS, str(out), str(stop)], stdout=subprocess.PIPE, text=True)
    assert poller.stdout is not None
    assert poller.stdout.readline() == "ready\n"
    for count in range(300):
        write(out, f"{count}", overwrite=True)
    stop.touch()
    assert poller.communicate()[0] == "0\n"
    assert names(tmp_path) == ["out", "stop"]


def test_output_folder_is_replaced_where_names_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outfolder, "exchange", lambda *_: False)
    write(tmp_path / "out", "old")
    write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "content.txt").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_output_folder_works_where_the_file_system_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.EBADF, "no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    write(tmp_path / "out", "old")
    write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "content.txt").read_text() == "new"


def test_files_written_for_the_owner_alone_are_shared_as_the_folder_is(tmp_path: Path) -> None:
    previous = os.umask(0o022)
    try:
        with staged_folder(tmp_path / "out", kind="test") as folder:
            (folder / "weights.safetensors").touch(mode=0o600)
    finally:
        os.umask(previous)
    assert (tmp_path / "out" / "weights.safetensors").stat().st_mode & 0o777 == 0o644


def test_claimed_folder_is_ours_with_all_that_is_in_it_at_the_end(tmp_path: Path) -> None:
    with claimed_folder(tmp_path / "out", kind="test") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "content.txt").write_text("old")
    with claimed_folder(tmp_path / "out", kind="test", overwrite=True) as folder:
        assert names(folder) == []


def test_claimed_folder_of_an_interrupted_run_can_be_claimed_again(tmp_path: Path) -> None:
    def interrupted() -> None:
        with claimed_folder(tmp_path / "out", kind="test") as folder:
            (folder / "content.txt").write_text("half")
            raise StoppedError(2)

    with pytest.raises(StoppedError):
        interrupted()
    with claimed_folder(tmp_path / "out", kind="test", overwrite=True) as folder:
        assert names(folder) == []


def test_claimed_folder_with_a_strangers_file_is_refused_and_kept(tmp_path: Path) -> None:
    with claimed_folder(tmp_path / "out", kind="test"):
        pass
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with (
        pytest.raises(OutputExistsError, match=r"holds 1 file\(s\) that pinembed did not write: mine.txt"),
        claimed_folder(tmp_path / "out", kind="test", overwrite=True),
    ):
        pass
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


WRITERS = {
    "finetune": ("sample", "--base", "tiny"),
    "fuse": ("sample", "--encoder", "tiny", "--text", "title"),
    "export": ("--table", "db/t"),
    "trim": ("model",),
    "align": ("sample", "--model", "model", "--source", "source"),
    "demo": (),
}


@pytest.mark.parametrize("command", WRITERS)
def test_a_place_where_nothing_can_be_written_is_refused_before_the_work(command, cli, tmp_path, monkeypatch) -> None:
    """Whatever the inputs are: they are not even looked at."""
    honest = Path.mkdir

    def refused(self: Path, *args: object, **options: object) -> None:
        if self.parent == tmp_path / "locked":
            raise PermissionError(errno.EPERM, "Operation not permitted", str(self))
        honest(self, *args, **options)

    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(Path, "mkdir", refused)
    found = cli(command, *WRITERS[command], "--out", tmp_path / "locked" / "deep" / "out")
    assert found.exit_code == 1
    assert "could not be written: Operation not permitted" in found.words


@pytest.mark.parametrize("command", ["finetune", "fuse", "trim", "align"])
def test_a_disk_without_room_for_the_output_is_refused_before_the_work(
    command, cli, tmp_path, monkeypatch, catalogue_folder, tiny_encoder, tiny_qwen3vl, trimmed_qwen3vl
) -> None:
    arguments = {
        "finetune": (catalogue_folder, "--base", tiny_encoder),
        "fuse": (catalogue_folder, "--encoder", tiny_encoder),
        "trim": (tiny_qwen3vl,),
        "align": (catalogue_folder, "--model", trimmed_qwen3vl, "--source", tmp_path, "--train-language-model"),
    }[command]
    monkeypatch.setattr("pinembed.outfolder.shutil.disk_usage", lambda _: SimpleNamespace(free=10_000))
    found = cli(command, *arguments, "--out", tmp_path / "out")
    assert found.exit_code == 1
    assert re.search(r"out needs \d+\.\d MB; its disk has 0.0 MB free", found.words)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_refused_before_the_work_and_renaming_needs_no_room(tmp_path, monkeypatch) -> None:
    honest, is_full = Path.write_bytes, [True]

    def written(self: Path, content: bytes) -> int:
        if is_full and self.name == "probe":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return honest(self, content)

    monkeypatch.setattr(Path, "write_bytes", written)
    with pytest.raises(OutputError, match="could not be written: No space left on device"):
        check_output(tmp_path / "out", overwrite=False)
    assert not list(tmp_path.iterdir())
    is_full.clear()
    with staged_folder(tmp_path / "out", kind="test") as folder:
        (folder / "content.txt").write_text("new")
        is_full.append(True)
    assert names(tmp_path / "out")


FILE_WRITERS = {
    "evaluate": ("sample", "--encoder", "tiny", "--against", "other", "--plot"),
    "bench": ("vlm", "model", "--plot"),
    "search": ("--table", "db/t", "a mug", "--sheet"),
    "audit": ("--table", "db/t", "--sheet"),
    "audit ": ("--table", "db/t", "--appeals"),
    "taste": ("recommend", "--table", "db/t", "--users", "db/u", "--user", "ann", "--sheet"),
    "taste ": ("recommend", "--table", "db/t", "--users", "db/u", "--all", "--out"),
    "report": ("home", "--html"),
    "report ": ("home", "--atlas"),
}


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("locked/x.png", "could not be written: Operation not permitted"),
        ("folder", "is a folder; wanted a file to write"),
        ("file/x.png", "lies in"),
        ("link", "lies in"),
    ],
)
@pytest.mark.parametrize("command", FILE_WRITERS)
def test_a_place_where_no_file_can_be_written_is_refused_before_the_work(
    command, place, told, cli, tmp_path, monkeypatch
) -> None:
    honest = Path.mkdir

    def refused(self: Path, *args: object, **options: object) -> None:
        if self.parent == tmp_path / "locked":
            raise PermissionError(errno.EPERM, "Operation not permitted", str(self))
        honest(self, *args, **options)

    for name in ("locked", "folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("file/x.png")
    monkeypatch.setattr(Path, "mkdir", refused)
    found = cli(command.strip(), *FILE_WRITERS[command], tmp_path / place)
    assert found.exit_code in (1, 2)
    assert told in found.words


def test_a_file_that_cannot_be_replaced_is_refused_before_the_work(tmp_path, monkeypatch) -> None:
    (tmp_path / "x.png").write_text("mine")

    honest = Path.open

    def refused(self: Path, *args: object, **options: object) -> object:
        if self.name == "x.png":
            raise PermissionError(errno.EPERM, "Operation not permitted", str(self))
        return honest(self, *args, **options)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(OutputError, match=r"--plot .*x.png could not be written: Operation not permitted"):
        check_file(tmp_path / "x.png", option="--plot")


def test_the_root_of_a_file_system_is_refused_before_the_work(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("os.path.ismount", lambda path: path == tmp_path)
    with pytest.raises(OutputError, match="is the root of a file system of its own"):
        check_output(tmp_path, overwrite=False)


def refuse_to_rename(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(self: Path, target: Path) -> Path:
        raise OSError(number, os.strerror(number), str(target))

    monkeypatch.setattr(Path, "replace", refused)


@pytest.mark.parametrize(("number", "remedy"), [(errno.ENOSPC, "Free disk space"), (errno.EPERM, "Give another file")])
def test_a_file_that_cannot_be_written_stays_as_it_was(number, remedy, tmp_path, monkeypatch) -> None:
    out = tmp_path / "sheet.png"
    out.write_text("old")
    refuse_to_rename(monkeypatch, number)
    said = f"^--sheet {out} cannot be written: {os.strerror(number)}.$"
    with pytest.raises(OutputError, match=said) as refused, whole_file(out, option="--sheet") as file:
        file.write_text("half")
    assert refused.value.remedy.startswith(remedy)
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    assert out.read_text() == "old"


def test_a_file_is_written_where_a_link_leads_and_a_pipe_takes_what_comes(tmp_path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    with whole_file(tmp_path / "link") as file:
        file.write_text("new")
    assert (tmp_path / "there" / "file").read_text() == "new"
    assert (tmp_path / "link").is_symlink()
    with whole_file(Path("/dev/null")) as file:
        assert file == Path("/dev/null")
    assert Path("/dev/null").is_char_device()


def test_a_full_disk_leaves_nothing_of_a_contact_sheet(tmp_path, monkeypatch) -> None:
    refuse_to_rename(monkeypatch, errno.ENOSPC)
    with pytest.raises(OutputError, match=r"s.png cannot be written: No space left on device"):
        draw_sheet([], heading="none", path=tmp_path / "s.png")
    assert list(tmp_path.iterdir()) == []
