"""CONFIG.toml: what cannot be meant is named with the nearest right one."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from pinembed.errors import ConfigError, PinembedError, UsageError
from pinembed.jobs.refresh import refresh
from pinembed.nightly.config import COMMANDS, Checks, Hooks, Keep, Limits, RefreshConfig, Retrain, read_config, tomllib
from pinembed.settings.home import RefreshSettings
from pinembed.settings.option import PythonOnly
from tests.conftest import write_catalogue

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
        (START + "[encode]\nmax-failure-rate = 5", "failure_rate is 5; wanted at most 1", "smaller number"),
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


def test_a_text_in_the_place_of_a_list_is_taken_as_on_the_command_line(tmp_path: Path) -> None:
    found = read(tmp_path, START + "[finetune]\ntext = 'title, color'\nslices = 'kind, or not'\n")
    assert found.finetune == {"text": ("title", "color"), "slices": ("kind, or not",)}


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


WRONG = tomllib.loads("""
home = "i/home"
images = "h"
encoder = "no-such-architecture"
model = "no/such/model"
approve = "yes"
price_per_hour = -1
[retrain]
new_share = -1
days = -1
start = "champoin"
alpha_per_year = -1
[limits]
hours = -1
free_gib = -1
[checks]
rows = 2
golden = "no/file"
golden_k = 0
golden_share = 2
search_p95_ms = -1
lookup_p95_ms = -1
answers = -1
flagged_rise = 2
[keep]
generations = 0
[hooks]
start = "say 'done"
done = "say 'done"
kept = "say 'done"
failed = "say 'done"
[encode]
dims = 9999
dtype = "fp8"
metadata = "no/file"
files_from = "no/file"
null_separated = true
id_prefix = 1
moved_from = "."
columns = ["price=flaot"]
image_column = "image"
retry_failed = 1
max_failure_rate = 2
prune = 1
force = 1
backend = "troch"
reduced_decode = 1
measure = 1
device = "cud"
batch_size = 0
engine = "rya"
address = "auto"
engine_workers = 2
threads_per_worker = 2
shard_images = 0
plan_images = 0
[finetune]
random_init = 1
text = "colour"
template = "a {colour} thing"
group = "prodcut"
slices = ["colour"]
fusion = "image=.9,colour=.1"
flags_from = "no/table"
compare_flags = true
epochs = 0
seed = -1
minutes = -1
batch_size = 1
lr = -1
loss = "siglp"
lora = 0
matryoshka = 1
heads = 1
refit = 1
l2sp = -1
precision = "fp8"
device = "cuda:99"
[audit]
check = "blury"
seller = "shpo"
caption = "titel"
category = "colour"
labels = "unwanted"
confirm = "blury"
max_share = 2
answers = 1
[export]
tokens = 4
deepstack_levels = 3
hide = "blury"
shard_mib = 0
[align]
fields = "colour"
dialogues = "no/file"
talks = 2
calls = 2
calls_by_heart = true
events = "no/file"
at = "2026-01-01"
kinds = "no/file"
group = "prodcut"
epochs = 0
minutes = -1
seed = -1
tokens = 0
train_language_model = 1
lora = 0
batch_size = 0
lr = 0
language_lr = -1
noise = -1
device = "gpu"
[evaluate]
data = "no/folder"
split = "tset"
group = "prodcut"
text = "colour"
template = "{colour}"
slices = ["colour"]
dims = 9999
device = "cdua"
seed = -1
""")
"""Of each key a value that cannot be meant."""
CASES = [
    *((name, 1 if isinstance(value, dict) else value, "") for name, value in WRONG.items()),
    *((name, value, table) for table, keys in WRONG.items() if isinstance(keys, dict) for name, value in keys.items()),
]


def test_of_each_key_a_wrong_value_is_known() -> None:
    kinds = {"": RefreshConfig, "retrain": Retrain, "limits": Limits, "checks": Checks, "keep": Keep, "hooks": Hooks}
    wanted = {(name, table) for table, kind in kinds.items() for name in keys_of(kind)}
    for table, (kind, decided) in COMMANDS.items():
        keys = keys_of(kind)
        wanted |= {(name, table) for name in keys.keys() - decided if not isinstance(keys[name], PythonOnly)}
    assert {(name, table) for name, _, table in CASES} == wanted


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> dict[str, str]:
    root = tmp_path_factory.mktemp("shop")
    write_catalogue(root / "i")
    return {"home": f"{root}/h", "images": f"{root}/i", "encoder": str(tiny_encoder)}


def write(folder: Path, given: dict[str, Any], table: str = "", keys: dict[str, Any] | None = None) -> Path:
    lines = [f"{name} = {json.dumps(found)}" for name, found in given.items()]
    lines += [f"[{table}]", *(f"{name} = {json.dumps(found)}" for name, found in (keys or {}).items())] if table else []
    (folder / "CONFIG.toml").write_text("\n".join(lines))
    return folder / "CONFIG.toml"


@pytest.mark.parametrize(("key", "value", "table"), CASES)
def test_a_wrong_value_of_any_key_ends_a_night_before_anything_is_made(
    tmp_path: Path, shop: dict[str, str], key: str, value: Any, table: str
) -> None:
    in_each_other = {"home": f"{shop['images']}/home", "images": shop["home"]}
    given = shop if table else {**shop, key: in_each_other.get(key, value)}
    with pytest.raises(PinembedError) as caught:
        refresh(RefreshSettings(config=write(tmp_path, given, table, {key: value})))
    assert caught.value.exit_code == (1 if key in {"metadata", "files_from"} else 2)  # a file may be away with its disk
    assert caught.value.remedy
    assert not (Path(shop["home"]) / "next").exists()
    assert list(Path(shop["home"]).glob("generations/*")) == []


def test_of_right_values_none_is_refused(tmp_path: Path, shop: dict[str, str]) -> None:
    right = {
        "encode": {"dims": 8, "device": "cpu", "backend": "torch"},
        "finetune": {"text": "title=2,color", "group": "product", "slices": ["color"], "fusion": "image=.9,title=.1"},
        "audit": {"seller": "product", "caption": "title", "category": "color"},
        "align": {"fields": "color", "group": "product", "device": "cpu"},
        "evaluate": {"data": shop["images"], "split": "test", "template": "a {color} {title}", "dims": 8},
    }
    for table, keys in right.items():
        report = refresh(RefreshSettings(config=write(tmp_path, shop, table, keys), dry_run=True))
        assert report.dry_run
        assert report.steps


@pytest.mark.parametrize(
    ("home", "images", "told"),
    [
        ("{i}/home", "{i}", "its own pictures would be items"),
        ("{i}/..", "{i}", "which holds generations alone"),
        ("{i}", "{i}", "its own pictures would be items"),
        ("link/home", "{i}", "its own pictures would be items"),
        ("other/next/home", "{i}", "lies in another home"),
    ],
)
def test_a_home_and_its_images_lie_apart(
    tmp_path: Path, shop: dict[str, str], home: str, images: str, told: str
) -> None:
    (tmp_path / "link").symlink_to(shop["images"])
    (tmp_path / "other" / "generations").mkdir(parents=True)
    given = {**shop, "home": home.format(i=shop["images"]), "images": images.format(i=shop["images"])}
    with pytest.raises(ConfigError, match=told) as caught:
        read_config(write(tmp_path, given))
    assert "two folders of which none lies in the other" in caught.value.remedy
