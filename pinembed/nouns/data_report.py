"""DataReport: what a run has to learn from and to be judged by, told before the first step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitCounts:
    """One split.

    Attributes:
        split: its name.
        images: of the split, broken ones included.
        broken: that cannot be decoded.
        without_text: that have no text.
        texts: distinct texts.
        repeated: images whose text is also that of an image of another group; without groups, of another image.
        groups: distinct groups; None without a group column.
    """

    split: str
    images: int
    broken: int
    without_text: int
    texts: int
    repeated: int
    groups: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LeakedPair:
    """Two files that show the same picture.

    Attributes:
        file_name: in the split that judges.
        seen_as: in the other split.
        identical: byte for byte the same file; otherwise encoded anew or resized.
    """

    file_name: str
    seen_as: str
    identical: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """Pictures of a judging split that another split shows as well.

    Attributes:
        split: the one that judges.
        also_in: the one that trained or selected.
        pairs: the files.
    """

    split: str
    also_in: str
    pairs: tuple[LeakedPair, ...]

    @property
    def file_names(self) -> tuple[str, ...]:
        """Files of the judging split, each once."""
        return tuple(dict.fromkeys(pair.file_name for pair in self.pairs))

    @property
    def identical(self) -> int:
        """Files of the judging split that lie byte for byte in the other."""
        return len({pair.file_name for pair in self.pairs if pair.identical})


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """The data of a run.

    Attributes:
        splits: training, validation and gate.
        leaks: pictures on two sides of a split that was given; a hashed split has none.
        copies: images that show the same as another image of the catalogue.
        warnings: what makes the run's verdict weak; sentences.
    """

    splits: tuple[SplitCounts, ...]
    leaks: tuple[Leak, ...]
    copies: int
    warnings: tuple[str, ...]
