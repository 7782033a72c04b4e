"""An answer is trained, asked and ended in the form that the published chat template gives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pinembed import ServingRequests
from pinembed.errors import ModelError
from pinembed.trimmed.model import TrimmedModel
from tests.conftest import CliResult
from tests.published_forms import (
    FORMS,
    GENERATION,
    INSTRUCT,
    SWITCHED,
    THINKING,
    Form,
    aligned,
    dump,
    trim_of,
    write_form,
)

pytest_plugins = ("tests.forms_fixtures",)


THOUGHTLESS = "<|im_start|>assistant\n<think>\n\n</think>\n\nplum<|im_end|>"


@pytest.mark.parametrize(
    ("template", "trained"),
    [
        (INSTRUCT, "<|im_start|>assistant\nplum<|im_end|>"),
        (THINKING, THOUGHTLESS),
        (SWITCHED, THOUGHTLESS),
        (INSTRUCT[: -len("{% endif %}")] + "<think>\n{% endif %}", THOUGHTLESS),
        (INSTRUCT[: -len("{% endif %}")] + "<thoughts>{% endif %}",
         "<|im_start|>assistant\n<thoughts>\n\n</thoughts>\n\nplum<|im_end|>"),
        (INSTRUCT.replace("assistant\n", "assistant\n<think>\n").replace("{{ m.role }}\n", "{{ m.role }}\n<think>\n"),
         THOUGHTLESS),
        (INSTRUCT.replace("assistant\n", "assistant\n<reply>").replace("{{ m.role }}\n", "{{ m.role }}\n<reply>"),
         "<|im_start|>assistant\n<reply>plum<|im_end|>"),
    ],
    ids=[
        "instruct", "thinking", "switched", "finished answers without thoughts", "another tag",
        "finished answers within thoughts", "a tag that is no thought",
    ],
)  # fmt: skip
def test_an_answer_is_trained_in_the_form_that_the_chat_template_gives_it(
    tmp_path: Path, template: str, trained: str
) -> None:
    folder = trim_of(write_form(tmp_path / "full", Form(model_type="qwen3_vl", template=template)), tmp_path)
    writer = TrimmedModel.load(folder).writer

    batch = writer.write(["?"], [1], tokens=2, answers=["plum"])

    written = writer.tokenizer.decode(batch.input_ids_BT[0])
    assert written[written.index("<|im_start|>assistant") :] == trained
    assert batch.labels_BT is not None
    assert writer.tokenizer.decode(batch.labels_BT[batch.labels_BT >= 0]) == "plum<|im_end|>"
    asked = writer.write(["?"], [1], tokens=2).input_ids_BT[0].tolist()
    assert batch.input_ids_BT[0, : len(asked)].tolist() == asked


def begun_with(mark: str, *, history: str = "") -> str:
    """A template whose prompt begins the answer with a mark that finished answers do not have, or have closed."""
    return f"{{# {history} #}}" + INSTRUCT[: -len("{% endif %}")] + mark + "\n{% endif %}"


@pytest.mark.parametrize(
    ("mark", "closing"),
    [
        ("[THINK]", "[/THINK]"),
        ("<|thinking|>", "<|/thinking|>"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|think_start|>", "<|think_end|>"),
        ("◁think▷", "◁/think▷"),
    ],
)
def test_a_mark_of_thoughts_is_closed_where_the_template_tells_how_and_refused_elsewhere(
    tmp_path: Path, mark: str, closing: str
) -> None:
    told = Form(model_type="qwen3_vl", template=begun_with(mark, history=closing))
    folder = trim_of(write_form(tmp_path / "full", told), tmp_path)
    assert TrimmedModel.load(folder).writer.form.closing == f"\n{closing}\n\n"
    (folder / "chat_template.jinja").write_text(begun_with(mark), encoding="utf-8")
    with pytest.raises(ModelError, match=r"begins an answer with thoughts .* and does not tell how they end"):
        TrimmedModel.load(folder)


def test_thoughts_without_a_mark_are_refused_and_those_of_a_system_prompt_are_none(tmp_path: Path) -> None:
    system = "<|im_start|>system\nPut thoughts between <think> and its end.<|im_end|>\n"
    folder = trim_of(write_form(tmp_path / "full", Form(model_type="qwen3_vl", template=system + INSTRUCT)), tmp_path)
    assert TrimmedModel.load(folder).writer.form.closing == ""
    (folder / "chat_template.jinja").write_text(begun_with("<|channel|>analysis<|message|>"), encoding="utf-8")
    with pytest.raises(ModelError, match=r"begins an answer with thoughts \(analysis"):
        TrimmedModel.load(folder)


def test_of_several_chat_templates_the_default_one_is_taken(tmp_path: Path) -> None:
    folder = trim_of(write_form(tmp_path / "full", FORMS["Qwen3-VL-2B-Instruct"]), tmp_path)
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    for name in ("default", "rag"):
        named = [{"name": "tool_use", "template": "{{ 0 }}"}, {"name": name, "template": THINKING}]
        dump(folder / "tokenizer_config.json", {**settings, "chat_template": named})
        if name == "default":
            assert TrimmedModel.load(folder).writer.form.closing == "\n</think>\n\n"
    with pytest.raises(ModelError, match="has chat templates of the names tool_use, rag; wanted one"):
        TrimmedModel.load(folder)


def test_a_block_of_thoughts_that_a_chat_request_cannot_close_is_refused_there_alone(
    tmp_path: Path, shop: Path, source: Path
) -> None:
    for_strings = THINKING.replace(
        "m.content if m.content is string else m.content|map(attribute='text')|join", "m.content"
    )
    full = write_form(tmp_path / "full", Form(model_type="qwen3_vl", template=for_strings))
    out = aligned(trim_of(full, tmp_path), shop, source, tmp_path / "out", train_language_model=False)
    requests = ServingRequests.open(model=out, source=source)
    with pytest.raises(ModelError, match="opens a block of thoughts that a chat request cannot close"):
        requests.vllm(["i0"], "color?")
    assert requests.writer.tokenizer.decode(requests.sglang(["i0"], "color?")["input_ids"]).endswith("</think>\n\n")


def test_an_answer_ends_as_the_template_ends_a_turn_and_generation_stops_there(tmp_path: Path) -> None:
    full = write_form(tmp_path / "full", FORMS["Qwen3-VL-2B-Instruct"])
    settings = json.loads((full / "tokenizer_config.json").read_text(encoding="utf-8"))
    dump(full / "tokenizer_config.json", {**settings, "eos_token": "<|endoftext|>"})
    (full / "generation_config.json").unlink()

    model = TrimmedModel.load(trim_of(full, tmp_path))

    end = model.writer.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert model.writer.answer_ids("plum")[-1] == end
    assert end in model.model.generation_config.eos_token_id


@pytest.mark.parametrize(
    "leaking",
    [
        GENERATION,
        {"no_repeat_ngram_size": 1, "suppress_tokens": list(range(40, 100)), "min_new_tokens": 5},
        {"length_penalty": 5.0, "num_beams": 3, "temperature": 0.1, "bad_words_ids": [[60]], "guidance_scale": 2.0},
    ],
)
def test_a_published_generation_config_changes_no_answer_and_says_nothing(
    tmp_path: Path, shop: Path, source: Path, cli: Callable[..., CliResult], leaking: dict[str, Any]
) -> None:
    full = write_form(tmp_path / "full", FORMS["Qwen3-VL-2B-Instruct"])
    ends = json.loads((full / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    dump(full / "generation_config.json", {"eos_token_id": ends})
    out = aligned(trim_of(full, tmp_path), shop, source, tmp_path / "out", train_language_model=False)
    ask = ("ask", "color?", "--model", out, "--source", source, "--item", "i0", "--max-new-tokens", "12", "--quiet")
    plain = cli(*ask)

    dump(out / "generation_config.json", {"eos_token_id": ends, **leaking})
    leaked = cli(*ask)

    assert (leaked.exit_code, leaked.stdout, leaked.stderr) == (0, plain.stdout, "")
