"""Encoding photos in tars from an S3 server on this machine beside encoding them from disk, interleaved.

    python -m tests.benchmarks.encode_store --images 20000 --pairs 2 [--encoder ENCODER]

Both runs are the command line, each into a new table on disk. Without ENCODER it is tiny, so that reading and decoding
are what counts. SeaweedFS shares the cores, so CPU time is told apart: of the command with its workers, and of the
server. Needs the extras cloud and dev.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pinembed.stores.address import Address
from pinembed.stores.objects import put_object
from pinembed.stores.options import use_storage_options
from pinembed.stores.ranged import BLOCK_BYTES
from tests.benchmarks.encode_photos import QUALITY, photo
from tests.benchmarks.process_tree import descendants
from tests.conftest import make_encoder
from tests.object_store import BUCKET, serving

DRAWN = 200  # photos; each stands in the tars several times, with other bytes behind its end
SIZE = (480, 360)
PER_TAR = 2500
LOOK_EVERY_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One run: images per second of the pipeline and of the whole command; CPU milliseconds an image, also of weed."""

    pipeline: float
    whole: float
    cpu_ms: float
    server_ms: float


def write_tars(folder: Path, images: int) -> Path:
    """Tars of `images` photos that are all different contents."""
    drawn = []
    for seed in range(min(DRAWN, images)):
        stream = io.BytesIO()
        photo(seed, SIZE).save(stream, "JPEG", quality=QUALITY)
        drawn.append(stream.getvalue())
    folder.mkdir(parents=True)
    for first in range(0, images, PER_TAR):
        with tarfile.open(folder / f"{first // PER_TAR:03}.tar", "w") as tar:
            for index in range(first, min(first + PER_TAR, images)):
                content = drawn[index % len(drawn)] + index.to_bytes(4, "big")
                header = tarfile.TarInfo(f"{index:06}.jpg")
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
    return folder


def encode(images: str, folder: Path, encoder: Path, environment: Mapping[str, str]) -> Timed:
    """Run the command into a new table."""
    shutil.rmtree(folder / "db", ignore_errors=True)
    shutil.rmtree(folder / "cache" / "tars", ignore_errors=True)
    command = [sys.executable, "-m", "pinembed", "encode", images, "--table", str(folder / "db" / "pins")]
    command += ["--encoder", str(encoder), "--backend", "torch", "--json", "--quiet"]
    given = {**os.environ, **environment, "PINEMBED_CACHE": str(folder / "cache")}
    before_s = server_cpu_s()
    with (folder / "said").open("w+") as said:
        process = subprocess.Popen(command, env=given, stdout=said)
        spent_s: dict[int, float] = {}
        while process.poll() is None:
            spent_s |= {pid: seconds for pid in descendants(process.pid) if (seconds := cpu_s_of(pid))}
            time.sleep(LOOK_EVERY_S)
        said.seek(0)
        report = json.load(said)
    each = 1000 / report["added"]
    return Timed(
        pipeline=report["images_per_s"],
        whole=report["added"] / report["seconds"],
        cpu_ms=sum(spent_s.values()) * each,
        server_ms=(server_cpu_s() - before_s) * each,
    )


def cpu_s_of(pid: int) -> float:
    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    return 0.0


def server_cpu_s() -> float:
    """Of the S3 server, which this process has started."""
    return sum(cpu_s_of(child.pid) for child in psutil.Process().children() if child.name() == "weed")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=2, help="runs of each kind")
    parser.add_argument("--encoder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pinembed-store-") as place, serving(Path(place) / "s3") as server:
        folder = Path(place)
        encoder = given.encoder or make_encoder(folder / "encoder")
        tars = write_tars(folder / "tars", given.images)
        size_bytes = sum(tar.stat().st_size for tar in tars.iterdir())
        use_storage_options(server.options)
        for tar in sorted(tars.iterdir()):
            put_object(Address("s3", BUCKET, "tars") / tar.name, tar)
        requests = 2 * sum(-(-tar.stat().st_size // BLOCK_BYTES) for tar in tars.iterdir())
        say(f"{given.images} photos of {size_bytes / given.images / 1000:.0f} kB in {len([*tars.iterdir()])} tars")
        say(f"about {requests / given.images:.4f} ranges for an image, headers and pictures")
        runs: dict[str, list[Timed]] = {"disk": [], "store": []}
        for pair in range(given.pairs):
            for kind in ("disk", "store") if pair % 2 == 0 else ("store", "disk"):
                images = str(tars) if kind == "disk" else f"s3://{BUCKET}/tars"
                runs[kind].append(encode(images, folder, encoder, server.environment))
                last = runs[kind][-1]
                say(
                    f"{kind:6} {last.pipeline:8.1f} img/s in the pipeline, {last.whole:8.1f} whole; "
                    f"CPU {last.cpu_ms:.2f} ms an image, and {last.server_ms:.2f} of the server"
                )
        for name in ("pipeline", "whole"):
            rates = {kind: statistics.median(getattr(one, name) for one in timed) for kind, timed in runs.items()}
            say(f"{name}: store / disk = {rates['store'] / rates['disk']:.3f}")


if __name__ == "__main__":
    main()
