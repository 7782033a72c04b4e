"""Align: a trimmed model learns to read stored embeddings, from metadata alone."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pinembed.errors import DataError, EncoderMismatchError, ModelError, StoppedError, UsageError
from pinembed.jobs.align import align
from pinembed.jobs.trim import trim
from pinembed.nouns.encoder_spec import EncoderSpec, Fusion, Preprocessing, make_fusion
from pinembed.nouns.item import Item
from pinembed.nouns.progress import Stop
from pinembed.reports.trimmed import AlignReport
from pinembed.settings.model import AlignSettings, TrimSettings
from pinembed.source.writer import write_source
from pinembed.trimmed.align_evaluator import correct_answers
from pinembed.trimmed.align_loop import Alignment
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.projector import (
    PROJECTOR_NAME,
    TaughtCalls,
    fit_adapter,
    load_projector,
    new_projector,
    taught_calls,
)
from pinembed.trimmed.questions import KIND_WEIGHTS, QuestionMaker
from pinembed.trimmed.tiny import TinyShape, write_tiny_qwen3vl
from tests.conftest import CliResult, Said, StopAfter

D = 16
COLOURS, SHAPES = ("red", "green", "blue"), ("circle", "square")
SETTINGS: dict[str, Any] = {
    "fields": ("color", "shape"),
    "batch_size": 32,
    "noise": 0.3,
    "tokens": 2,
}


def write_shop(folder: Path, *, items: int = 96) -> Path:
    """Items of every colour and shape; the image files are empty, which shows that nobody opens them."""
    (folder / "images").mkdir(parents=True)
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "id", "title", "color", "shape", "price", "split"])
        for number in range(items):
            (folder / "images" / f"{number}.png").touch()
            color, shape = COLOURS[number % 3], SHAPES[number // 3 % 2]
            split = "test" if number % 4 == 0 else "val" if number % 8 == 1 else "train"
            writer.writerow([f"images/{number}.png", f"i{number}", f"Nr {number}", color, shape, number + 0.5, split])
    return folder


def write_rows(
    folder: Path, *, items: int = 96, skip: int = 0, turn: bool = False, fusion: Fusion | None = None
) -> Path:
    """Embeddings in which colour and shape each have a direction of their own, under a little noise.

    `turn` gives the same of another encoder: rotated, and of another fingerprint.
    """
    random_state = np.random.default_rng(0)
    directions = random_state.normal(size=(5, D))
    rows = [
        directions[number % 3] + directions[3 + number // 3 % 2] + 0.1 * random_state.normal(size=D)
        for number in range(items)
    ]
    unit_ND = np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float16)
    if turn:
        rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(D, D)))
        unit_ND = (unit_ND @ rotation).astype(np.float16)
    spec = EncoderSpec(
        architecture="tiny",
        config_sha256="0" * 64,
        weights_sha256=("2" if turn else "1") * 64,
        dim=D,
        preprocessing=Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        fusion=fusion,
    )
    folder.mkdir(parents=True)
    ids = [f"i{number}" for number in range(items)]
    write_source(folder, spec, [(ids[skip:], unit_ND[skip:])], count=items - skip)
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop") / "data")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("source") / "source")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trimmed model of some 100,000 weights whose vocabulary knows the shop."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "full").mkdir()
    items = [item(color=color, shape=shape) for color in COLOURS for shape in SHAPES]
    write_tiny_qwen3vl(
        folder / "full",
        texts=QuestionMaker(items, ["color", "shape"]).texts(),
        shape=TinyShape(hidden=64, layers=2, heads=2, vision_layers=1, vocabulary=512),
    )
    trim(TrimSettings(model=folder / "full", out=folder / "trimmed"))
    return folder / "trimmed"


@pytest.fixture(scope="module")
def aligned(shop: Path, source: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> AlignReport:
    out = tmp_path_factory.mktemp("aligned") / "out"
    return align(AlignSettings(data=shop, model=model, source=source, out=out, epochs=24, **SETTINGS))


def item(number: int = 0, **fields: object) -> Item:
    return Item(id=f"i{number}", file_name=f"{number}.png", path=Path(f"{number}.png"), fields=fields)


def test_align_answers_for_items_it_never_saw(aligned: AlignReport) -> None:
    assert {score.field for score in aligned.fields} == {"color", "shape"}
    assert aligned.held_out == "test"
    assert aligned.held_out_items == 24
    for score in aligned.fields:
        assert score.accuracy >= 0.9
        assert score.probe >= 0.9


def test_align_falls_to_chance_when_the_rows_are_shuffled(aligned: AlignReport) -> None:
    shuffled = {score.field: score.shuffled for score in aligned.fields}
    assert shuffled["color"] <= 0.6
    assert shuffled["shape"] <= 0.8


def test_align_learns_with_fewer_soft_tokens_too(aligned: AlignReport) -> None:
    assert [score.tokens for score in aligned.by_tokens] == [1, 2]
    assert aligned.by_tokens[0].accuracy >= 0.8


def test_align_records_a_falling_loss_and_the_validation_accuracy(aligned: AlignReport) -> None:
    assert [record.epoch for record in aligned.epochs] == list(range(1, 25))
    assert aligned.epochs[-1].loss < aligned.epochs[0].loss / 2
    assert aligned.epochs[-1].accuracy is not None


def test_align_keeps_an_epoch_that_none_was_better_than_on_validation(aligned: AlignReport) -> None:
    best = max(record.accuracy or 0.0 for record in aligned.epochs)
    assert aligned.epochs[aligned.kept_epoch - 1].accuracy == best


def test_align_learns_to_name_the_values_of_two_items(
    shop: Path, source: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guessing both values and the yes or no would be right once in ten times."""
    for kind in KIND_WEIGHTS:
        monkeypatch.setitem(KIND_WEIGHTS, kind, {"ask": 0.3, "compare": 0.7}.get(kind, 0.0))
    report = align(AlignSettings(data=shop, model=model, source=source, out=tmp_path / "out", epochs=40, **SETTINGS))
    assert report.comparisons >= 0.4


def test_align_writes_a_folder_that_stock_transformers_reloads(aligned: AlignReport) -> None:
    from transformers import AutoModelForImageTextToText

    _, info = AutoModelForImageTextToText.from_pretrained(aligned.out, output_loading_info=True)

    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    projector = load_projector(Path(aligned.out))
    assert projector is not None
    assert projector.config.encoder_fingerprint == aligned.encoder_fingerprint


def test_align_writes_the_run_and_its_curves(aligned: AlignReport) -> None:
    run = json.loads((Path(aligned.out) / "run.json").read_text(encoding="utf-8"))
    assert run["settings"]["seed"] == 0
    assert run["fields"][0]["accuracy"] == aligned.fields[0].accuracy
    assert run["versions"]["transformers"]
    assert (Path(aligned.out) / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_right_answers_are_those_that_greedy_generation_gives(aligned: AlignReport, shop: Path, source: Path) -> None:
    from pinembed.trimmed.align_dataset import read_align_dataset

    model = TrimmedModel.load(aligned.out)
    held_out = read_align_dataset(shop, source, group=None).held_out
    dialogues = QuestionMaker(held_out.items, ["color"]).plain_questions("color")
    wrong = [type(one)(rows=one.rows, question=one.question, answer="green") for one in dialogues]
    said = model.generate(
        [one.question for one in dialogues], [held_out.embeddings_ND[list(one.rows)] for one in dialogues]
    )

    for asked in (dialogues, wrong):
        exact = [text == one.answer for text, one in zip(said, asked, strict=True)]
        assert list(correct_answers(model, held_out.embeddings_ND, asked)) == exact


def test_align_without_the_language_model_leaves_its_weights_untouched(
    shop: Path, source: Path, model: Path, tmp_path: Path
) -> None:
    report = align(
        AlignSettings(
            data=shop, model=model, source=source, out=tmp_path / "out", epochs=1, tokens=2, train_language_model=False
        )
    )

    assert report.settings.language_lr == 0
    assert (tmp_path / "out" / "model.safetensors").samefile(model / "model.safetensors")
    projector = load_projector(tmp_path / "out")
    assert projector is not None
    assert report.trained_parameters == sum(parameter.numel() for parameter in projector.parameters())


@pytest.mark.parametrize(("smallest", "rates"), [(50_000_000, (3e-3, 1e-3, 32, 0.7)), (1_000, (1e-3, 0.0, 32, 0.3))])
def test_align_trains_all_of_a_small_model_and_the_projector_of_a_large_one(
    shop: Path,
    source: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    smallest: int,
    rates: tuple[float, ...],
) -> None:
    monkeypatch.setattr("pinembed.trimmed.align_recipe.SMALL_PARAMETERS", smallest)
    settings = align(AlignSettings(data=shop, model=model, source=source, out=tmp_path / "out", epochs=1)).settings
    assert (settings.lr, settings.language_lr, settings.batch_size, settings.noise) == rates


def test_align_goes_on_with_the_projector_of_an_earlier_align(
    aligned: AlignReport, shop: Path, source: Path, tmp_path: Path
) -> None:
    report = align(
        AlignSettings(data=shop, model=Path(aligned.out), source=source, out=tmp_path / "out", epochs=1, batch_size=32)
    )
    assert report.settings.tokens == 2
    assert report.epochs[0].loss < aligned.epochs[2].loss


def test_align_that_was_stopped_goes_on_to_the_same_weights(
    shop: Path, source: Path, model: Path, tmp_path: Path
) -> None:
    straight = align(
        AlignSettings(data=shop, model=model, source=source, out=tmp_path / "straight", epochs=2, **SETTINGS)
    )
    stop = Stop()

    with pytest.raises(StoppedError):
        align(
            AlignSettings(data=shop, model=model, source=source, out=tmp_path / "stopped", epochs=2, **SETTINGS),
            progress=StopAfter(stop, 8),
            stop=stop,
        )
    assert not (tmp_path / "stopped").exists()
    resumed = align(
        AlignSettings(data=shop, model=model, source=source, out=tmp_path / "stopped", epochs=2, **SETTINGS)
    )

    assert [record.loss for record in resumed.epochs] == [record.loss for record in straight.epochs]
    for name in (PROJECTOR_NAME, "model.safetensors"):
        ours, theirs = load_file(tmp_path / "stopped" / name), load_file(tmp_path / "straight" / name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert not list(tmp_path.glob(".*resume*"))


def test_align_with_other_settings_begins_anew(shop: Path, source: Path, model: Path, tmp_path: Path) -> None:
    stop = Stop()
    with pytest.raises(StoppedError):
        align(
            AlignSettings(data=shop, model=model, source=source, out=tmp_path / "out", epochs=2, **SETTINGS),
            progress=StopAfter(stop, 3),
            stop=stop,
        )
    seeded = align(
        AlignSettings(data=shop, model=model, source=source, out=tmp_path / "out", epochs=1, seed=7, **SETTINGS)
    )
    fresh = align(
        AlignSettings(data=shop, model=model, source=source, out=tmp_path / "fresh", epochs=1, seed=7, **SETTINGS)
    )
    assert seeded.epochs[0].loss == fresh.epochs[0].loss


def test_align_with_other_flags_tells_of_the_state_and_leaves_it_to_the_run_that_it_belongs_to(
    shop: Path, source: Path, model: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    arguments = {"data": shop, "model": model, "source": source, "out": place / "out", "epochs": 2, **SETTINGS}
    said = Said()
    for seed in (0, 7):
        stop = Stop()
        stopping = StopAfter(stop, 3)
        stopping.say = said.say
        with pytest.raises(StoppedError):
            align(AlignSettings(**arguments, seed=seed), progress=stopping, stop=stop)
    assert len(list(place.iterdir())) == 2
    assert sum("holds an interrupted run with other settings" in line for line in said.lines) == 1
    align(AlignSettings(**arguments), progress=said)
    assert any("Going on after step 3" in line for line in said.lines)
    assert [path.name for path in place.iterdir()] == ["out"]


def test_align_within_minutes_ends_early(shop: Path, source: Path, model: Path, tmp_path: Path) -> None:
    report = align(
        AlignSettings(data=shop, model=model, source=source, out=tmp_path / "out", epochs=500, minutes=1e-4, **SETTINGS)
    )
    assert len(report.epochs) == 1


def test_align_counts_items_that_the_source_does_not_hold(shop: Path, model: Path, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "source", skip=10)
    report = align(AlignSettings(data=shop, model=model, source=source, out=tmp_path / "out", epochs=1, **SETTINGS))
    assert report.missing == 10


def test_align_command_then_ask_gives_answers(
    cli: Callable[..., CliResult], shop: Path, source: Path, model: Path, tmp_path: Path
) -> None:
    result = cli(
        "align", shop, "--model", model, "--source", source, "--out", tmp_path / "out", "--fields", "color,shape",
        "--epochs", "1", "--tokens", "2", "--json",
    )  # fmt: skip
    assert result.exit_code == 0
    assert {score["field"] for score in result.json["fields"]} == {"color", "shape"}
    assert "Answers that are exactly right, 24 test items never seen" in result.stderr

    asked = cli(
        "ask", "What is the color of this item?", "--model", tmp_path / "out", "--source", source, "--item", "i0"
    )
    assert asked.exit_code == 0


def test_align_refuses_an_unknown_field(
    cli: Callable[..., CliResult], shop: Path, source: Path, model: Path, tmp_path: Path
) -> None:
    result = cli(
        "align", shop, "--model", model, "--source", source, "--out", tmp_path / "out", "--fields", "color,taste"
    )
    assert result.exit_code == 2
    assert "--fields names taste" in result.words
    assert "title, color, shape, price" in result.words


def refused(error: type[Exception], told: str, **arguments: Any) -> None:
    with pytest.raises(error, match=told):
        align(AlignSettings(**{"epochs": 1, "tokens": 2, **arguments}))
    assert not Path(arguments["out"]).exists()


def test_align_tells_of_fields_that_the_embeddings_carry(
    cli: Callable[..., CliResult], shop: Path, model: Path, tmp_path: Path
) -> None:
    fused = write_rows(tmp_path / "fused", fusion=make_fusion({"image": 0.5, "color": 0.5}))
    align = ("align", shop, "--model", model, "--out", tmp_path / "out", "--epochs", 1, "--overwrite")
    words = cli(*align, "--source", fused, "--fields", "color,shape").words
    assert "The embeddings carry color beside the image" in words
    assert "The embeddings carry" not in cli(*align, "--source", fused, "--fields", "shape").words


def test_align_refuses_data_without_a_train_split(source: Path, model: Path, tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "data", items=12)
    rows = (shop / "metadata.csv").read_text(encoding="utf-8").replace(",train", ",test").replace(",val", ",test")
    (shop / "metadata.csv").write_text(rows, encoding="utf-8")
    refused(DataError, "has no train items; found test", data=shop, model=model, source=source, out=tmp_path / "out")


def test_align_refuses_a_source_without_these_items(source: Path, model: Path, tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "data", items=12)
    rows = (shop / "metadata.csv").read_text(encoding="utf-8").replace(",i", ",other-")
    (shop / "metadata.csv").write_text(rows, encoding="utf-8")
    refused(DataError, "holds none of the", data=shop, model=model, source=source, out=tmp_path / "out")


def test_align_refuses_metadata_without_a_repeating_column(source: Path, model: Path, tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "data")
    with (shop / "metadata.csv").open(encoding="utf-8") as file:
        rows = [{key: row[key] for key in ("file_name", "id", "title", "split")} for row in csv.DictReader(file)]
    with (shop / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    refused(DataError, "repeats short values", data=shop, model=model, source=source, out=tmp_path / "out")


def test_align_refuses_numbers_that_cannot_be_meant(shop: Path, source: Path, model: Path, tmp_path: Path) -> None:
    refused(UsageError, "must be positive", data=shop, model=model, source=source, out=tmp_path / "out", lr=0.0)


def test_align_refuses_a_model_with_its_tower(shop: Path, source: Path, tiny_qwen3vl: Path, tmp_path: Path) -> None:
    refused(
        ModelError, "still has its vision tower", data=shop, model=tiny_qwen3vl, source=source, out=tmp_path / "out"
    )


def test_align_refuses_an_output_of_somebody_else_before_it_works(
    shop: Path, source: Path, model: Path, tmp_path: Path
) -> None:
    from pinembed.errors import OutputExistsError

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(OutputExistsError, match=r"did not write: mine\.txt"):
        align(AlignSettings(data=shop, model=model, source=source, out=tmp_path / "out", overwrite=True))


def test_align_takes_a_damaged_state_for_none(
    shop: Path, source: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinembed.jobs.align._key", lambda *decisive: "0123456789abcdef")
    state = tmp_path / ".out.resume-0123456789ab.safetensors"
    state.write_bytes(b"half a file")
    report = align(AlignSettings(data=shop, model=model, source=source, out=tmp_path / "out", epochs=1, **SETTINGS))
    assert len(report.epochs) == 1
    assert not state.exists()


def test_a_projector_for_another_encoder_is_begun_anew(
    aligned: AlignReport, shop: Path, source: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(aligned.out, folder)
    from pinembed.trimmed.projector import save_projector

    other = new_projector(dim=9, tokens=3, token_embeddings_VH=torch.ones(2, 64), encoder_fingerprint="other", seed=0)
    save_projector(other, folder)
    report = align(AlignSettings(data=shop, model=folder, source=source, out=tmp_path / "out", epochs=1))
    projector = load_projector(tmp_path / "out")
    assert projector is not None
    assert (projector.config.dim, projector.config.tokens) == (D, 4)
    assert report.settings.tokens == 4


def test_a_map_between_encoders_keeps_the_answers(
    aligned: AlignReport, shop: Path, source: Path, tmp_path: Path
) -> None:
    new = write_rows(tmp_path / "new", turn=True)

    report = align(
        AlignSettings(data=shop, model=Path(aligned.out), source=new, old_source=source, out=tmp_path / "out")
    )

    assert report.adapter_cosine is not None
    assert report.adapter_cosine > 0.95
    assert report.epochs == ()
    assert report.encoder_fingerprint != aligned.encoder_fingerprint
    assert all(score.accuracy >= 0.85 for score in report.fields)
    loaded = TrimmedModel.load(tmp_path / "out").require_projector()
    loaded.check_source(report.encoder_fingerprint, origin="new")


def test_a_map_from_a_source_that_the_projector_does_not_know_is_refused(
    aligned: AlignReport, shop: Path, source: Path, tmp_path: Path
) -> None:
    new = write_rows(tmp_path / "new", turn=True)
    with pytest.raises(EncoderMismatchError, match="the projector was trained on those of"):
        align(AlignSettings(data=shop, model=Path(aligned.out), source=source, old_source=new, out=tmp_path / "out"))


def test_a_map_of_a_model_without_projector_is_refused(shop: Path, source: Path, model: Path, tmp_path: Path) -> None:
    new = write_rows(tmp_path / "new", turn=True)
    with pytest.raises(ModelError, match="no projector yet"):
        align(AlignSettings(data=shop, model=model, source=new, old_source=source, out=tmp_path / "out"))


def test_a_map_from_a_handful_of_items_is_refused(aligned: AlignReport, shop: Path, tmp_path: Path) -> None:
    old, new = write_rows(tmp_path / "old", skip=90), write_rows(tmp_path / "new", turn=True)
    with pytest.raises(DataError, match=r"share \d+ training item\(s\); a map between encoders needs 16"):
        align(AlignSettings(data=shop, model=Path(aligned.out), source=new, old_source=old, out=tmp_path / "out"))


def test_a_second_map_takes_the_place_of_the_first(
    aligned: AlignReport, shop: Path, source: Path, tmp_path: Path
) -> None:
    new = write_rows(tmp_path / "new", turn=True)
    align(AlignSettings(data=shop, model=Path(aligned.out), source=new, old_source=source, out=tmp_path / "mapped"))
    report = align(
        AlignSettings(data=shop, model=tmp_path / "mapped", source=source, old_source=new, out=tmp_path / "back")
    )
    assert report.adapter_cosine is not None
    assert report.adapter_cosine > 0.95
    assert all(score.accuracy >= 0.85 for score in report.fields)
    projector = TrimmedModel.load(tmp_path / "back").require_projector()
    assert (projector.config.encoder_fingerprint, projector.config.old_dim) == (aligned.encoder_fingerprint, D)


def test_a_map_from_few_items_is_the_one_that_serves_others_best() -> None:
    rng = torch.Generator().manual_seed(0)
    new_ND, turn_DE = torch.randn(60, 48, generator=rng), torch.randn(48, 8, generator=rng)
    old_NE = new_ND @ turn_DE + 20 * torch.randn(60, 8, generator=rng)  # most of it is no function of the new ones
    other_ND = torch.randn(500, 48, generator=rng)
    fitted = fit_adapter(new_ND[:40], old_NE[:40]).map(other_ND)
    centred_ND = (new_ND[:40] - new_ND[:40].mean(dim=0)).double()
    exact_DE = torch.linalg.lstsq(centred_ND, (old_NE[:40] - old_NE[:40].mean(dim=0)).double(), driver="gelsd").solution
    wanted = other_ND @ turn_DE
    assert (fitted - wanted).square().mean() < 0.7 * (other_ND @ exact_DE.float() - wanted).square().mean()


def test_align_with_low_rank_layers_merges_them_into_the_weights(
    shop: Path, source: Path, model: Path, tmp_path: Path
) -> None:
    report = align(
        AlignSettings(
            data=shop,
            model=model,
            source=source,
            out=tmp_path / "out",
            epochs=3,
            tokens=2,
            lora=2,
            language_lr=1e-2,
            fields=("color",),
        )
    )

    before, after = load_file(model / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert set(after) == set(before)
    assert changed
    assert all(".q_proj." in name or "_proj." in name for name in changed)
    assert report.settings.lora_rank == 2
    assert report.epochs[-1].loss < report.epochs[0].loss
    loaded = TrimmedModel.load(tmp_path / "out")
    assert loaded.generate(["color?"], [torch.ones(1, D)], max_new_tokens=1) is not None


def test_the_language_model_of_a_published_size_learns_after_the_projectors_first_share(
    shop: Path, source: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinembed.trimmed.align_recipe.SMALL_PARAMETERS", 1)
    rates: list[tuple[float, float]] = []
    step = Alignment.step

    def watched(run: Alignment, dialogues: Any, *, done: float) -> float:
        before = [parameter.detach().clone() for parameter in run.parameters]
        told = step(run, dialogues, done=done)
        changed = [not torch.equal(old, new) for old, new in zip(before, run.parameters, strict=True)]
        of_projector = len(list(run.model.require_projector().parameters()))
        assert any(changed[:of_projector])
        rates.append((done, any(changed[of_projector:])))
        return told

    monkeypatch.setattr(Alignment, "step", watched)
    report = align(
        AlignSettings(
            data=shop,
            model=model,
            source=source,
            out=tmp_path / "out",
            epochs=2,
            tokens=2,
            train_language_model=True,
            fields=("color",),
        )
    )

    assert report.settings.projector_first == 0.3
    assert [learns for _, learns in rates] == [done >= 0.3 for done, _ in rates]


def test_align_with_two_ways_of_training_the_language_model_is_refused(
    cli: Callable[..., CliResult], shop: Path, source: Path, model: Path, tmp_path: Path
) -> None:
    result = cli(
        "align", shop, "--model", model, "--source", source, "--out", tmp_path / "out", "--lora", "4",
        "--train-language-model",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "--train-language-model and --lora 4 came together" in result.words


def test_align_with_lora_but_without_peft_names_the_extra(
    cli: Callable[..., CliResult], shop: Path, source: Path, model: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "pinembed.training.low_rank.importlib.util.find_spec",
        lambda name: None if name == "peft" else find_spec(name),
    )
    result = cli("align", shop, "--model", model, "--source", source, "--out", tmp_path / "out", "--lora", "4")
    assert result.exit_code == 1
    assert "--lora needs the package peft, which is not installed" in result.words


@pytest.mark.parametrize("by_heart", [False, True])
def test_align_teaches_calls_of_tools_and_judges_them(
    shop: Path, source: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_heart: bool
) -> None:
    monkeypatch.setattr("pinembed.jobs.align.JUDGED_CALLS", 3)
    tool = {"type": "function", "function": {"name": "search"}}  # the whole of them is long for a byte-level vocabulary
    monkeypatch.setattr("pinembed.assistant.tools.tools_of", lambda vocabulary: [tool])
    taught: list[Any] = []
    step = Alignment.step

    def watched(run: Alignment, dialogues: Any, *, done: float) -> float:
        taught.extend(one for one in dialogues if one.frame is not None)
        return step(run, dialogues, done=done)

    monkeypatch.setattr(Alignment, "step", watched)
    settings = AlignSettings(
        data=shop,
        model=model,
        source=source,
        out=tmp_path / "out",
        epochs=1,
        talks=0.3,
        calls=0.1,
        calls_by_heart=by_heart,
        **SETTINGS,
    )
    report = align(settings)
    assert len(taught) == round(0.1 * round(0.3 * report.train_items * 3))
    assert all(one.answer.startswith("<tool_call>") and not one.rows for one in taught)
    assert all(
        ("Columns:" in one.frame.system, one.frame.tools) == (not by_heart, () if by_heart else (tool,))
        for one in taught
    )
    assert report.calls is not None
    assert report.calls.turns == 3
    assert taught_calls(tmp_path / "out") == TaughtCalls(right=report.calls.right, by_heart=by_heart)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"calls": 0.5}, "--calls is a share of the turns of --talks"),
        ({"talks": 0.5, "calls_by_heart": True}, "--calls-by-heart came without --calls"),
    ],
)
def test_align_refuses_calls_without_talks_and_those_by_heart_without_calls(
    wrong: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        AlignSettings(data=tmp_path, model=tmp_path, source=tmp_path, out=tmp_path / "out", **wrong, **SETTINGS)


def test_align_learns_the_users_own_dialogues(shop: Path, source: Path, model: Path, tmp_path: Path) -> None:
    said = {"red": "warm", "green": "fresh", "blue": "cold"}
    lines = [
        {"items": [f"i{number}"], "question": "Its mood?", "answer": said[COLOURS[number % 3]]} for number in range(48)
    ]
    lines += [
        {
            "items": [f"i{number}"],
            "messages": [
                {"role": "user", "content": "Its mood?"},
                {"role": "assistant", "content": said[COLOURS[number % 3]]},
            ],
        }
        for number in range(48, 96)
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")

    report = align(
        AlignSettings(
            data=shop,
            model=model,
            source=source,
            out=tmp_path / "out",
            epochs=20,
            dialogues=tmp_path / "own.jsonl",
            **SETTINGS,
        )
    )

    assert report.own_dialogues is not None
    assert report.own_dialogues >= 0.9


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 1 is no JSON"),
        ("[" * 100_000, "line 1 is no JSON"),
        ('{"question": "a", "answer": "b"}', "line 1 names no items"),
        ('["a"]', "line 1 names no items"),
        ('{"items": ["i0"], "question": "a"}', "line 1 lacks a question or an answer"),
        (
            '{"items": ["i0"], "messages": [{"role": "user", "content": "a"}]}',
            "line 1 holds a chat of user; wanted user and assistant",
        ),
        ('{"items": ["i0"], "messages": 3}', "line 1 holds a chat of nothing"),
    ],
)
def test_align_refuses_a_dialogue_that_it_cannot_read(
    shop: Path, source: Path, model: Path, tmp_path: Path, line: str, told: str
) -> None:
    (tmp_path / "own.jsonl").write_text(line, encoding="utf-8")
    refused(
        DataError, told, data=shop, model=model, source=source, out=tmp_path / "out", dialogues=tmp_path / "own.jsonl"
    )


def test_align_refuses_dialogues_that_are_not_there(shop: Path, source: Path, model: Path, tmp_path: Path) -> None:
    refused(
        DataError, "cannot be read", data=shop, model=model, source=source, out=tmp_path / "out",
        dialogues=tmp_path / "none.jsonl",
    )  # fmt: skip
