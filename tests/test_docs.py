"""The documentation holds: links lead somewhere, commands parse, named files exist, and the examples run."""

from __future__ import annotations

import ast
import csv
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import pinembed
from pinembed.cli.main import app
from tests.command_reference import commands
from tests.test_floors import ORDER

REPOSITORY = Path(__file__).parent.parent
PAGES = sorted(
    page.relative_to(REPOSITORY).as_posix()
    for page in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), REPOSITORY / "sample_images/README.md")
)
WRITTEN = [page for page in PAGES if page != "docs/commands.md"]  # that one is made of the commands themselves
HOME = re.compile(r"https://(?:github\.com/pinembed/pinembed/blob|raw\.githubusercontent\.com/pinembed/pinembed)/main/")
ROOT = typer.main.get_command(app)
COMMANDS = {name.removeprefix("pinembed "): command for name, command in commands(ROOT)}
OPTIONS = {
    name: {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    for name, command in COMMANDS.items()
}
FOREIGN_OPTIONS = {"--enable-mm-embeds"}  # vLLM's
EXAMPLES = REPOSITORY / "docs" / "examples"


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def prose_of(page: str) -> str:
    """The page without its blocks of code."""
    return re.sub(r"(?m)^ {4}(?! *(?:- |\d\. )).*$", "", re.sub(r"(?ms)^```.*?^```$", "", text_of(page)))


def anchors_of(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    titles = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links_of(page: str) -> Iterator[tuple[str, Path, str]]:
    """Each link to a file of the repository: as written, the file, and the heading."""
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        inside, absolute = HOME.subn("", link)
        if "://" in inside:
            continue
        path, _, anchor = inside.partition("#")
        folder = REPOSITORY if absolute else (REPOSITORY / page).parent
        yield link, (folder / path).resolve() if path else REPOSITORY / page, anchor


def command_lines(page: str) -> Iterator[str]:
    """What a reader would type: the lines of code blocks that run pinembed."""
    code = "\n".join([*re.findall(r"(?ms)^```.*?^```$", text_of(page)), *re.findall(r"(?m)^ {4}.+$", text_of(page))])
    for line in code.splitlines():
        for call in re.findall(r"(?:^\s*\$? *|\| |\* {2}|-m )(pinembed .+)", line):
            yield re.split(r" [|&>]|>>| {2,}#", call)[0]


def command_of(words: list[str]) -> tuple[str, list[str]]:
    """The command that words begin with, and the others."""
    for count in (2, 1):
        name = " ".join(words[:count])
        if name in COMMANDS:
            return name, words[count:]
    return "", words


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    broken = [
        link
        for link, target, anchor in links_of(page)
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors_of(target))
    ]
    assert not broken


def test_readme_links_lead_on_outside_of_the_repository() -> None:
    relative = [link for link, _, _ in links_of("README.md") if not link.startswith(("https://", "#"))]
    assert not relative, "a package index shows README.md too: write https://github.com/pinembed/pinembed/blob/main/..."


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/") and page != "docs/README.md"])
def test_page_is_in_the_index(page: str) -> None:
    assert REPOSITORY / page in {target for _, target, _ in links_of("docs/README.md")}


@pytest.mark.parametrize("page", WRITTEN)
def test_command_lines_parse(page: str) -> None:
    for line in command_lines(page):
        plain = re.sub(r"\[(--[^\]]*)\]", r"\1", line)  # brackets mark what may be left out
        name, arguments = command_of(shlex.split(plain)[1:])
        assert name, f"no such command: {line}"
        if "..." in arguments:
            assert {word for word in arguments if word.startswith("--")} <= OPTIONS[name], line
        elif "--help" not in arguments:
            COMMANDS[name].make_context(name, arguments)


@pytest.mark.parametrize("page", WRITTEN)
def test_options_in_sentences_exist(page: str) -> None:
    of_root = {flag for parameter in ROOT.params for flag in parameter.opts}
    every = set().union(*OPTIONS.values()) | of_root | FOREIGN_OPTIONS | {"--help"}
    for span in re.findall(r"`([^`]+)`", prose_of(page).replace("\n", " ")):
        words = span.removeprefix("pinembed ").split()
        name, arguments = command_of(words)
        if name or words[0].startswith("--"):
            flags = {word.partition("=")[0] for word in arguments if re.match(r"--[a-z]", word)}
            assert flags <= (OPTIONS[name] if name else every), f"`{span}`"


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_shown_on_a_page_beside_the_reference(name: str) -> None:
    shown = re.compile(rf"\b(?:pinembed |`){name}\b")
    assert any(shown.search(text_of(page)) for page in WRITTEN if page != "CHANGELOG.md")


@pytest.mark.parametrize("page", WRITTEN)
def test_named_files_of_the_repository_exist(page: str) -> None:
    named = re.findall(r"`(?:python )?((?:pinembed|tests|docs)/[\w./-]*\w/?)(?: [^`]*)?`", prose_of(page))
    assert not [path for path in named if not (REPOSITORY / path).exists()]


@pytest.mark.parametrize("page", WRITTEN)
def test_python_blocks_call_what_pinembed_offers(page: str) -> None:
    for block in re.findall(r"(?ms)^```python$(.*?)^```$", text_of(page)):
        nodes = list(ast.walk(ast.parse(block)))
        of_pinembed = [
            node for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pinembed"
        ]
        assert not [node.attr for node in of_pinembed if not hasattr(pinembed, node.attr)]
        for call in nodes:
            if isinstance(call, ast.Call) and call.func in of_pinembed:
                offered = inspect.signature(getattr(pinembed, call.func.attr)).parameters
                assert {keyword.arg for keyword in call.keywords} <= set(offered), ast.unparse(call)


def test_readme_gives_each_part_its_line_in_the_order_of_the_path() -> None:
    tree = re.findall(r"(?m)^ {6}(\w+)(?:\.py|/) {2,}\S", text_of("README.md"))
    unlisted = {"version", "__init__", "__main__"}
    assert tree == [part for part in ORDER if part not in unlisted]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty products of the sample shop."""
    samples = REPOSITORY / "sample_images"
    with (samples / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"][:80]
    folder = tmp_path_factory.mktemp("shop")
    (folder / "images").mkdir()
    for row in rows:
        shutil.copy(samples / row["file_name"], folder / row["file_name"])
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture
def run_example(tmp_path: Path):
    """Run a script of docs/examples, for which `pinembed` is the one of this tree."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    command = binaries / "pinembed"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pinembed "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"}

    def run(name: str, *arguments: Path | str) -> str:
        program = [sys.executable] if name.endswith(".py") else ["bash"]
        words = [*program, str(EXAMPLES / name), *map(str, arguments)]
        ended = subprocess.run(words, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run


def test_example_brings_table_and_source_up_to_date_and_reads_it(run_example, shop, tiny_encoder, tmp_path) -> None:
    for _ in range(2):
        run_example("nightly.sh", shop, tiny_encoder, tmp_path)
    reports = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(report["added"], report["unchanged"]) for report in reports] == [(80, 0), (0, 80)]
    with (shop / "metadata.csv").open(encoding="utf-8") as file:
        item = next(csv.DictReader(file))["id"]
    lines = run_example("read_source.py", tmp_path / "source", item).splitlines()
    assert lines[0].startswith("80 items x 16 floats of encoder ")
    assert len(lines) == 4


def test_example_encodes_only_what_changed(run_example, shop, tiny_encoder, tmp_path) -> None:
    first = json.loads(run_example("changed_files.sh", shop, tiny_encoder, tmp_path))
    assert first["added"] == 80
    again = json.loads(run_example("changed_files.sh", shop, tiny_encoder, tmp_path))
    assert again["added"] + again["unchanged"] == 0


def test_example_keeps_the_encoder_in_use_against_an_equal_one(run_example, shop, tiny_encoder, tmp_path) -> None:
    current = tmp_path / "current"
    current.symlink_to(tiny_encoder)
    assert run_example("switch_encoder.sh", shop, tiny_encoder, current) == f"kept {tiny_encoder}\n"
    assert current.resolve() == tiny_encoder


def test_example_encodes_searches_exports_and_verifies(run_example, shop, tiny_encoder, tmp_path) -> None:
    lines = run_example("catalogue.py", shop, tiny_encoder, tmp_path).splitlines()
    assert (lines[0], lines[-1]) == ("80 added, 0 unchanged, 0 failed", "80 items exported, 0 findings")
    assert len(lines) == 5


def test_example_compares_two_encoders(run_example, shop, tiny_encoder, other_encoder) -> None:
    lines = run_example("compare_encoders.py", shop, tiny_encoder, other_encoder).splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["text_to_image", "image_to_text", "image_to_image"]
    assert lines[3] in {"take the new one", "keep the current one"}


def test_each_example_is_run_here() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    assert not [path.name for path in EXAMPLES.iterdir() if f'"{path.name}"' not in tested]
