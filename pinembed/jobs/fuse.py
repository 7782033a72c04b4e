"""The fuse job: metadata in the vectors of an encoder that is good as it is; its weights are not touched."""

from __future__ import annotations

import json
import time

from pinembed.catalogue.split_words import VALIDATION
from pinembed.encoder.encoder import load_encoder
from pinembed.encoder.fusion import write_fusion
from pinembed.encoder.locate import written_spec
from pinembed.encoder.reload import check_written
from pinembed.encoder.save import copy_encoder
from pinembed.machine import choose_device
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import MARKER, check_output, check_space, staged_folder
from pinembed.reports.finetune import FuseReport
from pinembed.settings.training import FuseSettings
from pinembed.stored import plain
from pinembed.training.datasets import fit_texts, load_split, read_splits, sample_of
from pinembed.training.gate import FusionStep, open_gate, parse_fusion_options

REPORT_NAME = "fuse.json"


def fuse(settings: FuseSettings, *, progress: Progress = SILENT) -> FuseReport:
    """Choose, or judge, what metadata belongs into an item's vector and write the encoder with it.

    The val split chooses, the test split has the last word, as in `finetune`. A fusion that the encoder has already is
    not looked at. Where nothing is to be fused, the folder holds the encoder for items that are their images alone.

    Raises:
        DataError: the data cannot be used.
        UsageError: an unknown column or device, or weights that cannot be meant.
        EncoderError: the encoder cannot be loaded.
        OutputExistsError: `out` holds something.
    """
    started_s = time.monotonic()
    check_output(settings.out, overwrite=settings.overwrite)
    texts = read_splits(settings.data, text=settings.text, group=settings.group, progress=progress)
    fusion_options = parse_fusion_options(settings.fusion, texts)
    loaded = load_encoder(settings.encoder, device=choose_device(settings.device))
    loaded.check_towers()
    check_space(settings.out, loaded.size_bytes)
    texts = fit_texts(texts, [loaded], progress)
    val = load_split(texts.val, texts, loaded.preprocessing, split=VALIDATION, progress=progress)
    gate = open_gate(loaded, texts, champion=None, seed=settings.seed, progress=progress)
    step = FusionStep(loaded, texts, fusion_options, seed=settings.seed, progress=progress)
    found = step.decide(loaded.model.state_dict(), val, gate)
    assert found is not None  # it is not off
    with staged_folder(settings.out, kind="encoder", overwrite=settings.overwrite) as folder:
        copy_encoder(loaded, folder, without=(MARKER, REPORT_NAME))
        write_fusion(folder, found.fusion)
        spec = written_spec(folder, settings.out)
        check_written(folder, loaded, sample_of(val))
        report = FuseReport(
            out=settings.out,
            encoder=settings.encoder,
            encoder_fingerprint=loaded.spec.fingerprint,
            fingerprint=spec.fingerprint,
            data=str(settings.data),
            group=settings.group,
            text=texts.captioner.fields,
            fusion=found,
            seconds=time.monotonic() - started_s,
        )
        written = json.dumps(plain(report), indent=1, ensure_ascii=False)
        (folder / REPORT_NAME).write_text(written + "\n", encoding="utf-8")
    return report
