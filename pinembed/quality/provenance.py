"""What in a file says that the picture is made by AI; silence says nothing, for metadata is lost in most uploads.

Marks that are looked for, where their makers put them:

| mark                                    | where                                    | who                          |
|-----------------------------------------|------------------------------------------|------------------------------|
| IPTC DigitalSourceType                  | XMP; assertions of a C2PA manifest       | cameras, editors, generators |
| `parameters` with `Steps:`, `Sampler:`  | PNG text; EXIF UserComment, often UTF-16 | AUTOMATIC1111, Fooocus, ...  |
| `prompt` and `workflow` in JSON         | PNG text; EXIF Make and Model            | ComfyUI                      |
| `fooocus_scheme`                        | PNG text                                 | Fooocus                      |
| `invokeai_metadata`, `sd-metadata`, ... | PNG text                                 | InvokeAI                     |
| `Software: NovelAI`                     | PNG text                                 | NovelAI                      |

XMP is searched as text and never parsed as XML, so that its entities expand to nothing. Sources:
https://cv.iptc.org/newscodes/digitalsourcetype/, and the generators' own savers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from pinembed.quality.blocks import C2PA, EXIF, MOST_BLOCK_BYTES, TEXT, XMP, Block
from pinembed.quality.signature import NOT_CHECKED

AI_SOURCES = {
    b"trainedAlgorithmicMedia": "trainedAlgorithmicMedia: made by a trained model",
    b"compositeWithTrainedAlgorithmicMedia": "compositeWithTrainedAlgorithmicMedia: in part made by a trained model",
}
_SOURCE_TYPE = re.compile(  # no word's end after it: in a manifest's CBOR any letter may follow
    rb"(?:digitalsourcetype/|DigitalSourceType[^A-Za-z]{1,16})"
    rb"(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia)"
)
_A1111_PARTS = re.compile(r"\b(?:(Steps: \d{1,6}, )|(?:Sampler|CFG scale|Seed): )")
_A1111_CHARS = 400  # between the two, at most
_COMFY = re.compile(r'"class_type"\s{0,8}:|"last_node_id"\s{0,8}:')
_INVOKE_KEYWORDS = {"invokeai_metadata", "invokeai_graph", "invokeai_workflow", "sd-metadata", "Dream"}
_FOOOCUS = re.compile(r'"?Fooocus(?: v|\b)', re.IGNORECASE)
NOVEL_AI = "NovelAI"
_SHOWN = 80


def made_by_ai(blocks: Iterable[Block], *, signature: Callable[[], str] = lambda: NOT_CHECKED) -> str:
    """What says so, a sentence for each mark; empty where nothing does.

    Args:
        blocks: of the file.
        signature: a clause about the signature of its C2PA manifest; asked for only where that is a mark.
    """
    return " ".join(dict.fromkeys(mark for block in blocks for mark in _marks(block, signature)))


def _marks(block: Block, signature: Callable[[], str]) -> Iterator[str]:
    if block.kind in (XMP, C2PA):
        yield from _source_types(block, signature)
    elif block.kind == TEXT:
        yield from _of_text(block.keyword, block.content.decode("utf-8", "replace"))
    elif block.kind == EXIF:
        for text in _texts_in_exif(block.content):
            if _parameters_at(text) is not None:
                yield f"EXIF holds a generator's parameters: {_shortly(text)}."
            elif _COMFY.search(text):
                yield "EXIF holds a workflow of ComfyUI."
            elif NOVEL_AI in text:
                yield "EXIF names NovelAI."


def _source_types(block: Block, signature: Callable[[], str]) -> Iterator[str]:
    for found in {found[1]: found for found in _SOURCE_TYPE.finditer(block.content)}.values():
        where = "XMP"
        if block.kind == C2PA:
            is_whole = len(block.content) < MOST_BLOCK_BYTES
            where = f"A C2PA manifest, {signature() if is_whole else NOT_CHECKED},"
        yield f"{where} has the digital source type {AI_SOURCES[found[1]]}."


def _of_text(keyword: str, text: str) -> Iterator[str]:
    if keyword == "fooocus_scheme" or (keyword in {"parameters", "Comment"} and _FOOOCUS.search(text)):
        yield "The PNG's text is Fooocus's."
    elif _parameters_at(text) is not None:
        yield f"The PNG's text {keyword} holds a generator's parameters: {_shortly(text)}."
    elif keyword in {"prompt", "workflow"} and _COMFY.search(text):
        yield "The PNG's text holds a workflow of ComfyUI."
    elif keyword in _INVOKE_KEYWORDS:
        yield f"The PNG's text {keyword} is InvokeAI's."
    elif keyword in {"Software", "Source", "Title"} and NOVEL_AI in text:
        yield "The PNG's text names NovelAI."


def _texts_in_exif(exif: bytes) -> Iterator[str]:
    """EXIF as text in each encoding that UserComment comes in; no offset in it is followed."""
    yield exif.decode("latin-1")
    marker = exif.find(b"UNICODE\0")
    if marker >= 0:
        comment = exif[marker + 8 :]
        yield comment.decode("utf-16-be", "replace")
        yield comment.decode("utf-16-le", "replace")


def _parameters_at(text: str) -> int | None:
    """Where AUTOMATIC1111's parameters begin: steps, and soon after them another of their names; in one pass."""
    steps: re.Match[str] | None = None
    for part in _A1111_PARTS.finditer(text):
        if part[1]:
            steps = part
        elif steps is not None and part.start() - steps.end() <= _A1111_CHARS:
            return steps.start()
    return None


def _shortly(text: str) -> str:
    at = _parameters_at(text)
    assert at is not None  # they were found before
    words = " ".join(text[at : at + 2 * _SHOWN].split())
    return words[:_SHOWN] + ("…" if len(words) > _SHOWN else "")
