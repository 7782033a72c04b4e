"""Encoders, sources and outputs at addresses: fetched once, put up whole, and told by their addresses."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pinembed
from pinembed.encoder.locate import locate_encoder
from pinembed.errors import (
    MissingObjectError,
    ObjectChangedError,
    OutputError,
    OutputExistsError,
    StoreError,
    UsageError,
)
from pinembed.settings.home import GenerationsSettings
from pinembed.settings.measuring import BenchVlmSettings
from pinembed.settings.places import local_places
from pinembed.settings.quality import AuditSettings
from pinembed.settings.source import VerifySettings
from pinembed.settings.training import FinetuneSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.stores import fetch, put
from pinembed.stores.address import Address
from pinembed.stores.fetch import local_copy
from pinembed.stores.objects import list_objects, look_at, put_object, read_object, remove_object
from pinembed.stores.options import use_storage_options
from pinembed.stores.put import put_folder
from tests.conftest import CliResult, encoded_shop
from tests.object_store import BUCKET, S3Server, flags

Cli = Callable[..., CliResult]


@pytest.fixture
def prefix(at_s3: S3Server, tmp_path: Path) -> Address:
    return Address("s3", BUCKET, tmp_path.name)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data, encoder and db/pins; not to be changed."""
    return encoded_shop(tmp_path_factory.mktemp("shop"))


def names_below(prefix: Address) -> set[str]:
    return {found.address.relative_to(prefix) for found in list_objects(prefix)}


def made(folder: Path, **files: str) -> Path:
    """A folder as pinembed writes it; `__` in a name is a dot."""
    folder.mkdir()
    names = {name.replace("__", "."): content for name, content in files.items()}
    for name, content in names.items():
        (folder / name).write_text(content)
    listed = ", ".join(f'"{name}"' for name in sorted(names))
    (folder / "pinembed.json").write_text(f'{{"files": [{listed}]}}')
    return folder


def test_copy_is_fetched_once_and_anew_where_the_store_has_another(
    prefix: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_object(prefix / "a/one.txt", b"1")
    put_object(prefix / "two.txt", b"2")
    first = local_copy(str(prefix))
    assert (first.name, (first / "a/one.txt").read_text(), (first / "two.txt").read_text()) == (prefix.name, "1", "2")

    real, downloads = fetch._download, []
    monkeypatch.setattr(fetch, "_download", lambda *given: (downloads.append(given), real(*given)))
    assert local_copy(str(prefix)) == first
    assert downloads == []
    put_object(prefix / "two.txt", b"3")
    second = local_copy(Path(str(prefix)))
    assert (second / "two.txt").read_text() == "3"
    assert (first / "two.txt").read_text() == "2"  # a run that began with it goes on


def test_new_copy_brings_only_what_is_new_and_says_what_it_is(prefix: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(fetch, "_tell", [told.append])
    for name, content in (("a/one.txt", b"1"), ("two.txt", b"22")):
        put_object(prefix / name, content)
    first = local_copy(prefix)
    put_object(prefix / "two.txt", b"333")
    put_object(prefix / "three.txt", b"4")

    second = local_copy(prefix)

    assert [sentence.split(" MB")[0] for sentence in told] == [
        f"{prefix}: 2 of 2 object(s), 0.0",
        f"{prefix}: 2 of 3 object(s), 0.0",
    ]
    assert (second / "a/one.txt").samefile(first / "a/one.txt")
    assert {path.read_bytes() for path in second.rglob("*.txt")} == {b"1", b"333", b"4"}
    assert {path.read_bytes() for path in first.rglob("*.txt")} == {b"1", b"22"}


def test_what_does_not_fit_into_the_cache_folder_is_not_fetched(
    prefix: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_object(prefix / "large.bin", bytes(3_000_000))
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=2_000_000))

    with pytest.raises(OutputError, match=r"needs 3 MB in the cache folder .*, which has 2 free") as raised:
        local_copy(prefix)
    assert "PINEMBED_CACHE" in raised.value.remedy


def test_copies_that_no_run_has_used_for_long_go_when_another_is_fetched(prefix: Address) -> None:
    copies = []
    for name in ("a", "b"):
        put_object(prefix / name / "one.txt", b"1")
        copies.append(local_copy(prefix / name))
    for copy, days in zip(copies, (31, 29), strict=True):
        then_s = time.time() - days * 24 * 3600
        os.utime(copy.parent, (then_s, then_s))
    put_object(prefix / "c.txt", b"1")

    local_copy(prefix / "c.txt")

    assert [copy.exists() for copy in copies] == [False, True]


def test_single_object_is_a_file(prefix: Address) -> None:
    put_object(prefix / "config.toml", b"home = 1")
    assert local_copy(prefix / "config.toml").read_text() == "home = 1"
    with pytest.raises(MissingObjectError, match=f"There is nothing at {prefix}/none"):
        local_copy(prefix / "none")


def test_object_that_changes_while_it_is_fetched_leaves_no_copy(
    prefix: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_object(prefix / "one.txt", b"1")
    real = fetch._objects_at

    def then_another(address: Address) -> Any:
        found = real(address)
        put_object(prefix / "one.txt", b"2")
        return found

    monkeypatch.setattr(fetch, "_objects_at", then_another)
    with pytest.raises(ObjectChangedError, match="has changed"):
        local_copy(prefix)
    monkeypatch.undo()
    assert (local_copy(prefix) / "one.txt").read_text() == "2"


def test_folder_goes_up_with_its_manifests_last(
    prefix: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path / "out", manifest__json="{}", zz__bin="z", a__bin="a")
    order: list[str] = []
    real = put.put_object

    def noting(address: Address, content: Any) -> str:
        order.append(address.name)
        return real(address, content)

    monkeypatch.setattr(put, "put_object", noting)
    put_folder(folder, prefix)
    assert (sorted(order[:2]), order[2:]) == (["a.bin", "zz.bin"], ["manifest.json", "pinembed.json"])
    assert names_below(prefix) == {"a.bin", "zz.bin", "manifest.json", "pinembed.json"}


def test_folder_that_is_replaced_is_never_a_mixture_with_a_manifest(
    prefix: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_folder(made(tmp_path / "old", manifest__json="1", old__bin="o", both__bin="1"), prefix)
    new = made(tmp_path / "new", manifest__json="2", new__bin="n", both__bin="2")
    real = put.put_object

    def killed_at_new(address: Address, content: Any) -> str:
        if address.name == "new.bin":
            raise StoreError("away", remedy="wait")
        return real(address, content)

    monkeypatch.setattr(put, "put_object", killed_at_new)
    with pytest.raises(StoreError):
        put_folder(new, prefix, overwrite=True)
    assert look_at(prefix / "manifest.json") is None
    monkeypatch.undo()

    put_folder(new, prefix, overwrite=True)
    assert names_below(prefix) == {"both.bin", "new.bin", "manifest.json", "pinembed.json"}
    assert read_object(prefix / "both.bin")[0] == b"2"


def test_output_replaces_only_what_pinembed_wrote(prefix: Address, tmp_path: Path) -> None:
    folder = made(tmp_path / "out", manifest__json="{}")
    put_object(prefix / "photo.jpg", b"1")
    with pytest.raises(OutputExistsError, match="holds objects; wanted a prefix that is empty"):
        put_folder(folder, prefix)
    with pytest.raises(OutputExistsError, match=r"that pinembed did not write; there is no pinembed\.json"):
        put_folder(folder, prefix, overwrite=True)
    remove_object(prefix / "photo.jpg")
    put_folder(folder, prefix)
    put_object(prefix / "photo.jpg", b"1")
    with pytest.raises(OutputExistsError, match=r"1 object\(s\) that pinembed did not write, such as photo.jpg"):
        put_folder(folder, prefix, overwrite=True)


def test_export_goes_up_and_opens_as_a_source(cli: Cli, shop: Path, prefix: Address, s3: S3Server) -> None:
    out = f"{prefix}/source"
    given = ["export", "--table", shop / "db/pins", "--out", out, *flags(s3.options)]
    first = cli(*given, "--json")
    assert (first.exit_code, first.json["out"]) == (0, out)
    assert f"pinembed verify {out}" in cli(*given, "--overwrite").words
    assert cli(*given).exit_code == 1
    assert cli("verify", out, *flags(s3.options)).exit_code == 0

    use_storage_options(s3.options)  # those of a command hold no longer than it does
    with EmbeddingSource.open(out) as source, EmbeddingSource.open(Path(out)) as same:
        assert len(source.ids) == 24
        assert (source.folder, source.ids[0] in same.ids) == (same.folder, True)


def test_python_call_takes_text_for_paths_and_addresses(shop: Path, prefix: Address, tmp_path: Path) -> None:
    out: Any = str(tmp_path / "source")
    table: Any = shop / "db/pins"
    assert pinembed.export(pinembed.ExportSettings(table=table, out=out)).items == 24
    assert not pinembed.verify(pinembed.VerifySettings(folder=out)).findings
    pinembed.export(pinembed.ExportSettings(table=table, out=Path(str(prefix / "source"))))
    away: Any = str(prefix / "source")
    assert not pinembed.verify(pinembed.VerifySettings(folder=away)).findings
    assert list(EmbeddingSource.open(away).ids) == list(EmbeddingSource.open(out).ids)


def test_python_call_takes_names_and_numbers_as_the_command_line_does() -> None:
    text: Any
    for text in ("title, color", ["title", "color"], ("title", "color")):
        slices: Any = "kind, or not"  # an option that comes several times holds one name as it stands
        settings = FinetuneSettings(data=Path("shop"), base="b", out=Path("out"), text=text, slices=slices)
        assert (settings.text, settings.slices) == (("title", "color"), ("kind, or not",))
    text = "blurry, dark"
    assert AuditSettings(table="db/pins", check=text).check == ("blurry", "dark")
    text = "1, 2"
    assert BenchVlmSettings(model=Path("m"), images=text).images == (1, 2)
    text = "1, two"
    with pytest.raises(UsageError, match=f"^--images {text} is no list of numbers"):
        BenchVlmSettings(model=Path("m"), images=text)


@pytest.mark.parametrize(("epochs", "wanted"), [(0, "at least 1"), (float("nan"), "at least 1")])
def test_python_call_holds_to_the_bounds_of_the_command_line(epochs: Any, wanted: str) -> None:
    with pytest.raises(UsageError, match=f"^--epochs is {epochs}; wanted {wanted}"):
        FinetuneSettings(data=Path("shop"), base="b", out=Path("out"), epochs=epochs)


def test_encoder_at_an_address_is_the_encoder_of_the_folder(tiny_encoder: Path, prefix: Address) -> None:
    for path in tiny_encoder.iterdir():
        put_object(prefix / "tiny" / path.name, path)
    there = locate_encoder(f"{prefix}/tiny")
    assert (there.architecture, there.reference) == ("tiny", f"{prefix}/tiny")
    assert there.weights is not None
    assert there.weights.read_bytes() == (tiny_encoder / there.weights.name).read_bytes()


def test_error_about_a_fetched_input_names_its_address(prefix: Address) -> None:
    put_object(prefix / "source/manifest.json", b"{}")
    with pytest.raises(StoreError, match=f"{prefix}/source is broken"):
        _break(VerifySettings(folder=Path(f"{prefix}/source")))


def _break(settings: VerifySettings) -> None:
    with local_places(settings) as local:
        assert local.settings.folder.is_dir()
        raise StoreError(f"{local.settings.folder} is broken.", remedy="-")


def test_home_in_a_store_is_refused() -> None:
    with (
        pytest.raises(UsageError, match=r"^s3://shop/home lies in an object store; home has to be on this machine"),
        local_places(GenerationsSettings(home=Path("s3://shop/home"))),
    ):
        pass
