"""The words by which people call a split, in a column, as a folder or as an option: one list for every command.

Source: the keywords of Hugging Face datasets (datasets.data_files.SPLIT_KEYWORDS), where `eval` is a word for test.
"""

from __future__ import annotations

TRAIN, VALIDATION, TEST, ALL = "train", "val", "test", "all"
WORDS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("val", "valid", "validation", "dev"),
    TEST: ("test", "testing", "eval", "evaluation"),
}
SPLIT_OF_WORD = {word: split for split, words in WORDS.items() for word in words}


def split_named(word: str) -> str:
    """`train`, `val` or `test` where the word, in any case, means one of them; any other word without outer spaces."""
    return SPLIT_OF_WORD.get(word.strip().lower(), word.strip())


def split_of(file_name: str, given: str | None = None) -> str | None:
    """The split that the metadata gives a file, else the one that its folder at the top names."""
    if given is not None and given.strip():
        return split_named(given)
    top, slash, _ = file_name.partition("/")
    return SPLIT_OF_WORD.get(top.lower()) if slash else None
