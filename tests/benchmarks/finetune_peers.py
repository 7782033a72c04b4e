"""`finetune` beside an expert's plain script, in one table: `python finetune_peers.py BASE WORK FOLDER...`.

    [--image-px 128] [--seeds 0] [--rates 3e-4,1e-3] [--epochs 20]

FOLDERs come from finetune_sets.py and bear the names of its sets. Each seed of each set is tuned by plain_finetune.py
and by `pinembed finetune`, and all are measured on the test split by `pinembed evaluate`, texts being the first column
alone. A smaller side of a convolutional BASE makes all of it faster.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from finetune_sets import TEXTS

PINEMBED = [sys.executable, "-m", "pinembed"]
PLAIN = [sys.executable, str(Path(__file__).with_name("plain_finetune.py"))]
COLUMNS = ("image > image", "5-NN", "zero-shot", "text > image", "image > text")
KEPT_THE_BASE = 4


def at_side(base: Path, folder: Path, image_px: int | None) -> Path:
    """A copy of the base with another side."""
    if image_px is None:
        return base
    shutil.copytree(base, folder, dirs_exist_ok=True)
    settings = json.loads((base / "open_clip_config.json").read_text())
    settings["model_cfg"]["vision_cfg"]["image_size"] = image_px
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    return folder


def timed(command: list[str]) -> float:
    """Seconds that a tuning takes."""
    started = time.monotonic()
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, env=dict(os.environ), check=False)
    if ended.returncode not in (0, KEPT_THE_BASE):
        raise RuntimeError(f"{' '.join(command)} ended with exit code {ended.returncode}")
    return time.monotonic() - started


def figures(data: Path, encoder: Path) -> list[float]:
    """Of the test split, in the order of COLUMNS."""
    text = TEXTS[data.name].split(",")[0]
    command = [
        *PINEMBED,
        "evaluate",
        str(data),
        "--encoder",
        str(encoder),
        "--group",
        "group",
        "--text",
        text,
        "--json",
    ]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    maps = [found[name]["map"] for name in ("image_to_image", "text_to_image", "image_to_text")]
    return [maps[0], found["knn5"]["accuracy"], found["label_zero_shot"]["accuracy"], *maps[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--image-px", type=int)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--rates", default="3e-4,1e-3")
    parser.add_argument("--epochs", default="20", help="of the plain script")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    base = at_side(given.base, given.work / "base", given.image_px)
    print("set", "encoder", *COLUMNS, "seconds", sep=" | ")  # noqa: T201
    for data in given.folders:
        rows = [("base", figures(data, base), 0.0)]
        for seed in given.seeds.split(","):
            common = ["--text", TEXTS[data.name], "--group", "group", "--seed", seed]
            plain, tuned = (given.work / f"{data.name}-{kind}-{seed}" for kind in ("plain", "pinembed"))
            plainly = [str(data), str(base), str(plain), *common, "--rates", given.rates, "--epochs", given.epochs]
            ours = ["finetune", str(data), "--base", str(base), "--out", str(tuned), *common, "--fusion", "off"]
            for kind, out, command in (("plain", plain, [*PLAIN, *plainly]), ("pinembed", tuned, [*PINEMBED, *ours])):
                seconds = timed(command)
                rows.append((f"{kind}, seed {seed}", figures(data, out), seconds))
        for name, values, seconds in rows:
            print(data.name, name, *(f"{value:.3f}" for value in values), f"{seconds:.0f}", sep=" | ", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
