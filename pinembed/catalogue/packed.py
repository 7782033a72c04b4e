"""Where images inside of tars and Parquet files lie: a few numbers each, and what they share once a file."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pinembed.nouns.item import FileRange, ParquetCell
from pinembed.stores.address import Place


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedFile:
    """A tar, or a Parquet file, of which an image's name and one number tell where it lies.

    Attributes:
        path: the file, or its address.
        file_name: its name relative to the inputs' folder; those of its images begin with it and a slash.
        mtime_ns: when it last changed, or the stamp of the object.
        e_tag: of an object in a store.
        column: of the images in a Parquet file; empty for a tar.
        group_ends: numbers of the rows behind each row group's last one; none for a tar.
    """

    path: Place
    file_name: str
    mtime_ns: int
    e_tag: str = ""
    column: str = ""
    group_ends: tuple[int, ...] = ()

    def image(self, file_name: str, place: int, size_bytes: int) -> FileRange | ParquetCell:
        """Where an image lies.

        Args:
            file_name: of the image.
            place: offset of its first byte in a tar, or number of its row.
            size_bytes: of the image in a tar.
        """
        if self.column:
            group = bisect_right(self.group_ends, place)
            return ParquetCell(
                path=self.path,
                column=self.column,
                number=place,
                row_group=group,
                row=place - (self.group_ends[group - 1] if group else 0),
                mtime_ns=self.mtime_ns,
                e_tag=self.e_tag,
            )
        return FileRange(
            path=self.path,
            name=file_name[len(self.file_name) + 1 :],
            offset=place,
            size_bytes=size_bytes,
            mtime_ns=self.mtime_ns,
            e_tag=self.e_tag,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedImages:
    """Where N images lie.

    Attributes:
        files: that they lie in.
        of_N: index of each image's file.
        places_N: as for PackedFile.
    """

    files: tuple[PackedFile, ...]
    of_N: NDArray[np.int32]
    places_N: NDArray[np.int64]

    def at(self, index: int, file_name: str, size_bytes: int) -> FileRange | ParquetCell:
        """Where one of them lies."""
        return self.files[int(self.of_N[index])].image(file_name, int(self.places_N[index]), size_bytes)

    def take(self, kept: NDArray[np.int64]) -> PackedImages:
        """Those at these indices alone, with no other file."""
        used, of_N = np.unique(self.of_N[kept], return_inverse=True)
        files = tuple(self.files[number] for number in used.tolist())
        return PackedImages(files=files, of_N=of_N.astype(np.int32), places_N=self.places_N[kept])

    def absolute(self) -> PackedImages:
        """The same, for a process that works in another folder."""
        files = (replace(one, path=one.path.absolute()) if isinstance(one.path, Path) else one for one in self.files)
        return replace(self, files=tuple(files))
