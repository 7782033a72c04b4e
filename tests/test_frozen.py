"""What a run of several steps first saw of its inputs: what comes, goes or changes later belongs to the next run."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinembed.catalogue import inputs as inputs_module
from pinembed.catalogue.frozen import frozen_files
from pinembed.catalogue.inputs import find_inputs
from pinembed.catalogue.parts import Inputs
from pinembed.settings.encoding import EncodeSettings


def write_tar(path: Path, *names: str) -> None:
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))


def write_parquet(path: Path, *names: str) -> None:
    pq.write_table(pa.table({"id": list(names), "image": pa.array([b"x"] * len(names), pa.binary())}), path)


def ids(found: Inputs) -> list[str]:
    return found.candidates.ids.to_pylist()


def look(images: Path, *, dry_run: bool = False) -> Inputs:
    [found] = find_inputs(EncodeSettings(images=images, table="database/name", encoder="any", dry_run=dry_run))
    return found


@pytest.mark.parametrize(("suffix", "write", "picture"), [("tar", write_tar, ".jpg"), ("parquet", write_parquet, "")])
def test_shards_of_a_night_are_those_of_the_first_look(
    tmp_path: Path, suffix: str, write: Callable[..., None], picture: str
) -> None:
    one, two, late = (tmp_path / f"{name}.{suffix}" for name in ("one", "two", "late"))
    write(one, f"a{picture}", f"b{picture}")
    write(two, f"c{picture}")
    with frozen_files(tmp_path):
        assert ids(look(tmp_path, dry_run=True)) == ["a", "b", "c"]
        write(late, f"d{picture}")
        write(two, f"c{picture}", f"e{picture}")
        os.utime(two, ns=(1, 1))
        found = look(tmp_path)
        assert ids(found) == ["a", "b"]
        [failure] = found.failures
        assert (failure.file_name, failure.reason) == (two.name, "changed_while_read")
        assert failure.message == f"{two.name} changed since this run first looked at it; it belongs to the next."
        parts = find_inputs(EncodeSettings(images=tmp_path, table="database/name", encoder="any"))
        assert not parts.would_have_seen(f"{two.name}/c")
        assert parts.would_have_seen(f"{one.name}/gone")
        two.unlink()
        assert [failure.file_name for failure in look(tmp_path).failures] == [two.name]
    assert ids(look(tmp_path)) == ["d", "a", "b"]


@pytest.mark.parametrize(("suffix", "write", "picture"), [("tar", write_tar, ".jpg"), ("parquet", write_parquet, "")])
def test_shards_are_scanned_once_a_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, write: Callable[..., None], picture: str
) -> None:
    write(tmp_path / f"one.{suffix}", f"a{picture}")
    scans: list[object] = []
    for name in ("scan_tars", "scan_parquets"):
        scan = getattr(inputs_module, name)
        monkeypatch.setattr(
            inputs_module, name, lambda *given, scan=scan, **more: scans.append(given) or scan(*given, **more)
        )
    with frozen_files(tmp_path):
        assert ids(look(tmp_path, dry_run=True)) == ids(look(tmp_path)) == ["a"]
    assert len(scans) == 1
    assert ids(look(tmp_path)) == ["a"]
    assert len(scans) == 2


def test_one_tar_that_changes_is_told(tmp_path: Path) -> None:
    tar = tmp_path / "one.tar"
    write_tar(tar, "a.jpg")
    with frozen_files(tar):
        assert ids(look(tar)) == ["a"]
        os.utime(tar, ns=(1, 1))
        with pytest.raises(Exception, match=r"holds no image in 1 file\(s\)\. one\.tar changed since this run"):
            look(tar)
    assert ids(look(tar)) == ["a"]


@pytest.mark.parametrize("as_text", [(), ("price",)])
def test_a_folder_is_scanned_once_a_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_text: tuple[str, ...]
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "metadata.csv").write_text("file_name,price\na.jpg,5\n")
    scans: list[Path] = []
    scan = inputs_module.scan_in_parts

    def counted(root: Path, **options: object) -> object:
        scans.append(root)
        return scan(root, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(inputs_module, "scan_in_parts", counted)
    with frozen_files(tmp_path):
        look(tmp_path, dry_run=True)
        [found] = find_inputs(EncodeSettings(images=tmp_path, table="t/t", encoder="other"), texts=as_text)
        assert found.candidates[0].fields == {"price": "5" if as_text else 5}
    assert len(scans) == 1 + len(as_text)
    look(tmp_path)
    assert len(scans) == 2 + len(as_text)
