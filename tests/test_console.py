"""What a run shows: lines under cron, nothing with --quiet, one JSON object; and what a signal does."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from pinembed.cli import console as console_module
from pinembed.cli.command import add_command
from pinembed.cli.console import Console, stop_on_signals
from pinembed.errors import StoppedError, StoreError
from pinembed.settings.source import ExportSettings


@dataclass(frozen=True)
class Report:
    rows: int
    place: Path
    rate: float
    nested: tuple[dict[str, float], ...]


@pytest.fixture
def _own_signal_handlers():
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_lines_tell_stage_count_rate_and_note_when_a_minute_has_passed(monkeypatch, capsys) -> None:
    monkeypatch.setattr(console_module, "CRON_LINE_EVERY_S", 0.0)
    progress = Console().progress
    progress.start("encode", total=10, unit="img")
    progress.advance(4, note="1 failed")
    progress.finish()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("encode: 4/10 img, ")
    assert lines[0].endswith(" s left, 1 failed")


def test_lines_say_nothing_of_a_stage_that_is_over_within_the_minute(capsys) -> None:
    progress = Console().progress
    progress.start("scan", total=3)
    progress.advance(3)
    progress.finish()
    assert capsys.readouterr().err == ""


def test_a_table_wider_than_the_terminal_wraps_names_but_no_figure(monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    columns = ["what was measured", "first token s", "USD per 1M", ""]
    Console().table("costs", columns, [["a long name of a model", "466.13", "1,130,313", "0.00213"]])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "466.13" in line and "1,130,313" in line and "0.00213" in line]
    assert not [line for line in lines if "first token s" in line]
    Console().table("nothing", columns, [])
    assert "first" in capsys.readouterr().out


def test_quiet_shows_neither_words_nor_progress_nor_tables(capsys) -> None:
    console = Console(quiet=True)
    console.say("words")
    console.table("title", ["a"], [["b"]])
    console.progress.start("encode", total=1)
    console.progress.say("words")
    console.progress.advance()
    console.progress.finish()
    streams = capsys.readouterr()
    assert streams.out + streams.err == ""


def test_json_report_is_one_line_of_plain_values_and_words_go_to_standard_error(capsys) -> None:
    console = Console(json_output=True)
    console.say("words")
    with console.telling():
        console.report(Report(rows=3, place=Path("a/b"), rate=float("nan"), nested=({"x": 1.0},)))
    streams = capsys.readouterr()
    assert json.loads(streams.out) == {"rows": 3, "place": "a/b", "rate": None, "nested": [{"x": 1.0}]}
    assert streams.err == "words\n"


@pytest.mark.usefixtures("_own_signal_handlers")
def test_no_object_tells_of_an_output_that_could_not_be_put_up(monkeypatch, capsys) -> None:
    def refused(*_: object, **__: object) -> None:
        raise StoreError("The store does not answer.", remedy="-")

    def run(settings: ExportSettings, console: Console) -> None:
        settings.out.mkdir()
        console.report({"out": settings.out})

    monkeypatch.setattr("pinembed.stores.put.check_prefix", lambda *_, **__: None)
    monkeypatch.setattr("pinembed.stores.put.put_folder", refused)
    app = typer.Typer()
    add_command(app, "export", ExportSettings, run)
    with pytest.raises(StoreError):
        app(["--table", "db/pins", "--out", "s3://shop/source", "--json"], standalone_mode=False)
    assert capsys.readouterr().out == ""


def test_markup_in_a_users_text_is_shown_as_it_is(capsys) -> None:
    Console().table("found", ["title"], [["a [bold]mug[/bold]"]])
    assert "a [bold]mug[/bold]" in capsys.readouterr().out


@pytest.mark.usefixtures("_own_signal_handlers")
def test_signal_raises_at_once_outside_a_deferred_block() -> None:
    stop_on_signals()
    with pytest.raises(StoppedError, match="Stopped by signal 15") as caught:
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 143


@pytest.mark.usefixtures("_own_signal_handlers")
def test_signal_in_a_deferred_block_waits_for_its_end(capfd) -> None:
    stop = stop_on_signals()
    finished = []

    def work() -> None:
        with stop.deferred():
            os.kill(os.getpid(), signal.SIGINT)
            finished.append("batch")

    with pytest.raises(StoppedError) as caught:
        work()
    assert finished == ["batch"]
    assert caught.value.exit_code == 130
    assert "once more to stop at once" in capfd.readouterr().err


@pytest.mark.usefixtures("_own_signal_handlers")
def test_second_signal_does_not_wait() -> None:
    stop = stop_on_signals()
    finished = []

    def work() -> None:
        with stop.deferred():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            finished.append("batch")

    with pytest.raises(StoppedError):
        work()
    assert not finished
