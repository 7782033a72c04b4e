"""What spoilt pictures cost a training, and what `finetune --flags-from` gives back.

    python tests/benchmarks/audit_training.py DATA BASE --work WORK [--group label] [--text title] [--train 600]
        [--val 150] [--test 600] [--spoilt 0.2] [--in-place] [--seeds 0] [--epochs 4] [--image-px 128] [--threads 1]

Of DATA's training split a sample is taken as it is (clean), and once more with spoilt pictures that stand under
captions of other products (dirty): half of them placeholders, half recoded copies of photos of the sample. They come
beside the clean rows, as a share of all rows of dirty; with --in-place they take the places of photos, which nobody
gets back. The dirty catalogue is encoded and audited, flags of placeholders and copies are confirmed unseen, and BASE
is tuned on clean, on dirty, and on dirty without what is flagged (audited). All are judged by `evaluate` on the same
untouched test split, with paired intervals. What a stopped run left in WORK is gone on from.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from audit_damage import as_jpeg, placeholder
from finetune_peers import at_side
from PIL import Image

from pinembed.catalogue.folder import read_catalogue
from pinembed.flags.hidden import LEFT_OUT_OF_TRAINING, leave_out
from pinembed.jobs.audit import audit
from pinembed.jobs.encode import encode
from pinembed.jobs.evaluate import evaluate
from pinembed.jobs.finetune import finetune
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.quality import AuditSettings
from pinembed.settings.training import EvaluateSettings, FinetuneSettings

Row = dict[str, str]


def sampled(data: Path, most: dict[str, int]) -> list[Row]:
    """Rows of each split, at most so many."""
    with (data / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = []
    for split, count in most.items():
        part = [row for row in rows if row["split"] == split]
        kept += [part[index] for index in np.random.default_rng(0).permutation(len(part))[:count]]
    return kept


def write(folder: Path, data: Path, rows: list[Row]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for row in rows:
        place = folder / row["file_name"]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(data / row["file_name"], place)
    write_rows(folder, rows)


def write_rows(folder: Path, rows: list[Row]) -> None:
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def spoil(folder: Path, train: list[Row], share: float, *, in_place: bool) -> tuple[list[Row], set[str]]:
    """Write spoilt pictures; returns the training rows that there are then, and the names of the spoilt files."""
    rng = np.random.default_rng(1)
    order = rng.permutation(len(train)).tolist()
    count = round(share * len(train) / (1 if in_place else 1 - share))
    captions = [train[index] for index in order[:count]]
    photos = [train[index]["file_name"] for index in (order[count:] if in_place else order[::-1])]
    rows = {row["file_name"]: row for row in train}
    spoilt = set()
    for number, row in enumerate(captions):
        photo = Image.open(folder / photos[number % len(photos)]).convert("RGB")
        content = as_jpeg(photo, 80) if number % 2 else as_jpeg(placeholder(photo, number), 90)
        name = row["file_name"] if in_place else f"spoilt/{number:04d}.jpg"
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        rows[name] = {**row, "file_name": name}
        spoilt.add(name)
    return list(rows.values()), spoilt


def audited(folder: Path, table: str, base: Path, spoilt: set[str]) -> None:
    encode(EncodeSettings(images=folder, table=table, encoder=str(base), measure=True, backend="torch"))
    audit(AuditSettings(table=table, check=LEFT_OUT_OF_TRAINING, confirm=LEFT_OUT_OF_TRAINING))
    items = tuple(item for item in read_catalogue(folder).items if item.split == "train")
    kept, counts = leave_out(items, folder, table)
    gone = {item.file_name for item in items} - {item.file_name for item in kept}
    right = len(gone & spoilt)
    say(f"{len(spoilt)} of {len(items)} are spoilt; left out {len(gone)} {counts}, {right} of them spoilt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--group", default="label")
    parser.add_argument("--text", default="title")
    parser.add_argument("--train", type=int, default=600)
    parser.add_argument("--val", type=int, default=150)
    parser.add_argument("--test", type=int, default=600)
    parser.add_argument("--spoilt", type=float, default=0.2)
    parser.add_argument("--in-place", action="store_true")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--image-px", type=int)
    parser.add_argument("--threads", type=int, default=1)
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    os.environ["OMP_NUM_THREADS"] = str(wanted.threads)
    base = at_side(wanted.base, wanted.work / "base", wanted.image_px)
    rows = sampled(wanted.data, {"train": wanted.train, "val": wanted.val, "test": wanted.test})
    clean, dirty, table = wanted.work / "clean", wanted.work / "dirty", str(wanted.work / "catalog" / "pins")
    if not (wanted.work / "spoilt.txt").exists():
        for folder in (clean, dirty):
            write(folder, wanted.data, rows)
        shutil.rmtree(wanted.work / "catalog", ignore_errors=True)
        train = [row for row in rows if row["split"] == "train"]
        train, spoilt = spoil(dirty, train, wanted.spoilt, in_place=wanted.in_place)
        write_rows(dirty, train + [row for row in rows if row["split"] != "train"])
        (wanted.work / "spoilt.txt").write_text("\n".join(sorted(spoilt)))
    audited(dirty, table, base, set((wanted.work / "spoilt.txt").read_text().split("\n")))
    changes = []
    for seed in map(int, wanted.seeds.split(",")):
        made = {}
        for name, data, flags in (("clean", clean, None), ("dirty", dirty, None), ("audited", dirty, table)):
            settings = FinetuneSettings(
                data=data,
                base=str(base),
                out=wanted.work / f"{name}-{seed}",
                group=wanted.group,
                text=tuple(wanted.text.split(",")),
                epochs=wanted.epochs,
                seed=seed,
                fusion="off",
                flags_from=flags,
                overwrite=True,
            )
            made[name] = str(settings.out)
            if (settings.out / "run.json").exists():
                continue
            report = finetune(settings)
            say(f"seed {seed}, {name}: {report.train_images} images, kept {report.kept}, {report.seconds:.0f} s")
        changes.append(compare(clean, made, base, wanted.group, wanted.text))
    for name in changes[0]:
        values = [change[name] for change in changes]
        told = f"{min(values):+.4f} to {max(values):+.4f}"
        say(f"of {len(values)} seeds, audited minus {name:6}: mean mAP {np.mean(values):+.4f} ({told})")


def compare(clean: Path, made: dict[str, str], base: Path, group: str, text: str) -> dict[str, float]:
    """Tells how the audited encoder differs from each other one; returns the differences of mean mAP."""
    rivals = {"dirty": made["dirty"], "clean": made["clean"], "base": str(base)}
    asked = EvaluateSettings(
        data=clean, encoder=made["audited"], against=tuple(rivals.values()), group=group, text=tuple(text.split(","))
    )
    changes = {}
    for name, found in zip(rivals, evaluate(asked).comparisons, strict=True):
        change = found.verdict.mean_map
        say(f"audited minus {name:6}: mean mAP {change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f})")
        changes[name] = change.value
    return changes


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
