"""Teach: what an untrimmed model says about the images, stored once, and learnt from without an image."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pinembed.errors import DataError, ModelError, StoppedError, UsageError
from pinembed.jobs import teach as teach_run
from pinembed.jobs.align import align
from pinembed.jobs.teach import teach
from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing
from pinembed.nouns.progress import Stop
from pinembed.reports.teach import TeachReport
from pinembed.source.writer import write_source
from pinembed.trimmed.align_loop import answered
from pinembed.trimmed.model import TrimmedModel, load_parts
from pinembed.trimmed.questions import Dialogue
from pinembed.trimmed.taught import Taught, read_taught
from pinembed.trimmed.teacher import Teacher
from pinembed.trimmed.teacher_loss import divergence
from tests.conftest import CliResult, write_catalogue

QUESTION = "What does the picture show?"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalogue(tmp_path_factory.mktemp("shop") / "data")


@pytest.fixture(scope="module")
def taught(shop: Path, tiny_qwen3vl: Path, tmp_path_factory: pytest.TempPathFactory) -> TeachReport:
    out = tmp_path_factory.mktemp("taught") / "out"
    return teach(data=shop, model=tiny_qwen3vl, out=out, fields=("color",), top=5, max_new_tokens=4)


def test_teach_stores_the_true_value_and_the_teachers_words_for_every_training_item(
    taught: TeachReport, shop: Path
) -> None:
    with (shop / "metadata.csv").open(encoding="utf-8") as file:
        color_of = {row["id"]: row["color"] for row in csv.DictReader(file) if row["split"] == "train"}
    stored = read_taught(Path(taught.out))

    assert taught.items == len(color_of)
    assert taught.dialogues == len(stored) == 2 * len(color_of)
    assert {one.item for one in stored} == set(color_of)
    for one in stored:
        assert one.top_Ak.shape == one.log_prob_Ak.shape == (len(one.token_A), 5)
        assert one.question in {"What is the color of this item?", QUESTION}
        if one.question != QUESTION:
            assert one.answer == color_of[one.item]
    assert taught.answer_tokens == sum(len(one.token_A) for one in stored)


def test_teach_stores_what_stock_transformers_says_about_the_pixels(
    taught: TeachReport, shop: Path, tiny_qwen3vl: Path
) -> None:
    from transformers import AutoImageProcessor

    one = next(one for one in read_taught(Path(taught.out)) if one.question != QUESTION)
    with (shop / "metadata.csv").open(encoding="utf-8") as file:
        [name] = [row["file_name"] for row in csv.DictReader(file) if row["id"] == one.item]
    model, writer = load_parts(tiny_qwen3vl)
    pixels = AutoImageProcessor.from_pretrained(tiny_qwen3vl)(images=[Image.open(shop / name)], return_tensors="pt")
    tokens = int(pixels["image_grid_thw"].prod()) // 4
    batch = writer.write([one.question], [1], tokens=tokens, answers=[one.answer])
    with torch.inference_mode():
        logits_TV = model(
            input_ids=batch.input_ids_BT,
            attention_mask=batch.attention_mask_BT,
            mm_token_type_ids=batch.item_mask_BT,
            **pixels,
        ).logits[0]
    log_prob_Ak, top_Ak = logits_TV[-len(one.token_A) - 1 : -1].log_softmax(dim=-1).topk(5)

    assert torch.equal(top_Ak.int(), one.top_Ak)
    torch.testing.assert_close(log_prob_Ak, one.log_prob_Ak.float(), atol=5e-3, rtol=0)


def test_teach_that_was_stopped_goes_on_without_looking_twice(
    shop: Path, tiny_qwen3vl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    stop = Stop()
    look = Teacher.look

    def counted(teacher: Teacher, image: Image.Image) -> Any:
        looked.append(1)
        if len(looked) == 5:
            stop.signum = 2
        return look(teacher, image)

    monkeypatch.setattr(Teacher, "look", counted)
    monkeypatch.setattr(teach_run, "ITEMS_PER_PART", 3)
    settings: dict[str, Any] = {"data": shop, "model": tiny_qwen3vl, "fields": ("color",), "max_new_tokens": 2}

    with pytest.raises(StoppedError):
        teach(out=tmp_path / "out", stop=stop, **settings)
    assert not (tmp_path / "out").exists()
    report = teach(out=tmp_path / "out", **settings)

    assert report.resumed == 5
    assert len(looked) == report.items
    assert {one.item for one in read_taught(tmp_path / "out")} == {
        one.item for one in read_taught(Path(teach(out=tmp_path / "whole", **settings).out))
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def test_teach_names_images_that_cannot_be_read_and_stores_the_rest(
    cli: Callable[..., CliResult], shop: Path, tiny_qwen3vl: Path, tmp_path: Path
) -> None:
    shutil.copytree(shop, tmp_path / "shop")
    with (shop / "metadata.csv").open(encoding="utf-8") as file:
        broken = next(row for row in csv.DictReader(file) if row["split"] == "train")
    (tmp_path / "shop" / broken["file_name"]).write_bytes(b"no image")

    result = cli(
        "teach", tmp_path / "shop", "--model", tiny_qwen3vl, "--out", tmp_path / "out", "--fields", "color",
        "--question", "What?", "--max-new-tokens", "2",
    )  # fmt: skip

    assert result.exit_code == 3
    assert f"image not read: {broken['id']}" in result.words
    assert "Next: pinembed align" in result.words
    assert broken["id"] not in {one.item for one in read_taught(tmp_path / "out")}


def test_align_with_a_teacher_comes_nearer_to_what_the_teacher_says(
    shop: Path, tiny_qwen3vl: Path, trimmed_qwen3vl: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_qwen3vl, tmp_path / "sure")
    weights = load_file(tmp_path / "sure" / "model.safetensors")
    weights["model.language_model.embed_tokens.weight"] *= 40  # a teacher with an opinion
    save_file(weights, tmp_path / "sure" / "model.safetensors", metadata={"format": "pt"})
    taught = teach(data=shop, model=tmp_path / "sure", out=tmp_path / "taught", fields=("color",), max_new_tokens=2)
    source = write_rows(tmp_path / "source", shop)
    settings: dict[str, Any] = {
        "data": shop,
        "model": trimmed_qwen3vl,
        "source": source,
        "fields": ("color",),
        "epochs": 20,
        "batch_size": 8,
    }
    stored = [one for one in read_taught(Path(taught.out)) if one.question != QUESTION]
    dialogues = [Dialogue(rows=(0,), question=one.question, answer=one.answer, taught=one) for one in stored]
    rows = np.stack([COLOR_ROWS[one.answer] for one in stored])

    def distance(folder: str) -> float:
        model = TrimmedModel.load(folder, dtype="float32")
        with torch.inference_mode():
            return float(divergence(dialogues, *answered(model, dialogues, torch.from_numpy(rows).float(), 4)))

    alone = align(out=tmp_path / "alone", **settings)
    led = align(out=tmp_path / "led", teacher=Path(taught.out), **settings)

    assert distance(led.out) < 0.8 * distance(alone.out)


COLOR_ROWS = {
    color: np.eye(8, dtype=np.float16)[index] for index, color in enumerate(("red", "green", "blue", "yellow"))
}


def write_rows(folder: Path, shop: Path) -> Path:
    """A source in which every item's embedding is its colour."""
    with (shop / "metadata.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    spec = EncoderSpec(
        architecture="tiny",
        config_sha256="0" * 64,
        weights_sha256="1" * 64,
        dim=8,
        preprocessing=Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    )
    folder.mkdir()
    unit_ND = np.stack([COLOR_ROWS[row["color"]] for row in rows])
    write_source(folder, spec, [([row["id"] for row in rows], unit_ND)], count=len(rows))
    return folder


def test_divergence_is_zero_for_a_student_that_says_the_same_and_grows_with_the_difference() -> None:
    logits_AV = torch.randn(3, 9, generator=torch.Generator().manual_seed(0))
    log_prob_Ak, top_Ak = logits_AV.log_softmax(dim=-1).topk(4)
    view = Taught(item="a", question="?", answer="b", token_A=top_Ak[:, 0], top_Ak=top_Ak, log_prob_Ak=log_prob_Ak)
    dialogues = [
        Dialogue(rows=(0,), question="?", answer="b"),
        Dialogue(rows=(0,), question="?", answer="b", taught=view),
    ]
    labels_BT = torch.tensor([[-100, -100, 1, 2], [-100, 3, 4, 5]])
    both_AV = torch.cat([torch.randn(2, 9, generator=torch.Generator().manual_seed(1)), logits_AV])

    same = float(divergence(dialogues, labels_BT, both_AV))
    other = float(divergence(dialogues, labels_BT, torch.cat([both_AV[:2], logits_AV.flip(1)])))
    whole = torch.nn.functional.kl_div(
        logits_AV.flip(1).log_softmax(-1), logits_AV.log_softmax(-1), log_target=True, reduction="none"
    )

    assert abs(same) < 1e-5
    assert 0.1 < other <= float(whole.sum(dim=1).mean())


def test_teach_refuses_a_trimmed_model(shop: Path, trimmed_qwen3vl: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no vision tower and cannot look at images"):
        teach(data=shop, model=trimmed_qwen3vl, out=tmp_path / "out")


def test_teach_refuses_a_checkpoint_without_an_image_processor(shop: Path, tiny_qwen3vl: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_qwen3vl, tmp_path / "model")
    (tmp_path / "model" / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match="transformers finds no image processor"):
        teach(data=shop, model=tmp_path / "model", out=tmp_path / "out")


def test_teach_refuses_numbers_that_cannot_be_meant(shop: Path, tiny_qwen3vl: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 tokens, 64 new ones and 512 px; wanted 1 or more"):
        teach(data=shop, model=tiny_qwen3vl, out=tmp_path / "out", top=0)


def test_teach_refuses_data_whose_images_cannot_be_read(shop: Path, tiny_qwen3vl: Path, tmp_path: Path) -> None:
    shutil.copytree(shop, tmp_path / "shop")
    for image in (tmp_path / "shop").rglob("*.png"):
        image.write_bytes(b"no image")
    with pytest.raises(DataError, match="None of the 8 images of"):
        teach(data=tmp_path / "shop", model=tiny_qwen3vl, out=tmp_path / "out", fields=("color",))


def test_align_refuses_a_teacher_folder_that_is_none(
    shop: Path, trimmed_qwen3vl: Path, taught: TeachReport, tmp_path: Path
) -> None:
    source = write_rows(tmp_path / "source", shop)
    settings: dict[str, Any] = {"data": shop, "model": trimmed_qwen3vl, "source": source, "fields": ("color",)}
    with pytest.raises(DataError, match="wanted a folder that `pinembed teach` wrote"):
        align(out=tmp_path / "out", teacher=tmp_path, **settings)
    shutil.copytree(taught.out, tmp_path / "cut")
    [part] = (tmp_path / "cut").glob("part-*")
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(DataError, match="is not what `pinembed teach` wrote"):
        align(out=tmp_path / "out", teacher=tmp_path / "cut", **settings)


def test_align_refuses_a_teacher_of_another_tokenizer(
    shop: Path, trimmed_qwen3vl: Path, taught: TeachReport, tmp_path: Path
) -> None:
    from pinembed.jobs.trim import trim
    from pinembed.trimmed.tiny import TinyShape, write_tiny_qwen3vl

    (tmp_path / "full").mkdir()
    write_tiny_qwen3vl(tmp_path / "full", texts=["nothing of it"], shape=TinyShape(hidden=32, layers=1, heads=2))
    trim(model=tmp_path / "full", out=tmp_path / "other")
    source = write_rows(tmp_path / "source", shop)
    with pytest.raises(DataError, match="into other tokens than the trimmed model"):
        align(
            data=shop,
            model=tmp_path / "other",
            source=source,
            fields=("color",),
            teacher=Path(taught.out),
            out=tmp_path / "out",
        )
