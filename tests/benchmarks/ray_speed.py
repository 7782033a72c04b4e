"""Speed of encode on Ray: one worker beside the local engine with the same threads, and two workers beside one.

    python -m tests.benchmarks.ray_speed IMAGES --encoder ENCODER --work WORK [--count 2000] [--rounds 2]

Each round encodes the same photos four times, into new tables: locally on one core; on Ray with one worker of one
thread on a core of its own, driver and cluster on another, as on machines of their own; on Ray with two such workers on
two cores, which driver and cluster share; and locally on two cores. The rate is that from the workers' start to the
last commit; the start of Ray stands apart, and so does the whole command. The last line is JSON: medians.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import psutil

from tests.benchmarks.ray_matrix import WORKER, below

RUNS = {
    "local, 1 core": ("taskset -c 0", ""),
    "ray, 1 worker": ("taskset -c 0,1", "--engine ray --workers 1"),
    "ray, 2 workers": ("taskset -c 0,1", "--engine ray --workers 2"),
    "local, 2 cores": ("taskset -c 0,1", ""),
}
LOOK_S = 0.2


def listed(images: Path, work: Path, count: int) -> Path:
    """A list of so many photos, spread over the folder."""
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.jpg"))
    step = max(1, len(names) // count)
    chosen = work / "names.txt"
    chosen.write_text("\n".join(names[::step][:count]) + "\n", encoding="utf-8")
    return chosen


def keep_to_core(process: subprocess.Popen[str]) -> None:
    """Give the worker and the processes that it starts core 0; threads that they start later stay there."""
    kept = set[int]()
    while process.poll() is None:
        for worker in below(psutil.Process(process.pid), WORKER):
            for found in {worker.pid, *(child.pid for child in worker.children(recursive=True))} - kept:
                subprocess.run(["taskset", "-acp", "0", str(found)], capture_output=True, check=False)
                kept.add(found)
        time.sleep(LOOK_S)


def run(kind: str, given: argparse.Namespace, names: Path) -> dict[str, float]:
    """Rate, seconds of the start, and of the whole command."""
    before, after = RUNS[kind]
    table = given.work / "db"
    shutil.rmtree(table, ignore_errors=True)
    words = [*before.split(), sys.executable, "-m", "pinembed", "encode", str(given.images), "--table", f"{table}/t"]
    words += ["--encoder", given.encoder, "--files-from", str(names), "--backend", given.backend, *after.split()]
    started_s = time.perf_counter()
    process = subprocess.Popen([*words, "--json", "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if kind == "ray, 1 worker":
        Thread(target=keep_to_core, args=(process,), daemon=True).start()
    printed, said = process.communicate()
    if process.returncode:
        raise SystemExit(said[-2000:])
    report = json.loads(printed)
    return {
        "images_per_s": report["images_per_s"],
        "start_s": report["stages"]["load"],
        "whole_s": time.perf_counter() - started_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    os.environ["PINEMBED_CACHE"] = str(given.work / "cache")
    names = listed(given.images, given.work, given.count)
    run("local, 2 cores", given, names)  # measures backends and converts the model once
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in RUNS}
    for number in range(given.rounds):
        for kind in RUNS:
            found[kind].append(run(kind, given, names))
            sys.stderr.write(f"{number} {kind}: {found[kind][-1]}\n")
    medians = {
        kind: {name: statistics.median(run[name] for run in runs) for name in runs[0]} for kind, runs in found.items()
    }
    sys.stdout.write(json.dumps(medians) + "\n")


if __name__ == "__main__":
    main()
