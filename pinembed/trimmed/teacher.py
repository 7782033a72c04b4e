"""The teacher: an untrimmed Qwen3-VL that looks at an image and says what it thinks of answers.

Shape legend: B questions about one image, T tokens, A tokens of one answer, k likeliest tokens of each place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pinembed.errors import ModelError
from pinembed.trimmed.checkpoint import import_transformers, read_checkpoint, without_bars
from pinembed.trimmed.model import LOAD_ERRORS, load_parts
from pinembed.trimmed.prompts import IGNORED, PromptBatch, PromptWriter
from pinembed.trimmed.taught import Taught


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One image after the tower.

    Attributes:
        features: transformers' output of the tower, DeepStack levels included.
        grid_13: int64, image_grid_thw.
        tokens: that the image takes in a prompt.
    """

    features: Any
    grid_13: Tensor
    tokens: int


class Teacher:
    """A full model with its image processor.

    Args:
        model: transformers' model in evaluation mode.
        writer: of its prompts.
        processor: transformers' image processor of the checkpoint.
        image_px: images are brought to at most this side before the processor gets them.
        top: k.
    """

    def __init__(self, model: Any, writer: PromptWriter, processor: Any, *, image_px: int, top: int) -> None:
        self.model = model
        self.writer = writer
        self._processor = processor
        self._image_px = image_px
        self._top = min(top, int(model.config.text_config.vocab_size))

    @classmethod
    def load(cls, folder: Path, *, device: torch.device, dtype: str, image_px: int, top: int) -> Teacher:
        """Load a checkpoint with its tower.

        Raises:
            ModelError: no Qwen3-VL folder, a trimmed one, or one without an image processor.
            MissingExtraError: the extra `vlm` is missing.
        """
        if read_checkpoint(folder).is_trimmed:
            raise ModelError(
                f"{folder} has no vision tower and cannot look at images; wanted the untrimmed checkpoint.",
                remedy="Give the checkpoint that it was trimmed from.",
            )
        model, writer = load_parts(folder, dtype=dtype)
        transformers = import_transformers("Loading a teacher")
        with without_bars(transformers):
            try:
                processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            except LOAD_ERRORS as error:
                raise ModelError(
                    f"transformers finds no image processor in {folder}: {' '.join(str(error).split())[:240]}",
                    remedy="Copy preprocessor_config.json of the checkpoint into the folder.",
                ) from error
        return cls(model.to(device), writer, processor, image_px=image_px, top=top)

    @torch.inference_mode()
    def look(self, image: Image.Image) -> Seen:
        """The one pass through the tower that all questions about an image share."""
        image.thumbnail((self._image_px, self._image_px))
        made = self._processor(images=[image], return_tensors="pt")
        grid_13 = made["image_grid_thw"].to(self.model.device)
        pixels_PC = made["pixel_values"].to(self.model.device, self.model.dtype)
        features = self.model.model.get_image_features(pixels_PC, grid_13, return_dict=True)
        return Seen(features=features, grid_13=grid_13, tokens=len(features.pooler_output[0]))

    @torch.inference_mode()
    def answer(self, seen: Seen, questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """The teacher's own words, greedily."""
        transformers = import_transformers("Asking a teacher")
        batch = self.writer.write(questions, [1] * len(questions), tokens=seen.tokens)
        stored = self.model.generation_config
        made_BT = self.model.generate(
            **self._inputs(batch, seen),
            generation_config=transformers.GenerationConfig(
                do_sample=False,
                max_new_tokens=max_new_tokens,
                eos_token_id=stored.eos_token_id or self.writer.tokenizer.eos_token_id,
                pad_token_id=self.writer.tokenizer.pad_token_id or 0,
            ),
        )
        new_BT = made_BT[:, batch.input_ids_BT.shape[1] :]
        return [text.strip() for text in self.writer.tokenizer.batch_decode(new_BT, skip_special_tokens=True)]

    @torch.inference_mode()
    def weigh(self, seen: Seen, item: str, dialogues: Sequence[tuple[str, str]]) -> list[Taught]:
        """What the teacher would say at every place of given answers.

        Args:
            seen: the image.
            item: its id.
            dialogues: question and answer.
        """
        questions, answers = zip(*dialogues, strict=True)
        batch = self.writer.write(questions, [1] * len(questions), tokens=seen.tokens, answers=answers)
        hidden_BTH = self.model.model(**self._inputs(batch, seen), use_cache=False).last_hidden_state
        assert batch.labels_BT is not None
        labels_BT = batch.labels_BT[:, 1:].to(self.model.device)
        logits_SV = self.model.lm_head(hidden_BTH[:, :-1][labels_BT != IGNORED]).float()
        log_prob_Sk, top_Sk = logits_SV.log_softmax(dim=-1).topk(self._top)
        sizes = (labels_BT != IGNORED).sum(dim=1).tolist()
        token_S = labels_BT[labels_BT != IGNORED]
        return [
            Taught(
                item=item,
                question=question,
                answer=answer,
                token_A=token_A.int().cpu(),
                top_Ak=top_Ak.int().cpu(),
                log_prob_Ak=log_prob_Ak.half().cpu(),
            )
            for question, answer, token_A, top_Ak, log_prob_Ak in zip(
                questions,
                answers,
                torch.split(token_S, sizes),
                torch.split(top_Sk, sizes),
                torch.split(log_prob_Sk, sizes),
                strict=True,
            )
        ]

    def _inputs(self, batch: PromptBatch, seen: Seen) -> dict[str, Any]:
        """The same image in every row of the batch."""
        batch, rows = batch.to(self.model.device), len(batch.input_ids_BT)
        levels = [list(level) * rows for level in seen.features.deepstack_features]
        outputs = type(seen.features)(pooler_output=list(seen.features.pooler_output) * rows, deepstack_features=levels)
        return {
            "input_ids": batch.input_ids_BT,
            "attention_mask": batch.attention_mask_BT,
            "mm_token_type_ids": batch.item_mask_BT,
            "image_grid_thw": seen.grid_13.expand(rows, 3),
            "mm_encoder_outputs": {"image": outputs},
        }
