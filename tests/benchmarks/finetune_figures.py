"""Figures of val and test of a folder of finetune_sets.py, for encoders however they were tuned."""

from __future__ import annotations

from pathlib import Path

import torch
from finetune_sets import TEXTS

from pinembed.catalogue.splits import codes_of
from pinembed.encoder.encoder import Encoder
from pinembed.metrics.split_metrics import SplitEmbeddings, knn_is_correct, measure_split, zero_shot_is_correct
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.progress import SILENT
from pinembed.training.datasets import load_split, read_splits
from pinembed.training.evaluator import Evaluator

COLUMNS = ("image > image", "text > image", "image > text", "5-NN", "zero-shot")
"""mAP of the three directions, the first column alone being the text, then shares of images that get their group."""


class Yardstick:
    """A folder's splits in memory.

    Args:
        folder: bears the name of its set.
        preprocessing: of the encoders that are measured.
    """

    def __init__(self, folder: Path, preprocessing: Preprocessing) -> None:
        columns = TEXTS[folder.name].split(",")
        self.column = columns[0]
        self.splits = read_splits(folder, text=columns, group="group")
        self.parts = {
            name: load_split(getattr(self.splits, name), self.splits, preprocessing, split=name, progress=SILENT)
            for name in ("train", "val", "test")
        }
        groups = {str(item.fields["group"]) for part in self.parts.values() for item in part.labelled.items}
        self._code = {name: number for number, name in enumerate(sorted(groups))}
        self._class_names = self.splits.captioner.group_names("group", sorted(groups))

    def figures(self, encoder: Encoder) -> dict[str, list[float]]:
        """Of val and test, in the order of COLUMNS."""
        encoder.model.eval()
        image = {name: Evaluator(encoder, part, SILENT).embed_images("").cpu() for name, part in self.parts.items()}
        group = {
            name: torch.tensor([self._code[str(item.fields["group"])] for item in part.labelled.items])
            for name, part in self.parts.items()
        }
        class_CD = encoder.embed_texts(self._class_names).cpu()
        return {name: self._of(name, encoder, image, group, class_CD) for name in ("val", "test")}

    def _of(self, name, encoder, image, group, class_CD) -> list[float]:
        texts, text_of_N = codes_of(str(item.fields[self.column] or "") for item in self.parts[name].labelled.items)
        found = measure_split(
            SplitEmbeddings(
                image_ND=image[name],
                text_TD=encoder.embed_texts(texts).cpu(),
                text_of_N=text_of_N,
                group_of_N=group[name],
            )
        )
        maps = (found.image_to_image, found.text_to_image, found.image_to_text)
        known = knn_is_correct(image[name], group[name], image["train"], group["train"]).double().mean()
        named = zero_shot_is_correct(image[name], group[name], class_CD).double().mean()
        return [*(direction.mean("map") for direction in maps), float(known), float(named)]
