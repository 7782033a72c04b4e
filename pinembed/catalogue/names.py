"""Names of files: which are those of images, which of pictures that are not read, and a few of them for a message."""

from __future__ import annotations

import re
from collections.abc import Sequence

IMAGE_SUFFIXES = frozenset(
    {
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "gif", "bmp", "dib", "ico", "tif", "tiff"),
        *("avif", "avifs", "heic", "heics", "heif", "heifs", "hif", "jp2", "j2k", "j2c", "jpc", "jpf", "jpx"),
        *("tga", "icb", "vda", "vst", "pbm", "pgm", "ppm", "pnm", "pfm"),
    }
)
"""Of the formats that are decoded."""
OTHER_PICTURES = frozenset(
    {
        *("jxl", "psd", "psb", "svg", "svgz", "eps", "ai", "exr", "hdr", "dds", "qoi", "icns", "cur", "pcx", "dcx"),
        *("sgi", "rgb", "rgba", "bw", "ras", "xbm", "xpm", "wmf", "emf", "pcd", "fits", "jxr", "wdp"),
        *("raw", "dng", "cr2", "cr3", "crw", "nef", "nrw", "arw", "srf", "sr2", "orf", "rw2", "raf", "pef", "3fr"),
    }
)
PACKED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz", ".zip")
ARCHIVES = (*PACKED, ".tar", ".parquet", ".rar", ".7z")
MARKED = re.compile(r"(jpe?g|png|webp|gif|bmp|tiff?|avif|heic)[^a-z0-9]")
"""An image's suffix with something behind it, as in `a.jpg_large`, `a.jpg~` and `a.jpg?width=300`."""


def has_image_suffix(name: str) -> bool:
    """Whether a file is one to read, by its name."""
    return name.rpartition(".")[2].lower() in IMAGE_SUFFIXES


def is_other_picture(name: str) -> bool:
    """Whether a file seems to be a picture, but of a format or with a name that is not read."""
    suffix = name.rpartition(".")[2].lower()
    return "." in name and (suffix in OTHER_PICTURES or MARKED.match(suffix) is not None)


def shown(names: Sequence[str], limit: int = 3) -> str:
    """The first few names for a message."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
