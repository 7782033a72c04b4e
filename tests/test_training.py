"""The parts of training: heads, losses, low-rank updates, memory, processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import Mock

import pytest
import torch

from pinembed.nouns.progress import SILENT
from pinembed.settings.training import FinetuneSettings
from tests.conftest import CliResult, make_encoder, write_catalogue

if TYPE_CHECKING:
    from pinembed.encoder.encoder import Encoder
    from pinembed.training.losses import Batch
    from pinembed.training.trainer import Trainer

IMAGES = 10


def make_trainer(encoder: Encoder, **recipe: Any) -> Trainer:
    from pinembed.encoder.towers import encode_texts
    from pinembed.training.optimiser import Rates
    from pinembed.training.recipe import Recipe
    from pinembed.training.trainer import Trainer

    rates = Rates(image=1e-3, text=1e-3, first_layer=0.3, weight_decay=0.01)
    sizes = {"epochs": 1, "batch_size": IMAGES, "samples_per_group": 2, "train_px": None, "micro_batch": None}
    made = Trainer(
        encoder.model,
        Recipe(**{**sizes, "rates": rates, **recipe}),
        total_steps=4,
        standardise=encoder.standardise,
        encode_texts=encode_texts,
        seed=0,
    )
    made.start_epoch(1)
    return made


def make_batch(encoder: Encoder) -> Batch:
    from pinembed.training.losses import Batch

    generator = torch.Generator().manual_seed(0)
    return Batch(
        pixels_BCHW=torch.randint(256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=generator),
        tokens_MT=encoder.tokenizer([f"item {index}" for index in range(IMAGES)]),
        text_of_VB=torch.stack([torch.arange(IMAGES), torch.arange(IMAGES) // 2]),
        is_true_BM=torch.eye(IMAGES, dtype=torch.bool),
        group_B=torch.arange(IMAGES) // 2,
        text_B=torch.arange(IMAGES),
    )


@pytest.fixture
def encoder(tiny_encoder: Path) -> Encoder:
    from pinembed.encoder.encoder import load_encoder

    return load_encoder(str(tiny_encoder))


def test_fitted_heads_help_and_leave_the_model_as_it_was(encoder: Encoder, tmp_path: Path) -> None:
    from pinembed.nouns.progress import SILENT
    from pinembed.training.datasets import load_split, read_splits
    from pinembed.training.evaluator import Evaluator
    from pinembed.training.projections import fitted_projections

    texts = read_splits(write_catalogue(tmp_path / "data", views=6), text=(), group="product")
    train = load_split(texts.train, texts, encoder.preprocessing, split="train", progress=SILENT)
    before = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    fitted = fitted_projections(encoder, train, texts.captioner, seed=0, progress=SILENT)
    assert set(fitted) == {"visual.proj", "text_projection"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.model.state_dict().items())
    judge = Evaluator(encoder, train, SILENT)
    scores, base_scores = judge.measure_weights({**before, **fitted}, ""), judge.measure_weights(before, "")
    assert scores.mean_map > base_scores.mean_map + 0.1


def test_a_tower_that_goes_on_after_its_last_linear_layer_has_no_head_to_fit(encoder: Encoder) -> None:
    from pinembed.training.projections import projection_inputs, text_projection

    head = text_projection(encoder.model)
    assert head is not None
    tokens_BT = encoder.tokenizer(["red", "blue"])
    encode = encoder.model.encode_text
    assert projection_inputs(head, encode, iter([tokens_BT])) is not None
    assert projection_inputs(head, lambda tokens: encode(tokens).relu(), iter([tokens_BT])) is None


def test_the_bias_of_pairwise_losses_expects_one_right_answer_in_a_batch() -> None:
    from pinembed.training.losses import balanced_bias, pairwise_loss

    generator = torch.Generator().manual_seed(0)
    image_BD, text_BD = (torch.nn.functional.normalize(torch.randn(64, 32, generator=generator)) for _ in range(2))
    right_BB, scale = torch.eye(64, dtype=torch.bool), torch.tensor(5.0)
    bias = balanced_bias(image_BD, text_BD, right_BB, scale)
    wrong_logits = (scale * image_BD @ text_BD.T + bias)[~right_BB]
    assert float(wrong_logits.mean()) == pytest.approx(-torch.log(torch.tensor(63.0)))
    unbiased = pairwise_loss(image_BD, text_BD, right_BB, scale, torch.zeros(()))
    assert pairwise_loss(image_BD, text_BD, right_BB, scale, bias) < unbiased / 3


def test_a_model_with_a_bias_of_its_own_trains_on_pairs_with_it(encoder: Encoder) -> None:
    from pinembed.training.recipe import make_recipe

    settings = FinetuneSettings(data=Path("data"), base="base", out=Path("out"))

    def loss_of(model: torch.nn.Module) -> str:
        return make_recipe(model, settings, train_images=100, image_px=32).loss

    assert loss_of(encoder.model) == "clip"
    encoder.model.logit_bias = torch.nn.Parameter(torch.tensor(-7.0))
    assert loss_of(encoder.model) == "siglip"
    trainer = make_trainer(encoder, loss="siglip")
    trainer.step(make_batch(encoder))
    assert float(trainer.state()["objective.bias"]) == -7.0


@pytest.mark.parametrize("recipe", [{"loss": "siglip"}, {"lora": 2}, {"matryoshka": True, "l2sp": 9.0}, {}], ids=str)
def test_a_restored_trainer_takes_the_same_next_step(tiny_encoder: Path, recipe: dict[str, Any]) -> None:
    from pinembed.encoder.encoder import load_encoder

    undisturbed, restored = load_encoder(str(tiny_encoder)), load_encoder(str(tiny_encoder))
    batch = make_batch(undisturbed)
    trainer = make_trainer(undisturbed, **recipe)
    for _ in range(3):
        trainer.step(batch)
    state = {name: tensor.clone() for name, tensor in trainer.state().items()}
    again = make_trainer(restored, **recipe)
    again.restore(state, step_count=3, total_steps=4)
    trainer.start_epoch(2)
    again.start_epoch(2)
    assert again.step(batch) == trainer.step(batch)


@pytest.mark.parametrize("recipe", [{}, {"l2sp": 0.5}, {"micro_batch": 3}], ids=str)
def test_rows_of_the_tokens_met_learn_as_the_whole_table_would(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, recipe: dict[str, Any]
) -> None:
    from pinembed.encoder.encoder import load_encoder
    from pinembed.training.optimiser import Rates
    from pinembed.training.token_rows import token_rows

    rates = Rates(image=1e-3, text=1e-3, first_layer=0.3, weight_decay=0.0)  # that of unmet rows is left out on purpose

    def trained() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        encoder = load_encoder(str(tiny_encoder))
        trainer = make_trainer(encoder, rates=rates, **recipe)
        batch = make_batch(encoder)
        for word in ("item", "red item", "a blue"):  # each step has tokens that none before it had
            texts = [f"{word} {index}" for index in range(IMAGES)]
            trainer.step(replace(batch, tokens_MT=encoder.tokenizer(texts)))
        average = trainer.averaged_weights()
        trainer.finish()
        return average, {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}

    with_rows = trained()
    monkeypatch.setattr("pinembed.training.trainer.token_rows", lambda _: None)
    for ours, whole in zip(with_rows, trained(), strict=True):
        for name, tensor in whole.items():
            torch.testing.assert_close(ours[name], tensor, msg=name, rtol=1e-4, atol=1e-6)
    encoder = load_encoder(str(tiny_encoder))
    rows = token_rows(encoder.model)
    assert rows is not None
    moved = (with_rows[1][rows.name] != encoder.model.state_dict()[rows.name]).any(dim=1)
    assert 0 < int(moved.sum()) < len(moved) / 2


def test_low_rank_updates_are_merged_into_a_plain_model(encoder: Encoder) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    trainer, batch = make_trainer(encoder, lora=2), make_batch(encoder)
    for _ in range(3):
        trainer.step(batch)
    assert trainer.low_rank is not None
    merged = trainer.low_rank.merged_state()
    encoder.model.eval()
    pixels_BCHW = batch.pixels_BCHW
    learned_BD = encoder.embed_images(pixels_BCHW)
    trainer.finish()
    plain = encoder.model.state_dict()
    assert plain.keys() == before.keys() == merged.keys()
    assert all(torch.equal(tensor, merged[name]) for name, tensor in plain.items())
    assert torch.allclose(encoder.embed_images(pixels_BCHW), learned_BD, atol=1e-6)
    changed = {name: plain[name] - tensor for name, tensor in before.items() if not torch.equal(plain[name], tensor)}
    assert "visual.transformer.resblocks.0.attn.in_proj_weight" in changed
    assert "visual.transformer.resblocks.0.mlp.c_fc.weight" in changed
    assert {int(torch.linalg.matrix_rank(change.flatten(1), atol=1e-5)) for change in changed.values()} == {2}


def test_prefixes_of_the_embedding_learn_to_serve_alone(encoder: Encoder) -> None:
    from pinembed.training.losses import prefix_dims

    assert prefix_dims(512) == (512, 256, 128, 64, 32)
    assert prefix_dims(48) == (48,)


def test_an_anchor_keeps_the_weights_near_the_start(tiny_encoder: Path) -> None:
    from pinembed.encoder.encoder import load_encoder

    moved = []
    for l2sp in (0.0, 1.0):
        encoder = load_encoder(str(tiny_encoder))
        before = encoder.model.state_dict()["visual.proj"].clone()
        trainer = make_trainer(encoder, l2sp=l2sp)
        for _ in range(3):
            trainer.step(make_batch(encoder))
        moved.append(float((encoder.model.state_dict()["visual.proj"] - before).norm()))
    assert 0 < moved[1] < 0.9 * moved[0]


def test_a_batch_that_does_not_fit_into_memory_is_halved_until_it_does(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.encoder.encoder import load_encoder

    whole, halved = load_encoder(str(tiny_encoder)), load_encoder(str(tiny_encoder))
    batch = make_batch(whole)
    encode_image = halved.model.encode_image

    def short_of_memory(pixels_BCHW: torch.Tensor) -> torch.Tensor:
        if len(pixels_BCHW) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode_image(pixels_BCHW)

    monkeypatch.setattr(halved.model, "encode_image", short_of_memory)
    trainer, reference = make_trainer(halved), make_trainer(whole)
    assert trainer.step(batch) == pytest.approx(reference.step(batch), rel=1e-5)
    assert trainer.towers.micro_batch == 2
    assert all(
        torch.allclose(tensor, whole.model.state_dict()[name], atol=2e-5)
        for name, tensor in halved.model.state_dict().items()
    )


def test_bfloat16_computes_the_towers_and_leaves_the_weights_in_float32(encoder: Encoder) -> None:
    trainer, batch = make_trainer(encoder), make_batch(encoder)
    exact_BD = trainer.towers.embed_images(batch.pixels_BCHW.float())
    trainer.towers.bf16 = True
    rounded_BD = trainer.towers.embed_images(batch.pixels_BCHW.float())
    assert rounded_BD.dtype == torch.float32
    assert not torch.equal(rounded_BD, exact_BD)
    assert torch.allclose(rounded_BD, exact_BD, atol=0.05)
    trainer.step(batch)
    assert {parameter.dtype for parameter in encoder.model.parameters()} == {torch.float32}


def test_bfloat16_is_measured_on_the_own_batch_and_changes_nothing(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.training import trainer as precision

    trainer, batch = make_trainer(encoder), make_batch(encoder)
    before = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    assert not precision.is_worth_measuring(encoder.model)
    monkeypatch.setattr(precision, "MEASURED_S", 0)
    assert precision.measure_gain(encoder.model, trainer.towers, batch.pixels_BCHW.float(), batch.tokens_MT) > 0
    assert not trainer.towers.bf16
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.model.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.model.parameters())


def test_finetune_takes_low_rank_updates_pairs_and_prefixes_together(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    result = cli(
        "finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--epochs", "1", "--lora", "4",
        "--loss", "siglip", "--matryoshka", "--precision", "bf16", "--json",
    )  # fmt: skip
    assert result.exit_code in {0, 4}
    recipe = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["recipe"]
    assert (recipe["lora"], recipe["loss"], recipe["matryoshka"]) == (4, "siglip", True)
    assert result.json["heads"]["mean_map"] > 0


@pytest.mark.parametrize("encoder_name", ["tiny_encoder", "batch_norm_encoder"])
def test_a_killed_run_with_heads_pairs_and_low_rank_updates_ends_with_the_same_weights(
    encoder_name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.jobs.finetune import finetune
    from pinembed.training.trainer import Trainer

    arguments: dict[str, Any] = {
        "data": write_catalogue(tmp_path / "data"), "base": str(request.getfixturevalue(encoder_name)), "epochs": 3,
        "lora": 2, "loss": "siglip", "lr": 5e-3,
    }  # fmt: skip
    undisturbed = finetune(FinetuneSettings(**arguments, out=tmp_path / "one"))
    step = Trainer.step

    def killed(trainer: Trainer, batch: Batch) -> float:
        if trainer.step_count == 2:
            raise KeyboardInterrupt
        return step(trainer, batch)

    monkeypatch.setattr(Trainer, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        finetune(FinetuneSettings(**arguments, out=tmp_path / "two"))
    monkeypatch.setattr(Trainer, "step", step)
    again = finetune(FinetuneSettings(**arguments, out=tmp_path / "two"))
    assert again.heads is not None
    assert [record.loss for record in again.epochs] == [record.loss for record in undisturbed.epochs]
    assert (again.fingerprint, again.alpha) == (undisturbed.fingerprint, undisturbed.alpha)


@pytest.fixture
def batch_norm_encoder(tmp_path: Path) -> Path:
    """A random encoder folder whose image tower has batch norms with an activation, as timm's convolutional ones."""
    vision = {"timm_model_name": "test_resnet", "timm_model_pretrained": False, "timm_pool": "avg", "image_size": 32}
    return make_encoder(tmp_path / "batch-norms", vision_cfg={**vision, "timm_proj": "linear"})


def test_the_rate_warms_up_falls_and_stays_at_its_floor() -> None:
    from pinembed.training.optimiser import cosine_share

    shares = [cosine_share(step, 100, 10, floor=0.3) for step in range(100)]
    assert shares[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert shares[10:60] == [cosine_share(step, 100, 10) for step in range(10, 60)]
    assert set(shares[80:]) == {0.3}
    assert cosine_share(99, 100, 10) < 0.001


def test_statistics_are_the_mean_over_batches_and_leave_the_rest_as_it_was(batch_norm_encoder: Path) -> None:
    from pinembed.encoder.encoder import load_encoder
    from pinembed.training.evaluator import recalibrate
    from pinembed.training.optimiser import batch_norms

    encoder = load_encoder(str(batch_norm_encoder))
    model: Any = encoder.model
    norms = batch_norms(model)
    weights = {name: weight.clone() for name, weight in model.named_parameters()}
    seen: list[torch.Tensor] = []
    first = next(iter(norms))
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    batches = [encoder.standardise(make_batch(encoder).pixels_BCHW[rows]) for rows in (slice(6), slice(6, None))]
    recalibrate(norms, model.encode_image, batches)
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in seen])
    spreads = torch.stack([batch.var(dim=(0, 2, 3)) for batch in seen])
    assert first.running_mean is not None
    assert first.running_var is not None
    torch.testing.assert_close(first.running_mean, means.mean(dim=0))
    torch.testing.assert_close(first.running_var, spreads.mean(dim=0))
    assert {norm.momentum for norm in norms} == {0.1}
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(weight, weights[name]) for name, weight in model.named_parameters())


@pytest.mark.parametrize("random_init", [False, True])
def test_batch_norms_keep_a_bases_statistics_and_take_the_catalogues_from_random_weights(
    batch_norm_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random_init: bool
) -> None:
    from pinembed.encoder.encoder import load_encoder
    from pinembed.images.decode import read_image
    from pinembed.images.preprocess import preprocess
    from pinembed.jobs.finetune import finetune
    from pinembed.training.evaluator import recalibrate
    from pinembed.training.optimiser import batch_norms

    data = write_catalogue(tmp_path / "data", views=6)
    metadata = data / "metadata.csv"
    metadata.write_text(metadata.read_text().replace(",test", ",train"))  # no gate that could refuse
    base, out = load_encoder(str(batch_norm_encoder)), tmp_path / "out"
    # the folder's weights either way: what counts is which kind of base they are said to be
    monkeypatch.setattr("pinembed.jobs.finetune.load_encoder", lambda *_, **__: load_encoder(str(batch_norm_encoder)))
    report = finetune(
        FinetuneSettings(
            data=data,
            base=str(batch_norm_encoder),
            out=out,
            epochs=4,
            batch_size=16,
            lr=3e-3,
            heads=False,
            random_init=random_init,
        )
    )
    assert report.alpha > 0
    tuned = load_encoder(str(out))
    found = {name: buffer.clone() for name, buffer in tuned.model.named_buffers() if "running" in name}
    if not random_init:
        expected = {name: buffer for name, buffer in base.model.named_buffers() if "running" in name}
    else:
        items = [line.split(",")[0] for line in metadata.read_text().splitlines() if "train" in line]
        pixels = [preprocess(read_image(data / name), tuned.preprocessing) for name in items]
        seen = tuned.standardise(torch.stack([torch.from_numpy(image) for image in pixels]))
        recalibrate(batch_norms(tuned.model), cast(Any, tuned.model).encode_image, [seen])
        expected = {name: buffer for name, buffer in tuned.model.named_buffers() if "running" in name}
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_two_processes_train_as_one(cli: Callable[..., CliResult], tiny_encoder: Path, tmp_path: Path) -> None:
    data = write_catalogue(tmp_path / "data")
    (data / "images" / "red-circle-0.png").write_bytes(b"no picture")  # so that shares differ in size

    def arguments(out: str) -> list[str]:
        return [
            "finetune", str(data), "--base", str(tiny_encoder), "--out", str(tmp_path / out), "--epochs",
            "4", "--batch-size", "7", "--lr", "1e-3", "--group", "product", "--json",
        ]  # fmt: skip

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "pinembed", *arguments("two")],
            env={**os.environ, **world, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    one = cli(*arguments("one"))
    (first_out, first_words), (second_out, second_words) = (process.communicate() for process in processes)
    assert [process.returncode for process in processes] == [one.exit_code] * 2, first_words + second_words
    assert json.loads(first_out)["out"].endswith("two")
    assert (second_out, second_words) == ("", "")
    losses = [
        json.loads((tmp_path / name / "run.json").read_text(encoding="utf-8"))["step_losses"] for name in ("one", "two")
    ]
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=2e-5)


@pytest.mark.parametrize(
    ("measured", "is_flat"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], False),
        ([0.1, 0.5, 0.6, 0.6, 0.6, 0.5, 0.5, 0.5, 0.4], True),
        ([0.1, 0.5, 0.6, 0.6, 0.6, 0.5], False),  # patience has not run out
        ([0.1, 0.9, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6, 0.7], False),  # one lucky epoch is no peak
    ],
)
def test_training_is_flat_once_the_mean_over_epochs_has_not_risen_for_long(
    measured: list[float], is_flat: bool
) -> None:
    from pinembed.training.duration import has_flattened

    assert has_flattened(measured, patience=4) is is_flat


@pytest.mark.parametrize(
    ("measured", "is_forgotten"),
    [
        ([0.5], False),
        ([0.5, 0.5], True),
        ([0.5, 0.68], False),  # within the error
        ([0.6, 0.72, 0.5, 0.5], False),  # the start was reached: noise
        ([0.6, 0.69, 0.5, 0.5], True),
    ],
)
def test_training_has_forgotten_where_no_epoch_reached_the_start(measured: list[float], is_forgotten: bool) -> None:
    from pinembed.training.duration import has_forgotten

    assert has_forgotten(measured, 0.7, error=0.05) is is_forgotten


@pytest.mark.parametrize(
    ("projections_lead", "between", "kept"),
    [(0.01, 0.29, (0.4, 3)), (0.01, 0.25, (0.6, 3)), (-0.1, 0.4, (0.4, 3)), (0.5, 0.29, (1.0, 0))],
    ids=["as good, more of the base", "not as good", "better", "projections that lead by more than the error"],
)
def test_of_what_validation_cannot_tell_apart_the_nearest_to_the_base_that_was_trained_is_kept(
    encoder: Encoder, projections_lead: float, between: float, kept: tuple[float, int]
) -> None:
    from pinembed.metrics.retrieval import QueryScores
    from pinembed.metrics.split_metrics import MAP, SplitScores
    from pinembed.nouns.scores import METRICS
    from pinembed.training.evaluator import Interpolation, choose_interpolation

    def scores(level: float) -> SplitScores:
        values = torch.zeros(20, len(METRICS), dtype=torch.float64)
        values[:, MAP] = level + torch.linspace(-0.2, 0.2, 20)
        found = QueryScores(values_QM=values, cluster_Q=torch.arange(20), index_Q=torch.arange(20), gallery=20)
        return SplitScores(text_to_image=found, image_to_text=found, image_to_image=found)

    weights = encoder.model.state_dict()
    evaluator, recalibration = Mock(), Mock()
    evaluator.measure_weights.side_effect = [scores(level) for level in (0.25, between, 0.3, 0.3)]
    candidates = [
        Interpolation(alpha=alpha, epoch=epoch, weights=weights, scores=scores(level))
        for alpha, epoch, level in ((0.0, 0, 0.2), (1.0, 0, 0.3 + projections_lead), (1.0, 3, 0.3))
    ]
    chosen = choose_interpolation(evaluator, recalibration, candidates, SILENT)
    recalibration.completed.assert_called()
    assert (chosen.alpha, chosen.epoch) == kept


@pytest.mark.parametrize(
    ("groups", "lost", "spread", "loses"),
    [(20, 0.03, 0.4, False), (20, 0.2, 0.4, True), (20, 0.05, 0.01, True), (3, 0.2, 0.01, False)],
    ids=["within its error", "beyond it", "small and certain", "groups that cannot tell"],
)
def test_a_loss_in_one_direction_counts_as_far_as_validation_can_tell(
    groups: int, lost: float, spread: float, loses: bool
) -> None:
    from pinembed.metrics.intervals import loses_nowhere
    from pinembed.metrics.retrieval import QueryScores
    from pinembed.metrics.split_metrics import MAP, SplitScores
    from pinembed.nouns.scores import METRICS

    group_Q = torch.arange(60) % groups

    def scores(level: float, spread: float = 0.0) -> QueryScores:
        values = torch.zeros(60, len(METRICS), dtype=torch.float64)
        values[:, MAP] = level + spread * (group_Q % 2 - 0.5)
        return QueryScores(values_QM=values, cluster_Q=group_Q, index_Q=torch.arange(60), gallery=60)

    base = SplitScores(text_to_image=scores(0.3), image_to_text=scores(0.3), image_to_image=scores(0.9))
    tuned = SplitScores(text_to_image=scores(0.6), image_to_text=scores(0.6), image_to_image=scores(0.9 - lost, spread))
    assert loses_nowhere(tuned, base) is not loses
    assert not loses_nowhere(SplitScores(**{**vars(base), "text_to_image": scores(0.0)}), base)
