"""The gate: when a challenger takes the champion's place, as a whole, by direction and by slice."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from pinembed.catalogue.captions import Captioner, make_captioner
from pinembed.catalogue.slices import make_slices, slice_columns
from pinembed.errors import OutputError, UsageError
from pinembed.evaluation.plot import check_plot
from pinembed.metrics.retrieval import QueryScores
from pinembed.metrics.split_metrics import SplitEmbeddings, SplitScores, measure_split
from pinembed.metrics.verdict import decide, holm, paired_change, split_parts
from pinembed.nouns.item import Catalogue, FieldValue, Item
from pinembed.nouns.scores import DIRECTIONS, METRICS, Slice
from pinembed.settings.training import FinetuneSettings
from pinembed.training.gate import decide_run
from tests.conftest import CliResult, make_encoder, write_catalogue
from tests.test_splits import catalogue


def answered(values: Tensor, clusters: Tensor) -> QueryScores:
    return QueryScores(
        values_QM=values[:, None].repeat(1, len(METRICS)),
        cluster_Q=clusters,
        index_Q=torch.arange(len(values)),
        gallery=50,
    )


def three_directions(text_to_image: Tensor, image_to_text: Tensor, image_to_image: Tensor) -> SplitScores:
    clusters = torch.arange(len(text_to_image)) % 20
    return SplitScores(
        text_to_image=answered(text_to_image, clusters),
        image_to_text=answered(image_to_text, clusters),
        image_to_image=answered(image_to_image, clusters),
    )


def noisy(mean: float, seed: int) -> Tensor:
    return mean + 0.1 * torch.randn(200, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_challenger_that_is_better_everywhere_is_promoted() -> None:
    base = three_directions(noisy(0.4, 1), noisy(0.4, 2), noisy(0.4, 3))
    better = three_directions(noisy(0.5, 4), noisy(0.5, 5), noisy(0.5, 6))
    verdict = decide(better, base)
    assert verdict.promoted
    assert verdict.clusters == 20
    assert verdict.mean_map.low > 0


def test_a_copy_of_the_champion_is_not_promoted() -> None:
    base = three_directions(noisy(0.4, 1), noisy(0.4, 2), noisy(0.4, 3))
    verdict = decide(base, base)
    assert not verdict.promoted
    assert "not higher with confidence" in verdict.reason


def test_a_challenger_that_loses_one_direction_is_not_promoted() -> None:
    base = three_directions(noisy(0.4, 1), noisy(0.4, 2), noisy(0.4, 3))
    verdict = decide(three_directions(noisy(0.7, 4), noisy(0.3, 5), noisy(0.7, 6)), base)
    assert not verdict.promoted
    assert "image to text mAP is lower by" in verdict.reason


def test_a_challenger_that_only_finds_images_by_images_better_is_not_promoted() -> None:
    base = three_directions(noisy(0.4, 1), noisy(0.4, 2), noisy(0.4, 3))
    same_texts = [direction.values_QM[:, 0] for direction in base.directions[:2]]
    verdict = decide(three_directions(*same_texts, noisy(0.7, 6)), base)
    assert not verdict.promoted
    assert "texts find them no better" in verdict.reason


def test_equal_encoders_of_noisy_queries_are_rarely_promoted() -> None:
    promoted = [
        decide(
            three_directions(*(noisy(0.4, 10 * run + index) for index in range(3))),
            three_directions(*(noisy(0.4, 10 * run + index) for index in range(3, 6))),
            seed=run,
        ).promoted
        for run in range(40)
    ]
    assert sum(promoted) <= 2


def test_views_of_one_product_are_not_independent_witnesses() -> None:
    # one product of six gains, with many views; query by query that looks certain
    gain_Q = torch.zeros(600, dtype=torch.float64)
    gain_Q[:500] = 0.2
    cluster_Q = torch.cat([torch.zeros(500, dtype=torch.int64), torch.arange(100) % 5 + 1])
    base = SplitScores(**{name: answered(torch.full((600,), 0.4), cluster_Q) for name in DIRECTIONS})
    tuned = SplitScores(**{name: answered(0.4 + gain_Q, cluster_Q) for name in DIRECTIONS})
    verdict = decide(tuned, base)
    assert not verdict.promoted
    assert verdict.mean_map.value == pytest.approx(0.2 * 500 / 600)


def test_few_groups_are_judged_by_students_t_which_is_wider_than_the_bootstrap() -> None:
    gain_Q = torch.tensor([0.01, 0.02, 0.05, 0.09, 0.1, 0.2], dtype=torch.float64)
    group_Q = torch.arange(6)
    change = paired_change([(answered(0.4 + gain_Q, group_Q), answered(0.4 + 0 * gain_Q, group_Q))])
    low, high = stats.t.interval(0.95, 5, loc=gain_Q.mean(), scale=gain_Q.std() / 6**0.5)
    assert change.estimate.low == pytest.approx(low)
    assert change.estimate.high == pytest.approx(high)
    assert change.p_lower == pytest.approx(1 - stats.ttest_1samp(gain_Q.numpy(), 0, alternative="greater").pvalue)


def test_a_handful_of_queries_promotes_nobody() -> None:
    one = torch.tensor([0.1], dtype=torch.float64)
    verdict = decide(three_directions(one + 0.8, one + 0.8, one + 0.8), three_directions(one, one, one))
    assert not verdict.promoted


def test_equal_encoders_with_few_products_are_rarely_promoted() -> None:
    # six products with effects of their own: a bootstrap alone promotes one in ten here
    rng = np.random.default_rng(0)
    group_Q = torch.arange(60) % 6
    promoted = 0
    for run in range(150):
        moved = torch.tensor(rng.normal(0, 0.1, (3, 6)))
        ours = SplitScores(
            **{name: answered(0.4 + moved[index][group_Q], group_Q) for index, name in enumerate(DIRECTIONS)}
        )
        theirs = SplitScores(
            **{name: answered(torch.full((60,), 0.4, dtype=torch.float64), group_Q) for name in DIRECTIONS}
        )
        promoted += decide(ours, theirs, seed=run).promoted
    assert promoted <= 150 / 20


def test_holm_adjusts_for_the_number_of_tests_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def sliced(indices: range, *, count: int = 200, name: str = "category: lamp") -> list[Slice]:
    return [Slice(name=name, indices=tuple(indices)[:count])]


def parts_of(slices: list[Slice], images: int = 200) -> tuple:
    return split_parts(slices, torch.arange(images), images)


def test_a_challenger_that_is_worse_in_a_large_slice_is_not_promoted() -> None:
    base = three_directions(noisy(0.4, 1), noisy(0.4, 2), noisy(0.4, 3))
    gain = torch.full((200,), 0.3, dtype=torch.float64)
    gain[:40] = -0.2
    better = three_directions(*(direction.values_QM[:, 0] + gain for direction in base.directions))
    assert decide(better, base).promoted
    verdict = decide(better, base, parts_of(sliced(range(40))))
    assert not verdict.promoted
    assert "In the slice category: lamp (40 images) the mean mAP is lower by 0.200" in verdict.reason
    (found,) = verdict.slices
    assert found.worse
    assert found.large
    assert found.difference.value == pytest.approx(-0.2)


def test_a_slice_that_is_too_small_is_shown_but_stops_nobody() -> None:
    base = three_directions(noisy(0.4, 1), noisy(0.4, 2), noisy(0.4, 3))
    gain = torch.full((200,), 0.3, dtype=torch.float64)
    gain[:20] = -0.2
    better = three_directions(*(direction.values_QM[:, 0] + gain for direction in base.directions))
    verdict = decide(better, base, parts_of(sliced(range(20))))
    assert verdict.promoted
    assert not verdict.slices[0].large
    assert verdict.slices[0].difference.high < 0


def test_of_many_slices_of_an_equal_encoder_rarely_one_looks_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinembed.metrics.intervals.RESAMPLES", 10)  # Student's t decides here
    group_Q = torch.arange(600)
    slices = [Slice(name=f"s{index}", indices=tuple(range(index, 600, 15))) for index in range(15)]
    parts = split_parts(slices, torch.arange(600), 600)
    rng = np.random.default_rng(3)
    alarms = unadjusted = 0
    for run in range(30):
        ours, theirs = (
            SplitScores(**{name: answered(torch.tensor(rng.normal(0.4, 0.1, 600)), group_Q) for name in DIRECTIONS})
            for _ in range(2)
        )
        found = decide(ours, theirs, parts, seed=run).slices
        alarms += any(change.worse for change in found)
        unadjusted += any(change.difference.high < 0 for change in found)
    assert alarms <= 3
    assert unadjusted > 5


def test_the_queries_of_a_slice_are_its_images_and_their_texts_and_the_gallery_stays_whole() -> None:
    unit = F.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    text_of_N = torch.tensor([0, 0, 1, 2, -1, 2])
    scores = measure_split(
        SplitEmbeddings(image_ND=unit, text_TD=unit[:3], text_of_N=text_of_N, group_of_N=torch.arange(6) // 2)
    )
    (part,) = split_parts([Slice(name="few", indices=(1, 3, 4))], text_of_N, 3)
    of_slice = part.of(scores)
    assert of_slice.text_to_image.index_Q.tolist() == [0, 2]
    assert of_slice.image_to_text.index_Q.tolist() == [1, 3, 4]
    assert of_slice.text_to_image.gallery == 6
    assert torch.equal(of_slice.text_to_image.values_QM, scores.text_to_image.values_QM[[0, 2]])


def items(**columns: list[FieldValue]) -> list[Item]:
    count = len(next(iter(columns.values())))
    return [
        Item(
            id=str(index),
            file_name=str(index),
            path=Path(str(index)),
            fields={name: of[index] for name, of in columns.items()},
        )
        for index in range(count)
    ]


def test_slices_are_values_of_the_columns_and_each_tag_of_a_list() -> None:
    shop = items(kind=["mug", "lamp", "mug", None], tags=[["gift", "tea"], [], ["gift"], None], title=["a b c"] * 4)
    found = make_slices(shop, Captioner(fields=("title",)), columns=("kind", "tags"), group=None, trained=())
    assert {part.name: part.indices for part in found} == {
        "kind: mug": (0, 2),
        "kind: lamp": (1,),
        "kind: missing": (3,),
        "tags: gift": (0, 2),
        "tags: tea": (0,),
        "tags: missing": (1, 3),
    }


def test_slices_tell_new_and_rare_products_and_items_with_little_text() -> None:
    shop = items(product=["a", "b", "c", None], title=["a long enough title", "mug", None, "another long title"])
    trained = items(product=["a", "a", "a", "b"])
    found = make_slices(shop, Captioner(fields=("title",)), columns=(), group="product", trained=trained)
    assert {part.name: part.indices for part in found} == {
        "product: new, no training image": (2,),
        "product: rare, at most 2 training images": (1,),
        "text: missing": (2,),
        "text: short, at most 2 words": (1,),
    }


def test_rare_values_of_a_column_share_a_slice() -> None:
    shop = items(kind=[f"k{index:02}" for index in range(60)], title=["a b c"] * 60)
    found = make_slices(shop, Captioner(fields=("title",)), columns=("kind",), group=None, trained=())
    assert len(found) == 51
    assert len(found[-1].indices) == 10
    assert found[-1].name == "kind: 10 others"


def test_a_column_of_many_numbers_is_cut_into_thirds() -> None:
    prices = [*(float(price) for price in range(1, 13)), None, float("nan")]
    shop = items(price=prices, title=["a b c"] * 14)
    found = make_slices(shop, Captioner(fields=("title",)), columns=("price",), group=None, trained=())
    assert {part.name: len(part.indices) for part in found} == {
        "price: low, up to 4.66667": 4,
        "price: medium": 4,
        "price: high, above 8.33333": 4,
        "price: missing": 2,
    }


def test_an_item_lies_in_the_third_that_its_caption_names() -> None:
    prices = [*(float(price) for price in range(10)), None]  # the cut points, 3 and 6, are prices
    shop = items(price=prices, title=["a tall mug"] * 11)
    schema = pa.schema([("title", pa.string()), ("price", pa.float64())])
    captioner = make_captioner(
        Catalogue(root=Path("shop"), items=tuple(shop), schema=schema, metadata=Path("shop/metadata.csv")),
        ("title", "price"),
    )
    for judged in (shop, [*shop[:3], *shop]):  # thirds of a split of its own lie elsewhere
        found = make_slices(judged, captioner, columns=("price",), group=None, trained=())
        named = {part.name.removeprefix("price: ").split(",")[0]: part.indices for part in found}
        assert list(named) == ["low", "medium", "high", "missing"]
        for level, indices in named.items():
            wanted = "a tall mug" if level == "missing" else f"a tall mug. {level} price"
            assert {captioner.caption(judged[index]) for index in indices} == {wanted}


def test_the_group_gives_the_slices_where_no_column_says_the_kind() -> None:
    assert slice_columns(catalogue(20), (), group="product") == ("product",)
    assert slice_columns(catalogue(20), (), group=None) == ()
    assert slice_columns(catalogue(400), (), group="product") == ()
    assert slice_columns(catalogue(20), ("title",), group="product") == ("title",)
    with pytest.raises(UsageError, match=r"--slice names kind, which .* its columns are product, title"):
        slice_columns(catalogue(2), ("kind",), group=None)


def test_evaluate_shows_slices_with_their_counts(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    arguments = ("evaluate", catalogue_folder, "--encoder", tiny_encoder, "--group", "product", "--slice", "color")
    found = {part["name"]: part for part in cli(*arguments, "--json").json["slices"]}
    assert list(found) == ["color: blue", "color: green", "color: red", "color: yellow"]
    assert found["color: red"]["images"] == 2
    assert found["color: red"]["text_to_image"]["low"] <= found["color: red"]["text_to_image"]["value"]
    assert "Slices, mAP" in cli(*arguments).words


def test_evaluate_against_champion_and_base_wants_a_win_over_each(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, other_encoder: Path, tmp_path: Path
) -> None:
    arguments = ("evaluate", catalogue_folder, "--encoder", tiny_encoder, "--against", other_encoder, "--against",
                 tiny_encoder, "--group", "color", "--split", "all")  # fmt: skip
    result = cli(*arguments, "--json", "--plot", tmp_path / "gate.png")
    report = result.json
    assert result.exit_code == 4
    assert [found["against"]["encoder"] for found in report["comparisons"]] == [str(other_encoder), str(tiny_encoder)]
    assert report["promoted"] is False
    assert report["verdict"] == report["comparisons"][0]["verdict"]
    assert {"text_to_image", "slices", "mean_map"} <= report["verdict"].keys()
    assert (tmp_path / "gate.png").read_bytes().startswith(b"\x89PNG")
    words = cli(*arguments).words
    assert "C stays. The mean mAP is not higher with confidence: +0.000" in words
    assert "Slices, mean mAP of A and B" in words


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--plot", "x.png"], "there is only one"),
        (["--against", "here", "--plot", "no/such/folder.png"], "lies in no/such, which is no folder"),
        (["--slice", "brand"], "--slice names brand"),
    ],
)
def test_evaluate_refuses_plots_and_slices_that_cannot_be(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, arguments: list[str], sentence: str
) -> None:
    result = cli("evaluate", catalogue_folder, "--encoder", tiny_encoder, *arguments)
    assert result.exit_code == 2
    assert sentence in result.words


LEARNING = ("--group", "product", "--epochs", "12", "--batch-size", "16", "--lr", "2e-3")


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue in data, an encoder with a licence in "my base", and what a run made of them in champion."""
    from pinembed.jobs.finetune import finetune

    folder = tmp_path_factory.mktemp("night")
    base = make_encoder(folder / "my base")
    (base / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    (base / "LICENSE").write_text("MIT License\n", encoding="utf-8")
    data = write_catalogue(folder / "data", views=5)
    settings = {"group": "product", "slices": ["color"], "epochs": 12, "batch_size": 16, "lr": 2e-3}
    assert finetune(FinetuneSettings(data=data, base=str(base), out=folder / "champion", **settings)).kept == "tuned"
    return folder


def test_finetune_hands_the_champion_back_file_for_file_where_it_is_not_beaten(
    cli: Callable[..., CliResult], first_night: Path, tmp_path: Path
) -> None:
    data, base = first_night / "data", first_night / "my base"
    first = json.loads((first_night / "champion" / "run.json").read_text(encoding="utf-8"))
    result = cli("finetune", data, "--base", base, "--out", tmp_path / "next", *LEARNING, "--champion",
                 first_night / "champion")  # fmt: skip
    assert result.exit_code == 4
    assert (
        "The champion stays: Against the champion: The mean mAP is not higher with confidence: +0.000" in result.words
    )
    assert "Gate: beside the champion" in result.words
    run = json.loads((tmp_path / "next" / "run.json").read_text(encoding="utf-8"))
    assert (run["kept"], run["promoted"], run["fingerprint"]) == ("champion", False, first["fingerprint"])
    assert run["gate"]["champion"]["against"]["fingerprint"] == first["fingerprint"]
    assert run["gate"]["verdict"]["promoted"] is True
    weights = "open_clip_model.safetensors"
    assert (tmp_path / "next" / weights).read_bytes() == (first_night / "champion" / weights).read_bytes()
    papers = (tmp_path / "next" / "champion" / "run.json").read_bytes()
    assert papers == (first_night / "champion" / "run.json").read_bytes()
    # the next night, in place
    again = cli("finetune", data, "--base", base, "--out", tmp_path / "next", "--group", "product", "--epochs",
                "1", "--champion", tmp_path / "next", "--overwrite", "--json")  # fmt: skip
    assert (again.json["kept"], again.json["fingerprint"]) == ("champion", first["fingerprint"])
    assert (tmp_path / "next" / "champion" / "run.json").read_bytes() == papers
    assert not (tmp_path / "next" / "champion" / "champion").exists()


def test_finetune_promotes_what_beats_base_and_champion_even_if_that_reads_pictures_otherwise(
    cli: Callable[..., CliResult], tiny_encoder: Path, other_encoder: Path, tmp_path: Path
) -> None:
    data = write_catalogue(tmp_path / "data", views=5)
    champion = shutil.copytree(other_encoder, tmp_path / "champion")
    config = json.loads((champion / "open_clip_config.json").read_text(encoding="utf-8"))
    config["preprocess_cfg"]["interpolation"] = "bilinear"
    (champion / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    result = cli("finetune", data, "--base", tiny_encoder, "--out", tmp_path / "out", "--champion", champion, *LEARNING,
                 "--json")  # fmt: skip
    assert (result.exit_code, result.json["kept"]) == (0, "tuned")
    assert result.json["gate"]["champion"]["verdict"]["promoted"] is True
    assert result.json["gate_plot"] == str(tmp_path / "out" / "gate.png")
    assert (tmp_path / "out" / "gate.png").read_bytes().startswith(b"\x89PNG")
    alone = cli("evaluate", data, "--encoder", champion, "--group", "product", "--json").json
    beside = result.json["gate"]["champion"]["against"]
    assert beside["text_to_image"]["map"] == pytest.approx(alone["text_to_image"]["map"])


def test_finetune_keeps_the_champion_where_nothing_can_judge(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, other_encoder: Path, tmp_path: Path
) -> None:
    arguments = (
        "finetune",
        catalogue_folder,
        "--base",
        tiny_encoder,
        "--champion",
        other_encoder,
        "--group",
        "product",
    )
    metadata = catalogue_folder / "metadata.csv"
    rows = list(csv.DictReader(metadata.open(encoding="utf-8")))
    with metadata.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "split": row["split"].replace("test", "later")} for row in rows)
    result = cli(*arguments, "--out", tmp_path / "unjudged", "--epochs", "6", "--lr", "2e-3", "--batch-size", "4")
    assert result.exit_code == 4
    assert "The champion stays: there is no test split for the gate to judge on." in result.words


@pytest.mark.parametrize(
    ("has_candidate", "random_init", "has_champion", "kept"),
    [
        (False, False, False, "base"),
        (False, False, True, "champion"),
        (False, True, True, "champion"),
        (True, False, False, "tuned"),
        (True, True, False, "tuned"),
        (True, False, True, "champion"),
        (True, True, True, "champion"),
    ],
)
def test_without_a_gate_only_a_champion_outlives_a_candidate(
    has_candidate: bool, random_init: bool, has_champion: bool, kept: str
) -> None:
    decision = decide_run(
        None, has_candidate=has_candidate, stopped=None, random_init=random_init, has_champion=has_champion
    )
    assert decision.kept == kept


def test_finetune_with_a_champion_that_cannot_be_read_stops_before_training(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    result = cli(
        "finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--champion", tmp_path
    )
    assert result.exit_code == 1
    assert "epoch 1" not in result.words


def test_the_model_card_has_intervals_slices_counts_licence_and_the_command(
    first_night: Path,
) -> None:
    data, base, out = (first_night / name for name in ("data", "my base", "champion"))
    card = (out / "README.md").read_text(encoding="utf-8")
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    found = run["gate"]["tuned"]["text_to_image"]
    low, high = found["interval_95"]["map"]
    assert f"{found['map']:.3f} ({low:.3f} to {high:.3f})" in card
    assert "| train | 24 | 8 | 8 | 0 | 0 | 0 |" in card
    assert "| color: red | 2 |" in card
    assert card.startswith("---\nlibrary_name: open_clip\n")
    assert "license: mit\n" in card
    assert f"mit, that of the base as the card of {base} states it" in card
    assert (out / "LICENSE").read_text(encoding="utf-8") == "MIT License\n"
    assert f"pinembed finetune {data} --base '{base}'" in card
    assert "--group product --epochs 12 --batch-size 16 --lr 0.002 " in card


def test_a_place_for_the_plot_where_nothing_can_be_written_is_refused_before_the_work(tmp_path, monkeypatch) -> None:
    def refused(folder: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pinembed.outfolder.check_writable", refused)
    with pytest.raises(OutputError, match=r"could not be written: Operation not permitted"):
        check_plot(tmp_path / "x.png", has_something=True)
