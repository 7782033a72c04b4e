"""The command line as a whole: help, reference, errors to exit codes, start-up cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from pinembed.cli import doctor as doctor_command
from pinembed.cli.main import app
from pinembed.errors import StoppedError, TableLockedError
from pinembed.settings.measuring import DoctorSettings
from tests.command_reference import commands, reference

REPOSITORY = Path(__file__).parent.parent
COMMANDS = dict(commands(typer.main.get_command(app)))
HEAVY = {"torch", "open_clip", "lancedb", "transformers", "pyarrow", "numpy", "PIL", "scipy", "matplotlib"}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['pinembed', '--help']\n"
        "from pinembed.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ended.stderr.replace("'", "").strip("[]\n").split(", "))
    assert "typer" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("name", COMMANDS)
def test_command_and_each_of_its_options_has_help(name: str) -> None:
    assert COMMANDS[name].help
    without = [parameter.name for parameter in COMMANDS[name].params if not getattr(parameter, "help", None)]
    assert not without


@pytest.mark.parametrize("name", COMMANDS)
def test_command_offers_json_and_quiet(name: str) -> None:
    flags = {flag for parameter in COMMANDS[name].params for flag in parameter.opts}
    assert {"--json", "--quiet"} <= flags


def test_command_reference_is_what_the_commands_say() -> None:
    written = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == reference(), "run: python -m tests.command_reference > docs/commands.md"


def test_unknown_command_ends_with_usage_code(cli) -> None:
    result = cli("encod")
    assert result.exit_code == 2
    assert "No such command" in result.stderr


def test_version_is_printed(cli) -> None:
    assert cli("--version").stdout.startswith("pinembed 0.")


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (TableLockedError("catalog/pins is held by process 7.", remedy="Wait for it."), 5),
        (StoppedError(2), 130),
        (StoppedError(15), 143),
    ],
)
def test_library_error_becomes_exit_code_and_sentence(cli, monkeypatch, error, exit_code) -> None:
    def fail(_: DoctorSettings) -> None:
        raise error

    monkeypatch.setattr("pinembed.jobs.doctor.examine", fail)
    result = cli("doctor")
    assert result.exit_code == exit_code
    assert error.message in result.words
    assert f"remedy: {error.remedy}" in result.words
    assert "Traceback" not in result.words


def test_error_under_json_is_one_object_on_standard_output(cli, monkeypatch) -> None:
    def fail(_: DoctorSettings) -> None:
        raise TableLockedError("catalog/pins is held by process 7.", remedy="Wait for it.")

    monkeypatch.setattr("pinembed.jobs.doctor.examine", fail)
    result = cli("doctor", "--json")
    assert json.loads(result.stdout) == {
        "error": {"message": "catalog/pins is held by process 7.", "remedy": "Wait for it.", "exit_code": 5}
    }


def test_doctor_command_is_registered_under_its_own_name() -> None:
    assert COMMANDS["pinembed doctor"].callback.__module__ == doctor_command.__name__


def test_process_ends_with_the_commands_exit_code_though_a_library_would_abort_at_teardown() -> None:
    code = (
        "import atexit, os, sys\n"
        "from pinembed import __main__ as process\n"
        "class Library:\n"
        "    def __del__(self, abort=os.abort): abort()\n"
        "sys.library = Library()\n"
        "def main():\n"
        "    atexit.register(print, 'cleaned up')\n"
        "    print('result', end='')\n"
        "    sys.exit(4)\n"
        "process.main = main\n"
        "process.run()"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (4, "resultcleaned up\n")
