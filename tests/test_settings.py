"""Each option is described once: in the settings class of its command."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import typer.main

import pinembed
from pinembed import settings
from pinembed.cli.main import app
from pinembed.errors import UsageError
from pinembed.settings import assistant, encoding, home, measuring, model, quality, source, taste, training
from pinembed.settings.option import Argument, Option, PythonOnly, StorageOptions, command_line
from tests.command_reference import commands

PACKAGE = Path(settings.__file__).parent.parent
SETTINGS = [
    found
    for module in (assistant, encoding, home, measuring, model, quality, source, taste, training)
    for found in vars(module).values()
    if dataclasses.is_dataclass(found) and found.__module__ == module.__name__
]
COMMANDS = pinembed._COMMANDS


def class_of(command: str) -> str:
    return f"{command.title().replace('_', '')}Settings"


def records(found: type) -> dict[str, Any]:
    return {name: hint.__metadata__[0] for name, hint in get_type_hints(found, include_extras=True).items()}


@pytest.mark.parametrize("found", SETTINGS, ids=lambda found: found.__name__)
def test_every_field_of_settings_says_what_it_is(found: type) -> None:
    described = records(found)
    assert described.keys() == {field.name for field in dataclasses.fields(found)}
    for name, record in described.items():
        assert isinstance(record, Argument | Option | PythonOnly)
        assert record.help
        assert f"{name}: {record.help}" in (found.__doc__ or "")


def test_help_texts_of_the_command_line_are_those_of_the_settings() -> None:
    shown = {
        parameter.help
        for _, command in commands(typer.main.get_command(app))
        for parameter in command.params
        if parameter.name not in {"json_output", "quiet"}
    }
    of_the_whole_command = get_args(StorageOptions)[1]
    described = [*(record for found in SETTINGS for record in records(found).values()), of_the_whole_command]
    assert shown == {record.help for record in described if not isinstance(record, PythonOnly)}


def test_an_option_is_named_in_few_files() -> None:
    naming = [path for path in PACKAGE.rglob("*.py") if "retry_failed" in path.read_text(encoding="utf-8")]
    assert len(naming) <= 4, naming


def test_a_job_takes_settings_and_lists_no_options_of_its_own() -> None:
    for path in sorted((PACKAGE / "jobs").glob("[!_]*.py")):
        job = {"doctor": "examine"}.get(path.stem, path.stem)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        [arguments] = [node.args for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == job]
        assert [argument.arg for argument in arguments.args] == ["settings"], path
        beside = {argument.arg for argument in arguments.kwonlyargs}
        assert beside <= {"progress", "stop", "questions", "on_answer", "on_text", "says", "on_turn"}, path


def test_settings_import_nothing_heavy() -> None:
    code = (
        "import sys, pinembed\n"
        f"for name in {[class_of(name) for name in COMMANDS]}: getattr(pinembed, name)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "open_clip", "lance", "lancedb", "pyarrow", "numpy", "typer"} & set(
        ast.literal_eval(ended.stdout)
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_function_of_its_settings(name: str) -> None:
    job, found = getattr(pinembed, name), getattr(pinembed, class_of(name))
    assert get_type_hints(job)["settings"] is found


@pytest.mark.parametrize("found", SETTINGS, ids=lambda found: found.__name__)
def test_every_number_out_of_its_bounds_is_refused(found: type) -> None:
    needed = {field.name: "none/none" for field in dataclasses.fields(found) if field.default is dataclasses.MISSING}
    tuples = {name for name, hint in get_type_hints(found).items() if get_origin(hint) is tuple}
    for name, record in records(found).items():
        for bound, beyond in ((getattr(record, "min", None), -1), (getattr(record, "max", None), 1)):
            if bound is not None:
                with pytest.raises(UsageError, match=f"{record.named(name)[0]} is .*; wanted at"):
                    found(**(needed | {name: (bound + beyond,) if name in tuples else bound + beyond}))


def test_a_command_line_says_what_is_not_a_default() -> None:
    tuned = pinembed.FinetuneSettings(
        data=Path("my shop"), base="b", out=Path("o"), random_init=True, heads=False, text=("a", "b"), slices=("x", "y")
    )
    told = "pinembed finetune 'my shop' --base b --out o --random-init --text a,b --slice x --slice y --no-heads"
    assert command_line(tuned) == told
    events = pinembed.TasteUpdateSettings(events=Path("log"), table="t/x", users="t/u")
    assert command_line(events) == "pinembed taste update log --table t/x --users t/u"


def test_python_call_refuses_what_the_command_line_refuses(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--max-failure-rate is 2; wanted at most 1"):
        pinembed.EncodeSettings(images=tmp_path, table="db/pins", encoder="enc", max_failure_rate=2)
    with pytest.raises(UsageError, match="--dtype fp8 is unknown; wanted fp16 or fp32"):
        pinembed.EncodeSettings(images=tmp_path, table="db/pins", encoder="enc", dtype="fp8")
    with pytest.raises(UsageError, match="--loss siglp is unknown; wanted auto, clip or siglip"):
        pinembed.FinetuneSettings(data=tmp_path, base="enc", out=tmp_path, loss="siglp")
