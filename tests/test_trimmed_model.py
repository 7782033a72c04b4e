"""The trimmed model says what the full one says, whatever the batch looks like."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pinembed.errors import ModelError, NonFiniteEmbeddingError, UsageError
from pinembed.jobs.trim import trim
from pinembed.settings.model import TrimSettings
from pinembed.trimmed.model import TrimmedModel, load_parts
from pinembed.trimmed.projector import Projector, new_projector, save_projector
from tests.conftest import make_qwen3vl

D, K = 6, 4
ONE, TWO = "What colour is it?", "Which of the two is a circle?"


def seeded_projector(model: TrimmedModel) -> Projector:
    return new_projector(
        dim=D, tokens=K, token_embeddings_VH=model.token_embeddings_VH, encoder_fingerprint="abc", seed=3
    ).eval()


@pytest.fixture(scope="module")
def trimmed(trimmed_qwen3vl: Path) -> TrimmedModel:
    model = TrimmedModel.load(trimmed_qwen3vl)
    model.projector = seeded_projector(model)
    return model


@pytest.fixture(scope="module")
def full(tiny_qwen3vl: Path) -> TrimmedModel:
    """The untrimmed model behind the same interface: its DeepStack levels get zeros."""
    model = TrimmedModel(*load_parts(tiny_qwen3vl))
    model.projector = seeded_projector(model)
    return model


@pytest.fixture
def rows_ND() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, D)).astype(np.float16)


def test_trimmed_logits_equal_the_full_models_for_one_item(
    trimmed: TrimmedModel, full: TrimmedModel, rows_ND: np.ndarray
) -> None:
    assert torch.equal(trimmed.logits([ONE], [rows_ND[:1]]), full.logits([ONE], [rows_ND[:1]]))


def test_trimmed_logits_equal_the_full_models_for_two_items(
    trimmed: TrimmedModel, full: TrimmedModel, rows_ND: np.ndarray
) -> None:
    assert torch.equal(trimmed.logits([TWO], [rows_ND[:2]]), full.logits([TWO], [rows_ND[:2]]))


def test_trimmed_logits_equal_the_full_models_in_a_left_padded_batch(
    trimmed: TrimmedModel, full: TrimmedModel, rows_ND: np.ndarray
) -> None:
    questions, items = [ONE, TWO], [rows_ND[:1], rows_ND[1:3]]
    assert torch.equal(trimmed.logits(questions, items), full.logits(questions, items))


def test_trimmed_logits_of_a_batch_equal_those_one_by_one(trimmed: TrimmedModel, rows_ND: np.ndarray) -> None:
    questions, items = [ONE, TWO], [rows_ND[:1], rows_ND[1:3]]
    together = trimmed.logits(questions, items)
    apart = torch.cat([trimmed.logits([q], [rows]) for q, rows in zip(questions, items, strict=True)])
    assert torch.allclose(together, apart, atol=1e-5)


@pytest.mark.parametrize("beams", [1, 3])
def test_trimmed_answers_equal_the_full_models(
    trimmed: TrimmedModel, full: TrimmedModel, rows_ND: np.ndarray, beams: int
) -> None:
    questions, items = [ONE, TWO], [rows_ND[:1], rows_ND[1:3]]
    ours = trimmed.generate(questions, items, max_new_tokens=6, beams=beams)
    assert ours == full.generate(questions, items, max_new_tokens=6, beams=beams)


def test_moe_logits_equal_the_full_models(tmp_path: Path, rows_ND: np.ndarray) -> None:
    folder = make_qwen3vl(tmp_path / "moe", experts=4, tied=False)
    trim(TrimSettings(model=folder, out=tmp_path / "out"))
    ours, full = TrimmedModel.load(tmp_path / "out"), TrimmedModel(*load_parts(folder))
    ours.projector, full.projector = seeded_projector(ours), seeded_projector(full)
    assert torch.equal(ours.logits([TWO], [rows_ND[:2]]), full.logits([TWO], [rows_ND[:2]]))


def test_logits_depend_on_the_item_and_on_its_place(trimmed: TrimmedModel, rows_ND: np.ndarray) -> None:
    there, back = trimmed.logits([TWO], [rows_ND[:2]]), trimmed.logits([TWO], [rows_ND[1::-1]])
    assert not torch.allclose(there, back, atol=1e-4)


def test_prompt_holds_m_pads_for_every_item(trimmed: TrimmedModel, rows_ND: np.ndarray) -> None:
    batch, soft_ImH = trimmed.write([ONE, TWO], [rows_ND[:1], rows_ND[1:3]], tokens=2)
    assert batch.item_mask_BT.sum(dim=1).tolist() == [2, 4]
    assert batch.grid_I3.tolist() == [[1, 2, 4]] * 3
    assert soft_ImH.shape[:2] == (3, 2)
    assert batch.attention_mask_BT[0, 0] == 0


def test_generate_streams_the_answer_in_pieces(trimmed: TrimmedModel, rows_ND: np.ndarray) -> None:
    pieces: list[str] = []
    [answer] = trimmed.generate([ONE], [rows_ND[:1]], max_new_tokens=6, on_text=pieces.append)
    assert "".join(pieces).strip() == answer


def test_soft_tokens_refuse_nan(trimmed: TrimmedModel, rows_ND: np.ndarray) -> None:
    rows_ND[1, 0] = np.nan
    with pytest.raises(NonFiniteEmbeddingError, match="1 of 5 embeddings hold NaN or inf"):
        trimmed.soft_tokens(rows_ND)


def test_a_question_without_an_item_is_refused(trimmed: TrimmedModel, rows_ND: np.ndarray) -> None:
    with pytest.raises(UsageError, match="each needs at least one"):
        trimmed.generate([ONE], [rows_ND[:0]])


def test_a_question_with_a_special_token_is_refused(trimmed: TrimmedModel, rows_ND: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"The question holds <\|im_end\|>"):
        trimmed.generate(["hello<|im_end|>"], [rows_ND[:1]])


def test_a_model_without_projector_says_to_align(trimmed_qwen3vl: Path, rows_ND: np.ndarray) -> None:
    with pytest.raises(ModelError, match="no projector yet") as caught:
        TrimmedModel.load(trimmed_qwen3vl).generate([ONE], [rows_ND[:1]])
    assert "pinembed align" in caught.value.remedy


def test_a_model_with_its_tower_is_refused(tiny_qwen3vl: Path) -> None:
    with pytest.raises(ModelError, match="still has its vision tower") as caught:
        TrimmedModel.load(tiny_qwen3vl)
    assert "pinembed trim" in caught.value.remedy


def test_a_projector_of_another_width_is_refused(trimmed_qwen3vl: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trimmed_qwen3vl, folder)
    wide = new_projector(dim=D, tokens=K, token_embeddings_VH=torch.ones(2, 48), encoder_fingerprint="abc", seed=0)
    save_projector(wide, folder)
    with pytest.raises(ModelError, match="makes tokens of 48 floats; the language model takes 32"):
        TrimmedModel.load(folder)


def test_a_folder_without_tokenizer_is_refused(trimmed_qwen3vl: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trimmed_qwen3vl, folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=r"cannot load|has no"):
        TrimmedModel.load(folder)


def test_the_older_chat_template_file_is_read(trimmed: TrimmedModel, trimmed_qwen3vl: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trimmed_qwen3vl, folder)
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}), encoding="utf-8")
    _, writer = load_parts(folder)
    assert writer.prompt_ids(ONE, 1, K) == trimmed.writer.prompt_ids(ONE, 1, K)
