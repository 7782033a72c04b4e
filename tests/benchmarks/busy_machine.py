"""Wall and CPU seconds of demo, finetune, align and encode, alone and beside busy processes, by policy of waiting.

"off" is the waiting that torch's OpenMP has by default, "on" what pinembed chooses (machine.wait_policy). Each command
runs once before, unmeasured, so that no policy pays for the choice of a backend, which is remembered. The fair share of
a command beside others is its own wall time alone, or its CPU seconds alone on the part of the cores that as many
threads as cores would get beside the neighbours, whichever is longer. The policies take turns at coming first; medians
are shown.

usage: python tests/benchmarks/busy_machine.py --work FOLDER [--rounds 1] [--neighbours 2] [--only encode,align]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pinembed.machine import WAIT_VARIABLES, usable_cores

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "sample_images"
# what libgomp does where nothing is set (env.c: 3 ms, at 100,000 spins a ms; 100 spins, under both policies, where it
# has more threads than the machine has cores); given here it counts as the user's own, so that pinembed leaves it
DEFAULT_OF_OPENMP = {"GOMP_SPINCOUNT": "300000"}
POLICIES = {"off": DEFAULT_OF_OPENMP, "on": {}}
TEXT = "category,color,pattern"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one command took, with the processes that it started."""

    wall_s: float
    cpu_s: float


def commands(demo: Path, out: Path) -> dict[str, list[str]]:
    """The arguments of each command; all but the demo itself use what it left."""
    encoder, source, trimmed = str(demo / "encoder"), str(demo / "source"), str(demo / "trimmed")
    finetune = ["--base", str(demo / "base"), "--group", "product", "--text", TEXT, "--epochs", "10"]
    align = ["--model", trimmed, "--source", source, "--fields", TEXT, "--epochs", "2"]
    return {
        "demo": ["demo", "--out", str(demo), "--overwrite"],
        "finetune": ["finetune", str(SHOP), *finetune, "--out", str(out / "encoder")],
        "align": ["align", str(SHOP), *align, "--out", str(out / "aligned")],
        "encode": ["encode", str(SHOP), "--table", str(out / "shop"), "--encoder", encoder],
    }


def cost_of(arguments: list[str], policy: str) -> Cost:
    """Run a command to its end.

    Raises:
        SystemExit: it failed; exit code 4, a gate that kept the base, is no failure.
    """
    own = {name: value for name, value in os.environ.items() if name not in WAIT_VARIABLES}
    environment = {**own, **POLICIES[policy], "PYTHONPATH": str(ROOT)}
    before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "pinembed", *arguments, "--quiet"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall_s, after = time.perf_counter() - started_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in {0, 4}:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-500:]}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall_s=wall_s, cpu_s=cpu_s)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that want a core all the time."""
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def show(costs: dict[tuple[str, int, str], list[Cost]], names: list[str], neighbours: int) -> None:
    """The table, as Markdown."""

    def middle(name: str, count: int, policy: str) -> Cost:
        found = costs[name, count, policy]
        walls, cpus = [cost.wall_s for cost in found], [cost.cpu_s for cost in found]
        return Cost(wall_s=statistics.median(walls), cpu_s=statistics.median(cpus))

    beside = f"beside {neighbours}"
    print(f"| command | alone, off | alone, on | on/off | {beside}, off | {beside}, on | on/off | on/fair share |")  # noqa: T201
    print("| --- |" + " --- |" * 7)  # noqa: T201
    for name in names:
        cells = []
        for count in (0, neighbours):
            off, on = (middle(name, count, policy) for policy in POLICIES)
            cells += [f"{cost.wall_s:.1f} s, {cost.cpu_s:.1f} CPU s" for cost in (off, on)]
            cells.append(f"{on.wall_s / off.wall_s:.2f}, {on.cpu_s / off.cpu_s:.2f}")
        cores, alone, on = usable_cores(), middle(name, 0, "on"), middle(name, neighbours, "on")
        fair_s = max(alone.wall_s, alone.cpu_s / (cores * cores / (cores + neighbours)))
        print(f"| {name} | {' | '.join(cells)} | {on.wall_s / fair_s:.2f} |")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for what the commands write")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--neighbours", type=int, default=2)
    parser.add_argument("--only", default="demo,finetune,align,encode", help="commands, separated by commas")
    given = parser.parse_args()
    given.work = given.work.absolute()
    demo, out, names = given.work / "demo", given.work / "out", given.only.split(",")
    os.environ["PINEMBED_CACHE"] = str(given.work / "cache")
    shutil.rmtree(out, ignore_errors=True)
    for name in names if "demo" in names or demo.is_dir() else ["demo", *names]:
        cost_of(commands(demo, out)[name], "on")
    costs: dict[tuple[str, int, str], list[Cost]] = defaultdict(list)
    for turn in range(given.rounds):
        for count in (0, given.neighbours):
            for name in names:
                for policy in list(POLICIES)[:: 1 if turn % 2 == 0 else -1]:
                    shutil.rmtree(out, ignore_errors=True)
                    with busy(count):
                        cost = cost_of(commands(demo, out)[name], policy)
                    costs[name, count, policy].append(cost)
                    print(f"{name}, {count} neighbours, {policy}: {cost}", file=sys.stderr)  # noqa: T201
    show(costs, names, given.neighbours)


if __name__ == "__main__":
    main()
