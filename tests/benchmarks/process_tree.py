"""Run a command and see what it and all its descendants cost: seconds, CPU seconds, peak of resident memory (Linux)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_EVERY_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a command cost.

    Attributes:
        exit_code: of the command.
        stdout: what it wrote there.
        stderr: what it wrote there.
        seconds: from its start to its end.
        cpu_s: user and system time of the whole tree.
        resident_mb: peak of the tree's proportional set size: memory that several processes share counts once.
        process_mb: resident memory of each process at that peak, by the module or script that it runs.
    """

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    cpu_s: float
    resident_mb: float
    process_mb: tuple[tuple[str, float], ...]


def run_measured(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Cost:
    """Run to the end.

    Args:
        command: program and arguments.
        environment: the whole of it.
        folder: takes the output while it runs.
    """
    with (folder / "stdout").open("w+") as stdout, (folder / "stderr").open("w+") as stderr:
        started_s = time.perf_counter()
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=dict(environment))
        peak: tuple[tuple[str, float], ...] = ()
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            now = resident_of_tree(process.pid)
            peak = max(peak, now, key=lambda parts: sum(megabytes for _, megabytes in parts))
            time.sleep(LOOK_EVERY_S)
        seconds = time.perf_counter() - started_s
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (stdout, stderr):
            stream.seek(0)
        return Cost(
            exit_code=process.returncode,
            stdout=stdout.read(),
            stderr=stderr.read(),
            seconds=seconds,
            cpu_s=usage.ru_utime + usage.ru_stime,
            resident_mb=sum(megabytes for _, megabytes in peak),
            process_mb=peak,
        )


def resident_of_tree(pid: int) -> tuple[tuple[str, float], ...]:
    """Proportional set size of a process and its descendants, in MB, with a word for each."""
    found = []
    for one in descendants(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            words = Path(f"/proc/{one}/cmdline").read_text().split("\0")
        except OSError:  # it has just ended
            continue
        kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
        name = words[words.index("-m") + 1] if "-m" in words else Path(words[1] if len(words) > 1 else words[0]).name
        found.append((name, kilobytes / 1024))
    return tuple(found)


def descendants(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += descendants(int(child))
    except OSError:
        pass
    return found
