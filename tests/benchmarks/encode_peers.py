"""Images by second of pinembed and of its peers: same weights, same files, same machine, interleaved runs.

    python tests/benchmarks/encode_peers.py IMAGES --weights WEIGHTS [--peers-python PYTHON] [--repeats 3]

WEIGHTS is made by encode_weights.py. PYTHON is the interpreter of an environment of its own that holds
sentence-transformers and fastembed; without it they are left out. Each run is a fresh process. The files are read once
before, so that every contender finds them in memory; pinembed runs once before, so that its backend is chosen.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CONTENDER = Path(__file__).parent / "encode_contender.py"
PEERS = ("sentence-transformers", "fastembed")


def run(name: str, python: str, arguments: argparse.Namespace) -> dict[str, float]:
    """One process; its JSON object."""
    threads = str(arguments.threads)
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory(prefix="pinembed-peers-") as out:
        command = [python, str(CONTENDER), name, str(arguments.images), str(arguments.weights), out, threads]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **offline}, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--peers-python")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    contenders = [("pinembed", sys.executable), ("open_clip", sys.executable)]
    if arguments.peers_python:
        contenders += [(name, arguments.peers_python) for name in PEERS]
    for file in arguments.images.iterdir():
        file.read_bytes()
    run("pinembed", sys.executable, arguments)
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name, _ in contenders}
    for _ in range(arguments.repeats):
        for name, python in contenders:
            rounds[name].append(run(name, python, arguments))
    show(rounds)


def show(rounds: dict[str, list[dict[str, float]]]) -> None:
    """Medians with the least and the greatest, and pinembed's ratio round by round."""
    ours = [found["images"] / found["seconds"] for found in rounds["pinembed"]]
    heads = ("contender", "img/s (least-greatest)", "img/CPU-s", "resident MB", "pinembed is faster by")
    sys.stdout.write(f"{heads[0]:24}{heads[1]:>24}{heads[2]:>12}{heads[3]:>14}{heads[4]:>26}\n")
    for name, found in rounds.items():
        speeds = [one["images"] / one["seconds"] for one in found]
        per_cpu = statistics.median(one["images"] / one["cpu_s"] for one in found)
        memory = statistics.median(one["resident_mb"] for one in found)
        ratios = [our / speed for our, speed in zip(ours, speeds, strict=True)]
        speed = f"{statistics.median(speeds):.1f} ({min(speeds):.1f}-{max(speeds):.1f})"
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        sys.stdout.write(f"{name:24}{speed:>24}{per_cpu:>12.1f}{memory:>14.0f}{ratio:>26}\n")
    sys.stdout.write(f"pinembed computed with: {rounds['pinembed'][0]['backend']}\n")


if __name__ == "__main__":
    main()
