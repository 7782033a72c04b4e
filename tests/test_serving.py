"""Serving formats: what vLLM and SGLang decode from a request is, byte for byte, what `ask` feeds the model."""

from __future__ import annotations

import base64
import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pinembed import ChatTurn, ServingRequests
from pinembed.errors import EncoderMismatchError, ModelError, UnknownItemError, UsageError
from pinembed.jobs.export import export
from pinembed.jobs.verify import verify
from pinembed.settings.source import ExportSettings, VerifySettings
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.projector import new_projector, save_projector
from pinembed.trimmed.serving import sglang_image_data
from pinembed.trimmed.soft_tokens import from_base64
from tests.conftest import CliResult
from tests.published_forms import served_by_vllm
from tests.source_material import DIM, SPEC, embeddings, item_ids, make_source
from tests.test_export import make_table

Cli = Callable[..., CliResult]
K = 4
ITEMS = ["item-0003", "item-0001"]
QUESTION = "Which one is blue?"


def add_projector(folder: Path, fingerprint: str, *, seed: int = 5) -> Path:
    token_embeddings_VH = TrimmedModel.load(folder).token_embeddings_VH
    projector = new_projector(
        dim=DIM, tokens=K, token_embeddings_VH=token_embeddings_VH, encoder_fingerprint=fingerprint, seed=seed
    )
    save_projector(projector, folder)
    return folder


@pytest.fixture(scope="module")
def model(trimmed_qwen3vl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serving") / "model"
    shutil.copytree(trimmed_qwen3vl, folder)
    return add_projector(folder, SPEC.fingerprint)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_source(tmp_path_factory.mktemp("serving-source") / "source")


def decoded_by_vllm(text: str) -> torch.Tensor:
    """The steps of ImageEmbeddingMediaIO in vLLM 0.33: strict base64, the npy magic, numpy without pickles."""
    content = base64.b64decode(text, validate=True)
    assert content[:6] == b"\x93NUMPY"
    return torch.from_numpy(np.load(io.BytesIO(content)))


def merged_by_vllm(parts: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Concatenated values and stacked grids, as Qwen's field configuration wants them."""
    embeds = [decoded_by_vllm(part["image_embeds"]["image_embeds"]) for part in parts]
    grids = [decoded_by_vllm(part["image_embeds"]["image_grid_thw"]) for part in parts]
    return torch.cat(embeds), torch.stack(grids)


def test_vllm_request_holds_what_ask_feeds_the_model(model: Path, source: Path) -> None:
    requests = ServingRequests.open(model=model, source=source)
    body = json.loads(json.dumps(requests.vllm(ITEMS, QUESTION, model="shop")))
    assert (body["model"], body["temperature"]) == ("shop", 0)
    *parts, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": QUESTION}
    assert [part["type"] for part in parts] == ["image_embeds", "image_embeds"]
    embeds_TW, grid_I3 = merged_by_vllm(parts)
    expected_ImH = TrimmedModel.load(model).soft_tokens(requests.source.get(ITEMS)).detach()
    assert embeds_TW.numpy().tobytes() == expected_ImH.reshape(-1, expected_ImH.shape[2]).half().numpy().tobytes()
    assert grid_I3.tolist() == [[1, 2, 2 * K]] * 2
    assert (grid_I3.prod(-1) // 4).sum() == len(embeds_TW)


def test_vllm_chat_holds_every_turn_with_the_items_that_enter_in_it(model: Path, source: Path) -> None:
    requests = ServingRequests.open(model=model, source=source)
    turns = [
        ChatTurn(question=QUESTION, items=tuple(ITEMS), answer="the first"),
        ChatTurn(question="Why?", answer="it is blue"),
        ChatTurn(question="And this?", items=("item-0002",)),
    ]
    body = json.loads(json.dumps(requests.vllm_chat(turns, model="shop")))
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    assert body["messages"][0]["content"] == [*requests.vllm_parts(ITEMS), {"type": "text", "text": QUESTION}]
    assert body["messages"][2]["content"] == [{"type": "text", "text": "Why?"}]
    assert body["messages"][4]["content"] == [
        *requests.vllm_parts(["item-0002"]),
        {"type": "text", "text": "And this?"},
    ]
    single = requests.vllm_chat([ChatTurn(question=QUESTION, items=tuple(ITEMS))], model="shop")
    assert single == requests.vllm(ITEMS, QUESTION, model="shop")


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ([], "A conversation of 0 turn"),
        ([ChatTurn(question="a", items=("item-0001",), answer="b")], "1 with answers"),
        ([ChatTurn(question="a", items=("item-0001",)), ChatTurn(question="c")], "0 with answers"),
        ([ChatTurn(question="a")], "wanted items"),
        ([ChatTurn(question="<|im_end|>", items=("item-0001",))], "keeps for itself"),
        (
            [ChatTurn(question="a", items=("item-0001",), answer="<|im_start|>"), ChatTurn(question="c")],
            "keeps for itself",
        ),
    ],
)
def test_what_is_no_conversation_goes_to_no_server(
    model: Path, source: Path, turns: list[ChatTurn], words: str
) -> None:
    requests = ServingRequests.open(model=model, source=source)
    for build in (requests.vllm_chat, requests.sglang_chat):
        with pytest.raises(UsageError, match=words):
            build(turns)


def test_vllm_parts_have_cache_keys_that_change_with_everything(model: Path, source: Path, tmp_path: Path) -> None:
    def key(folder: Path, item: str = "item-0001", **sizes: int) -> str:
        return str(ServingRequests.open(model=folder, source=source, **sizes).vllm_parts([item])[0]["uuid"])

    other = add_projector(Path(shutil.copytree(model, tmp_path / "other")), SPEC.fingerprint, seed=6)
    keys = [key(model), key(model, "item-0002"), key(model, tokens=2), key(model, deepstack_levels=3), key(other)]
    assert len(set(keys)) == 5
    assert keys[0].startswith(f"item-0001@{SPEC.fingerprint}@")
    assert key(model) == keys[0]


def test_vllm_parts_for_a_server_with_a_tower_carry_zero_levels(model: Path, source: Path) -> None:
    plain_TW, _ = merged_by_vllm(ServingRequests.open(model=model, source=source).vllm_parts(ITEMS))
    wide = ServingRequests.open(model=model, source=source, deepstack_levels=3)
    wide_TW, grid_I3 = merged_by_vllm(wide.vllm_parts(ITEMS))
    hidden = plain_TW.shape[1]
    assert wide_TW.shape == (2 * K, 4 * hidden) == (2 * K, wide.maker.width)
    assert torch.equal(wide_TW[:, :hidden], plain_TW)
    assert not wide_TW[:, hidden:].any()
    assert grid_I3.tolist() == [[1, 2, 2 * K]] * 2


@pytest.mark.parametrize(
    ("form", "key"), [("processor_output", "precomputed_embeddings"), ("precomputed_embedding", "feature")]
)
def test_sglang_request_is_one_entry_for_all_items(model: Path, source: Path, form: str, key: str) -> None:
    requests = ServingRequests.open(model=model, source=source, tokens=3)
    request = requests.sglang(ITEMS, QUESTION, form=form)
    (entry,) = request["image_data"]
    assert set(entry) == {"format", key, "image_grid_thw"}
    assert entry["format"] == form
    expected_ImH = TrimmedModel.load(model).soft_tokens(requests.source.get(ITEMS), tokens=3).detach()
    assert entry[key].numpy().tobytes() == expected_ImH.half().numpy().tobytes()
    assert entry["image_grid_thw"].tolist() == [[1, 2, 6]] * 2
    writer = TrimmedModel.load(model).writer
    assert request["input_ids"].count(writer.pad_id) == len(entry[key]) == 6


def test_sglang_request_gives_the_answer_that_ask_gives(model: Path, source: Path) -> None:
    """The request's ids, soft tokens and grid, put through the model, give the logits of the trimmed model."""
    requests = ServingRequests.open(model=model, source=source)
    request = requests.sglang(ITEMS, QUESTION)
    trimmed = TrimmedModel.load(model)
    batch, _ = trimmed.write([QUESTION], [requests.source.get(ITEMS)])
    assert batch.input_ids_BT[0].tolist() == request["input_ids"]
    assert torch.equal(batch.grid_I3, request["image_data"][0]["image_grid_thw"])
    soft_ImH = request["image_data"][0]["precomputed_embeddings"].float().view(2, K, -1)
    with torch.inference_mode():
        served_V = trimmed.model(**trimmed.inputs(batch, soft_ImH), logits_to_keep=1).logits[0, -1].float()
    asked_V = trimmed.logits([QUESTION], [requests.source.get(ITEMS)])[0]
    torch.testing.assert_close(served_V, asked_V, atol=2e-3, rtol=2e-3)


def test_a_conversation_is_the_same_prompt_for_both_servers(model: Path, source: Path) -> None:
    requests = ServingRequests.open(model=model, source=source)
    turns = [
        ChatTurn(question=QUESTION, items=tuple(ITEMS), answer="the first"),
        ChatTurn(question="And this?", items=("item-0002",)),
    ]
    request = requests.sglang_chat(turns)
    pad = requests.writer.pad_id
    words = [token for token in request["input_ids"] if token != pad]
    assert requests.writer.tokenizer.decode(words) == served_by_vllm(
        requests.vllm_chat(turns), TrimmedModel.load(model)
    )
    [entry] = request["image_data"]
    assert request["input_ids"].count(pad) == 3 * K
    soft_ImH = TrimmedModel.load(model).soft_tokens(requests.source.get([*ITEMS, "item-0002"])).detach()
    assert entry["precomputed_embeddings"].numpy().tobytes() == soft_ImH.half().numpy().tobytes()
    assert entry["image_grid_thw"].tolist() == [[1, 2, 2 * K]] * 3
    assert (
        requests.sglang_chat([ChatTurn(question=QUESTION, items=tuple(ITEMS))])["input_ids"]
        == (requests.sglang(ITEMS, QUESTION)["input_ids"])
    )


@pytest.mark.parametrize("uuid", [None, "x", "item-0001@f@p-1x32", "item-0001@f@p-4x48"])
def test_a_part_under_a_uuid_of_another_size_is_never_sent(model: Path, source: Path, uuid: str | None) -> None:
    """The server takes what it remembers of a uuid, whatever rows came with it."""
    requests = ServingRequests.open(model=model, source=source)
    [part] = requests.vllm_parts(ITEMS[:1])
    with pytest.raises(ModelError, match=r"does not end in -4x32, the size of its soft tokens"):
        requests.vllm_with([{**part, "uuid": uuid}], QUESTION)


def as_base64(array: np.ndarray) -> str:
    written = io.BytesIO()
    np.save(written, array)
    return base64.b64encode(written.getvalue()).decode()


@pytest.mark.parametrize(
    ("rows", "grid", "told"),
    [
        (np.zeros((K, 48), np.float16), [1, 2, 2 * K], "are 48 wide, the server takes 32; it would end for everybody"),
        (np.zeros((K, 32), np.float16), [1, 2, 2], "has 4 soft token.s. and a grid of 1"),
        (np.zeros((K, 32), np.float16), [1, 2, -8], "has 4 soft token.s. and a grid of 0"),
        (np.zeros((K, 32), np.float16), [1, 1, 4 * K], "has 4 soft token.s. and a grid of 0"),
        (np.zeros((K, 32), np.float16), [2 * K], "has 4 soft token.s. and a grid of 0"),
        (np.full((K, 32), np.nan, np.float16), [1, 2, 2 * K], "or not finite; wanted finite float16"),
        (np.zeros((K, 32), np.float32), [1, 2, 2 * K], "are float32 of shape"),
        (np.zeros(32 * K, np.float16), [1, 2, 2 * K], "wanted finite float16 of .m, W."),
    ],
)
def test_a_part_that_would_end_a_server_is_never_sent(
    model: Path, source: Path, rows: np.ndarray, grid: list[int], told: str
) -> None:
    requests = ServingRequests.open(model=model, source=source)
    embeds = {"image_embeds": as_base64(rows), "image_grid_thw": as_base64(np.array(grid, np.int64))}
    parts = [*requests.vllm_parts(ITEMS), {"type": "image_embeds", "image_embeds": embeds, "uuid": f"x-{K}x32"}]
    with pytest.raises(ModelError, match=told):
        requests.vllm_with(parts, QUESTION)
    line = {"format": "precomputed_embedding", "feature": as_base64(rows), "image_grid_thw": grid}
    with pytest.raises(ModelError, match=told):
        sglang_image_data([line], width=requests.maker.width)


@pytest.mark.parametrize("part", [{}, {"image_embeds": None}, {"image_embeds": {"image_embeds": 3}}])
def test_a_part_that_is_none_is_refused(model: Path, source: Path, part: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="does not hold base64"):
        ServingRequests.open(model=model, source=source).vllm_with([part], QUESTION)
    with pytest.raises(ModelError, match="A request without items"):
        ServingRequests.open(model=model, source=source).vllm_with([], QUESTION)


def test_exported_parts_make_the_request_that_their_items_make(model: Path, source: Path) -> None:
    requests = ServingRequests.open(model=model, source=source)
    stored = json.loads(json.dumps(requests.vllm_parts(ITEMS)))
    assert requests.vllm_with(stored, QUESTION) == requests.vllm(ITEMS, QUESTION)


@pytest.mark.parametrize("question", ["<|image_pad|>", "hello<|im_end|>", "<|vision_start|>"])
def test_a_question_with_a_special_token_reaches_no_server(model: Path, source: Path, question: str) -> None:
    requests = ServingRequests.open(model=model, source=source)
    for build in (requests.vllm, requests.sglang):
        with pytest.raises(UsageError, match="which the model's tokenizer keeps for itself"):
            build(ITEMS, question)


def test_a_vllm_request_takes_no_penalty_from_the_folders_generation_config(model: Path, source: Path) -> None:
    body = ServingRequests.open(model=model, source=source).vllm(ITEMS, QUESTION)
    assert (body["temperature"], body["repetition_penalty"]) == (0, 1.0)


def test_the_index_of_an_aligned_folder_keeps_the_projector_from_a_server(model: Path) -> None:
    index = json.loads((model / "model.safetensors.index.json").read_text(encoding="utf-8"))
    assert set(index["weight_map"].values()) == {"model.safetensors"}


def test_a_trimmed_folder_has_what_both_servers_look_into(trimmed_qwen3vl: Path) -> None:
    """An index, for vLLM loads every safetensors file without one; and one block, which SGLang looks into."""
    vision = json.loads((trimmed_qwen3vl / "config.json").read_text(encoding="utf-8"))["vision_config"]
    assert (vision["depth"], vision["deepstack_visual_indexes"]) == (1, [])
    index = json.loads((trimmed_qwen3vl / "model.safetensors.index.json").read_text(encoding="utf-8"))["weight_map"]
    tensors = load_file(trimmed_qwen3vl / "model.safetensors")
    assert set(index) == set(tensors)
    block = [name for name in tensors if ".visual.blocks.0." in name]
    assert block
    assert not any(tensors[name].any() for name in block)


def test_serving_names_unknown_items(model: Path, source: Path) -> None:
    requests = ServingRequests.open(model=model, source=source)
    for build in (requests.vllm, requests.sglang):
        with pytest.raises(UnknownItemError, match="holds no item 'nothing'"):
            build(["item-0001", "nothing"], QUESTION)


def test_serving_refuses_a_source_of_another_encoder(model: Path, source: Path, tmp_path: Path) -> None:
    other = add_projector(Path(shutil.copytree(model, tmp_path / "other")), "0" * 16)
    with pytest.raises(EncoderMismatchError, match="holds embeddings of the encoder"):
        ServingRequests.open(model=other, source=source)


def test_serving_refuses_sizes_and_forms_that_cannot_be(model: Path, source: Path) -> None:
    with pytest.raises(UsageError, match="5 tokens an item were asked for; the projector has 1 to 4"):
        ServingRequests.open(model=model, source=source, tokens=5)
    with pytest.raises(UsageError, match="-1 DeepStack levels were asked for; wanted 0 or more"):
        ServingRequests.open(model=model, source=source, deepstack_levels=-1)
    with pytest.raises(UsageError, match="The form 'pickle' is none of processor_output, precomputed_embedding"):
        ServingRequests.open(model=model, source=source).sglang(ITEMS, QUESTION, form="pickle")


def test_serving_refuses_a_model_without_projector(trimmed_qwen3vl: Path, source: Path) -> None:
    with pytest.raises(ModelError, match="has no projector yet"):
        ServingRequests.open(model=trimmed_qwen3vl, source=source)


@pytest.mark.parametrize("content", [b"", b"no numpy", pickle.dumps([1, 2, 3])])
def test_serving_lines_never_unpickle(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"does not hold base64 of an \.npy array"):
        from_base64(base64.b64encode(content).decode())
    with pytest.raises(ModelError, match=r"does not hold base64"):
        from_base64("*" + base64.b64encode(content).decode())


def test_export_vllm_writes_the_part_of_every_item(cli: Cli, model: Path, source: Path, tmp_path: Path) -> None:
    table = make_table(tmp_path)
    done = cli("export", "--table", table, "--out", tmp_path / "out", "--format", "vllm", "--model", model, "--json")
    assert done.exit_code == 0, done.stderr
    assert (done.json["items"], done.json["format"]) == (25, "vllm")
    lines = [json.loads(line) for line in (tmp_path / "out" / "parts-00000.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == item_ids(25)
    parts = ServingRequests.open(model=model, source=source).vllm_parts(item_ids(25))
    assert [line["part"]["uuid"] for line in lines] == [part["uuid"] for part in parts]
    exported_TW, _ = merged_by_vllm([line["part"] for line in lines])
    torch.testing.assert_close(exported_TW, merged_by_vllm(parts)[0])
    assert verify(VerifySettings(folder=tmp_path / "out")).findings == ()


def test_export_sglang_lines_become_the_entry_of_a_request(cli: Cli, model: Path, source: Path, tmp_path: Path) -> None:
    flags = ("--format", "sglang", "--model", model, "--tokens", "2", "--deepstack-levels", "1")
    done = cli("export", "--table", make_table(tmp_path), "--out", tmp_path / "out", *flags, "--json")
    assert done.exit_code == 0, done.stderr
    lines = {}
    for text in (tmp_path / "out" / "parts-00000.jsonl").read_text().splitlines():
        line = json.loads(text)
        lines[line["id"]] = line["entry"]
    (entry,) = sglang_image_data([lines[item] for item in ITEMS])
    requests = ServingRequests.open(model=model, source=source, tokens=2, deepstack_levels=1)
    wanted = requests.sglang(ITEMS, QUESTION)["image_data"][0]
    torch.testing.assert_close(entry["precomputed_embeddings"], wanted["precomputed_embeddings"])
    assert torch.equal(entry["image_grid_thw"], wanted["image_grid_thw"])
    with pytest.raises(ModelError, match=r"0 line\(s\) make no SGLang entry"):
        sglang_image_data([])


def test_export_for_servers_is_cut_into_files(model: Path, tmp_path: Path) -> None:
    count = 4000
    table = make_table(tmp_path, item_ids(count), embeddings(count))
    report = export(ExportSettings(table=table, out=tmp_path / "out", format="vllm", model=model, shard_mib=1))
    files = sorted((tmp_path / "out").glob("parts-*.jsonl"))
    assert report.shards == len(files) > 1
    assert all(path.stat().st_size < (1 << 20) + 5000 for path in files)
    ids = [json.loads(line)["id"] for path in files for line in path.read_text().splitlines()]
    assert ids == item_ids(count)
    assert verify(VerifySettings(folder=tmp_path / "out")).items == count


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--format", "vllm"), "--format vllm needs the projector of a model folder, and there is no --model"),
        (("--format", "npy", "--model", "m"), "--format npy holds embeddings, not soft tokens"),
        (("--tokens", "2"), "--format source holds embeddings, not soft tokens"),
    ],
)
def test_export_refuses_options_that_do_not_go_together(
    cli: Cli, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    done = cli("export", "--table", make_table(tmp_path), "--out", tmp_path / "out", *flags)
    assert done.exit_code == 2
    assert message in done.words


def test_export_for_servers_refuses_another_encoders_projector(model: Path, tmp_path: Path) -> None:
    other = add_projector(Path(shutil.copytree(model, tmp_path / "other")), "0" * 16)
    with pytest.raises(EncoderMismatchError, match=r"Table .* holds embeddings of the encoder"):
        export(ExportSettings(table=make_table(tmp_path), out=tmp_path / "out", format="vllm", model=other))
    assert not (tmp_path / "out").exists()
