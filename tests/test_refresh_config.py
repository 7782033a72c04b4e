"""CONFIG.toml: what cannot be meant is named with the nearest right one."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from pinembed.errors import ConfigError, UsageError
from pinembed.nightly.config import COMMANDS, Checks, Hooks, Keep, Limits, RefreshConfig, Retrain, read_config

START = 'home = "h"\nimages = "i"\nencoder = "e"\n'
DOCS = Path(__file__).parent.parent / "docs" / "refresh.md"


def read(tmp_path: Path, text: str) -> RefreshConfig:
    (tmp_path / "CONFIG.toml").write_text(text)
    return read_config(tmp_path / "CONFIG.toml")


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        (START + 'hoem = "x"', "has a key hoem, which is unknown", "Did you mean home"),
        (START + "[checks]\nrow = 1", r"\[checks\] has a key row, which is unknown", "Did you mean rows"),
        (START + "[encode]\nprun = true", r"\[encode\] has a key prun, which is unknown", "Did you mean prune"),
        (START + "[encode]\ntable = 'x'", r"\[encode\] sets table, which refresh decides itself", "Leave it out"),
        (START + "[encode]\nworkers = 3", "has a key workers, which is unknown", "Did you mean engine_workers"),
        (START + "[encode]\nfolder = 3", "has a key folder, which is unknown", "Known are"),
        (START + "[encode]\nprune = 'yes'", "prune is 'yes'; wanted true or false", "as TOML has it"),
        (START + "[limits]\nhours = 'two'", "hours is 'two'; wanted a number", "as TOML has it"),
        (START + "[keep]\ngenerations = 2.5", "generations is 2.5; wanted a whole number", "as TOML has it"),
        (START + "approve = 1", "approve is 1; wanted true or false", "as TOML has it"),
        (START + "[finetune]\nloss = 'siglp'", "loss is 'siglp'; wanted one of auto, clip, siglip", "mean siglip"),
        (START + "[finetune]\ntext = 5", "text is 5; wanted a list", "as TOML has it"),
        (START + "[keep]\ngenerations = 0", "generations is 0; wanted at least 1", "larger number"),
        (START + "[limits]\nhours = nan", "hours is nan; wanted at least 0", "larger number"),
        (START + "[export]\nshard_mib = 0", r"\[export\]: shard_mib is 0; wanted at least 1", "larger number"),
        (START + "[export]\nhide = ['blak']", r"\[export\]: --hide blak: there is no such check", "Give one"),
        (START + "[encode]\nmax-failure-rate = 5", r"\[encode\]: --max-failure-rate 5.0 is no share", "0.05 ends"),
        (START + "[encode]\nbackend = 'troch'", r"\[encode\]: --backend troch is unknown; wanted auto", "mean torch"),
        (START + "[checks]\nrows = 9", r"\[checks\]: rows is 9; wanted at most 1", "smaller number"),
        (START + "[align]\ntalks = 2", r"\[align\]: talks is 2; wanted at most 1", "smaller number"),
        (START + "[align]\nlr = -1", r"\[align\]: lr is -1; wanted at least 0", "larger number"),
        (START + "checks = 5", "checks is 5; wanted a table", r"Write \[checks\]"),
        ('home = "h"\nimages = "i"', "has no encoder", "Add the line: encoder"),
        ("home = ", "is no TOML", "docs/refresh.md"),
        ("a = " + 5000 * "[", "is no TOML", "docs/refresh.md"),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path: Path, text: str, message: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, text)
    assert re.search(remedy, caught.value.remedy)
    assert caught.value.exit_code == 2


def test_a_config_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"CONFIG\.toml cannot be read"):
        read_config(tmp_path / "CONFIG.toml")


def test_paths_are_relative_to_the_file_and_options_are_those_of_the_commands(tmp_path: Path) -> None:
    found = read(tmp_path, START + "[encode]\nmax-failure-rate = 1\n[finetune]\ntext = ['a', 'b']\nlr = 1")
    assert (found.home, found.images) == (tmp_path / "h", tmp_path / "i")
    assert found.encode == {"max_failure_rate": 1.0}
    assert found.finetune == {"text": ("a", "b"), "lr": 1.0}
    assert (found.retrain, found.keep) == (None, Keep())


def test_a_reference_that_is_a_folder_beside_the_file_is_that_folder(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    assert read(tmp_path, START).encoder == str(tmp_path / "e")
    assert read(tmp_path, START.replace('"e"', '"ViT-B-32/openai"')).encoder == "ViT-B-32/openai"


def keys_of(kind: type) -> dict[str, Any]:
    return {name: hint.__metadata__[0] for name, hint in get_type_hints(kind, include_extras=True).items()}


@pytest.mark.parametrize("kind", [RefreshConfig, Retrain, Limits, Checks, Keep, Hooks])
def test_every_key_of_a_config_is_described_in_the_docs(kind: type) -> None:
    text = " ".join(DOCS.read_text(encoding="utf-8").split())
    for found in dataclasses.fields(kind):
        key = f"[{found.name}]" if found.name in COMMANDS else found.name
        assert f"`{key}`" in text or f"`[{found.name}]`" in text, found.name
        if found.name not in COMMANDS and not dataclasses.is_dataclass(found.type):
            assert keys_of(kind)[found.name].help


def test_a_path_may_begin_with_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "me" / "e").mkdir(parents=True)
    found = read(tmp_path, 'home = "~/h"\nimages = "~/i"\nencoder = "~/e"\n')
    assert (found.home, found.images) == (tmp_path / "me" / "h", tmp_path / "me" / "i")
    assert found.encoder == str(tmp_path / "me" / "e")
    with pytest.raises(UsageError, match="~no-such-user is no user's home here"):
        read(tmp_path, START.replace('"h"', '"~no-such-user/h"'))


def test_a_config_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff" + START).home == tmp_path / "h"


def test_images_in_a_store_are_no_folder_of_a_refresh(tmp_path: Path) -> None:
    config = tmp_path / "CONFIG.toml"
    config.write_text('home = "home"\nimages = "s3://shop/images"\nencoder = "s3://shop/encoder"\n')
    with pytest.raises(ConfigError, match="s3://shop/images lies in an object store"):
        read_config(config)


def test_config_from_a_store_names_its_folders_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINEMBED_CACHE", str(tmp_path))
    config = tmp_path / "fetched" / "a" / "CONFIG.toml"
    config.parent.mkdir(parents=True)
    config.write_text('home = "home"\nimages = "/images"\nencoder = "s3://shop/encoder"\n')
    with pytest.raises(ConfigError, match="home is relative to a CONFIG in an object store"):
        read_config(config)
    config.write_text('home = "/home"\nimages = "/images"\nencoder = "s3://shop/encoder"\n')
    assert read_config(config).encoder == "s3://shop/encoder"
