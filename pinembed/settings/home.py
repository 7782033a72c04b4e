"""What `refresh`, `generations`, `sandbox`, `rollback`, `switch` and `report` are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pinembed.errors import UsageError
from pinembed.settings.option import PUT, Argument, GenerationOption, HomeArgument, Option, described


@described
@dataclass(frozen=True, kw_only=True)
class RefreshSettings:
    """What a home is made from, and how far this run goes."""

    config: Annotated[Path, Argument("CONFIG.toml: home, images, encoder, and what each step is asked for.")]
    dry_run: Annotated[bool, Option("Show what would be done, why, how long it took before, how much disk.")] = False
    retrain: Annotated[bool, Option("Train now, whatever the triggers under [retrain] say.")] = False
    challenger: Annotated[
        str | None, Option("Encoder that was trained elsewhere: judged beside the one in use in place of a training.")
    ] = None
    strict: Annotated[bool, Option("Exit code 4 where the gate keeps the champion, else a good night.")] = False


@described
@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """A home, and where its report goes."""

    home: HomeArgument
    generation: GenerationOption = None
    html: Annotated[
        Path | None, Option("File for the report as one page that needs no other file.", at_address=PUT)
    ] = None
    markdown: Annotated[Path | None, Option("File for the report as Markdown, for a mail.", at_address=PUT)] = None
    atlas: Annotated[
        Path | None,
        Option("Parquet file of the map: id, x, y and file of its items, for a viewer of embeddings.", at_address=PUT),
    ] = None


@described
@dataclass(frozen=True, kw_only=True)
class GenerationsSettings:
    """A home whose generations are listed."""

    home: HomeArgument


@described
@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """A home, and a sandbox in it that is made or removed.

    Raises:
        UsageError: a generation to remove a sandbox of.
    """

    home: HomeArgument
    name: Annotated[str, Argument("Name of the sandbox: letters, digits, - and _.", metavar="NAME")]
    generation: GenerationOption = None
    remove: Annotated[bool, Option("Remove the sandbox with all that people put into it.")] = False

    def __post_init__(self) -> None:
        if self.remove and self.generation is not None:
            raise UsageError("--remove takes no --generation.", remedy="Leave one of the two out.")


@described
@dataclass(frozen=True, kw_only=True)
class RollbackSettings:
    """A home that goes back to an older generation."""

    home: HomeArgument
    number: Annotated[
        int | None, Argument("Generation to go back to; by default the one before that in use.", metavar="N")
    ] = None


@described
@dataclass(frozen=True, kw_only=True)
class SwitchSettings:
    """A home, and the generation that comes into use in it."""

    home: HomeArgument
    number: Annotated[int, Argument("Generation to take into use.", metavar="N")]
