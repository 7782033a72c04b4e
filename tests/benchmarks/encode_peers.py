"""Images by second of pinembed and of its peers: one seeded ViT-B-32, the same files, one machine, interleaved runs.

    python tests/benchmarks/encode_peers.py --work WORK [--minutes 12]

WORK holds what is made once: the weights in every peer's format, the pictures, and the peers' environments:

    python3.11 -m venv WORK/loops
    WORK/loops/bin/pip install torch==2.15.0 torchvision==0.29.2 open_clip_torch==3.3.0 \
        sentence-transformers==6.2.0 fastembed==0.9.0
    python3.11 -m venv WORK/clip_retrieval
    WORK/clip_retrieval/bin/pip install "setuptools<80" torch==2.15.0 torchvision==0.29.2 clip-retrieval==2.45.0

A peer whose environment is not there is left out with a sentence. Each run is a fresh process, measured with everything
that it starts. Warm runs find files and weights in the page cache, cold runs do not. pinembed finds its choice of
backend, as every run after the first does; how the first one fares is a line of its own. Rounds go on until the next
one would not fit into the minutes; two in three are warm. The tables are Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from encode_photos import make_photos
from process_tree import Cost, run_measured

HERE = Path(__file__).parent
SIZES = {"640x480": ((640, 480), 320), "4000x3000": ((4000, 3000), 40)}
FIRST = "pinembed, first run"  # nothing was measured and converted before
LIBRARIES = ("open_clip loop", "sentence-transformers", "fastembed")
WARM = (("640x480", "warm"), ("4000x3000", "warm"))
COLD = (("640x480", "cold"), ("4000x3000", "cold"))
CASES = (*WARM, *COLD)
HEADS = (
    "contender",
    "img/s, whole command",
    "img/s, model loaded",
    "img/CPU-s",
    "peak MB",
    "pinembed is faster by",
    "runs",
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of one contender.

    Attributes:
        images: embedded.
        cost: of the whole command.
        loaded_s: seconds from the first file to durable output.
        note: what computed, where there is a choice.
    """

    images: int
    cost: Cost
    loaded_s: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every run needs.

    Attributes:
        work: folder of weights, pictures and environments.
        threads: that each contender may use.
    """

    work: Path
    threads: int

    @property
    def weights(self) -> Path:
        return self.work / "weights"

    def contenders(self) -> Iterator[str]:
        """Those whose environment is there; pinembed is the first."""
        yield "pinembed"
        for folder, names in (("loops", LIBRARIES), ("clip_retrieval", ("clip-retrieval",))):
            if (self.work / folder / "bin/python").exists():
                yield from names
            else:
                sys.stderr.write(f"{', '.join(names)}: left out, {self.work / folder} is not there (see --help)\n")

    def run(self, name: str, images: Path, *, is_cold: bool) -> Run:
        """One run, in a fresh process, with its output thrown away."""
        if is_cold:
            forget_files(images, self.weights, self.work / "cache")
        with tempfile.TemporaryDirectory(prefix="pinembed-peers-") as made:
            out = Path(made)
            cache = out / "cache" if name == FIRST else self.work / "cache"
            cost = run_measured(self.command(name, images, out / "out"), self.environment(cache), out)
            if cost.exit_code:
                raise SystemExit(f"{name} failed:\n{cost.stderr[-2000:]}")
            return finished(name, cost, out / "out")

    def command(self, name: str, images: Path, out: Path) -> list[str]:
        if name in {"pinembed", FIRST}:
            encoder = str(self.weights / "open_clip")
            words = [sys.executable, "-m", "pinembed", "encode", str(images), "--table", str(out / "pins")]
            return [*words, "--encoder", encoder, "--json", "--quiet"]
        if name == "clip-retrieval":
            program = str(self.work / "clip_retrieval/bin/clip-retrieval")
            model = f"open_clip:ViT-B-32/{(self.weights / 'w.pt').absolute()}"
            words = [program, "inference", "--input_dataset", str(images), "--output_folder", str(out)]
            words += ["--clip_model", model, "--enable_text", "False", "--enable_metadata", "False"]
            return [*words, "--num_prepro_workers", str(self.threads), "--batch_size", "32"]
        out.mkdir()
        python = str(self.work / "loops/bin/python")
        words = [python, str(HERE / "encode_contender.py"), name, str(images), str(self.weights), str(out)]
        return [*words, str(self.threads)]

    def environment(self, cache: Path) -> dict[str, str]:
        return {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": str(self.threads),
            "TOKENIZERS_PARALLELISM": "false",
            "PINEMBED_CACHE": str(cache),
        }


def finished(name: str, cost: Cost, out: Path) -> Run:
    """What a run says of itself."""
    if name in {"pinembed", FIRST}:
        report = json.loads(cost.stdout)
        seconds = report["encoded"] / report["images_per_s"]
        return Run(images=report["encoded"], cost=cost, loaded_s=seconds, note=report["backend"])
    if name == "clip-retrieval":
        stats = json.loads((out / "stats/0.json").read_text())
        return Run(images=stats["sample_count"], cost=cost, loaded_s=stats["end_time"] - stats["start_time"])
    found = json.loads(cost.stdout.strip().splitlines()[-1])
    return Run(images=found["images"], cost=cost, loaded_s=found["seconds"])


def forget_files(*folders: Path) -> None:
    """Take files out of the page cache, so that they come from the disk again."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)


def rounds(bench: Bench, minutes: float) -> dict[tuple[str, str], dict[str, list[Run]]]:
    """Every contender after the other, case by case, again and again."""
    ends_s = time.monotonic() + 60 * minutes
    contenders = list(bench.contenders())
    folders = {
        size: make_photos(bench.work / f"photos-{size}", count=count, size=pixels)
        for size, (pixels, count) in SIZES.items()
    }
    bench.run("pinembed", folders["640x480"], is_cold=False)  # so that the warm runs find its choice
    found: dict[tuple[str, str], dict[str, list[Run]]] = {
        case: {name: [] for name in (*contenders, *((FIRST,) if case in COLD else ()))} for case in CASES
    }
    took_s: dict[tuple[str, str], float] = {}
    for case in itertools.cycle((*WARM, *COLD, *WARM, *WARM)):
        size, state = case
        begun_s = time.monotonic()
        if len(took_s) == len(CASES) and begun_s + took_s[case] > ends_s:
            return found
        for name in found[case]:
            run = bench.run(name, folders[size], is_cold=state == "cold")
            found[case][name].append(run)
            told = f"{run.images / run.cost.seconds:7.1f} img/s {run.cost.resident_mb:6.0f} MB {run.note}"
            sys.stderr.write(f"{size} {state} {name:22} {told}\n")
        took_s[case] = time.monotonic() - begun_s
    raise AssertionError("the cycle has no end")


def table(case: tuple[str, str], found: dict[str, list[Run]]) -> str:
    """Medians with the least and the greatest; the ratio is of the whole commands, round by round."""
    size, state = case
    lines = [f"### {SIZES[size][1]} JPEGs of {size}, {state}", "", "| " + " | ".join(HEADS) + " |"]
    lines.append("|" + " --- |" * len(HEADS))
    ours = found["pinembed"]
    for name, runs in found.items():
        ratios = [their.cost.seconds / our.cost.seconds for our, their in zip(ours, runs, strict=True)]
        cells = (
            name,
            spread([run.images / run.cost.seconds for run in runs]),
            spread([run.images / run.loaded_s for run in runs]),
            f"{statistics.median(run.images / run.cost.cpu_s for run in runs):.1f}",
            f"{max(run.cost.resident_mb for run in runs):.0f}",
            "" if name in {"pinembed", FIRST} else spread(ratios, 2),
            str(len(runs)),
        )
        lines.append("| " + " | ".join(cells) + " |")
    parts = max((run.cost for run in ours), key=lambda cost: cost.resident_mb).process_mb
    lines += ["", f"pinembed computed with {', '.join(sorted({run.note for run in ours}))}; its peak, in MB: "]
    lines[-1] += ", ".join(f"{name} {megabytes:.0f}" for name, megabytes in parts) + "."
    return "\n".join(lines) + "\n"


def spread(values: list[float], digits: int = 1) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    bench = Bench(work=arguments.work.absolute(), threads=arguments.threads)
    if not bench.weights.is_dir():
        partial = bench.work / ".weights"
        shutil.rmtree(partial, ignore_errors=True)
        subprocess.run([sys.executable, str(HERE / "encode_weights.py"), str(partial)], check=True)
        partial.rename(bench.weights)
    found = rounds(bench, arguments.minutes)
    for case in CASES:
        if found[case]["pinembed"]:
            sys.stdout.write(table(case, found[case]) + "\n")


if __name__ == "__main__":
    main()
