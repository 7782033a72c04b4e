"""The map of a catalogue: its items in two dimensions, where the same item stays in the same place over the nights.

Principal components of a sample. While the encoder stays, so do the axes; under a new encoder the new map is turned,
mirrored and scaled onto the old one (Procrustes), so that what did not change does not jump. With the extra `map` it is
laid out by t-SNE, which keeps neighbours together: it begins from the places of the last map, and while the encoder
stays, an item stays too and a new one comes among those most like it.
Legend: N items of the sample, D floats of one embedding, K nearest items.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pinembed.generation.build import link_or_copy
from pinembed.nightly.sample import Sample

MAP, AXES = "map.parquet", "axes.json"
FEWEST_SHARED = 8
PERPLEXITY = 30
FEWEST_LAID_OUT = 3 * PERPLEXITY + 2  # t-SNE looks at three times its perplexity of neighbours
SMALL = 1e-4  # spread of places in which t-SNE keeps what lies where, and takes none for the end
FIRST_STEPS, LAST_STEPS = 125, 250  # twice as many keep .763 of the ten nearest in place of .759 (sample shop)
BESIDE = 5
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Atlas:
    """A map.

    Attributes:
        fingerprint: of the encoder.
        axes_2D: what a vector is multiplied with; None where t-SNE laid the map out.
        mean_D: that is taken from it before; None likewise.
        ids: of the items; `titles`, `files` and `contents` alike.
        place_N2: where each lies.
    """

    fingerprint: str
    axes_2D: Floats | None
    mean_D: Floats | None
    ids: tuple[str, ...]
    titles: tuple[str, ...]
    files: tuple[str, ...]
    contents: tuple[str, ...]
    place_N2: Floats


def make_atlas(sample: Sample, fingerprint: str, last: Atlas | None) -> Atlas:
    """The map of a sample, in the place of the last one."""
    vector_ND = sample.vector_ND.astype(np.float64)
    ids = tuple(row.id for row in sample.rows)
    axes_2D, mean_D, place_N2 = _laid_out(ids, vector_ND, fingerprint, last)
    return Atlas(
        fingerprint=fingerprint,
        axes_2D=axes_2D,
        mean_D=mean_D,
        ids=ids,
        titles=tuple(row.title for row in sample.rows),
        files=tuple(str(row.path) for row in sample.rows),
        contents=tuple(row.content for row in sample.rows),
        place_N2=place_N2,
    )


def _laid_out(
    ids: tuple[str, ...], vector_ND: Floats, fingerprint: str, last: Atlas | None
) -> tuple[Floats | None, Floats | None, Floats]:
    """Axes and mean, which t-SNE has not, and the place of each item."""
    keeps_encoder = last is not None and last.fingerprint == fingerprint
    if last is not None and keeps_encoder and last.axes_2D is None and set(ids) & set(last.ids):
        return None, None, among_alike(ids, vector_ND, last)
    tsne = _tsne() if len(ids) >= FEWEST_LAID_OUT else None
    if last is not None and keeps_encoder and last.axes_2D is not None and last.mean_D is not None and tsne is None:
        return last.axes_2D, last.mean_D, (vector_ND - last.mean_D) @ last.axes_2D.T
    axes_2D, mean_D = principal_axes(vector_ND)
    place_N2 = (vector_ND - mean_D) @ axes_2D.T
    if last is not None:
        turn_22, shift_2 = onto(dict(zip(ids, place_N2, strict=True)), last)
        place_N2 = place_N2 @ turn_22 + shift_2
        axes_2D = turn_22.T @ axes_2D
        mean_D = mean_D - np.linalg.pinv(axes_2D) @ shift_2
    if tsne is None:
        return axes_2D, mean_D, place_N2
    return None, None, neighbours_together(tsne, ids, vector_ND, place_N2, last)


def _tsne() -> ModuleType | None:
    """openTSNE; None without the extra `map`."""
    try:
        import openTSNE
    except ImportError:
        return None
    module: ModuleType = openTSNE
    return module


def neighbours_together(
    tsne: ModuleType, ids: tuple[str, ...], vector_ND: Floats, start_N2: Floats, last: Atlas | None
) -> Floats:
    """Places by t-SNE, from those of the last map on, and from `start_N2` for items that it has not.

    Source: Poličar et al. 2024, openTSNE, doi:10.18637/jss.v109.i03.
    """
    known = {} if last is None else dict(zip(last.ids, last.place_N2, strict=True))
    place_N2 = np.array([known.get(item, start) for item, start in zip(ids, start_N2, strict=True)])
    spread = float(place_N2.std()) or 1.0
    affinities = tsne.affinity.PerplexityBasedNN(
        vector_ND, perplexity=PERPLEXITY, method="exact", n_jobs=1, random_state=0
    )
    begun = (place_N2 - place_N2.mean(axis=0)) * (SMALL / spread)
    embedding = tsne.TSNEEmbedding(begun, affinities, negative_gradient_method="bh", n_jobs=1, random_state=0)
    embedding = embedding.optimize(FIRST_STEPS, exaggeration=12, momentum=0.5)
    embedding = embedding.optimize(LAST_STEPS, momentum=0.8)
    made_N2: Floats = np.asarray(embedding, dtype=np.float64)
    if last is None:
        return made_N2
    turn_22, shift_2 = onto(dict(zip(ids, made_N2, strict=True)), last)
    return made_N2 @ turn_22 + shift_2


def among_alike(ids: tuple[str, ...], vector_ND: Floats, last: Atlas) -> Floats:
    """Items in the places of the last map, and each new one in the middle of the known ones that are nearest to it."""
    known = dict(zip(last.ids, last.place_N2, strict=True))
    is_known_N = np.array([item in known for item in ids])
    place_N2 = np.array([known.get(item, np.zeros(2)) for item in ids])
    nearest_MK = np.argsort(-(vector_ND[~is_known_N] @ vector_ND[is_known_N].T), axis=1, kind="stable")[:, :BESIDE]
    place_N2[~is_known_N] = np.median(place_N2[is_known_N][nearest_MK], axis=1)
    return place_N2


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


def write_atlas(atlas: Atlas, report: Path, *, last: Path | None = None) -> None:
    """Keep it for the next night, and for viewers of embeddings.

    Args:
        atlas: the map.
        report: folder to write to.
        last: of the report before; its axes are linked while the encoder stays.
    """
    if last is not None and _space_of(last) == (atlas.fingerprint, atlas.axes_2D is None):
        link_or_copy(last / AXES, report / AXES)
    else:
        axes, mean = (None if part is None else part.tolist() for part in (atlas.axes_2D, atlas.mean_D))
        space = {"fingerprint": atlas.fingerprint, "axes": axes, "mean": mean}
        (report / AXES).write_text(json.dumps(space) + "\n", encoding="utf-8")
    columns = {
        "id": pa.array(atlas.ids, pa.string()),
        "x": pa.array(atlas.place_N2[:, 0], pa.float32()),
        "y": pa.array(atlas.place_N2[:, 1], pa.float32()),
        "title": pa.array(atlas.titles, pa.string()),
        "file": pa.array(atlas.files, pa.string()),
        "content": pa.array(atlas.contents, pa.string()),
    }
    pq.write_table(pa.table(columns), report / MAP, compression="zstd")


def _space_of(report: Path) -> tuple[str, bool] | None:
    """The encoder of a report's map, and whether t-SNE laid it out; None where there is no map."""
    try:
        space = json.loads((report / AXES).read_text(encoding="utf-8"))
        return str(space["fingerprint"]), space["axes"] is None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_atlas(report: Path) -> Atlas | None:
    """The map of an earlier report; None where there is none."""
    try:
        stored = pq.read_table(report / MAP)
        space = json.loads((report / AXES).read_text(encoding="utf-8"))
        columns = {name: tuple(stored[name].to_pylist()) for name in ("id", "title", "file", "content")}
        return Atlas(
            fingerprint=space["fingerprint"],
            axes_2D=None if space["axes"] is None else np.array(space["axes"]),
            mean_D=None if space["mean"] is None else np.array(space["mean"]),
            ids=columns["id"],
            titles=columns["title"],
            files=columns["file"],
            contents=columns["content"],
            place_N2=np.stack([stored[axis].to_numpy() for axis in ("x", "y")], axis=1).astype(np.float64),
        )
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None
