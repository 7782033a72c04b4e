"""What the commands of `pinembed taste` are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pinembed.errors import UsageError
from pinembed.settings.option import (
    PUT,
    Argument,
    Option,
    SeedOption,
    TableOption,
    described,
    refuse_unknown,
)
from pinembed.settings.quality import check_names

UsersOption = Annotated[
    str, Option("Taste store, DATABASE/NAME: the table of users and, beside it, those of events and edges.")
]


@described
@dataclass(frozen=True, kw_only=True)
class TasteUpdateSettings:
    """A log of events, and the store that it goes into."""

    events: Annotated[
        Path,
        Argument(
            "Log with the columns user, item, kind and time, and optionally board and id: .csv, .jsonl (also .gz) or "
            ".parquet; or a folder of them."
        ),
    ]
    table: TableOption
    users: UsersOption
    kinds: Annotated[
        Path | None,
        Option(
            'JSON of kinds and weights, such as {"wishlist": 1.0}, beside view .25, click .5, save 1, purchase 1.5 '
            "and hide -1. It is remembered for later runs."
        ),
    ] = None
    max_failure_rate: Annotated[
        float,
        Option("Share of rows that are no events, 0 to 1, above which the run ends with exit code 3.", min=0, max=1),
    ] = 0.5
    serve: Annotated[
        Path | None,
        Option(
            "Folder to serve from, written anew: every user's interests and latest items, mapped, read by "
            "pinembed.UserSource.",
            at_address=PUT,
        ),
    ] = None
    prune: Annotated[bool, Option("Remove the events of items that the table does not hold.")] = False
    force: Annotated[bool, Option("Let --prune remove more than a fifth of the events.")] = False


KindsOption = Annotated[Path | None, Option("JSON of kinds and weights, as for `taste update`.")]
UserOption = Annotated[str | None, Option("Name of the user, as the events give it.")]
FRESH, EXPLORE = 0.2, 0.1
DEMOTED = ("placeholder", "cut")
"""Pictures that nobody wants to be shown; copies and machine-made pictures may be what a shop sells."""
BLEND, GRAPH, CONTENT, INTERESTS, POPULAR = ARMS = ("blend", "graph", "content", "interests", "popular")
"""Ways to make a list: all slots together, or one way of scoring alone."""


def _refuse_more_than_all(fresh: float | None, explore: float) -> None:
    if (fresh or 0) + explore > 1:
        raise UsageError(
            f"--fresh {fresh} and --explore {explore} are more than the whole list.",
            remedy="Give shares that add up to 1 or less.",
        )


@described
@dataclass(frozen=True, kw_only=True)
class TasteRecommendSettings:
    """A user, or all, and the make of the list that they get.

    Raises:
        UsageError: nobody to recommend to, or shares of more than the whole list.
    """

    table: TableOption
    users: UsersOption
    user: UserOption = None
    like: Annotated[
        tuple[str, ...],
        Option(
            "Items that a new user chose, separated by commas; beside --user they count as chosen just now.",
            comma_separated=True,
        ),
    ] = ()
    everyone: Annotated[bool, Option("A list for every user, written to --out.", flags=("--all",))] = False
    out: Annotated[Path | None, Option("File of the lists of --all, JSON Lines, a user a line.", at_address=PUT)] = None
    k: Annotated[int, Option("Length of the list.", flags=("-k",), min=1)] = 20
    fresh: Annotated[
        float | None,
        Option(
            "Share of the slots for items with under five users, by likeness; half of them for certain, the others "
            "where the item promises more than the last one that the graph knows.",
            min=0,
            max=1,
            shown_default=f"what `taste evaluate --users` learned, else {FRESH}",
        ),
    ] = None
    explore: Annotated[
        float,
        Option(
            "Share of the slots for items to the side: a step or two away over boards, not more of the same.",
            min=0,
            max=1,
        ),
    ] = EXPLORE
    arm: Annotated[
        str | None,
        Option(
            "blend, or one arm for the whole list: graph, content, interests or popular.",
            shown_default="what `taste evaluate --users` found best, else blend",
        ),
    ] = None
    diversity: Annotated[
        float,
        Option(
            "0 to 1: how much likeness to items before it costs an item (maximal marginal relevance).", min=0, max=1
        ),
    ] = 0.0
    where: Annotated[str | None, Option('SQL condition, such as "price < 20".')] = None
    demote: Annotated[
        tuple[str, ...],
        Option(
            "Checks of `audit`, separated by commas: items with an open flag of one of them come last, where others "
            "leave a place; none for no check.",
            comma_separated=True,
            shown_default=", ".join(DEMOTED),
        ),
    ] = ()
    sheet: Annotated[Path | None, Option("Draw the list as a contact sheet with reasons, a PNG.", at_address=PUT)] = (
        None
    )

    def __post_init__(self) -> None:
        _refuse_more_than_all(self.fresh, self.explore)
        check_names(self.demoted, "--demote")
        if self.arm is not None:
            refuse_unknown("--arm", self.arm, ARMS)
        if self.everyone == (self.user is not None or bool(self.like)):
            raise UsageError(
                "taste recommend needs one of --user, --like and --all.",
                remedy="Give --user NAME, --like ITEM,ITEM for somebody new, or --all --out FILE.",
            )
        if self.everyone != (self.out is not None):
            raise UsageError("--all and --out go together.", remedy="Give both: --all --out lists.jsonl")

    @property
    def demoted(self) -> tuple[str, ...]:
        """Checks whose flagged items come last."""
        return () if self.demote == ("none",) else self.demote or DEMOTED


@described
@dataclass(frozen=True, kw_only=True)
class TasteExplainSettings:
    """A user and an item."""

    user: Annotated[str, Option("Name of the user, as the events give it.")]
    item: Annotated[str, Option("Id of the item to explain.")]
    table: TableOption
    users: UsersOption


@described
@dataclass(frozen=True, kw_only=True)
class TasteSimilarSettings:
    """A user, to find others like them."""

    user: Annotated[str, Option("Name of the user, as the events give it.")]
    users: UsersOption
    k: Annotated[int, Option("Number of users.", flags=("-k",), min=1)] = 10


@described
@dataclass(frozen=True, kw_only=True)
class TasteInspectSettings:
    """A store to look at, or one user of it."""

    table: TableOption
    users: UsersOption
    user: UserOption = None


@described
@dataclass(frozen=True, kw_only=True)
class TasteEvaluateSettings:
    """A log, and the moment that cuts it into what is known and what is to be foretold.

    Raises:
        UsageError: shares of more than the whole list.
    """

    events: Annotated[Path, Argument("Log, or a folder of logs, as for `taste update`.")]
    at: Annotated[str, Option("The cut: ISO 8601, or seconds since 1970.", metavar="TIME")]
    table: TableOption
    users: Annotated[
        str | None,
        Option("Taste store that keeps the better of blend and best arm as the default of `taste recommend`."),
    ] = None
    kinds: KindsOption = None
    k: Annotated[int, Option("Length of the lists.", flags=("-k",), min=1)] = 20
    fresh: Annotated[
        float | None,
        Option(
            "Share of the blend's slots for items with under five users.",
            min=0,
            max=1,
            shown_default=f"what the log before the cut teaches, else {FRESH}",
        ),
    ] = None
    explore: Annotated[
        float,
        Option(
            "Share of the blend's slots for items to the side; they cost recall, which is not what they are for.",
            min=0,
            max=1,
        ),
    ] = 0.0
    plot: Annotated[Path | None, Option("PNG of recall over --fresh.", at_address=PUT)] = None
    seed: SeedOption = 0

    def __post_init__(self) -> None:
        _refuse_more_than_all(self.fresh, self.explore)


@described
@dataclass(frozen=True, kw_only=True)
class TasteForgetSettings:
    """A user to forget."""

    user: Annotated[str, Argument("Name of the user, as the events give it.")]
    users: UsersOption
    verify: Annotated[
        bool, Option("Open every version of every table, and search the files for the name, after forgetting.")
    ] = False
