"""How catalogues write their values, and how a person would say them: markup, category paths, the same said twice."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pinembed.nouns.item import FieldValue, Item, text_of_value

_BLOCKS = "address|article|blockquote|br|dd|div|dl|dt|footer|h[1-6]|header|hr|li|main|ol|p|section|table|td|th|tr|ul"
_INLINE = "a|abbr|b|big|center|code|del|em|font|i|img|ins|mark|meta|o:p|pre|small|span|strong|sub|sup|tbody|thead|u"
_UNSPOKEN = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
_BLOCK = re.compile(rf"</?(?:{_BLOCKS})\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(rf"</?(?:{_INLINE})\b[^<>]*>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);")
_STOPS = ".!?;:,\u3002\uff01\uff1f\uff1b\uff1a\u2026"


def plain(text: str) -> str:
    """A text without HTML: entities as characters, tags left out, paragraphs and list entries as sentences.

    Only HTML's own tags count, so `size <M>` stays; text without any is returned as it is.
    """
    if "<" not in text and "&" not in text:
        return text
    for _ in range(2):  # shops export markup escaped once more
        text = _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)
        text = _TAG.sub("", _UNSPOKEN.sub("", text))
        blocks = [" ".join(block.split()) for block in _BLOCK.split(text)]
        text = _joined([block for block in blocks if block])
    return text


def _joined(blocks: Sequence[str]) -> str:
    """Blocks one after the other, each but the last with a stop at its end."""
    return " ".join([*(block if block[-1] in _STOPS else f"{block}." for block in blocks[:-1]), *blocks[-1:]])


FEWEST_PATHS = 3
MOST_LEVEL_WORDS = 6
SEPARATORS = (">", "/", "|")


def path_separators(items: Sequence[Item], columns: Iterable[str]) -> dict[str, str]:
    """The columns of category paths, such as `Men > Tops > Tees`, and what stands between their levels.

    Args:
        items: of the catalogue; of many, some that are spread over it are looked at.
        columns: names of the columns to look at.
    """
    seen = items[:: max(1, len(items) // 1000)]
    found = {
        name: path_separator({value for item in seen if isinstance(value := item.fields.get(name), str)})
        for name in columns
    }
    return {name: separator for name, separator in found.items() if separator}


def path_separator(values: Iterable[str]) -> str | None:
    """What separates the levels of a column's distinct values; None where they are no paths.

    Most paths have several levels of few words, and make a tree: few first levels lead to many paths, and hardly any
    word is both a first and a last level. So `black/white`, `S/M`, `1/2` and addresses are none.
    """
    texts = [plain(value) for value in values if value.strip()]
    for separator in SEPARATORS:
        paths = [path for text in texts if len(path := levels(text, separator)) > 1]
        if len(paths) >= max(FEWEST_PATHS, len(texts) / 2) and _is_tree(paths):
            return separator
    return None


def _is_tree(paths: Sequence[Sequence[str]]) -> bool:
    roots, leaves = {path[-1].casefold() for path in paths}, {path[0].casefold() for path in paths}
    are_names = all(
        len(level.split()) <= MOST_LEVEL_WORDS and any(letter.isalpha() for letter in level)
        for path in paths
        for level in path
    )
    return are_names and 10 * len(roots & leaves) <= len(leaves) and 2 * len(roots) <= len(paths)


def levels(path: str, separator: str) -> list[str]:
    """The levels of a path, the last and most telling first; a level that repeats the one below it once.

    An empty level, as in the two slashes of an address, makes it no path: one level, the text itself.
    """
    parts = [" ".join(part.split()) for part in path.strip().strip(separator).split(separator)]
    if not all(parts):
        return [path]
    return list(dict.fromkeys(reversed(parts)))


def shortest_names(paths: Sequence[str], separator: str) -> list[str]:
    """Each path by its last level, with as many of those above as tell it from the others."""
    found = [levels(plain(path), separator) for path in paths]
    names = [path[0] for path in found]
    for depth in range(2, max(map(len, found), default=0) + 1):
        repeated = {name for name, count in Counter(names).items() if count > 1}
        names = [", ".join(path[:depth]) if name in repeated else name for name, path in zip(names, found, strict=True)]
    return names


def spoken_value(value: FieldValue, separator: str | None) -> FieldValue:
    """A value without markup, a path as the list of its levels; numbers and the like as they are."""
    if isinstance(value, list | tuple):
        return [spoken_value(entry, None) for entry in value]
    if not isinstance(value, str):
        return value
    return levels(plain(value), separator) if separator else plain(value)


ECHOED_WORDS = 12
"""Words of a text that is surely spoken whole; of a longer one the sentence that names a colour may be left out."""


def without_echoes(said: Mapping[str, str]) -> list[str]:
    """The texts in order, without empty ones and those whose words stand in a short one before, in any case."""
    kept: list[str] = []
    heard = ""
    for text in dict.fromkeys(said.values()):
        words = f" {words_of(text)} "
        if text and (words.isspace() or words not in heard):
            kept.append(text)
            heard += f"{words}|" if len(words.split()) <= ECHOED_WORDS else ""
    return kept


def words_of(text: str) -> str:
    """The words alone, by which two texts say the same."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def entries(value: FieldValue) -> list[str]:
    """What a value says piece by piece: the entries of a list, or itself."""
    return [text_of_value(entry) for entry in value] if isinstance(value, list | tuple) else [text_of_value(value)]
