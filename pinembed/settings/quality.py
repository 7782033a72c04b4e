"""What `audit` and `appeal` are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pinembed.errors import UsageError
from pinembed.settings.option import PUT, Argument, Option, TableOption, described

ALL_CHECKS = (
    *("made_by_ai", "unread_metadata", "placeholder", "blurry", "dark", "light", "low_information", "tiny"),
    *("odd_shape", "compressed", "cut", "duplicate", "near_duplicate", "flood"),
    *("caption_mismatch", "outlier", "learned"),
)
BY_VECTORS = ("caption_mismatch", "outlier", "learned")
"""Checks of stored vectors, each with a column; done where they are asked for."""
USUAL_CHECKS = tuple(name for name in ALL_CHECKS if name not in BY_VECTORS)


def check_names(given: tuple[str, ...], option: str) -> None:
    """Let only names of checks pass.

    Raises:
        UsageError: there is no such check.
    """
    for name in given:
        if name not in ALL_CHECKS:
            raise UsageError(
                f"{option} {name}: there is no such check; wanted {', '.join(ALL_CHECKS)}.",
                remedy="Give one or several of them, separated by commas.",
            )


@described
@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """A table to look at, and what to do with what is found.

    Raises:
        UsageError: an unknown check.
    """

    table: TableOption
    check: Annotated[
        tuple[str, ...],
        Option(
            f"Checks to do, separated by commas, or all that can be done; default: {', '.join(USUAL_CHECKS)}. Not by "
            f"default, for they look at stored vectors: {', '.join(BY_VECTORS)}.",
            comma_separated=True,
        ),
    ] = ()
    seller: Annotated[
        str | None,
        Option("Column that tells whose an item is, for floods; default: seller, shop or another of a usual name."),
    ] = None
    caption: Annotated[
        str | None,
        Option("Column of captions, for caption_mismatch; default: title, name or another of a usual name."),
    ] = None
    category: Annotated[
        str | None,
        Option("Column of categories, for outlier; default: category, label or another of a usual name."),
    ] = None
    labels: Annotated[
        str | None,
        Option("Column with true for items that are not wanted, false for others and nothing for most, for learned."),
    ] = None
    confirm: Annotated[
        tuple[str, ...],
        Option("Checks whose flags count as confirmed without anybody's answer.", comma_separated=True),
    ] = ()
    max_share: Annotated[
        float, Option("Share of flagged rows, 0 to 1, above which the command ends with exit code 3.", min=0, max=1)
    ] = 1.0
    sheet: Annotated[Path | None, Option("Draw what is flagged with its evidence, a PNG.", at_address=PUT)] = None
    html: Annotated[
        Path | None,
        Option("Show what is flagged with its evidence as one page that needs no other file.", at_address=PUT),
    ] = None
    appeals: Annotated[
        Path | None, Option("Write the flags as a CSV with places for answers, for `appeal`.", at_address=PUT)
    ] = None
    answers: Annotated[Path | None, Option("CSV whose answers are taken in first, as by `appeal`.")] = None
    flags_from: Annotated[
        str | None,
        Option("Table whose flags and measures are taken over first, as where a new encoder has a table of its own."),
    ] = None

    def __post_init__(self) -> None:
        if self.check != ("all",):
            check_names(self.check, "--check")
        check_names(self.confirm, "--confirm")

    @property
    def checks(self) -> tuple[str, ...]:
        """Those to do."""
        return ALL_CHECKS if self.check == ("all",) else self.check or USUAL_CHECKS


@described
@dataclass(frozen=True, kw_only=True)
class AppealSettings:
    """Answers, and the table whose flags they are about."""

    file: Annotated[Path, Argument("CSV that `audit --appeals` wrote, with confirm, appeal or clear as answers.")]
    table: TableOption
    by: Annotated[str | None, Option("Who answers, where a row does not say; default: the user's name.")] = None
