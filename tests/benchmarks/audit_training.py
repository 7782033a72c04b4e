"""What spoilt pictures cost a training, and what `finetune --flags-from` gives back.

    python tests/benchmarks/audit_training.py DATA BASE --work WORK [--group label] [--text title] [--train 600]
        [--val 150] [--test 600] [--spoilt 0.2] [--seeds 0] [--epochs 4] [--image-px 128] [--threads 1]

Of DATA's training split a sample is taken as it is (clean), and once more with a share of its pictures exchanged under
their captions: half of them for placeholders, half for recoded copies of others (dirty). The dirty catalogue is encoded
and audited, flags of placeholders and copies are confirmed unseen, and BASE is tuned on clean, on dirty, and on dirty
without what is flagged (audited). All are judged by `evaluate` on the same untouched test split, with paired intervals.
What a stopped run left in WORK is gone on from.
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


def write(folder: Path, data: Path, rows: list[Row]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    for row in rows:
        place = folder / row["file_name"]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(data / row["file_name"], place)
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def spoil(folder: Path, train: list[Row], share: float) -> set[str]:
    """Exchange pictures; returns their files."""
    rng = np.random.default_rng(1)
    order = rng.permutation(len(train)).tolist()
    chosen, whole = order[: round(share * len(train))], order[round(share * len(train)) :]
    for number, index in enumerate(chosen):
        place = folder / train[index]["file_name"]
        if number % 2:
            other = Image.open(folder / train[whole[number % len(whole)]]["file_name"]).convert("RGB")
            place.write_bytes(as_jpeg(other, 80))
        else:
            place.write_bytes(as_jpeg(placeholder(Image.open(place).convert("RGB"), number), 90))
    return {train[index]["file_name"] for index in chosen}


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
        spoilt = spoil(dirty, [row for row in rows if row["split"] == "train"], wanted.spoilt)
        (wanted.work / "spoilt.txt").write_text("\n".join(sorted(spoilt)))
    audited(dirty, table, base, set((wanted.work / "spoilt.txt").read_text().split("\n")))
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
        compare(clean, made, base, wanted.group, wanted.text)


def compare(clean: Path, made: dict[str, str], base: Path, group: str, text: str) -> None:
    against = (made["dirty"], made["clean"], str(base))
    asked = EvaluateSettings(
        data=clean, encoder=made["audited"], against=against, group=group, text=tuple(text.split(","))
    )
    for name, found in zip(("dirty", "clean", "base"), evaluate(asked).comparisons, strict=True):
        change = found.verdict.mean_map
        say(f"audited minus {name:6}: mean mAP {change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f})")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
