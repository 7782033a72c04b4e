"""Questions about items to the language model's input: chat template, K image pads an item, positions, padding.

Shape legend: B questions, T tokens of the longest one, I items of all questions in order, m soft tokens of one item.
The stock processor counts pixels, so the pads are set here: an item of m tokens stands on a grid of 1 x 2 x 2m patches,
which M-RoPE reads as one row of m positions.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor

from pinembed.errors import ModelError, UsageError
from pinembed.trimmed.chat_ids import IGNORED, ChatIds, Exchange, Frame
from pinembed.trimmed.checkpoint import read_json

IMAGE_PAD = "<|image_pad|>"
CALL = "<tool_call>"  # with which Qwen3-VL and Qwen3.5 begin one
NO_THOUGHTS = {"enable_thinking": False}  # Qwen3.5's templates ask for it, others pass over it
TEMPLATE_ERRORS = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError)


def grid_thw(tokens: int) -> list[int]:
    """The patch grid of an item that transformers and the servers read as m tokens in one row: patches merge 2 x 2."""
    return [1, 2, 2 * tokens]


def user_message(text: str, items: int) -> dict[str, Any]:
    """A question behind the items that enter with it, as chat templates take it."""
    return {"role": "user", "content": [*[{"type": "image"}] * items, {"type": "text", "text": text}]}


@dataclass(frozen=True, kw_only=True)
class PromptBatch:
    """Model input of B questions.

    Attributes:
        input_ids_BT: int64, padded.
        attention_mask_BT: int64, 0 on padding.
        item_mask_BT: int64, 1 on the pads that soft tokens replace; transformers' mm_token_type_ids.
        grid_I3: int64, image_grid_thw of every item.
        labels_BT: int64, IGNORED outside of the answers; None without answers.
    """

    input_ids_BT: Tensor
    attention_mask_BT: Tensor
    item_mask_BT: Tensor
    grid_I3: Tensor
    labels_BT: Tensor | None = None

    def to(self, device: torch.device) -> PromptBatch:
        return PromptBatch(
            input_ids_BT=self.input_ids_BT.to(device),
            attention_mask_BT=self.attention_mask_BT.to(device),
            item_mask_BT=self.item_mask_BT.to(device),
            grid_I3=self.grid_I3.to(device),
            labels_BT=None if self.labels_BT is None else self.labels_BT.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class AnswerForm:
    """How a chat template frames an answer that thinks no thoughts.

    Attributes:
        closing: what has to follow the prompt before the answer's first word; empty but for a template whose prompt
            opens a block of thoughts.
        block: the whole empty block, from its opening on.
        end: the special token that ends the turn.
    """

    closing: str
    block: str
    end: str


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """What makes a server's chat route write the same prompt.

    Attributes:
        messages: behind the user's; the beginning of the answer, where the prompt has to close a block of thoughts.
        options: entries of the request's body.
    """

    messages: tuple[dict[str, Any], ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


ANSWER = "plum"
NEWLINE = "\n"
OF_THOUGHTS = r"think|thought|reason|analysis"
MARK = re.compile(
    rf"(?P<left>[<\[({{|◁]+)(?P<end>/|end)?(?P<name>[\w:]*(?:{OF_THOUGHTS})[\w:]*)(?P<right>[>\])}}|▷]+)", re.IGNORECASE
)
"""Where a block of thoughts begins or ends: <think>, [/THINK], <|begin_of_thought|> ..."""


def answer_form(render: Callable[..., str], *, template: str, specials: Sequence[str], eos: str) -> AnswerForm:
    """Read the form off what the template writes for a finished answer.

    Args:
        render: messages to text, as `apply_chat_template`.
        template: that it fills.
        specials: special tokens, one of which may end the turn.
        eos: ends it where none does.

    Raises:
        ModelError: the template begins an answer with thoughts and does not tell how they end.
    """
    user = {"role": "user", "content": [{"type": "text", "text": "?"}]}
    assistant = {"role": "assistant", "content": ANSWER}
    prompt = render([user], add_generation_prompt=True)
    asked = render([user], add_generation_prompt=False)
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(prompt, asked, strict=False))
    begun = prompt[sum(1 for _ in same) :]
    try:
        finished = render([user, assistant], add_generation_prompt=False)
    except TEMPLATE_ERRORS:
        finished = ""  # a template for questions alone
    after = finished.rpartition(ANSWER)[2]
    end = next((token for token in sorted(specials, key=len, reverse=True) if token and after.startswith(token)), eos)
    closing = finished[len(prompt) :].partition(ANSWER)[0] if finished.startswith(prompt) else ""
    if (opened := _opened(begun + closing)) is not None:
        between = NEWLINE if begun.endswith(NEWLINE) else 2 * NEWLINE
        closing += f"{between}{_closing_mark(begun[opened:], template)}{2 * NEWLINE}"
    start = _opened(begun)
    return AnswerForm(closing=closing, block=closing if start is None else begun[start:] + closing, end=end)


def _opened(text: str) -> int | None:
    """Place of the block of thoughts that the text leaves open; None where it leaves none."""
    marks = list(MARK.finditer(text))
    if marks:
        return None if marks[-1]["end"] else marks[-1].start()
    word = re.search(OF_THOUGHTS, text, re.IGNORECASE)
    return None if word is None else word.start()


def _closing_mark(opening: str, template: str) -> str:
    """What ends the block of thoughts that a mark opens.

    Raises:
        ModelError: neither a convention nor the template tells.
    """
    mark = MARK.match(opening)
    if mark is not None:
        left, name, right = mark["left"], mark["name"], mark["right"]
        if (left, right) == ("<", ">"):
            return f"</{name}>"
        names = (f"/{name}", re.sub("begin|start", "end", name), f"end_{name}")
        ends = [f"{left}{end}{right}" for end in names if end != name]
        known = next((end for end in ends if end in template), None)
        if known is not None:
            return known
    raise ModelError(
        f"The chat template begins an answer with thoughts ({' '.join(opening.split())[:40]}) and does not tell how "
        "they end.",
        remedy="Give a chat template that begins the answer itself, such as that of the Instruct checkpoint.",
    )


class PromptWriter:
    """Writes prompts with one checkpoint's tokenizer and chat template.

    Args:
        tokenizer: transformers' tokenizer of the checkpoint.
        folder: of the checkpoint, named in errors; may hold the older chat_template.json.

    Raises:
        ModelError: no chat template, one that writes no prompt, or a tokenizer without the image pad.
    """

    def __init__(self, tokenizer: Any, folder: Path) -> None:
        self.tokenizer = tokenizer
        self.pad_id = int(tokenizer.convert_tokens_to_ids(IMAGE_PAD) or 0)
        if self.pad_id == 0 or self.pad_id == tokenizer.unk_token_id:
            raise ModelError(
                f"The tokenizer in {folder} has no {IMAGE_PAD}; wanted that of a Qwen checkpoint.",
                remedy="Copy the tokenizer files of the checkpoint into the folder.",
            )
        self.template = _template(tokenizer, folder)
        try:
            self.form = answer_form(
                self.render, template=self.template, specials=tokenizer.all_special_tokens, eos=tokenizer.eos_token
            )
            self.end_id = int(tokenizer.convert_tokens_to_ids(self.form.end))
            self.prompt_ids("?", items=1, tokens=1)
        except TEMPLATE_ERRORS as error:
            raise ModelError(
                f"Tokenizer and chat template in {folder} write no prompt: {' '.join(str(error).split())[:240]}",
                remedy="Copy the tokenizer files and the chat template of the checkpoint into the folder.",
            ) from error

    def render(self, messages: Sequence[dict[str, Any]], **options: Any) -> str:
        """Messages as the chat template writes them, without thoughts where it leaves the choice."""
        written: str = self.tokenizer.apply_chat_template(
            list(messages), chat_template=self.template, tokenize=False, **NO_THOUGHTS, **options
        )
        return written

    def write(
        self,
        questions: Sequence[str],
        items: Sequence[int],
        *,
        tokens: int,
        answers: Sequence[str] | None = None,
        earlier: Sequence[Sequence[Exchange]] | None = None,
        every_turn: bool = False,
        frames: Sequence[Frame | None] | None = None,
    ) -> PromptBatch:
        """Model input of some questions.

        Args:
            questions: one text each.
            items: how many items come with each question; they stand before its text.
            tokens: m.
            answers: what the model should say; the batch is then padded on the right and has labels. Without them
                it is padded on the left, ready for generation.
            earlier: for each question the turns before it; their items come before its own.
            every_turn: the answers of earlier turns have labels too.
            frames: what stands before each chat; without special tokens of its own.

        Raises:
            UsageError: a question holds one of the tokenizer's special tokens.
        """
        each = zip(earlier or [()] * len(items), questions, items, frames or [None] * len(items), strict=True)
        chats = [self._chat(turns, text, own, tokens, frame) for turns, text, own, frame in each]
        if answers is not None:
            for chat, answer in zip(chats, answers, strict=True):
                chat.answer(self.answer_ids(answer))
        width, fill = max(len(chat.ids) for chat in chats), int(self.tokenizer.pad_token_id or 0)
        ids, mask, labels = [], [], []
        for chat in chats:
            gap = width - len(chat.ids)
            left, right = (0, gap) if answers is not None else (gap, 0)
            ids.append([fill] * left + chat.ids + [fill] * right)
            mask.append([0] * left + [1] * len(chat.ids) + [0] * right)
            labels.append([IGNORED] * left + chat.labels(every_turn=every_turn) + [IGNORED] * right)
        pictures = sum(items) + sum(turn.items for turns in earlier or () for turn in turns)
        ids_BT, mask_BT = torch.tensor(ids), torch.tensor(mask)
        return PromptBatch(
            input_ids_BT=ids_BT,
            attention_mask_BT=mask_BT,
            item_mask_BT=(ids_BT == self.pad_id).long() * mask_BT,
            grid_I3=torch.tensor([grid_thw(tokens)]).expand(pictures, 3).contiguous(),
            labels_BT=torch.tensor(labels) if answers is not None else None,
        )

    def prompt_ids(self, text: str, items: int, tokens: int, earlier: Sequence[Exchange] = ()) -> list[int]:
        """Token ids of one question with its pads, up to the answer's first word; a block of thoughts is closed.

        Args:
            text: the question.
            items: that come with it.
            tokens: m.
            earlier: the turns before it.

        Raises:
            UsageError: a special token in the question.
            ModelError: the template writes another number of image pads.
        """
        return self._chat(earlier, text, items, tokens).ids

    def _chat(
        self, earlier: Sequence[Exchange], text: str, items: int, tokens: int, frame: Frame | None = None
    ) -> ChatIds:
        """Turn after turn, each answer's tokens where the template writes it as it is given.

        A template may write an answer otherwise once it is behind, as those do that leave out thoughts: what stands
        before is written anew then, and is no example of an answer any more.
        """
        chat, messages, written = ChatIds(), [] if frame is None else frame.messages, ""
        options = {} if frame is None else {"tools": list(frame.tools)}
        for question, count, answer in (*((t.question, t.items, t.answer) for t in earlier), (text, items, None)):
            messages.append(self._user(question, count))
            whole = self.render(messages, add_generation_prompt=True, **options) + self.form.closing
            if not whole.startswith(written):
                chat, written = ChatIds(), ""
            chat.ids += self._ids(whole[len(written) :].replace(IMAGE_PAD, IMAGE_PAD * tokens))
            if answer is None:
                self._check_pads(whole, items + sum(turn.items for turn in earlier))
                break
            chat.answer(self.answer_ids(answer))
            messages.append({"role": "assistant", "content": answer})
            written = whole + answer + self.form.end
        return chat

    def _user(self, text: str, items: int) -> dict[str, Any]:
        self.check_question(text)
        return user_message(text, items)

    def chat_ids(self, messages: Sequence[dict[str, Any]], tokens: int) -> list[int]:
        """Token ids of a conversation with its pads, up to the next answer's first word; its texts have been checked.

        Args:
            messages: of `user_message`, and answers.
            tokens: m.

        Raises:
            ModelError: the template writes another number of image pads.
        """
        contents = [message["content"] for message in messages if not isinstance(message["content"], str)]
        items = sum(part["type"] == "image" for content in contents for part in content)
        written = self.render(messages, add_generation_prompt=True) + self.form.closing
        self._check_pads(written, items)
        return self._ids(written.replace(IMAGE_PAD, IMAGE_PAD * tokens))

    def _check_pads(self, written: str, items: int) -> None:
        if written.count(IMAGE_PAD) != items:
            raise ModelError(
                f"The chat template writes {written.count(IMAGE_PAD)} image pads for {items} item(s).",
                remedy="Copy the chat template of the checkpoint into the folder.",
            )

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    @functools.cached_property
    def chat(self) -> ChatRequest:
        """How to ask through a chat route, which fills the template itself.

        Raises:
            ModelError: the route would write another prompt.
        """
        options: dict[str, Any] = {}
        if any(name in self.template for name in NO_THOUGHTS):
            options["chat_template_kwargs"] = dict(NO_THOUGHTS)
        if not self.form.closing:
            return ChatRequest(options=options)
        user = {"role": "user", "content": [{"type": "text", "text": "?"}]}
        begun = {"role": "assistant", "content": [{"type": "text", "text": self.form.block}]}  # as vLLM hands it on
        wanted = self.render([user], add_generation_prompt=True) + self.form.closing
        if self._continued([user, begun]) != wanted:
            raise ModelError(
                "The chat template opens a block of thoughts that a chat request cannot close.",
                remedy="Give a template that writes no thoughts, or ask through SGLang's engine or `pinembed ask`.",
            )
        going_on = {"add_generation_prompt": False, "continue_final_message": True}
        return ChatRequest(messages=(begun,), options={**options, **going_on})

    def _continued(self, messages: Sequence[dict[str, Any]]) -> str | None:
        """What a chat route writes where the last message is begun; None where the template cannot follow."""
        try:
            return self.render(messages, continue_final_message=True)
        except TEMPLATE_ERRORS:
            return None

    def check_question(self, text: str) -> None:
        """Refuse what would be read as more than words.

        Raises:
            UsageError: a special token in it.
        """
        found = [special for special in self.tokenizer.all_special_tokens if special in text]
        if found:
            raise UsageError(
                f"The question holds {found[0]}, which the model's tokenizer keeps for itself.",
                remedy="Take it out; items are named with --item.",
            )

    def answer_ids(self, text: str) -> list[int]:
        """Token ids of an answer and of the end of the turn, behind those of `prompt_ids`."""
        return [*self._ids(text), self.end_id]


def _template(tokenizer: Any, folder: Path) -> str:
    """The tokenizer's chat template, the default one of several by name, or that of the older file.

    Raises:
        ModelError: there is none.
    """
    stored = tokenizer.chat_template
    if isinstance(stored, dict) and "default" not in stored:
        raise ModelError(
            f"{folder} has chat templates of the names {', '.join(stored)}; wanted one that is called default.",
            remedy="Write the one that is meant into chat_template.jinja.",
        )
    return str(stored["default"] if isinstance(stored, dict) else stored or _older_template(folder))


def _older_template(folder: Path) -> str:
    path = folder / "chat_template.json"
    if not path.is_file():
        raise ModelError(
            f"{folder} has no chat template; wanted chat_template.jinja or chat_template.json.",
            remedy="Copy it from the checkpoint that the model was trimmed from.",
        )
    return str(read_json(path, wanted="the chat template").get("chat_template", ""))
