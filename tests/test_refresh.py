"""Refresh: a home moves on by one generation, goes on after any end, and serves all the while."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pinembed.catalogue.folder import read_catalogue
from pinembed.disk import remove_tree
from pinembed.errors import CheckError, ConfigError, GenerationError, HomeLockedError, OutOfTimeError, OutputError
from pinembed.generation import build
from pinembed.generation.home import Home
from pinembed.generation.ledger import read_ledger
from pinembed.jobs import finetune as finetune_job
from pinembed.jobs.refresh import refresh
from pinembed.jobs.rollback import rollback
from pinembed.jobs.switch import switch
from pinembed.nightly import page, preflight
from pinembed.nightly.checks import read_golden
from pinembed.nightly.history import History
from pinembed.reports.refresh import RefreshReport
from pinembed.settings.home import RefreshSettings, RollbackSettings, SwitchSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.lock import file_lock
from tests.conftest import CliResult, draw_item, write_catalogue

Cli = Callable[..., CliResult]
ENCODE = '[encode]\nprune = true\nforce = true\nbackend = "torch"\n'


class Shop:
    """A catalogue, a CONFIG for it, and the home that refresh keeps."""

    def __init__(self, root: Path, encoder: Path) -> None:
        self.root = root
        self.encoder = encoder
        self.home = root / "home"

    def configure(self, more: str = "", *, before: str = "") -> Path:
        path = self.root / "CONFIG.toml"
        start = f'home = "home"\nimages = "data"\nencoder = "{self.encoder}"\n{before}'
        path.write_text(start + ENCODE + more)
        return path

    def refresh(self, more: str = "", *, before: str = "", **settings: Any) -> RefreshReport:
        return refresh(RefreshSettings(config=self.configure(more, before=before), **settings))

    def add(self, name: str, color: str = "red") -> None:
        draw_item(color, "circle", 5).save(self.root / "data" / "images" / f"{name}.png")
        metadata = self.root / "data" / "metadata.csv"
        lines = metadata.read_text().splitlines()
        row = lines[1].replace("red-circle-0.png", f"{name}.png").replace("red-circle-0,", f"{name},")
        metadata.write_text("\n".join([*lines, row]) + "\n")

    @property
    def current(self) -> int | None:
        return Home.open(self.home).current


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> tuple[Shop, Path]:
    """A shop with its first generation, and a copy of it; rows know the folder of their images, so it has one place."""
    root = tmp_path_factory.mktemp("refresh")
    shop = Shop(root / "shop", tiny_encoder)
    write_catalogue(shop.root / "data")
    shop.refresh()
    shutil.copytree(shop.root, root / "copy", symlinks=True)
    return shop, root / "copy"


@pytest.fixture
def shop(kept: tuple[Shop, Path]) -> Shop:
    """A shop with its first generation, which the test may change."""
    shop, copy = kept
    remove_tree(shop.root)
    shutil.copytree(copy, shop.root, symlinks=True)
    return shop


def fake_finetune(encoder: Path, *, promoted: bool = True) -> Callable[..., Any]:
    """A training whose outcome is known: this encoder."""
    from pinembed.encoder.locate import encoder_spec, locate_encoder

    def finetune(settings: Any, *, progress: Any) -> Any:
        shutil.copytree(encoder, settings.out)
        fingerprint = encoder_spec(locate_encoder(str(encoder))).fingerprint
        return SimpleNamespace(promoted=promoted, reason="Drawn.", gate=None, fingerprint=fingerprint)

    return finetune


def test_a_first_run_makes_a_whole_generation(shop: Shop) -> None:
    home = Home.open(shop.home)
    record = home.read(1)
    assert (home.current, record.rows, record.parent) == (1, 24, None)
    assert sorted(path.name for path in home.folder_of(1).iterdir()) == [
        *("encoder", "generation.json", "report", "source", "table")
    ]
    with EmbeddingSource.open(shop.home) as source:
        assert len(source) == 24
    assert not home.next_folder.exists()
    assert os.access(shop.encoder / "open_clip_config.json", os.W_OK)
    assert (shop.encoder / "open_clip_config.json").stat().st_mode & 0o200


def test_a_run_without_anything_new_makes_nothing_and_loads_nothing_heavy(shop: Shop) -> None:
    code = (
        "import sys, pinembed\nfrom pathlib import Path\n"
        f"report = pinembed.refresh(pinembed.RefreshSettings(config=Path({str(shop.configure())!r})))\n"
        "print(report.nothing_to_do, report.serves, sorted({'torch', 'lancedb', 'open_clip'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "True 1 []\n"
    assert History(shop.home).runs()[-1].ending == "nothing to do"


def test_a_dry_run_says_what_and_why_and_writes_nothing(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    shop.add("more")
    before = sorted(shop.home.rglob("*"))
    shown = cli("refresh", shop.configure(), "--dry-run", "--json").json
    steps = {step["name"]: step for step in shown["steps"]}
    assert steps["encode"]["why"].startswith("1 new")
    assert steps["encode"]["seconds"] > 0
    assert steps["export"]["size_bytes"] > 0
    assert sorted(shop.home.rglob("*")) == before
    empty = Shop(tmp_path, shop.encoder)
    write_catalogue(tmp_path / "data")
    assert empty.refresh(dry_run=True).steps[0].name == "encoder"
    assert not empty.home.exists()


def test_a_new_item_makes_a_generation_that_shares_the_rest(shop: Shop) -> None:
    shop.add("more")
    report = shop.refresh()
    home = Home.open(shop.home)
    assert (report.generation, report.counts.added, report.counts.rows) == (2, 1, 25)
    assert home.read(2).why == "1 new"
    old, new = (home.folder_of(number) / "table" / "items.lance" / "data" for number in (1, 2))
    shared = [path for path in old.iterdir() if (new / path.name).exists() and path.samefile(new / path.name)]
    assert len(shared) == len(list(old.iterdir()))
    assert EmbeddingTable.open(str(shop.home), generation=1).count_rows() == 24


def test_a_generation_ends_as_a_table_made_at_once(shop: Shop, tmp_path: Path) -> None:
    shop.add("more")
    shop.refresh()
    whole = Shop(tmp_path / "whole", shop.encoder)
    whole.root.mkdir()
    whole.configure()
    text = whole.configure().read_text().replace('"data"', f'"{shop.root}/data"')
    (whole.root / "CONFIG.toml").write_text(text)
    refresh(RefreshSettings(config=whole.root / "CONFIG.toml"))
    sources = [EmbeddingSource.open(made.home) for made in (shop, whole)]
    ids = sorted(sources[0].ids)
    assert ids == sorted(sources[1].ids)
    assert (sources[0].get(ids) == sources[1].get(ids)).all()


@pytest.mark.parametrize("rows_first", [False, True])
def test_a_file_that_comes_during_a_run_belongs_to_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, rows_first: bool
) -> None:
    if rows_first:  # the metadata knows the file before it is there
        shop.add("late")
        (shop.root / "data" / "images" / "late.png").unlink()
    shop.add("more")
    seen = []

    def trained(settings: Any, *, progress: Any) -> Any:
        if rows_first:
            draw_item("red", "circle", 6).save(shop.root / "data" / "images" / "late.png")
        else:
            shop.add("late")
        seen.append({item.id for item in read_catalogue(settings.data)})
        return fake_finetune(shop.encoder, promoted=False)(settings, progress=progress)

    monkeypatch.setattr(finetune_job, "finetune", trained)
    config = '[retrain]\n[evaluate]\ngroup = "product"\ntext = ["color"]\n'
    report = shop.refresh(config)
    assert [len(ids) for ids in seen] == [25]
    assert (report.counts.added, report.counts.rows, report.counts.failed) == (1, 25, 0)
    assert "late" not in EmbeddingSource.open(shop.home)
    assert shop.refresh().counts.rows == 26
    assert "late" in EmbeddingSource.open(shop.home)


def test_a_challenger_that_wins_brings_its_own_table(
    shop: Shop, other_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune_job, "finetune", fake_finetune(other_encoder))
    report = shop.refresh("[retrain]\n")
    home = Home.open(shop.home)
    assert not report.kept
    assert home.read(2).fingerprint != home.read(1).fingerprint
    assert EmbeddingTable.open(str(shop.home)).spec.fingerprint == home.read(2).fingerprint
    assert "never trained" in home.read(2).why
    assert shop.refresh("[retrain]\n").nothing_to_do
    rollback(RollbackSettings(home=shop.home))
    again = shop.refresh("[retrain]\n", retrain=True)
    assert again.kept
    assert "was rolled back" in again.reason
    switch(SwitchSettings(home=shop.home, number=2))
    assert shop.current == 2


def test_a_champion_that_stays_is_a_good_night_unless_strict(
    cli: Cli, shop: Shop, other_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune_job, "finetune", fake_finetune(other_encoder, promoted=False))
    config = shop.configure("[retrain]\nnew_share = 0.2\n")
    ended = cli("refresh", config, "--json")
    assert (ended.exit_code, ended.json["kept"], ended.json["generation"], shop.current) == (0, True, None, 1)
    assert cli("refresh", config, "--retrain", "--strict").exit_code == 4
    assert len(read_ledger(Home.open(shop.home)).attempts) == 2
    shop.add("more")
    assert cli("refresh", config, "--dry-run", "--json").json["steps"][0]["name"] == "encoder"
    for count in range(5):
        shop.add(f"more-{count}")
    first_step = cli("refresh", config, "--dry-run", "--json").json["steps"][0]
    assert first_step["name"] == "finetune"
    assert "of the items are new since the last training" in first_step["why"]


def test_a_generation_waits_for_approval(shop: Shop) -> None:
    shop.add("more")
    report = shop.refresh(before="approve = true\n")
    assert (report.generation, report.serves, report.awaits_approval) == (2, 1, True)
    assert shop.refresh(before="approve = true\n").nothing_to_do
    assert shop.current == 1
    switch(SwitchSettings(home=shop.home, number=2))
    assert shop.current == 2
    assert shop.refresh(before="approve = true\n").nothing_to_do


def test_checks_keep_a_generation_from_serving(cli: Cli, shop: Shop) -> None:
    lines = (shop.root / "data" / "metadata.csv").read_text().splitlines()
    for line in lines[1:13]:
        (shop.root / "data" / line.split(",")[0]).unlink()
    (shop.root / "data" / "metadata.csv").write_text("\n".join([lines[0], *lines[13:]]) + "\n")
    ended = cli("refresh", shop.configure())
    assert (ended.exit_code, shop.current) == (7, 1)
    assert "The new generation does not serve: rows is 12, wanted at least 21.6" in ended.words
    assert History(shop.home).runs()[-1].ending == "failed"
    assert cli("refresh", shop.configure("[checks]\nrows = 0.4\n")).exit_code == 0
    assert shop.current == 2


def test_golden_searches_have_to_work(shop: Shop) -> None:
    shop.add("more")
    golden = shop.root / "golden.jsonl"
    golden.write_text('{"text": "a red circle", "ids": ["nothing-of-the-kind"]}\n')
    with pytest.raises(CheckError, match="golden is 0, wanted at least 1"):
        shop.refresh('[checks]\ngolden = "golden.jsonl"\n')
    golden.write_text('{"text": "a red circle", "ids": ["red-circle-0"]}\n')
    report = shop.refresh('[checks]\ngolden = "golden.jsonl"\ngolden_k = 24\n')
    assert report.metrics["golden"] == 1.0
    golden.write_text('{"text": "a red\u2028circle", "ids": ["red-circle-0"]}\n' * 2)  # no end of a line
    assert len(read_golden(golden)) == 2
    golden.write_text("[" * 100_000 + "\n")
    with pytest.raises(ConfigError, match=r"golden\.jsonl, line 1 is no JSON"):
        read_golden(golden)
    golden.write_text('{"text": "a red circle"}\n')
    shop.add("other")
    with pytest.raises(ConfigError, match=r"golden\.jsonl, line 1 is no golden search"):
        shop.refresh('[checks]\ngolden = "golden.jsonl"\n')
    assert not Home.open(shop.home).next_folder.exists()


def test_a_run_out_of_time_ends_between_steps_and_the_next_goes_on(cli: Cli, shop: Shop) -> None:
    shop.add("more")
    with pytest.raises(OutOfTimeError, match="hours are over after the step encoder"):
        shop.refresh("[limits]\nhours = 0.0\n")
    assert cli("refresh", shop.configure("[limits]\nhours = 0.0\n")).exit_code == 6
    assert shop.current == 1
    report = shop.refresh()
    assert [step.state for step in report.steps][:2] == ["kept", "done"]
    assert shop.current == 2


def test_a_home_whose_disk_is_away_is_no_first_run(cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    told = shop.root / "told.jsonl"
    hook = f"{sys.executable} -c \\\"import sys; open('{told}', 'a').write(sys.stdin.read())\\\""
    config, away = shop.configure(f'[hooks]\nfailed = "{hook}"\n'), shop.root / "away"
    shop.home.rename(away)
    for options in ([], ["--dry-run"]):
        ended = cli("refresh", config, *options)
        assert ended.exit_code == 1
        assert "home is missing or empty, as where its disk is not mounted; it held generation 1" in ended.words
        assert not shop.home.exists()
    assert [json.loads(line)["exit_code"] for line in told.read_text().splitlines()] == [1]
    (shop.home / "generations").mkdir(parents=True)  # as an empty mount point that was written to
    assert "held generation 1" in cli("refresh", config).words
    remove_tree(shop.home)
    away.rename(shop.home)
    assert cli("refresh", config).exit_code == 0


def test_another_home_in_the_place_of_one_that_is_away_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.add("more")
    shop.refresh()
    other = shop.root / "other"
    shutil.copytree(shop.home, other, symlinks=True)
    Home.open(other).switch(1)
    remove_tree(Home.open(other).folder_of(2))
    shop.home.rename(shop.root / "away")
    other.rename(shop.home)
    assert shop.refresh(dry_run=True).counts.added == 1  # on the same disk: somebody took a generation out
    monkeypatch.setattr(preflight, "disk_of", lambda _: -7)
    with pytest.raises(GenerationError, match="is on another disk than before, without generation 2"):
        shop.refresh()
    (shop.root / ".CONFIG.toml.home").unlink()
    assert shop.refresh().generation == 2


def test_a_folder_of_config_that_takes_no_note_stops_nothing(shop: Shop) -> None:
    marker = shop.root / ".CONFIG.toml.home"
    marker.unlink()
    marker.mkdir()
    assert shop.refresh().nothing_to_do
    assert list(marker.iterdir()) == []


def test_hooks_are_told_of_the_run(shop: Shop) -> None:
    shop.add("more")
    told = shop.root / "told.jsonl"
    hook = f"{sys.executable} -c \\\"import sys; open('{told}', 'a').write(sys.stdin.read())\\\""
    shop.refresh(f'[hooks]\nstart = "{hook}"\ndone = "{hook}"\nfailed = "{hook}"\n')
    events = [json.loads(line) for line in told.read_text().splitlines()]
    assert [event["event"] for event in events] == ["start", "done"]
    assert (events[1]["generation"], events[1]["serves"]) == (2, 2)
    shutil.rmtree(shop.root / "data")
    with pytest.raises(Exception, match="data"):
        shop.refresh(f'[hooks]\nfailed = "{hook}"\n')
    failed = json.loads(told.read_text().splitlines()[-1])
    assert (failed["event"], failed["exit_code"], shop.current) == ("failed", 1, 2)


def test_a_hook_that_fails_stops_nothing(cli: Cli, shop: Shop) -> None:
    shop.add("more")
    ended = cli("refresh", shop.configure('[hooks]\ndone = "false"\nstart = "no-such-command"\n'))
    assert ended.exit_code == 0
    assert "The hook done ended with exit code 1" in ended.words
    assert "The hook start could not run" in ended.words


def test_two_refreshes_at_once_are_one_and_a_sentence(cli: Cli, shop: Shop) -> None:
    with file_lock(shop.home / ".refresh.lock", of="home", is_held=HomeLockedError):
        ended = cli("refresh", shop.configure())
    assert ended.exit_code == 5
    assert re.search(r"Another run holds home .*: process \d+ on", ended.words)


def test_a_disk_that_is_too_small_is_told_before_anything_is_made(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.add("more")
    free = SimpleNamespace(free=1 << 20)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: free)
    with pytest.raises(OutputError, match=r"needs some 0\.00 GiB for this run and 1 GiB that stay free"):
        shop.refresh()
    assert not Home.open(shop.home).next_folder.exists()


@pytest.mark.parametrize("place", ["link_or_copy", "listed", "write_report"])
def test_a_disk_that_fills_up_in_a_step_leaves_the_old_generation_serving(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    shop.add("more")
    with monkeypatch.context() as patch:
        patch.setattr(page if place == "write_report" else build, place, full)
        with pytest.raises(OutputError, match="No space left on device"):
            shop.refresh()
    assert EmbeddingTable.open(str(shop.home)).count_rows() == 24
    assert shop.current == 1
    assert shop.refresh().generation == 2


@pytest.mark.parametrize("limit_bytes", [50, 500, 1500, 3000])
def test_files_that_cannot_be_written_to_their_end_leave_the_old_generation_serving(
    cli: Cli, shop: Shop, limit_bytes: int
) -> None:
    shop.add("more")
    config, before = shop.configure(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))  # as on a full disk, whatever writes
    try:
        ended = cli("refresh", config, "--quiet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (ended.exit_code, shop.current) == (1, 1)
    assert re.search("File too large|the end of .* was lost, as on a full disk", ended.words)
    assert EmbeddingTable.open(str(shop.home)).count_rows() == 24
    assert shop.refresh().counts.rows == 25
    assert shop.current == 2


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "place",
    [
        *("pinembed.nightly.steps.sync", "pinembed.nightly.night.clone_folder", "pinembed.jobs.encode.encode"),
        *("pinembed.source.continued.link_or_copy", "pinembed.source.index_writer.IndexWriter.finish"),
        *("pinembed.jobs.evaluate.evaluate", "pinembed.nightly.night.run_checks", "pinembed.nightly.page.write_atlas"),
        *("pinembed.generation.ledger.sync", "pinembed.generation.build.sync_tree", "pathlib.Path.symlink_to"),
    ],
)
def test_a_disk_that_is_full_in_any_step_is_a_sentence(
    cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise FULL

    shop.add("more")
    config = shop.configure('[evaluate]\ngroup = "product"\ntext = ["color"]\n')
    with monkeypatch.context() as patch:
        patch.setattr(place, full)
        ended = cli("refresh", config, "--quiet")
    assert (ended.exit_code, shop.current) == (1, 1)
    assert "No space left on device" in ended.words
    assert EmbeddingSource.open(shop.home).get(["red-circle-0"]).shape[0] == 1
    assert cli("refresh", config, "--quiet").exit_code == 0
    assert shop.current == 2


def test_a_home_without_hard_links_is_copied_and_one_without_symbolic_links_is_refused(
    cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    shop.add("more")
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", unable)
        ended = cli("refresh", shop.configure())
    assert (ended.exit_code, shop.current) == (0, 2)
    assert "This file system has no hard links" in ended.words
    assert len(EmbeddingSource.open(shop.home)) == EmbeddingTable.open(str(shop.home)).count_rows() == 25
    with monkeypatch.context() as patch:
        patch.setattr(os, "symlink", unable)
        ended = cli("refresh", shop.configure())
        with pytest.raises(OutputError, match="without symbolic links"):
            Home.begin(shop.root / "elsewhere")
    assert (ended.exit_code, shop.current) == (1, 2)
    assert not list((shop.root / "elsewhere").iterdir())
    assert "lies on a file system without symbolic links: Operation not supported" in ended.words
    assert "Give a home on another disk" in ended.words


@pytest.mark.parametrize("name", ["generations", "next"])
def test_a_home_with_a_part_of_itself_on_another_disk_is_refused(tmp_path: Path, name: str) -> None:
    elsewhere = Path("/dev/shm")  # a disk of its own on Linux
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other disk")
    (tmp_path / "home").mkdir()
    with tempfile.TemporaryDirectory(dir=elsewhere) as other:
        (tmp_path / "home" / name).symlink_to(other)
        with pytest.raises(OutputError, match=f"home/{name} lies elsewhere than its home") as refused:
            Home.begin(tmp_path / "home")
    assert "Keep the whole home on one disk" in refused.value.remedy


def test_an_edited_generation_is_not_built_on(cli: Cli, shop: Shop) -> None:
    edited = shop.home / "generations" / "000001" / "source" / "manifest.json"
    edited.chmod(0o644)
    edited.write_text("{}")
    ended = cli("refresh", shop.configure())
    assert ended.exit_code == 1
    assert "Generation 1 is not as it was sealed" in ended.words
    assert "source/manifest.json was changed" in ended.words


def test_images_that_are_away_leave_the_old_generation_serving(cli: Cli, shop: Shop) -> None:
    shutil.rmtree(shop.root / "data")
    ended = cli("refresh", shop.configure())
    assert (ended.exit_code, shop.current) == (1, 1)
    assert "data" in ended.words
    (shop.root / "data").mkdir()
    assert cli("refresh", shop.configure()).exit_code == 1
    assert EmbeddingTable.open(str(shop.home)).count_rows() == 24


def test_a_run_that_was_killed_before_its_switch_is_finished_by_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.add("more")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Home, "switch", killed)
        with pytest.raises(KeyboardInterrupt):
            shop.refresh()
    assert shop.current == 1
    report = shop.refresh()
    assert (report.nothing_to_do, report.serves) == (True, 2)


def test_a_rollback_during_a_run_is_not_overruled(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.add("more")
    shop.refresh()
    shop.add("other")
    write = page.write_report

    def meanwhile(*args: Any, **more: Any) -> Any:
        rollback(RollbackSettings(home=shop.home))
        return write(*args, **more)

    monkeypatch.setattr(page, "write_report", meanwhile)
    with pytest.raises(GenerationError, match="named 2 when this run began and names 1 now"):
        shop.refresh()
    assert (shop.current, read_ledger(Home.open(shop.home)).awaiting) == (1, None)


def test_edited_options_make_a_generation(shop: Shop) -> None:
    report = shop.refresh("[export]\nshard_mib = 1\n")
    assert (report.generation, Home.open(shop.home).read(2).why) == (2, "options of export changed")


def test_retention_follows_the_config(shop: Shop) -> None:
    shop.add("more")
    assert shop.refresh("[keep]\ngenerations = 1\n").removed == (1,)
    assert Home.open(shop.home).numbers == [2]


def test_every_figure_of_the_page_is_a_row_of_the_history(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    shop.add("broken")
    (shop.root / "data" / "images" / "broken.png").write_text("no picture")
    shop.refresh('[evaluate]\ngroup = "product"\ntext = ["color"]\n')
    html = tmp_path / "report.html"
    ended = cli("report", shop.home, "--html", html, "--atlas", tmp_path / "map.parquet", "--json")
    assert ended.exit_code == 0
    assert ended.json["page"]["generation"] == 2
    text = html.read_text()
    rows = {row.key: row for row in History(shop.home).metrics()}
    spans = re.findall(r'data-metric="([^"#]+)#(value|low|high)">([^<]+)<', text)
    assert len(spans) > 20
    for key, end, told in spans:
        assert told == page.shown(rows[key], getattr(rows[key], end)), key
    assert json.loads(re.search(r"const thumbs = (.*);", text)[1])[0].startswith("data:image/webp")  # type: ignore[index]
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "http" not in text
    assert len(text) < 8_000_000
    assert "no picture" not in text
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "map.parquet")
    assert table.num_rows == 24
    assert table.column_names == ["id", "x", "y", "title", "file", "content"]


def test_each_generation_is_measured_on_todays_split_and_on_a_yardstick(cli: Cli, shop: Shop) -> None:
    shutil.copytree(shop.root / "data", shop.root / "frozen")
    shop.add("more", "blue")
    config = '[evaluate]\ndata = "frozen"\ngroup = "product"\ntext = ["color"]\nslices = ["color"]\nsplit = "all"\n'
    shop.refresh(config)
    shop.add("other", "green")
    shop.refresh(config)
    rows = [row for row in History(shop.home).metrics() if row.name == "map"]
    for generation in (2, 3):
        for data in ("all", "frozen"):
            found = [row for row in rows if (row.generation, row.data) == (generation, data)]
            assert {row.direction for row in found} >= {"text_to_image", "image_to_image"}, (generation, data)
            assert any(row.slice for row in found)
            assert all(row.low is not None for row in found)
    frozen = {row.series: row.value for row in rows if row.data == "frozen"}
    assert frozen == {row.series: row.value for row in rows if row.data == "frozen" and row.generation == 2}
    titles = [figure["title"] for figure in cli("report", shop.home, "--json").json["page"]["figures"]]
    assert {"mAP, text → image, on all", "mAP, text → image, on frozen"} <= set(titles)


def test_reports_of_two_generations_share_what_did_not_change(cli: Cli, shop: Shop) -> None:
    shop.add("more", "blue")
    shop.refresh()
    reports = [shop.home / "generations" / number / "report" for number in ("000001", "000002")]
    assert (reports[0] / "axes.json").samefile(reports[1] / "axes.json")
    assert (reports[0] / "pictures" / "000001.json").samefile(reports[1] / "pictures" / "000001.json")
    assert len(json.loads((reports[1] / "pictures" / "000002.json").read_text())) == 2  # of the map, and larger
    pages = [cli("report", shop.home, "--generation", number, "--json").json["page"] for number in (1, 2)]
    assert [page["new_items"] for page in pages] == [[], ["more"]]
    assert [page["changes"]["rows"] for page in pages] == [24, 25]


def test_the_model_is_aligned_then_kept_then_adapted(
    shop: Shop, tiny_qwen3vl: Path, other_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = f'model = "{tiny_qwen3vl}"\n'
    for count in range(9):
        shop.add(f"item-{count}")
    options = '[align]\nfields = ["color"]\nepochs = 1\n[checks]\nanswers = 0.0\n'
    aligned = shop.refresh(options, before=before)
    assert (shop.home / "current" / "model" / "projector.safetensors").exists()
    assert "answers" in aligned.metrics
    shop.add("more")
    second = shop.refresh(options, before=before)
    home = Home.open(shop.home)
    old, new = (home.folder_of(number) / "model" / "projector.safetensors" for number in (2, 3))
    assert old.samefile(new)
    assert second.metrics["answers"] == aligned.metrics["answers"]
    monkeypatch.setattr(finetune_job, "finetune", fake_finetune(other_encoder))
    third = shop.refresh(options + "[retrain]\n", before=before)
    assert third.generation == 4
    run = json.loads((home.folder_of(4) / "model" / "run.json").read_text())
    assert run["adapter_cosine"] is not None
