"""The bytes of one image, and what is wrong with a file that cannot give them."""

from __future__ import annotations

from dataclasses import dataclass

from pinembed.errors import ImageError
from pinembed.nouns.candidate import Locator

MAX_FILE_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class FileContent:
    """An image as it was at one moment.

    Attributes:
        content: all its bytes.
        mtime_ns: last change of the file that holds it, nanoseconds since 1970.
    """

    content: bytes
    mtime_ns: int


def unreadable(image: Locator, error: OSError) -> ImageError:
    """The ImageError of what the system says about a file."""
    if isinstance(error, FileNotFoundError):
        return ImageError(f"{image} is missing.", remedy="Bring the file back.", reason="missing_file")
    return ImageError(
        f"{image} cannot be read: {error.strerror or error}.",
        remedy="Check the permissions and the disk.",
        reason="unreadable",
    )


def changed_while_read(image: Locator) -> ImageError:
    return ImageError(
        f"{image} changed while it was read.",
        remedy="Run again once nothing writes to it any more.",
        reason="changed_while_read",
    )


def check_size(image: Locator, size_bytes: int) -> None:
    """Let pass what is neither empty nor too large to be read.

    Raises:
        ImageError: 0 bytes, or over 1 GiB.
    """
    if size_bytes == 0:
        raise ImageError(f"{image} is empty (0 bytes).", remedy="Replace the file with a whole one.", reason="empty")
    if size_bytes > MAX_FILE_BYTES:
        raise ImageError(
            f"{image} has {size_bytes} bytes; at most {MAX_FILE_BYTES} are read.",
            remedy="Replace it with a smaller file.",
            reason="too_large",
        )
