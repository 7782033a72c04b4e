"""The modules and records that one new image passes on its way into a table.

    python -m tests.benchmarks.path_of_an_image ENCODER FIRST.jpg SECOND.jpg

FIRST makes the table and settles the backend; then SECOND is encoded under a profiler with `--backend torch`. A module
of pinembed counts when a function of it ran between the start of the scan and the end of the commit, whatever part it
is of, the opening of the encoder included; so does what a worker does with the image, which runs once in this process.
With a batch and a commit for each image, a run over three new ones calls what every image passes more often than a run
over one: the other modules are marked, what they do is done once a run. A record is a dataclass or NamedTuple of
pinembed of which a run over three makes more.
"""

from __future__ import annotations

import argparse
import inspect
import os
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pinembed
from pinembed.images.jpeg import jpeg_loaders
from pinembed.images.loading import LoadRequest
from pinembed.images.worker import answer
from pinembed.jobs.encode import encode
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.settings.encoding import EncodeSettings

PACKAGE = Path(pinembed.__file__).parent
BEGIN = ("catalogue/inputs.py", "find_inputs")
END = ("table/upkeep.py", "compact")  # comes after the last commit
PREPROCESSING = Preprocessing(image_px=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


class Trail:
    """A profiler that counts the calls of each module, and the records made, from BEGIN to the END of a commit."""

    def __init__(self, *, is_on: bool = False) -> None:
        self.modules: Counter[str] = Counter()
        self.records: Counter[str] = Counter()
        self._is_on = is_on

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        path = Path(code.co_filename)
        module = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else ""
        if event == "call" and (module, code.co_name) == BEGIN:
            self._is_on = True
        if event == "call" and self._is_on:
            self._count(frame, module)
        if event == "call" and (module, code.co_name) == END:
            self._is_on = False

    def _count(self, frame: FrameType, module: str) -> None:
        code = frame.f_code
        if module and code.co_flags & inspect.CO_OPTIMIZED:  # neither a module's body nor a class's
            self.modules[module] += 1
        elif code.co_filename == "<string>" and code.co_name in {"__init__", "<lambda>"}:  # as dataclasses write it
            made = frame.f_locals.get("_cls") or type(frame.f_locals.get("self"))
            if made.__module__.startswith("pinembed."):
                self.records[made.__qualname__] += 1


def watched(job: Callable[[], Any], *, is_on: bool = False) -> Trail:
    """The trail of a call, in all threads."""
    trail = Trail(is_on=is_on)
    threading.setprofile(trail)
    sys.setprofile(trail)
    try:
        job()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return trail


def trail_of(first: Path, new: list[Path], encoder: str) -> Trail:
    """The trail of a run over new images, each a batch and a commit of its own, beside one that the table has."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images")
        images.mkdir()

        def run() -> None:
            each = {"batch_size": 1, "commit_rows": 1, "workers": 1}
            encode(EncodeSettings(images=images, table=f"{folder}/db/pins", encoder=encoder, backend="torch", **each))

        shutil.copy(first, images / first.name)
        run()
        for index, path in enumerate(new):  # what follows the end of a JPEG makes another content of it
            (images / f"new_{index}.jpg").write_bytes(path.read_bytes() + bytes(index))
        return watched(run)


def main() -> None:
    """Print both lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder")
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["PINEMBED_CACHE"] = cache
        one, three = (trail_of(wanted.first, [wanted.second] * images, wanted.encoder) for images in (1, 3))
    shortcuts = jpeg_loaders(fast=True, reduced=False)
    request = LoadRequest(index=0, image=wanted.second)
    worker = watched(lambda: answer(request, PREPROCESSING, shortcuts), is_on=True)
    of_image = {name for name in one.modules if three.modules[name] > one.modules[name]} | worker.modules.keys()
    carriers = {name for name in one.records if three.records[name] > one.records[name]}
    records = sorted(carriers | worker.records.keys())
    modules = sorted({*one.modules, *of_image})
    lines = [f"{len(of_image)} modules that each image passes, and {len(modules) - len(of_image)} more once a run"]
    lines += [f"  {name}{'' if name in of_image else '  (once a run)'}" for name in modules]
    lines += [f"{len(records)} records: {', '.join(records)}"]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
