"""What an expert writes in an hour with open_clip: `python plain_finetune.py DATA BASE OUT --text A,B --group COLUMN`.

    [--epochs 20] [--rates 3e-4,1e-3] [--seed 0]

DATA is an ImageFolder whose metadata.csv has a split column. Each image is shown with one of its columns at random or
with all of them, in mild random crops, to CLIP's own loss; AdamW with a cosine. The rate, and the epoch, are those with
the best mean of image-to-image and text-to-image mAP on val. OUT is a folder that open_clip and `pinembed evaluate`
load. The yardstick for `pinembed finetune`, and nothing of pinembed is used here.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import random
import shutil
import time
from pathlib import Path

import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import v2

BATCH = 64
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def picture(path: Path, side: int) -> Image.Image:
    image = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image).convert("RGB")
    return v2.CenterCrop(side)(v2.Resize(side, v2.InterpolationMode.BICUBIC)(image))


def mean_average_precision(scores: torch.Tensor, is_right: torch.Tensor) -> float:
    order = scores.argsort(dim=1, descending=True)
    right = is_right.gather(1, order).float()
    precision = right.cumsum(1) / torch.arange(1, right.shape[1] + 1)
    has_any = right.any(dim=1)
    return float(((precision * right).sum(1)[has_any] / right.sum(1)[has_any]).mean())


@torch.no_grad()
def validated(model, tokenizer, pixels, rows, columns, group, normalise) -> float:
    model.eval()
    images = torch.cat(
        [model.encode_image(normalise(pixels[i : i + 128]), normalize=True).cpu() for i in range(0, len(rows), 128)]
    )
    texts = model.encode_text(tokenizer([caption(row, columns) for row in rows]).to(DEVICE), normalize=True).cpu()
    names = {row[group] for row in rows}
    code = {name: number for number, name in enumerate(sorted(names))}
    groups = torch.tensor([code[row[group]] for row in rows])
    same = groups[:, None] == groups[None]
    others = images @ images.T - 9 * torch.eye(len(rows))
    return (
        mean_average_precision(others, same & ~torch.eye(len(rows), dtype=torch.bool))
        + mean_average_precision(texts @ images.T, same)
    ) / 2


def caption(row: dict[str, str], columns: list[str]) -> str:
    return ". ".join(row[name] for name in columns if row[name])


def phrasing(row: dict[str, str], columns: list[str]) -> str:
    said = [row[name] for name in columns if row[name]]
    return caption(row, columns) if random.random() < 0.5 else random.choice(said)


def train(base, parts, columns, group, *, rate, epochs, seed, log):
    random.seed(seed)
    torch.manual_seed(seed)
    model, tokenizer, normalise = copy.deepcopy(base[0]), *base[1:]
    (pixels, rows), (val_pixels, val_rows) = parts["train"], parts["val"]
    augment = v2.Compose([
        v2.RandomResizedCrop(pixels.shape[-1], scale=(0.6, 1.0), antialias=True),
        v2.RandomHorizontalFlip(),
    ])  # fmt: skip
    matrices = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
                                  lr=rate, betas=(0.9, 0.98), eps=1e-6)  # fmt: skip
    loss_of = open_clip.ClipLoss()
    batches = max(1, len(rows) // BATCH)
    steps, step, best = epochs * batches, 0, (-1.0, None)
    for epoch in range(epochs):
        model.train()
        for chosen in torch.randperm(len(rows)).chunk(batches):
            share = min((step + 1) / (0.1 * steps), 0.5 * (1 + math.cos(math.pi * step / steps)))
            for parameters in optimiser.param_groups:
                parameters["lr"] = rate * share
            views = torch.stack([augment(image) for image in pixels[chosen]])
            texts = tokenizer([phrasing(rows[index], columns) for index in chosen.tolist()]).to(DEVICE)
            image, text, scale = model(normalise(views), texts)
            optimiser.zero_grad()
            loss_of(image, text, scale).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
            step += 1
        found = validated(model, tokenizer, val_pixels, val_rows, columns, group, normalise)
        log(f"rate {rate:g} epoch {epoch + 1}: val {found:.3f}")
        if found > best[0]:
            best = (found, copy.deepcopy(model.state_dict()))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "base", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--text", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rates", default="3e-4,1e-3")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = time.monotonic()
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{given.base}", device=DEVICE)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{given.base}")
    settings = json.loads((given.base / "open_clip_config.json").read_text())
    mean, std = (
        torch.tensor(settings["preprocess_cfg"][name], device=DEVICE).view(3, 1, 1) for name in ("mean", "std")
    )
    side = settings["model_cfg"]["vision_cfg"]["image_size"]
    with (given.data / "metadata.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    parts = {}
    for split in ("train", "val"):
        rows = [row for row in table if row["split"] == split]
        pixels = [v2.functional.pil_to_tensor(picture(given.data / row["file_name"], side)) for row in rows]
        parts[split] = torch.stack(pixels), rows
    base = (model, tokenizer, lambda batch: (batch.to(DEVICE) / 255 - mean) / std)
    columns = given.text.split(",")
    log = lambda line: print(line, flush=True)  # noqa: E731, T201
    runs = [train(base, parts, columns, given.group, rate=float(rate), epochs=given.epochs, seed=given.seed, log=log)
            for rate in given.rates.split(",")]  # fmt: skip
    _, weights = max(runs, key=lambda run: run[0])
    given.out.mkdir(parents=True)
    shutil.copy(given.base / "open_clip_config.json", given.out)
    save_file(
        {name: tensor.cpu().contiguous() for name, tensor in weights.items()}, given.out / "open_clip_model.safetensors"
    )
    log(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
