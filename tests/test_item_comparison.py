"""evaluate --against where items are image and metadata: what decides, and by which queries."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pinembed.encoder.fusion import write_fusion
from pinembed.evaluation.questions import ItemAnswers, compare_items
from pinembed.fusion.eval_set import ItemSearch
from pinembed.metrics.retrieval import QueryScores
from pinembed.nouns.encoder_spec import make_fusion
from pinembed.nouns.scores import METRICS, Estimate, Verdict
from tests.conftest import CliResult, make_encoder, write_catalogue
from tests.test_fusion_finetune import add_descriptions

Cli = Callable[..., CliResult]
GAIN = Estimate(value=0.1, low=0.05, high=0.15)
BETTER = Verdict(
    promoted=True,
    reason="The mean mAP is higher.",
    clusters=20,
    mean_map=GAIN,
    text_mean_map=GAIN,
    text_to_image=GAIN,
    image_to_text=None,
    image_to_image=GAIN,
)


def search(mean: float) -> QueryScores:
    """Sixty queries of twenty groups whose figures vary a little around a mean."""
    spread_Q1 = 0.02 * torch.rand(60, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return QueryScores(
        values_QM=(mean + spread_Q1).expand(60, len(METRICS)),
        cluster_Q=torch.arange(60) // 3,
        index_Q=torch.arange(60),
        gallery=60,
    )


def items(text: float, image: float) -> ItemAnswers:
    return ItemAnswers(found=ItemSearch(text=search(text), image=search(image)), scores=None, query_fields=("title",))


def test_items_decide_between_encoders_of_the_same_weights() -> None:
    equal = dataclasses.replace(BETTER, promoted=False, reason="The mean mAP is not higher.")
    found, verdict = compare_items(items(0.6, 0.5), items(0.5, 0.5), equal, same_weights=True, seed=0)
    assert verdict.promoted
    assert "so items decide: they are found better" in verdict.reason
    assert found.difference.text_to_item is not None
    assert found.difference.text_to_item.map.value == pytest.approx(0.1)

    _, same = compare_items(items(0.6, 0.5), items(0.6, 0.5), equal, same_weights=True, seed=0)
    assert not same.promoted
    assert "items are found no better with confidence" in same.reason


def test_items_that_are_found_worse_stop_a_promotion_by_images_and_texts() -> None:
    _, verdict = compare_items(items(0.6, 0.4), items(0.5, 0.5), BETTER, same_weights=False, seed=0)
    assert not verdict.promoted
    assert verdict.reason.startswith("As items of image and metadata, images find items worse, mAP -0.100")

    _, equal = compare_items(items(0.5, 0.5), items(0.5, 0.5), BETTER, same_weights=False, seed=0)
    assert equal == BETTER


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A catalogue, an encoder, and the same encoder with two fusions."""
    add_descriptions(write_catalogue(tmp_path / "data", views=5))
    plain = make_encoder(tmp_path / "plain")
    for name, weights in (("some", {"image": 0.9, "description": 0.1}), ("title", {"image": 0.5, "title": 0.5})):
        write_fusion(Path(shutil.copytree(plain, tmp_path / name)), make_fusion(weights))
    return tmp_path


def test_two_fusions_of_one_encoder_are_asked_by_the_same_queries(cli: Cli, shop: Path) -> None:
    command = ("evaluate", shop / "data", "--text", "title,description", "--group", "product", "--split", "all")
    result = cli(
        *command, "--encoder", shop / "some", "--against", shop / "plain", "--against", shop / "title", "--json"
    )

    plain, title = (found["items"] for found in result.json["comparisons"])
    assert plain["query_fields"] == title["query_fields"]
    assert (
        plain["challenger"]
        == title["challenger"]
        == {direction: result.json["fused_items"][direction] for direction in ("text_to_item", "image_to_item")}
    )
    assert plain["champion"]["image_to_item"]["map"] == result.json["image_to_image"]["map"]
    assert title["champion"]["image_to_item"]["map"] != plain["champion"]["image_to_item"]["map"]
    assert result.json["text_to_image"]["map"] == result.json["comparisons"][0]["against"]["text_to_image"]["map"]
    assert all("so items decide" in found["verdict"]["reason"] for found in result.json["comparisons"])
    assert "Items as encode stores them, A beside C" in result.words


def test_a_copy_of_a_fused_encoder_is_not_promoted(cli: Cli, shop: Path) -> None:
    shutil.copytree(shop / "some", shop / "copy")
    command = ("evaluate", shop / "data", "--text", "title,description", "--group", "product", "--split", "all")
    result = cli(*command, "--encoder", shop / "copy", "--against", shop / "some")
    assert result.exit_code == 4
    assert "B stays. The weights are the same, so items decide: items are found no better" in result.words
