"""Can a model make the acts of `chat`? `python model_calls.py DATA TABLE SOURCE WORK`.

A Qwen3-VL of a million parameters begins with random weights and learns short wishes and their calls here, for no
pretrained one is at hand. `align --calls-by-heart` then teaches it about DATA, and its judgement of held-out wordings
is printed. `evaluate-chat` of TABLE, last, has the acts of rules and model side by side. TABLE holds DATA's images, and
SOURCE is exported from it.

What makes values learnable at all in this time: a word has the same pieces with and without a space before it, the
first token of a value and the signs of comparisons count six times, and half of the wishes come without a list.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional as F

import pinembed
from pinembed.assistant.call_talks import CallMaker
from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.splits import decide_splits
from pinembed.nouns.progress import SILENT
from pinembed.settings.assistant import EvaluateChatSettings
from pinembed.settings.model import AlignSettings, TrimSettings
from pinembed.trimmed import tiny
from pinembed.trimmed.model import load_parts
from pinembed.trimmed.prompts import PromptWriter
from pinembed.trimmed.questions import QuestionMaker, choose_fields

WISHES_READ, DRAWN = 3000, 2000
BATCH, RATE, WARM_UP, DECAY = 32, 1.5e-3, 50, 0.05
VALUE_WEIGHT, BARE = 6.0, 0.5
SPACE = "Ġ"
"""As byte-level vocabularies write it."""

Example = tuple[list[int], list[int]]


def of_equal_pieces(_: Any, texts: list[str], vocabulary: int) -> Any:
    """tiny.train_tokenizer's, but a piece with a space before it is the space joined to that very piece, at the end."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.ByteLevel()
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "isolated"), digits, byte_level])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary // 2,
        special_tokens=list(tiny.SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, "system user assistant\n"], trainer)
    alone = Regex(r"(?<=\d)(?=\d)|(?<= )(?=\d)")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(alone, "isolated"), byte_level])
    written = json.loads(tokenizer.to_str())
    pieces = written["model"]["vocab"]
    for piece in sorted(pieces, key=pieces.get):
        joined = SPACE + piece
        begins_word = (piece[0].isalpha() and piece.isascii()) or piece[0] in '"[{<'
        if begins_word and piece not in tiny.SPECIAL_TOKENS and joined not in pieces:
            written["model"]["merges"].append([SPACE, piece])
            pieces[joined] = len(pieces)
    return tiny.with_chat_tokens(transformers, Tokenizer.from_str(json.dumps(written)))


def write_model(data: Path, folder: Path, *, shape: tiny.TinyShape, seed: int) -> Path:
    """Twice, because calls are in the form of a checkpoint, whose vocabulary is to know them."""
    tiny.train_tokenizer = of_equal_pieces  # type: ignore[assignment]
    items = read_catalogue(data).items
    texts = QuestionMaker(items, choose_fields(items, items, wanted=(), origin=data)).texts()
    for name in ("first", "full"):
        (folder / name).mkdir(parents=True)
        tiny.write_tiny_qwen3vl(folder / name, texts=texts, shape=shape, seed=seed)
        wishes = CallMaker(items, items, load_parts(folder / name)[1], by_heart=True).draw("vocabulary", WISHES_READ)
        texts += [f"{wish.question}\n{wish.answer}" for wish in wishes]
    return folder / "full"


class Wishes:
    """Short prompts and their calls, sorted into batches of about one length."""

    def __init__(self, data: Path, writer: PromptWriter, seed: int) -> None:
        splits = decide_splits(read_catalogue(data), group=None, progress=SILENT).items
        self._maker = CallMaker(splits["train"], (*splits["train"], *splits["test"]), writer, by_heart=True)
        self._tokenizer, self._rng, self._pool = writer.tokenizer, random.Random(seed), list[Example]()

    def batches(self) -> Iterator[list[Example]]:
        """Without an end; new wishes are drawn for every thousand that were shown."""
        while True:
            for wish in self._maker.draw(f"pretraining {len(self._pool)}", DRAWN):
                bare = self._rng.random() < BARE
                self._pool.append(
                    self._ids(dataclasses.replace(wish, question=wish.question.split("\n")[-1]) if bare else wish)
                )
            some = sorted(self._rng.sample(self._pool, BATCH * BATCH), key=lambda one: len(one[0]) + len(one[1]))
            made = [some[start : start + BATCH] for start in range(0, len(some), BATCH)]
            self._rng.shuffle(made)
            yield from made

    def _ids(self, wish: Any) -> Example:
        said = f"<|im_start|>user\n{wish.question}<|im_end|>\n<|im_start|>assistant\n"
        call = f"{wish.answer}<|im_end|>"
        return tuple(self._tokenizer(text, add_special_tokens=False).input_ids for text in (said, call))  # type: ignore[return-value]


def padded(some: list[Example]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, what is no padding, and the labels of the calls; (B, T) each."""
    longest = max(len(said) + len(call) for said, call in some)
    ids_BT, labels_BT = torch.zeros(len(some), longest, dtype=torch.long), torch.full((len(some), longest), -100)
    mask_BT = torch.zeros(len(some), longest, dtype=torch.long)
    for row, (said, call) in enumerate(some):
        end = len(said) + len(call)
        ids_BT[row, :end], mask_BT[row, :end] = torch.tensor(said + call), 1
        labels_BT[row, len(said) : end] = torch.tensor(call)
    return ids_BT, mask_BT, labels_BT


def pretrain(folder: Path, data: Path, *, steps: int, seed: int) -> None:
    """Teach the checkpoint in a folder, which is written anew."""
    model: Any = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    writer = load_parts(folder)[1]
    vocabulary = writer.tokenizer.get_vocab().items()
    opens_value = torch.tensor([token for piece, token in vocabulary if piece.endswith('["')])
    compares = torch.tensor([token for piece, token in vocabulary if {"<", ">"} & set(piece) and 1 < len(piece) < 7])
    learned = [weight for name, weight in model.named_parameters() if "visual" not in name]
    optimiser = torch.optim.AdamW(learned, lr=RATE, betas=(0.9, 0.98), weight_decay=DECAY, fused=True)
    for step, some in zip(range(steps), Wishes(data, writer, seed).batches(), strict=False):
        share = 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM_UP) * (0.98 * share + 0.02)
        ids_BT, mask_BT, labels_BT = padded(some)
        hidden = model.model.language_model(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
        asked = labels_BT[:, 1:] != -100
        wanted, before = labels_BT[:, 1:][asked], ids_BT[:, :-1][asked]
        loss = F.cross_entropy(model.lm_head(hidden[:, :-1][asked]), wanted, reduction="none")
        weight = 1 + (VALUE_WEIGHT - 1) * (torch.isin(before, opens_value) | torch.isin(wanted, compares)).float()
        optimiser.zero_grad()
        ((loss * weight).sum() / weight.sum()).backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.mean().item():.3f}", flush=True)  # noqa: T201
    model.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("table")
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=1300)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=1500)
    parser.add_argument("--group", default="product")
    parser.add_argument("--conversations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    full = write_model(given.data, given.work, shape=tiny.TinyShape(vocabulary=given.vocabulary), seed=given.seed)
    pretrain(full, given.data, steps=given.steps, seed=given.seed)
    pinembed.trim(TrimSettings(model=str(full), out=given.work / "trimmed"))
    report = pinembed.align(
        AlignSettings(
            data=given.data,
            model=given.work / "trimmed",
            source=given.source,
            out=given.work / "aligned",
            epochs=given.epochs,
            talks=0.7,
            calls=0.7,
            calls_by_heart=True,
            seed=given.seed,
        )
    )
    print(f"{report.trained_parameters:,} parameters, {report.seconds:.0f} s; calls {report.calls}", flush=True)  # noqa: T201
    chat = pinembed.evaluate_chat(
        EvaluateChatSettings(
            table=given.table,
            group=given.group,
            model=given.work / "aligned",
            source=given.source,
            queries=0,
            conversations=given.conversations,
        )
    )
    for figures in chat.figures:
        acts, whole, meant = figures.acts_held_out, figures.whole_acts_held_out, figures.references_held_out
        print(f"{figures.planner}: held-out wordings {acts}; with arguments {whole}; items {meant}")  # noqa: T201


if __name__ == "__main__":
    main()
