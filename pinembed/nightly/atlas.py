"""The map of a catalogue: its items in two dimensions, where the same item stays in the same place over the nights.

Principal components of a sample. While the encoder stays, so do the axes; under a new encoder the new map is turned,
mirrored and scaled onto the old one (Procrustes), so that what did not change does not jump.
Legend: N items of the sample, D floats of one embedding.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinembed.nightly.sample import Sample, thumbnail

MAP = "map.json"
MAP_ITEMS = 1200
THUMB_PX = 56
FEWEST_SHARED = 8
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Atlas:
    """A map.

    Attributes:
        fingerprint: of the encoder.
        axes_2D: what a vector is multiplied with.
        mean_D: that is taken from it before.
        ids: of the items; `titles`, `files` and `thumbs` alike.
        place_N2: where each lies.
    """

    fingerprint: str
    axes_2D: Floats
    mean_D: Floats
    ids: tuple[str, ...]
    titles: tuple[str, ...]
    files: tuple[str, ...]
    thumbs: tuple[str, ...]
    place_N2: Floats

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the next night."""
        return {
            "fingerprint": self.fingerprint,
            "axes": self.axes_2D.tolist(),
            "mean": self.mean_D.tolist(),
            "ids": self.ids,
            "titles": self.titles,
            "files": self.files,
            "thumbs": self.thumbs,
            "places": self.place_N2.round(5).tolist(),
        }


def make_atlas(sample: Sample, fingerprint: str, last: Atlas | None) -> Atlas:
    """The map of a sample, in the place of the last one."""
    vector_ND = sample.vector_ND.astype(np.float64)
    known_thumbs = {} if last is None else dict(zip(last.ids, last.thumbs, strict=True))
    ids = tuple(row.id for row in sample.rows)
    if last is not None and last.fingerprint == fingerprint:
        axes_2D, mean_D = last.axes_2D, last.mean_D
        place_N2 = (vector_ND - mean_D) @ axes_2D.T
    else:
        axes_2D, mean_D = principal_axes(vector_ND)
        place_N2 = (vector_ND - mean_D) @ axes_2D.T
        if last is not None:
            turn_22, shift_2 = onto(dict(zip(ids, place_N2, strict=True)), last)
            place_N2 = place_N2 @ turn_22 + shift_2
            axes_2D = turn_22.T @ axes_2D
            mean_D = mean_D - np.linalg.pinv(axes_2D) @ shift_2
    return Atlas(
        fingerprint=fingerprint,
        axes_2D=axes_2D,
        mean_D=mean_D,
        ids=ids,
        titles=tuple(row.title for row in sample.rows),
        files=tuple(str(row.path) for row in sample.rows),
        thumbs=tuple(known_thumbs.get(row.id) or thumbnail(row.path, THUMB_PX) for row in sample.rows),
        place_N2=place_N2,
    )


def principal_axes(vector_ND: Floats) -> tuple[Floats, Floats]:
    """The two directions of most spread, (2, D), and the mean (D,)."""
    mean_D = vector_ND.mean(axis=0) if len(vector_ND) else np.zeros(vector_ND.shape[1])
    _, _, axes = np.linalg.svd(vector_ND - mean_D, full_matrices=False)
    axes_2D = np.zeros((2, vector_ND.shape[1]))
    axes_2D[: min(2, len(axes))] = axes[:2]
    return axes_2D, mean_D


def onto(places: dict[str, Floats], last: Atlas) -> tuple[Floats, Floats]:
    """The turn, mirroring and scale (2, 2), and the shift (2,), that bring shared items next to their old places.

    Source: Schönemann 1966, doi:10.1007/BF02289451.
    """
    shared = [(places[item], last.place_N2[at]) for at, item in enumerate(last.ids) if item in places]
    if len(shared) < FEWEST_SHARED:
        return np.eye(2), np.zeros(2)
    new_N2, old_N2 = (np.array(side) for side in zip(*shared, strict=True))
    new_mean, old_mean = new_N2.mean(axis=0), old_N2.mean(axis=0)
    left, scales, right = np.linalg.svd((new_N2 - new_mean).T @ (old_N2 - old_mean))
    spread = float(((new_N2 - new_mean) ** 2).sum())
    turn_22 = left @ right * (float(scales.sum()) / spread if spread else 1.0)
    return turn_22, old_mean - new_mean @ turn_22


def read_atlas(report: Path) -> Atlas | None:
    """The map of an earlier report; None where there is none."""
    try:
        stored = json.loads((report / MAP).read_text(encoding="utf-8"))
        return Atlas(
            fingerprint=stored["fingerprint"],
            axes_2D=np.array(stored["axes"]),
            mean_D=np.array(stored["mean"]),
            ids=tuple(stored["ids"]),
            titles=tuple(stored["titles"]),
            files=tuple(stored["files"]),
            thumbs=tuple(stored["thumbs"]),
            place_N2=np.array(stored["places"]).reshape(-1, 2),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_atlas(atlas: Atlas, report: Path) -> None:
    """Keep it for the next night."""
    (report / MAP).write_text(json.dumps(atlas.to_json(), ensure_ascii=False) + "\n", encoding="utf-8")


def write_parquet(atlas: Atlas, path: Path) -> None:
    """id, x, y, title and file of each item, for viewers of embeddings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"id": atlas.ids, "x": atlas.place_N2[:, 0], "y": atlas.place_N2[:, 1]}
    pq.write_table(pa.table({**columns, "title": atlas.titles, "file": atlas.files}), path)
