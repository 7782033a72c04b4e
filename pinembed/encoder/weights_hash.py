"""The sha256 of a weights file, computed once for each state of the file: a ViT-B-32 takes 0.4 s of every start."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from pinembed.encoder.cache import recall, remember
from pinembed.errors import EncoderError

MEMORY = "weights"
KEPT = 64
SETTLED_S = 3.0  # a file that was written later than this may be written again within one tick of its clock


def sha256_of_weights(path: Path) -> str:
    """Of the file's bytes.

    A remembered one is taken where the file has the same path, inode, size and times. Its ctime is among them, which no
    program can set back; a file that was copied over with its old date has another one.

    Raises:
        EncoderError: the file cannot be read.
    """
    try:
        state = path.stat()
        key = f"{path.resolve()} {state.st_dev} {state.st_ino} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
        known = recall(MEMORY).get(key)
        if known is not None:
            return known
        found = _sha256(path)
    except OSError as error:
        raise EncoderError(f"{path} cannot be read: {error}.", remedy="Check the file and its permissions.") from error
    if time.time() - max(state.st_mtime, state.st_ctime) > SETTLED_S:
        remember(MEMORY, key, found, at_most=KEPT)
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
