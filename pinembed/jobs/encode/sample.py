"""Some of the run's own images, loaded before the pipeline begins, for measuring backends on them."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from pinembed.images.loading import LoadedImage, WorkerSetup
from pinembed.images.pool import LoadingPool
from pinembed.jobs.encode.plan import Plan
from pinembed.nouns.encoder_spec import Preprocessing

TRIED_FOR_EACH = 4  # images tried for one that is wanted, where many are broken


def sample_pixels(
    plan: Plan, preprocessing: Preprocessing, *, images: int, workers: int, image_limit_s: float
) -> NDArray[np.uint8] | None:
    """(B, 3, H, W) uint8 of the first images that can be read, B at most `images`; None where none can.

    The pool is one without torch, and gone afterwards: what is measured has the machine, and its memory, for itself.
    """
    setup = WorkerSetup(preprocessing=preprocessing, fast_jpeg=False)
    requests = itertools.islice(plan.requests(), TRIED_FOR_EACH * images)
    found: list[NDArray[np.uint8]] = []
    with LoadingPool(setup, workers=workers, image_limit_s=image_limit_s, ahead=images) as pool:
        for answer in pool.load(requests):
            if isinstance(answer, LoadedImage) and answer.pixels_CHW is not None:
                found.append(answer.pixels_CHW)
                if len(found) == images:
                    break
    return np.stack(found) if found else None
