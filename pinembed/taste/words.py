"""Reasons in words, with the titles that people know items by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pinembed.table.embedding_table import EmbeddingTable, id_conditions, reading
from pinembed.table.queries import result_of
from pinembed.table.schema import OWN_COLUMNS
from pinembed.taste.blend import FRESH, KNOWN, LATERAL
from pinembed.taste.recommender import Pick


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Titles and files of some items."""

    title_of: dict[str, str]
    path_of: dict[str, Path]

    @classmethod
    def read(cls, table: EmbeddingTable, ids: Iterable[str]) -> Labels:
        """Of these items; one that the table does not hold keeps its id for a title.

        Raises:
            TableError: the table cannot be read.
        """
        wanted = sorted({item for item in ids if item})
        fields = [name for name in table.schema.names if name not in OWN_COLUMNS]
        titles, paths = {item: item for item in wanted}, {}
        for condition in id_conditions(wanted):
            with reading(table.address):
                found = table.dataset.to_table(columns=["id", "folder", "file_name", *fields], filter=condition)
            for row in found.to_pylist():
                result = result_of(row, rank=0)
                titles[result.id], paths[result.id] = result.title, result.path
        return cls(title_of=titles, path_of=paths)

    def reason(self, pick: Pick) -> str:
        """Why an item is in a list, in few words, which have to stand below a picture."""
        because, via = self.title_of.get(pick.because, ""), self.title_of.get(pick.via, "")
        if pick.slot == KNOWN and because:
            return f"goes with {because}"
        if pick.slot == FRESH and because:
            return f"looks like {because}"
        if pick.slot == LATERAL and because:
            return f"beside {because}, over {via}" if via else f"beside {because}"
        return "popular in the last 30 days" if pick.score else "popular"
