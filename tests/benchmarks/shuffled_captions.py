"""How often `finetune` hands the base back where captions tell nothing: `python shuffled_captions.py DATA ENCODER`.

    [--group COLUMN] [--text COLUMN,...] [--first 0] [--seeds 20] [--images 300] [--epochs 2]

The texts of DATA are shuffled between the images, over all splits, with another seed each time; some images of each
split take part. Groups stay as they are, so that only what texts say of images is wrong. The base has to be kept every
time, which the exit code tells.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.split_words import TEST, TRAIN, VALIDATION
from pinembed.catalogue.splits import decide_splits
from pinembed.errors import GateError


def run_finetune(folder: Path, base: str, *, text: list[str], epochs: int, seed: int) -> tuple[int, str]:
    """The complete command: its exit code, and what it gives as the reason."""
    options = ["--base", base, "--out", str(folder / "out"), "--text", ",".join(f"text_{name}" for name in text)]
    options += ["--group", "product", "--epochs", str(epochs), "--seed", str(seed), "--json"]
    command = [sys.executable, "-m", "pinembed", "finetune", str(folder / "data"), *options]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if ended.returncode not in (0, GateError.exit_code):
        raise RuntimeError(f"finetune ended with exit code {ended.returncode}")
    return ended.returncode, json.loads(ended.stdout)["reason"]


def write_shuffled(source: Path, folder: Path, *, group: str, text: list[str], images: int, seed: int) -> None:
    """A DATA folder of links to the images, which have exchanged their texts."""
    rng = random.Random(seed)
    splits = decide_splits(read_catalogue(source), group=group).items
    chosen = {
        name: rng.sample(list(splits[name]), min(images if name == TRAIN else images // 2, len(splits[name])))
        for name in (TRAIN, VALIDATION, TEST)
    }
    sayings = [[item.fields[name] for name in text] for items in chosen.values() for item in items]
    rng.shuffle(sayings)
    folder.mkdir()
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "split", "product", *(f"text_{name}" for name in text)])
        for split, items in chosen.items():
            for item in items:
                name = f"{split}-{len(sayings)}{item.path.suffix}"
                (folder / name).symlink_to(item.path.resolve())
                writer.writerow([name, split, item.fields[group], *sayings.pop()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("--group", default="label")
    parser.add_argument("--text", default="label,description")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=2)
    asked = parser.parse_args()
    text = asked.text.split(",")
    kept = 0
    for seed in range(asked.first, asked.first + asked.seeds):
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            write_shuffled(asked.data, folder / "data", group=asked.group, text=text, images=asked.images, seed=seed)
            started_s = time.monotonic()
            code, reason = run_finetune(folder, asked.encoder, text=text, epochs=asked.epochs, seed=seed)
        kept += code == GateError.exit_code
        row = {"seed": seed, "exit_code": code, "reason": reason, "seconds": round(time.monotonic() - started_s)}
        print(json.dumps(row), flush=True)  # noqa: T201
    print(f"the base was kept {kept} of {asked.seeds} times")  # noqa: T201


if __name__ == "__main__":
    main()
