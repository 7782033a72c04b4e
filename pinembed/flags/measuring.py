"""Measures of contents that no run of encode has measured: their pictures are read, decoded and measured."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from pinembed.errors import ImageError
from pinembed.flags.stored import StoredRows
from pinembed.images.loading import LoadedImage, LoadRequest, WorkerSetup
from pinembed.images.pool import LoadingPool
from pinembed.images.read import locate_image
from pinembed.machine import usable_cores
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.measures import ImageMeasures
from pinembed.nouns.progress import Progress, Stop
from pinembed.settings.encoding import IMAGE_LIMIT_S
from pinembed.table.quality_tables import MeasureTable

STORED_AT_ONCE = 4096
AHEAD = 64
# the encoder's pixels are not needed
SMALL = Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize_mode="squash")


def measure_contents(
    contents: Sequence[str], rows: StoredRows, table: MeasureTable, *, progress: Progress, stop: Stop
) -> int:
    """Measure the pictures of some contents and store it; what is gone, broken or has changed is passed over.

    Returns:
        how many were measured.

    Raises:
        StoppedError: what was measured is stored.
    """
    if not contents:
        return 0
    progress.start("measuring pictures", len(contents), "img")
    measured = 0
    with LoadingPool(
        WorkerSetup(preprocessing=SMALL), workers=usable_cores(), image_limit_s=IMAGE_LIMIT_S, ahead=AHEAD
    ) as pool:
        found = _found(contents, rows, pool, progress)
        while not stop.requested and (some := dict(itertools.islice(found, STORED_AT_ONCE))):
            table.record(some)
            measured += len(some)
    progress.finish()
    table.compact()
    return measured


def _found(
    contents: Sequence[str], rows: StoredRows, pool: LoadingPool, progress: Progress
) -> Iterator[tuple[str, ImageMeasures]]:
    for index, answer in pool.load(_requests(contents, rows)):
        progress.advance()
        is_it = isinstance(answer, LoadedImage) and answer.sha256 == contents[index]
        if is_it and isinstance(answer, LoadedImage) and answer.measures is not None:
            yield answer.sha256, answer.measures


def _requests(contents: Sequence[str], rows: StoredRows) -> Iterator[LoadRequest]:
    for index, sha256 in enumerate(contents):
        try:
            image = locate_image(rows.path(sha256))
        except ImageError:
            continue
        yield LoadRequest(index=index, image=image, is_measured=True)
