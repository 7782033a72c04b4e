"""Trim: a checkpoint folder in, the same without its vision tower out."""

from __future__ import annotations

import time
from pathlib import Path

from pinembed.errors import ModelError
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_output, check_space, staged_folder
from pinembed.reports.trimmed import ParityCheck, TrimReport
from pinembed.settings.model import TrimSettings
from pinembed.trimmed.checkpoint import Checkpoint, locate_checkpoint, read_checkpoint
from pinembed.trimmed.measure import VISION_FORMULA, VisionShape
from pinembed.trimmed.trim import compare, trim_checkpoint

IMAGE_PX = 1024


def trim(settings: TrimSettings, *, progress: Progress = SILENT) -> TrimReport:
    """Write the checkpoint without its vision tower, reloadable by stock transformers.

    FP8 weights are verified in any case: how they are read depends on the config, which is changed.

    Raises:
        ModelError: not such a checkpoint, trimmed already, damaged; or, with `verify`, the two models differ.
        OutputExistsError, OutputError: as for `staged_folder`.
        MissingExtraError: with `verify`, the extra `vlm` is missing.
    """
    began = time.perf_counter()
    check_output(settings.out, overwrite=settings.overwrite)
    folder_in = locate_checkpoint(str(settings.model))
    checkpoint = read_checkpoint(folder_in)
    kept_bytes = sum(tensor.size_bytes for tensor in checkpoint.tensors if not tensor.is_vision)
    check_space(settings.out, kept_bytes)
    with staged_folder(settings.out, kind="trimmed model", overwrite=settings.overwrite) as folder:
        progress.start("trimming", kept_bytes, "B")
        trim_checkpoint(checkpoint, folder, copied=progress.advance)
        trimmed = read_checkpoint(folder)
        parity = _verified(folder_in, folder, progress) if settings.verify or checkpoint.is_quantised else ()
    progress.finish()
    return _report(checkpoint, trimmed, settings.out, parity, time.perf_counter() - began)


def _verified(model: Path, folder: Path, progress: Progress) -> tuple[ParityCheck, ...]:
    progress.start("comparing with the full model")
    checks = compare(model, folder)
    wrong = [check for check in checks if not check.equal]
    if wrong:
        shown = ", ".join(f"{check.name} by {check.max_difference:.3g}" for check in wrong)
        raise ModelError(
            f"The trimmed model differs from {model}: {shown}; nothing was written.",
            remedy="Report this with the versions that `pinembed doctor` shows.",
        )
    return checks


def _report(
    checkpoint: Checkpoint, trimmed: Checkpoint, out: Path, parity: tuple[ParityCheck, ...], seconds: float
) -> TrimReport:
    removed = sum(tensor.parameters for tensor in checkpoint.tensors if tensor.is_vision)
    total = sum(tensor.parameters for tensor in checkpoint.tensors)
    shape = VisionShape.of(checkpoint.config["vision_config"])
    return TrimReport(
        model=str(checkpoint.folder),
        out=str(out),
        model_type=str(checkpoint.config["model_type"]),
        parameters=total,
        parameters_removed=removed,
        parameters_kept=total - removed,
        size_bytes=checkpoint.size_bytes,
        size_bytes_removed=checkpoint.size_bytes - sum(t.size_bytes for t in trimmed.tensors),
        image_px=IMAGE_PX,
        tokens_per_image=shape.tokens(IMAGE_PX),
        vision_flops_per_image=shape.flops(IMAGE_PX),
        vision_flops_formula=VISION_FORMULA,
        files=len(trimmed.shards),
        parity=parity,
        seconds=seconds,
    )
