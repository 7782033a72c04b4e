"""`finetune` beside other trainers, in one table: `python finetune_peers.py BASE WORK FOLDER...`.

    [--arms base,plain,open_clip,pinembed] [--seeds 0,1,2] [--jobs 1] [--image-px 128] [--rates 3e-4,1e-3]
    [--epochs 20]

FOLDERs come from finetune_sets.py and bear the names of its sets. `plain` is plain_finetune.py, an expert's script;
`open_clip` is open_clip's own trainer (it wants pandas and webdataset) on a CSV of whole captions; both choose rate and
epoch on val. `pinembed` is `pinembed finetune` at its defaults, `pinembed:epochs=12,phrasings=1` the same with parts of
its recipe changed. Each seed of each arm is measured on test, texts being the first column alone. Every result is a
line of WORK/results.jsonl, and what is there is not run again. A smaller side of a convolutional BASE makes all of it
faster.
"""

from __future__ import annotations

import argparse
import ast
import csv
import dataclasses
import json
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from finetune_figures import COLUMNS, Yardstick
from finetune_sets import TEXTS
from safetensors.torch import save_file

from pinembed.encoder.encoder import load_encoder
from pinembed.jobs import finetune as finetune_job
from pinembed.machine import choose_device
from pinembed.settings.training import FinetuneSettings
from pinembed.training.optimiser import Rates
from pinembed.training.recipe import Recipe, make_recipe

PLAIN = [sys.executable, str(Path(__file__).with_name("plain_finetune.py"))]
OPEN_CLIP = [sys.executable, "-m", "open_clip_train.main"]
RESULTS = "results.jsonl"
RATE_FIELDS = {field.name for field in dataclasses.fields(Rates)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One tuning."""

    arm: str
    data: Path
    seed: int
    base: Path
    work: Path
    rates: str
    epochs: int

    @property
    def key(self) -> tuple[str, str, int]:
        return self.data.name, self.arm, self.seed


def at_side(base: Path, folder: Path, image_px: int | None) -> Path:
    """A copy of the base with another side."""
    if image_px is None:
        return base
    shutil.copytree(base, folder, dirs_exist_ok=True)
    settings = json.loads((base / "open_clip_config.json").read_text())
    settings["model_cfg"]["vision_cfg"]["image_size"] = image_px
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    return folder


def changed(recipe: Recipe, changes: str) -> Recipe:
    """The recipe with `field=value,...`; fields of the rates, too."""
    given = {name: ast.literal_eval(value) for name, _, value in (part.partition("=") for part in changes.split(","))}
    rates = dataclasses.replace(recipe.rates, **{name: given.pop(name) for name in RATE_FIELDS & given.keys()})
    return dataclasses.replace(recipe, rates=rates, **given)


def by_pinembed(job: Job, out: Path) -> dict[str, object]:
    changes = job.arm.partition(":")[2]

    def recipe_of(*args, **kwargs) -> Recipe:
        recipe = make_recipe(*args, **kwargs)
        return changed(recipe, changes) if changes else recipe

    finetune_job.make_recipe = recipe_of
    report = finetune_job.finetune(
        FinetuneSettings(
            data=job.data,
            base=str(job.base),
            out=out,
            text=tuple(TEXTS[job.data.name].split(",")),
            group="group",
            seed=job.seed,
            fusion="off",
        )
    )
    return {"epochs": len(report.epochs) - 1, "best_epoch": report.best_epoch, "alpha": report.alpha}


def by_plain(job: Job, out: Path) -> dict[str, object]:
    given = ["--text", TEXTS[job.data.name], "--group", "group", "--seed", str(job.seed), "--rates", job.rates]
    command = [*PLAIN, str(job.data), str(job.base), str(out), *given, "--epochs", str(job.epochs)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return {}


def by_open_clip(job: Job, out: Path) -> dict[str, object]:
    """Its trainer with its own schedule, once for each rate; the best epoch of both on val is kept."""
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / "train.csv"
        with (job.data / "metadata.csv").open(newline="", encoding="utf-8") as file, table.open("w") as written:
            writer = csv.writer(written)
            writer.writerow(["filepath", "title"])
            for row in csv.DictReader(file):
                if row["split"] == "train":
                    said = ". ".join(row[name] for name in TEXTS[job.data.name].split(",") if row[name])
                    writer.writerow([str(job.data / row["file_name"]), said])
        encoder = load_encoder(str(job.base), device=choose_device("auto"))
        yardstick = Yardstick(job.data, encoder.preprocessing)
        best = (-1.0, {})
        for rate in job.rates.split(","):
            logs = Path(scratch) / rate
            command = [
                *OPEN_CLIP,
                "--model",
                f"local-dir:{job.base}",
                "--train-data",
                str(table),
                "--dataset-type",
                "csv",
            ]
            command += ["--csv-separator", ",", "--batch-size", "64", "--lr", rate, "--wd", "0.1", "--workers", "1"]
            command += ["--epochs", str(job.epochs), "--warmup", "10", "--seed", str(job.seed), "--logs", str(logs)]
            command += ["--name", "run", "--precision", "fp32", "--grad-clip-norm", "1.0"]
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            for checkpoint in sorted((logs / "run" / "checkpoints").glob("epoch_*.pt")):
                weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
                encoder.model.load_state_dict(weights)
                found = yardstick.figures(encoder)["val"]
                best = max(best, (found[0] + found[1], weights), key=lambda pair: pair[0])
    out.mkdir()
    shutil.copy(job.base / "open_clip_config.json", out)
    save_file({name: tensor.contiguous() for name, tensor in best[1].items()}, out / "open_clip_model.safetensors")
    return {}


TRAINERS = {"plain": by_plain, "open_clip": by_open_clip, "pinembed": by_pinembed}


def tuned(job: Job) -> dict[str, object]:
    """A line of the results; the encoder stays in WORK until it is measured."""
    started = time.monotonic()
    out = job.work / "-".join(map(str, job.key)).replace(":", "_").replace(",", "_")
    shutil.rmtree(out, ignore_errors=True)
    told = {} if job.arm == "base" else TRAINERS[job.arm.partition(":")[0]](job, out)
    seconds = time.monotonic() - started
    encoder = load_encoder(str(out if job.arm != "base" else job.base), device=choose_device("auto"))
    figures = Yardstick(job.data, encoder.preprocessing).figures(encoder)
    shutil.rmtree(out, ignore_errors=True)
    return {"set": job.data.name, "arm": job.arm, "seed": job.seed, "seconds": seconds, **told, **figures}


def attempted(job: Job) -> dict[str, object]:
    """The same; a failure is a line too, so that the others go on."""
    try:
        return tuned(job)
    except Exception as error:  # noqa: BLE001
        return {"set": job.data.name, "arm": job.arm, "seed": job.seed, "error": repr(error)}


def results_of(work: Path) -> Iterator[dict]:
    if (work / RESULTS).exists():
        yield from map(json.loads, (work / RESULTS).read_text().splitlines())


def table_of(work: Path) -> None:
    """Mean over seeds, with the largest distance of a seed from it."""
    found = defaultdict(list)
    for line in results_of(work):
        if "error" not in line:
            found[line["set"], line["arm"]].append(line)
    print("set", "encoder", *COLUMNS, "seconds", sep=" | ")  # noqa: T201
    for (name, arm), lines in sorted(found.items()):
        columns = torch.tensor([line["test"] for line in lines])
        mean, far = columns.mean(0), (columns - columns.mean(0)).abs().amax(0)
        cells = [f"{value:.3f} ± {spread:.3f}" for value, spread in zip(mean.tolist(), far.tolist(), strict=True)]
        seconds = sum(line["seconds"] for line in lines) / len(lines)
        print(name, f"{arm} ({len(lines)})", *cells, f"{seconds:.0f}", sep=" | ")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--arms", nargs="+", default=["base", "plain", "open_clip", "pinembed"])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=1, help="tunings at a time")
    parser.add_argument("--image-px", type=int)
    parser.add_argument("--rates", default="3e-4,1e-3")
    parser.add_argument("--epochs", type=int, default=20, help="of plain and open_clip")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    base = at_side(given.base, given.work / "base", given.image_px)
    done = {(line["set"], line["arm"], line["seed"]) for line in results_of(given.work) if "error" not in line}
    jobs = [
        Job(arm=arm, data=data, seed=seed, base=base, work=given.work, rates=given.rates, epochs=given.epochs)
        for arm in given.arms
        for seed in ([0] if arm == "base" else map(int, given.seeds.split(",")))
        for data in given.folders
    ]
    context = multiprocessing.get_context("spawn")
    with context.Pool(given.jobs) as pool, (given.work / RESULTS).open("a") as results:
        for line in pool.imap_unordered(attempted, [job for job in jobs if job.key not in done]):
            results.write(json.dumps(line) + "\n")
            results.flush()
    table_of(given.work)


if __name__ == "__main__":
    main()
