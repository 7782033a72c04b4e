"""`pinembed trim`: take the vision tower out of a checkpoint."""

from __future__ import annotations

from pinembed.cli.console import Console
from pinembed.settings.model import TrimSettings


def run(settings: TrimSettings, console: Console) -> None:
    """Take the vision tower out of a Qwen3-VL or Qwen3.5 checkpoint; what is left reads stored embeddings."""
    from pinembed.jobs.trim import trim

    report = trim(settings, progress=console.progress)
    removed = f"{report.parameters_removed:,} ({report.parameters_removed / report.parameters:.0%})"
    weights = (report.size_bytes, report.size_bytes_removed, report.size_bytes - report.size_bytes_removed)
    console.table(
        f"{report.model} -> {report.out}",
        ["", "before", "removed", "kept"],
        [
            ["parameters", f"{report.parameters:,}", removed, f"{report.parameters_kept:,}"],
            ["weights", *map(_size, weights)],
            [f"vision FLOPs, {report.image_px} px image", *[f"{report.vision_flops_per_image:.3g}"] * 2, "0"],
        ],
    )
    for check in report.parity:
        told = "the same text" if check.name == "beams" else f"logits differ by at most {check.max_difference:.2g}"
        console.say(f"verified {check.name}: {told}")
    console.say(
        f"An image of {report.image_px} px took {report.tokens_per_image:,} tokens; an item takes the projector's K.\n"
        f"Next: pinembed align DATA --model {report.out} --source SOURCE --out OUT"
    )
    console.report(report)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.2f} MB"
