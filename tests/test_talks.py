"""Conversations of several turns: made of metadata, written by chat templates, and learned turn by turn."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from pinembed.assistant.call_talks import CallMaker, ItemColumns
from pinembed.assistant.tools import read_call, tools_of
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.errors import DataError, ModelError
from pinembed.nouns.item import Item
from pinembed.reports.trimmed import CallScore, RunSettings
from pinembed.trimmed.align_evaluator import FEWEST_SHARED, Validated, answer_logits, call_score
from pinembed.trimmed.align_loop import Alignment
from pinembed.trimmed.chat_ids import IGNORED, Exchange, Frame
from pinembed.trimmed.model import TrimmedModel, load_parts
from pinembed.trimmed.own_dialogues import about, read_dialogues, turn_by_turn
from pinembed.trimmed.projector import new_projector
from pinembed.trimmed.prompts import PromptWriter
from pinembed.trimmed.questions import Dialogue, QuestionMaker
from pinembed.trimmed.talks import FORMS, ORDINALS, TalkMaker
from pinembed.trimmed.tiny import CHAT_TEMPLATE
from pinembed.trimmed.tool_calls import JSON_CALLS, TAGGED_CALLS, call_form, calls_in, written_call

COLOURS, SHAPES = ("red", "green", "blue"), ("circle", "square")
ITEMS = [
    Item(
        id=f"i{n}",
        file_name=f"{n}.png",
        path=Path(f"{n}.png"),
        fields={"color": COLOURS[n % 3], "shape": SHAPES[n % 2]},
    )
    for n in range(12)
]
VALUES_SAID = "|".join((*COLOURS, *SHAPES))
A_SINGLE_OF_SEVERAL = rf"(?P<value>{VALUES_SAID}): (?P<verdict>yes|no)|.*; .*"
"""Answers of single questions that confirm a value, or name all of them."""
QUESTIONS = QuestionMaker(ITEMS, ["color", "shape"])


def talks(count: int = 200, *, held_out: bool = False) -> list[Any]:
    maker, rng = TalkMaker(QUESTIONS, held_out=held_out), random.Random(0)
    return [maker.draw(rng) for _ in range(count)]


def test_answers_of_conversations_follow_from_the_fields_of_the_items_so_far() -> None:
    seen_forms = set[str]()
    for talk in talks():
        assert 2 <= len(talk.turns) <= 3
        assert talk.turns[0].rows
        rows: list[int] = []
        for turn in talk.turns:
            rows += turn.rows
            if turn is talk.turns[0] and (single := re.fullmatch(A_SINGLE_OF_SEVERAL, turn.answer)):
                told = dict(ITEMS[rows[0]].fields)
                if single["verdict"]:
                    named = turn.question.removesuffix("?").rpartition(" ")[2]
                    assert single["verdict"] == ("yes" if named == single["value"] else "no")
                assert set(re.findall(VALUES_SAID, turn.answer)) <= set(told.values())
                seen_forms.add("single")
                continue
            field = "color" if "color" in turn.question or "color" in turn.question.lower() else "shape"
            shown = [[ITEMS[row].fields[name] for row in rows] for name in ("color", "shape")]
            if "which" in turn.question.lower():
                values, _, fitting = turn.answer.partition(": ")
                told = values.split(", ")
                assert told in shown
                value = next(value for value in (*COLOURS, *SHAPES) if value in turn.question)
                assert fitting.split(", ") == [ORDINALS[place] for place, own in enumerate(told) if own == value]
                seen_forms.add("which")
            elif " and " in turn.answer:
                one, other = turn.answer.partition(": ")[0].split(" and ")
                assert [one, other] in shown
                assert turn.answer.endswith("yes" if one == other else "no")
                seen_forms.add("both")
            else:
                place = next((ORDINALS.index(word) for word in ORDINALS if word in turn.question), len(rows) - 1)
                assert turn.answer == ITEMS[rows[place]].fields[field]
                seen_forms.add("back" if any(word in turn.question for word in ORDINALS) else "plain")
    assert seen_forms == {"single", "which", "both", "back", "plain"}
    assert {len(talk.all_rows) for talk in talks()} == {1, 2, 3}
    assert any(turn.rows for talk in talks() for turn in talk.turns[1:])  # items enter in later turns too


def test_wordings_that_judge_are_none_that_are_trained_on() -> None:
    for wordings in FORMS.values():
        assert not set(wordings.known) & set(wordings.held_out)
    known = {turn.question for talk in talks() for turn in talk.earlier[1:]}
    judging = {turn.question for talk in talks(held_out=True) for turn in talk.earlier[1:]}
    assert not known & judging


def test_epoch_has_the_same_number_of_turns_with_conversations_as_without() -> None:
    maker = TalkMaker(QUESTIONS)
    mixed = QuestionMaker(ITEMS, ["color", "shape"], more=lambda epoch: maker.epoch(f"{epoch}", 9), kept=0.75)
    plain = QUESTIONS.epoch(0)
    turns = [len(dialogue.turns) for dialogue in mixed.epoch(0)]
    assert len(plain) <= sum(turns) <= len(plain) + 2
    assert max(turns) > 1
    assert mixed.epoch(1) == mixed.epoch(1) != mixed.epoch(0)


EARLIER = (
    Exchange(question="color?", answer="red", items=2),
    Exchange(question="And the shape?", answer="circle"),
)


def test_turns_are_written_as_the_template_writes_a_chat_and_each_answer_is_labelled(tiny_qwen3vl: Path) -> None:
    writer = load_parts(tiny_qwen3vl)[1]
    batch = writer.write(["shape?"], [1], tokens=2, answers=["square"], earlier=[EARLIER], every_turn=True)
    ids, labels = batch.input_ids_BT[0].tolist(), batch.labels_BT
    assert labels is not None
    image = "<|vision_start|><|image_pad|><|image_pad|><|vision_end|>"
    user, assistant = "<|im_start|>user\n", "<|im_start|>assistant\n"
    assert writer.tokenizer.decode(ids) == (
        f"{user}{image}{image}color?<|im_end|>\n{assistant}red<|im_end|>\n"
        f"{user}And the shape?<|im_end|>\n{assistant}circle<|im_end|>\n"
        f"{user}{image}shape?<|im_end|>\n{assistant}square<|im_end|>"
    )
    assert writer.tokenizer.decode(labels[0][labels[0] != IGNORED]) == "red<|im_end|>circle<|im_end|>square<|im_end|>"
    assert batch.grid_I3.shape == (3, 3)
    assert int(batch.item_mask_BT.sum()) == 6
    last = writer.write(["shape?"], [1], tokens=2, answers=["square"], earlier=[EARLIER]).labels_BT
    assert last is not None
    assert writer.tokenizer.decode(last[0][last[0] != IGNORED]) == "square<|im_end|>"


def test_answers_that_a_template_writes_otherwise_later_are_context_alone(tiny_qwen3vl: Path) -> None:
    tokenizer = load_parts(tiny_qwen3vl)[1].tokenizer
    tokenizer.chat_template = CHAT_TEMPLATE.replace("{{ message.content }}", "{{ message.content | trim }}")
    writer = PromptWriter(tokenizer, tiny_qwen3vl)
    spaced = [dataclasses.replace(turn, answer=f"{turn.answer} ") for turn in EARLIER]
    batch = writer.write(["shape?"], [1], tokens=2, answers=["square"], earlier=[spaced], every_turn=True)
    labels = batch.labels_BT
    assert labels is not None
    assert tokenizer.decode(labels[0][labels[0] != IGNORED]) == "square<|im_end|>"
    assert "red<|im_end|>" in tokenizer.decode(batch.input_ids_BT[0])
    assert writer.prompt_ids("shape?", 1, 2, spaced) == writer.prompt_ids("shape?", 1, 2, EARLIER)


PRICED = [dataclasses.replace(item, fields={**item.fields, "price": 5.0 + n}) for n, item in enumerate(ITEMS * 2)]


def test_calls_follow_from_the_fields_and_are_in_the_grammar_of_chat(tiny_qwen3vl: Path) -> None:
    writer = load_parts(tiny_qwen3vl)[1]
    known, judging = (CallMaker(PRICED, PRICED, writer, held_out=held_out) for held_out in (False, True))
    drawn = known.draw("0", 60)
    assert drawn == known.draw("0", 60) != known.draw("1", 60)
    said, judged = ({one.question.rpartition("\n")[2] for one in each.draw("0", 60)} for each in (known, judging))
    assert not said & judged
    vocabulary = Vocabulary.read(ItemColumns(PRICED))
    acts = [read_call(one.answer, vocabulary) for one in drawn]
    assert {act.name for act in acts if act is not None} >= {"search", "filter", "about", "modify", "compare"}
    assert None not in acts
    for one in drawn:
        assert one.frame is not None
        assert one.frame.tools == tuple(tools_of(vocabulary))
        assert "Columns:\ncolor: " in one.frame.system
        assert one.question.startswith(("1. ", "Nothing is shown yet."))


def test_prompt_of_a_call_is_that_of_chat_and_its_tokens_alone_are_learned(tiny_qwen3vl: Path) -> None:
    writer = load_parts(tiny_qwen3vl)[1]
    [one] = CallMaker(PRICED, PRICED, writer).draw("0", 1)
    assert one.frame is not None
    batch = writer.write([one.question], [0], tokens=2, answers=[one.answer], frames=[one.frame])
    assert batch.labels_BT is not None
    labelled = batch.labels_BT[0] != IGNORED
    assert writer.tokenizer.decode(batch.labels_BT[0][labelled]) == f"{one.answer}<|im_end|>"
    asked = [*one.frame.messages, {"role": "user", "content": one.question}]
    prompt = writer.render(asked, tools=list(one.frame.tools), add_generation_prompt=True)
    assert writer.tokenizer.decode(batch.input_ids_BT[0][~labelled]) == prompt
    assert int(batch.item_mask_BT.sum()) == 0
    assert batch.grid_I3.shape == (0, 3)


def test_call_of_a_template_without_tools_is_refused(tiny_qwen3vl: Path) -> None:
    writer = load_parts(tiny_qwen3vl)[1]
    writer.template = writer.template.replace("message.tool_calls or []", "[]")
    with pytest.raises(ModelError, match="writes no calls of tools"):
        written_call(writer, {"name": "undo", "arguments": {}})


def test_calls_are_learned_and_then_written_as_the_parser_reads_them(trimmed_qwen3vl: Path) -> None:
    model = TrimmedModel.load(trimmed_qwen3vl, dtype="float32")
    model.projector = new_projector(
        dim=8, tokens=1, token_embeddings_VH=model.token_embeddings_VH, encoder_fingerprint="f", seed=3
    )
    tools = ({"type": "function", "function": {"name": "undo"}}, {"type": "function", "function": {"name": "more"}})
    calls = [{"name": name, "arguments": {}} for name in ("undo", "more")]
    taught = [
        Dialogue(
            rows=(), question=say, answer=written_call(model.writer, call), frame=Frame(system="Act.", tools=tools)
        )
        for say, call in zip(("go back", "next ones"), calls, strict=True)
    ]
    optimiser = torch.optim.AdamW(model.model.parameters(), lr=5e-3)
    losses = []
    for _ in range(120):
        labels_BT, logits_AV = answer_logits(model, taught, torch.empty(0, 8), 1)
        loss = torch.nn.functional.cross_entropy(logits_AV, labels_BT[labels_BT != IGNORED])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    assert call_score(model, taught) == CallScore(turns=2, right=1.0)
    for one, call in zip(taught, calls, strict=True):
        assert one.frame is not None
        asked = [*one.frame.messages, {"role": "user", "content": one.question}]
        written = model.say(asked, tools=list(tools), max_new_tokens=64)
        assert calls_in(written, call_form(model.writer), tools=tools) == [call]


@pytest.fixture(scope="module")
def model(trimmed_qwen3vl: Path) -> TrimmedModel:
    made = TrimmedModel.load(trimmed_qwen3vl)
    made.projector = new_projector(
        dim=8, tokens=2, token_embeddings_VH=made.token_embeddings_VH, encoder_fingerprint="f", seed=3
    )
    return made


def test_answer_in_a_later_turn_reads_the_items_of_the_turns_before(model: TrimmedModel) -> None:
    rows_ND = torch.nn.functional.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    _, soft_ImH = model.write(["shape?"], [rows_ND], None, [EARLIER])
    assert soft_ImH.shape[:2] == (3, 2)
    with torch.inference_mode():
        told = [
            model.model(**model.inputs(*model.write(["shape?"], [rows], None, [EARLIER])), logits_to_keep=1).logits
            for rows in (rows_ND, rows_ND.flip(0))
        ]
    assert not torch.equal(*told)
    alone = model.generate(["shape?"], [rows_ND[:1]], max_new_tokens=4)
    both = model.generate(
        ["shape?", "shape?"], [rows_ND[:1], rows_ND], earlier=[(), EARLIER], max_new_tokens=4
    )  # padded on the left
    assert both[0] == alone[0]


def test_own_conversations_have_any_number_of_turns_and_items_in_any_of_them(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(
        '{"items": ["i0"], "messages": [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}, '
        '{"role": "user", "content": "c?", "items": ["i3", "i1"]}, {"role": "assistant", "content": "d"}]}\n'
        '{"items": ["i9"], "question": "e?", "answer": "f"}\n{"items": ["gone"], "question": "g?", "answer": "h"}\n',
        encoding="utf-8",
    )
    talk, single = about(read_dialogues(tmp_path / "own.jsonl"), ITEMS)
    assert [(turn.rows, turn.question, turn.answer) for turn in talk.turns] == [((0,), "a?", "b"), ((3, 1), "c?", "d")]
    assert talk.all_rows == (0, 3, 1)
    assert [len(one.turns) for one in turn_by_turn([talk, single])] == [1, 2, 1]
    (tmp_path / "bad.jsonl").write_text('{"items": ["i0"], "messages": [{"role": "user", "content": "a?"}]}')
    with pytest.raises(DataError, match="line 1 holds a chat of user; wanted user and assistant in turn"):
        read_dialogues(tmp_path / "bad.jsonl")


TOOLS = [{"type": "function", "function": {"name": "undo", "parameters": {"type": "object", "properties": {}}}}]


def test_tiny_template_writes_tools_and_calls_as_qwen3_vl_does(tiny_qwen3vl: Path) -> None:
    writer = load_parts(tiny_qwen3vl)[1]
    call = {"type": "function", "function": {"name": "undo", "arguments": {"count": 2}}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "back"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    written = writer.render(messages, tools=TOOLS, add_generation_prompt=True)
    assert written.startswith("<|im_start|>system\nBe brief.\n\n# Tools\n\n")
    assert '<tools>\n{"type": "function", "function": {"name": "undo"' in written
    assert written.count("Be brief.") == 1
    assert written.endswith(
        '<|im_start|>assistant\n<tool_call>\n{"name": "undo", "arguments": {"count": 2}}\n</tool_call><|im_end|>\n'
        "<|im_start|>assistant\n"
    )
    ids = writer.tokenizer("<tool_call>\n</tool_call>", add_special_tokens=False)["input_ids"]
    assert writer.tokenizer.decode(ids, skip_special_tokens=True) == "<tool_call>\n</tool_call>"
    assert len(ids) == 3
    assert call_form(writer) is JSON_CALLS


@pytest.mark.parametrize(
    ("form", "written"),
    [
        (JSON_CALLS, 'Sure. <tool_call>\n{"name": "more", "arguments": {"count": 3}}\n</tool_call>'),
        (
            TAGGED_CALLS,
            "Sure.\n<tool_call>\n<function=more>\n<parameter=count>\n3\n</parameter>\n</function>\n</tool_call>",
        ),
    ],
    ids=["Qwen3-VL", "Qwen3.5"],
)
def test_calls_are_read_by_the_parser_of_transformers_in_both_forms(form: Any, written: str) -> None:
    parameters = {"type": "object", "properties": {"count": {"type": "integer"}}}
    tools = [{"type": "function", "function": {"name": "more", "parameters": parameters}}]
    assert calls_in(written, form, tools=tools) == [{"name": "more", "arguments": {"count": 3}}]
    assert calls_in(written * 2, form, tools=tools) == [{"name": "more", "arguments": {"count": 3}}] * 2
    assert calls_in("no call", form) == []
    assert calls_in("<tool_call>{</tool_call>", JSON_CALLS) == []


def test_what_all_calls_begin_with_is_computed_once_and_changes_no_logit(
    model: TrimmedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = CallMaker(PRICED, PRICED, model.writer).draw("0", 3)
    inner, tokens = model.model.model, list[int]()
    forward = inner.forward

    def counted(**given: Any) -> Any:
        tokens.append(given["input_ids"].numel())
        return forward(**given)

    monkeypatch.setattr(inner, "forward", counted)
    found = []
    for fewest in (FEWEST_SHARED, 10**9):
        monkeypatch.setattr("pinembed.trimmed.align_evaluator.FEWEST_SHARED", fewest)
        found.append(answer_logits(model, made, torch.empty(0, 8), 1))
    (labels_BT, logits_AV), (whole_BT, whole_AV) = found
    assert torch.equal(labels_BT, whole_BT)
    assert torch.allclose(logits_AV, whole_AV, atol=1e-4)
    *shared, whole = tokens
    assert sum(shared) < 0.5 * whole


def test_the_last_epoch_that_validation_cannot_tell_from_the_best_is_kept(model: TrimmedModel) -> None:
    settings = RunSettings(
        fields=("color", "shape"), epochs=4, batch_size=16, lr=1e-3, language_lr=0.0, projector_first=0.0, lora_rank=0,
        noise=0.0, tokens=1, seed=0, minutes=None, talks=0.0, calls=0.0,
    )  # fmt: skip
    run = Alignment(model, torch.zeros(12, 8), QuestionMaker(ITEMS, ["color", "shape"]), settings)
    for accuracy in (0.5, 0.8, 0.78, 0.7):  # of a hundred questions, with a standard error of .04 to .05
        run.end_epoch(Validated(accuracy=accuracy, questions=100))
    assert run.state.kept_epoch == 3
    assert [record.accuracy for record in run.state.epochs] == [0.5, 0.8, 0.78, 0.7]


def test_batches_hold_every_dialogue_once_and_those_of_about_one_length_together(model: TrimmedModel) -> None:
    settings = RunSettings(
        fields=("color", "shape"), epochs=1, batch_size=16, lr=1e-3, language_lr=0.0, projector_first=0.0, lora_rank=0,
        noise=0.0, tokens=1, seed=0, minutes=None, talks=0.3, calls=0.0,
    )  # fmt: skip
    maker = TalkMaker(QUESTIONS)
    questions = QuestionMaker(ITEMS, ["color", "shape"], more=lambda epoch: maker.epoch(f"{epoch}", 200), kept=0.7)
    batches = Alignment(model, torch.zeros(12, 8), questions, settings).batches()
    drawn = questions.epoch(0)
    assert sorted(map(str, drawn)) == sorted(str(one) for batch in batches for one in batch)
    assert all(len({bool(one.earlier) for one in batch}) == 1 for batch in batches)

    def padded(some: Sequence[Any], size: int) -> int:
        lengths = [sum(len(turn.question + turn.answer) for turn in one.turns) for one in some]
        cut = [lengths[start : start + size] for start in range(0, len(lengths), size)]
        return sum(max(some) * len(some) for some in cut)

    talks_of = [batch for batch in batches if batch[0].earlier]
    size = max(map(len, talks_of))
    sorted_out = sum(padded(batch, size) for batch in talks_of)
    assert sorted_out < 0.9 * padded([one for one in drawn if one.earlier], size)
