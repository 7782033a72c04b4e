"""A loading worker whose decoder crashes on some files and never ends on others; test_encode_pool starts it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from pinembed.images import worker
from pinembed.images.jpeg import LoadJpeg
from pinembed.images.loading import LoadedImage, LoadRequest, load_image
from pinembed.nouns.encoder_spec import Preprocessing


def troubled_load(
    request: LoadRequest, preprocessing: Preprocessing, shortcuts: Sequence[LoadJpeg] = ()
) -> LoadedImage:
    if "crash" in Path(str(request.image)).name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "endless" in Path(str(request.image)).name:
        time.sleep(3600)
    return load_image(request, preprocessing, shortcuts)


if __name__ == "__main__":
    worker.load_image = troubled_load  # type: ignore[attr-defined]
    worker.serve(Connection(int(sys.argv[1])))
