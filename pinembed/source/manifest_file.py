"""manifest.json and SHA256SUMS: read at open, written last."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pinembed.errors import SourceError
from pinembed.nouns.manifest import Manifest

MANIFEST = "manifest.json"
CHECKSUMS = "SHA256SUMS"
MAX_MANIFEST_BYTES = 64 << 20
_AGAIN = "Export the table again, or copy the whole folder from where it is good."


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Write SHA256SUMS, which `sha256sum -c` reads, and after it the manifest; gives it back."""
    text = json.dumps(manifest.to_json(), indent=1, ensure_ascii=False).encode() + b"\n"
    sums = {entry.file: entry.sha256 for entry in manifest.files} | {MANIFEST: hashlib.sha256(text).hexdigest()}
    lines = "".join(f"{sha256}  {file}\n" for file, sha256 in sorted(sums.items()))
    for name, content in ((CHECKSUMS, lines.encode()), (MANIFEST, text)):
        with (folder / name).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    return manifest


def rewrite_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Put another manifest in the place of one, in a folder that nobody reads yet."""
    for name in (MANIFEST, CHECKSUMS):
        (folder / name).unlink()
    return write_manifest(folder, manifest)


@contextmanager
def folder_descriptor(folder: Path) -> Iterator[int]:
    """An open folder: files opened by it belong together, even when the folder is replaced meanwhile.

    Raises:
        SourceError: `folder` does not exist or is a file.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(
            f"{folder} cannot be opened: {error.strerror}; wanted a folder that `pinembed export` wrote.",
            remedy="Check the path, or make one with: pinembed export --table TABLE --out DIR",
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_manifest(folder: Path, descriptor: int) -> Manifest:
    """The manifest of an exported folder, as it was written.

    Raises:
        SourceError: there is none, it was edited, or it is of another version.
    """
    text = read_manifest_bytes(folder, descriptor)
    manifest = parse_manifest(text, folder=folder)
    edited = manifest_edit(text, read_checksums(folder, descriptor))
    if edited:
        raise SourceError(f"{folder / MANIFEST} {edited}.", remedy=_AGAIN)
    return manifest


def manifest_edit(text: bytes, checksums: dict[str, str]) -> str:
    """Found and wanted where the manifest is not as it was written; empty where it is."""
    found, wanted = hashlib.sha256(text).hexdigest(), checksums.get(MANIFEST)
    if found == wanted:
        return ""
    if wanted is None:
        return f"has no line in {CHECKSUMS}, so nothing tells whether it was edited"
    return f"was changed after it was written: its sha256 is {found[:12]}..., {CHECKSUMS} says {wanted[:12]}..."


def read_manifest_bytes(folder: Path, descriptor: int) -> bytes:
    """The manifest's text.

    Raises:
        SourceError: there is none, or it cannot be read.
    """
    try:
        return _read(folder, MANIFEST, descriptor)
    except FileNotFoundError as error:
        raise SourceError(
            f"{folder} holds no {MANIFEST}; it is no exported folder, or its export never ended.",
            remedy="Make one with: pinembed export --table TABLE --out DIR",
        ) from error


def parse_manifest(text: bytes, *, folder: Path) -> Manifest:
    """The manifest out of its text.

    Raises:
        SourceError: it says what cannot be.
    """
    try:
        return Manifest.from_json(json.loads(text))
    except KeyError as error:
        raise SourceError(f"{folder / MANIFEST} has no field {error}.", remedy=_AGAIN) from error
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SourceError(f"{folder / MANIFEST} cannot be used: {error}.", remedy=_AGAIN) from error


def read_checksums(folder: Path, descriptor: int) -> dict[str, str]:
    """File name to sha256, from SHA256SUMS; empty where there is none or it cannot be read as such."""
    try:
        text = _read(folder, CHECKSUMS, descriptor).decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    pairs = (line.split("  ", 1) for line in text.split("\n"))
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def _read(folder: Path, name: str, descriptor: int) -> bytes:
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
        with open(opened, "rb") as file:  # noqa: PTH123  (a descriptor, not a path)
            text = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SourceError(
            f"{folder / name} cannot be read: {error.strerror}.", remedy="Check the permissions and the disk."
        ) from error
    if len(text) > MAX_MANIFEST_BYTES:
        raise SourceError(f"{folder / name} is larger than {MAX_MANIFEST_BYTES >> 20} MiB.", remedy=_AGAIN)
    return text
