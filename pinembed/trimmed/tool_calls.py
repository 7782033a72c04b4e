"""Calls of tools in what a model wrote, read by transformers' own parser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pinembed.errors import ModelError
from pinembed.trimmed.checkpoint import import_transformers
from pinembed.trimmed.prompts import CALL, PromptWriter

_PARTS = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
}
_THOUGHTS = {"open": "<think>", "close": "</think>", "content": "text"}
_CONTENT = {"close_pattern": r"\s*(?:<\|im_end\|>|<\|endoftext\|>)", "content": "text"}
JSON_CALLS: Mapping[str, Any] = {
    **_PARTS,
    "fields": {
        "reasoning_content": _THOUGHTS,
        "tool_calls": {
            "open_pattern": r"\s*<tool_call>",
            "close": "</tool_call>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": _CONTENT,
    },
}
"""How Qwen3-VL answers: a JSON object between `<tool_call>` and `</tool_call>`."""
TAGGED_CALLS: Mapping[str, Any] = {
    **_PARTS,
    "fields": {
        "reasoning_content": _THOUGHTS,
        "tool_calls": {
            "open_pattern": r"\s*<tool_call>\s*<function=(?P<name>[^>\n]+)>",
            "close_pattern": r"</function>\s*</tool_call>",
            "repeats": True,
            "content": "xml-inline",
            "content_args": {
                "tag_pattern": r"<parameter=(?P<key>[^>\n]+)>\s*(?P<value>.*?)\s*</parameter>",
            },
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "content": _CONTENT,
    },
}
"""How Qwen3.5 answers: a tag for the function and one for each argument, between the same two."""


def call_form(writer: PromptWriter) -> Mapping[str, Any]:
    """The form of a checkpoint's answers: the tokenizer's own, else what its chat template tells the model to write.

    Both forms are those that transformers 5.23 falls back on in `transformers serve`.
    """
    stored = getattr(writer.tokenizer, "response_template", None)
    return stored or (TAGGED_CALLS if "<function=" in writer.template else JSON_CALLS)


def written_call(writer: PromptWriter, call: Mapping[str, Any]) -> str:
    """A call as the chat template writes one that an assistant has made.

    Args:
        writer: of the checkpoint.
        call: `{"name": ..., "arguments": ...}`.

    Raises:
        ModelError: the template writes no calls.
    """
    asked = {"role": "user", "content": [{"type": "text", "text": "?"}]}
    made = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": dict(call)}]}
    whole = writer.render([asked, made])
    if CALL not in whole:
        raise ModelError(
            "The chat template writes no calls of tools.",
            remedy="Leave out --calls, or give the chat template of an Instruct checkpoint.",
        )
    return whole[whole.rfind(CALL) :].partition(writer.form.end)[0].rstrip()


def calls_in(written: str, form: Mapping[str, Any], *, tools: Sequence[dict[str, Any]] = ()) -> list[Any]:
    """The functions that were called, as `{"name": ..., "arguments": ...}` where the model kept to it.

    Args:
        written: by the model.
        form: of its answers.
        tools: as JSON schemas, by which arguments that came as text are read.

    Returns:
        None of them where one cannot be parsed.
    """
    import_transformers("Reading calls of tools")
    from transformers.utils.chat_parsing import parse_response

    try:
        message = parse_response(written, dict(form), prefix="", tools=list(tools))
    except (ValueError, RecursionError):  # brackets in brackets without end
        return []
    return [call.get("function") for call in message.get("tool_calls", [])]
