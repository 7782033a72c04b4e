"""Runs of encode on Ray that are killed, stopped, or lose a store's answer; each image has to come once all the same.

    python -m tests.benchmarks.ray_matrix --work WORK [--seeds 20] [--minutes 600] [--images 100] [--kinds worker head]

worker, driver: one is killed at a random moment, up to twice in a trial. head: gcs_server and raylet of the run's own
cluster together. clean-up: the driver is killed between its last commit and its clean-up. stopped: a driver whose table
lies in an S3 server is stopped until another run has taken over its lease, of 8 seconds here, and ended; then it goes
on. answers: a proxy before the S3 server hands manifests on, and drops their answers or answers 500 or 503.

Runs follow until one ends well. Then the table must have every image once, with the vectors of a run without shards,
bit for bit; a run that ends otherwise has to say why. The last line is JSON: for each kind the trials, how many runs
were killed and faults made, rows lost, rows doubled, vectors that differ, and `encoded_again`: images that had a row or
a receipt when the last run began, and that it encoded all the same. Needs the extras ray, cloud and dev.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from pinembed.encoding.shards.epoch import Epochs
from pinembed.jobs.encode import encode
from pinembed.settings.encoding import EncodeSettings
from pinembed.table.address import parse_address
from pinembed.table.append import files_in
from pinembed.table.embedding_table import EmbeddingTable, table_exists
from pinembed.table.notes import notes_of
from tests.conftest import make_encoder
from tests.faulty_proxy import DROP, FaultyProxy, faulty_proxy
from tests.object_store import BUCKET, serving

KINDS = ("worker", "driver", "head", "clean-up", "stopped", "answers")
IN_STORE = ("stopped", "answers")
RUN_S = 300.0
PX = 3000  # so that a shard takes its second, and a kill falls into it
MOST_RUNS = 6
SHARDS = 20
LEASE_S = 8.0
GONE_S = 30.0  # until the workers of a killed driver have ended
WORKER = "ray::RayWorker"
COMMAND = "\nfrom pinembed.__main__ import run\nimport sys\nsys.argv = ['pinembed', *sys.argv[1:]]\nrun()\n"
CLEAN_UP = """
import os, signal
from pinembed.encoding.shards.epoch import Epochs
Epochs.close = lambda epochs: os.kill(os.getpid(), signal.SIGKILL) if epochs._members else None
"""
SHORT_LEASE = f"""
from pinembed.stores import lease
lease.RENEW_S, lease.TRUSTED_S, lease.EXPIRES_S = 1.0, {LEASE_S - 2}, {LEASE_S}
"""

Process = subprocess.Popen[str]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What all trials share.

    Attributes:
        work: folder.
        images: of photos there.
        whole: vectors of each id, of a run without shards.
        cluster: process below which a cluster of this machine runs.
        address: of that.
        proxy: before an S3 server.
    """

    work: Path
    images: int
    whole: dict[str, list[Any]]
    cluster: psutil.Process
    address: str
    proxy: FaultyProxy

    def start(self, table: str, program: str = "", *, engine: str = "ray", own_cluster: bool = False) -> Process:
        """A run as a process, after this program."""
        words = ["encode", str(self.work / "photos"), "--table", table, "--encoder", str(self.work / "encoder")]
        words += ["--backend", "torch", "--engine", engine, "--shard-images", str(max(1, self.images // SHARDS))]
        words += ["--workers", "2"] if engine == "ray" else []
        words += [] if engine == "local" or own_cluster else ["--address", self.address]
        begun = ["-c", program + COMMAND] if program else ["-m", "pinembed"]
        told = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([sys.executable, *begun, *words, "--json", "--quiet"], text=True, **told)

    def wait_for_workers(self) -> None:
        """Until none is left that may still put a receipt."""
        until_s = time.monotonic() + GONE_S
        while below(self.cluster, WORKER) and time.monotonic() < until_s:
            time.sleep(0.1)


class Trial:
    """One seed of one kind.

    Args:
        kind: of KINDS.
        seed: of the moments.
        scene: that is shared.

    Attributes:
        told: what was counted.
    """

    def __init__(self, kind: str, seed: int, scene: Scene) -> None:
        self.told = Counter[str](trials=1)
        self._kind, self._scene = kind, scene
        self._rng = random.Random(f"{kind} {seed}")
        self._folder = scene.work / f"{kind}-{seed}"
        shutil.rmtree(self._folder, ignore_errors=True)
        name = f"{kind}-{seed}-{secrets.token_hex(3)}"
        self._table = f"s3://{BUCKET}/{name}/pins" if kind in IN_STORE else str(self._folder / "db/pins")

    def go(self) -> Counter[str]:
        """Runs until one ends well, and what came of it."""
        self._scene.proxy.done.clear()
        for number in range(MOST_RUNS):
            self._scene.wait_for_workers()
            known = len(stored(self._table, with_receipts=True)) if number else 0
            process = self._start(number)
            if number < 2:
                self.told["killed"] += self._trouble(process, number)
            if self._ended_well(process, known if number else None):
                break
        self._scene.proxy.faults = []
        self.told["faults"] += len(self._scene.proxy.done)
        self._compare()
        shutil.rmtree(self._folder, ignore_errors=True)
        return self.told

    def _start(self, number: int) -> Process:
        if self._kind == "answers":
            self._scene.proxy.faults = self._rng.choices([DROP, 500, 503], k=2 if number < 2 else 0)
        program = {"clean-up": "" if number else CLEAN_UP, "stopped": SHORT_LEASE}.get(self._kind, "")
        return self._scene.start(self._table, program, own_cluster=self._kind == "head")

    def _trouble(self, process: Process, number: int) -> bool:
        """Do to a run what the kind says, after so many receipts and a moment; whether it was in time."""
        if self._kind in {"clean-up", "answers"} or (self._kind == "stopped" and number):
            return False
        until_s, wanted = time.monotonic() + RUN_S, self._rng.randrange(1, SHARDS - 2)
        while process.poll() is None and receipts(self._table) < wanted and time.monotonic() < until_s:
            time.sleep(0.05)
        time.sleep(self._rng.random() / 2)
        if process.poll() is not None:
            return False
        if self._kind == "stopped":
            return self._stop(process)
        return self._kill(process)

    def _kill(self, process: Process) -> bool:
        if self._kind == "driver":
            process.kill()
            return True
        if self._kind == "worker":
            victims = below(self._scene.cluster, WORKER)
            victims = [self._rng.choice(victims)] if victims else []
        else:
            victims = below(psutil.Process(process.pid), "gcs_server", "raylet/raylet")
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        return bool(victims)

    def _stop(self, process: Process) -> bool:
        """Stop a driver, let another run take over and end, and let the driver go on."""
        process.send_signal(signal.SIGSTOP)
        time.sleep(LEASE_S + 1)
        try:
            self._ended_well(self._scene.start(self._table, SHORT_LEASE, engine="local"), None)
        finally:
            process.send_signal(signal.SIGCONT)
        return True

    def _ended_well(self, process: Process, known: int | None) -> bool:
        """Wait for the end of a run; one that ends otherwise than well says why, or was killed by us.

        Args:
            process: of the run.
            known: images that had a row or a receipt when it began; None where that is not of interest.
        """
        words, errors = process.communicate(timeout=RUN_S)
        if process.returncode == 0:
            if known is not None:
                self.told["encoded_again"] += json.loads(words)["encoded"] - (self._scene.images - known)
            return True
        self.told["killed"] += self._kind == "clean-up" and process.returncode == -signal.SIGKILL
        self.told["without a sentence"] += process.returncode > 0 and "remedy:" not in errors
        self.told[f"exit {process.returncode}"] += 1
        if process.returncode > 0:
            said = errors.strip().replace("\n", " ")
            sys.stderr.write(f"  {self._kind}: exit {process.returncode}: {said[-300:]}\n")
        return False

    def _compare(self) -> None:
        found, whole = stored(self._table), self._scene.whole
        self.told["lost"] += len(whole.keys() - found.keys())
        self.told["differ"] += sum(found[item][:1] != vectors for item, vectors in whole.items() if item in found)
        self.told["doubled"] += sum(len(vectors) - 1 for vectors in found.values())


def below(process: psutil.Process, *words: str) -> list[psutil.Process]:
    """Its descendants with one of these words in their command."""
    found = []
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            if any(word in " ".join(child.cmdline()) for word in words):
                found.append(child)
    return found


def receipts(table: str) -> int:
    return sum(name.endswith(".json") for name in notes_of(parse_address(table)).names())


def stored(table: str, *, with_receipts: bool = False) -> dict[str, list[Any]]:
    """Vectors of each id, of which there should be one; also what only receipts name yet, without vectors."""
    found: dict[str, list[Any]] = {}
    if not table_exists(parse_address(table)):
        return found
    opened = EmbeddingTable.open(table)
    for batch in opened.batches(["id", "vector"]):
        for row in batch.to_pylist():
            found.setdefault(row["id"], []).append(row["vector"])
    if with_receipts:
        epochs, files = Epochs(opened.address), files_in(opened.dataset)
        waiting = [one for epoch in epochs.left_open for one in epochs.receipts(epoch)]
        rows = sum(part.physical_rows for one in waiting if files.isdisjoint(one.files) for part in one.added)
        found |= {f"in receipts {number}": [] for number in range(rows)}
    return found


def make_photos(folder: Path, count: int) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for number in range(count):
            pixels = np.kron(rng.integers(0, 256, (20, 20, 3), np.uint8), np.ones((PX // 20, PX // 20, 1), np.uint8))
            Image.fromarray(pixels).save(folder / f"{number:05}.jpg", quality=80)


@contextmanager
def cluster() -> Iterator[tuple[psutil.Process, str]]:
    """A cluster of this machine with two CPUs, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    program = "import sys; from ray.scripts.scripts import main; sys.argv = ['ray', *sys.argv[1:]]; main()"
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-c", program, *words, f"--object-store-memory={200 << 20}"], **nowhere)
    try:
        head = psutil.Process(process.pid)
        until_s = time.monotonic() + RUN_S
        while not below(head, "raylet/raylet") and time.monotonic() < until_s:
            time.sleep(0.5)
        yield head, f"127.0.0.1:{port}"
    finally:
        members = [*psutil.Process(process.pid).children(recursive=True), process]
        for member in members:
            with suppress(psutil.Error):
                member.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--minutes", type=float, default=600.0, help="after which no further seed begins")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    given = parser.parse_args()
    work = given.work.absolute()
    make_photos(work / "photos", given.images)
    if not (work / "encoder").is_dir():
        make_encoder(work / "encoder")
    os.environ |= {
        "PINEMBED_CACHE": str(work / "cache"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    whole, encoder = str(work / "whole/pins"), str(work / "encoder")
    encode(EncodeSettings(images=work / "photos", table=whole, encoder=encoder, backend="torch"))
    told = {kind: Counter[str]() for kind in given.kinds}
    until_s = time.monotonic() + 60 * given.minutes
    with serving(work / "s3") as server, faulty_proxy(server.endpoint) as proxy:
        os.environ |= server.environment | {"AWS_ENDPOINT": proxy.endpoint}
        with cluster() as (head, address):
            scene = Scene(
                work=work, images=given.images, whole=stored(whole), cluster=head, address=address, proxy=proxy
            )
            for seed in range(given.first, given.first + given.seeds):
                for kind in given.kinds if time.monotonic() < until_s else ():
                    found = Trial(kind, seed, scene).go()
                    told[kind].update(found)
                    sys.stderr.write(f"{kind} {seed}: {dict(found)}\n")
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
