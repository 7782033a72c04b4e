"""A path that leads through a tar or Parquet file, as a table's rows name an image in one, to where its bytes lie."""

from __future__ import annotations

import tarfile
from pathlib import Path

from pinembed.errors import ImageError
from pinembed.nouns.candidate import FileRange, Locator, ParquetCell, tar_name


def locate_image(path: Path) -> Locator:
    """The path itself, or where in a tar or Parquet file the image lies that it names.

    Raises:
        ImageError: the tar or Parquet file does not hold it, or cannot be read.
    """
    shard = next((parent for parent in path.parents if parent.is_file()), None)
    if shard is None or shard.suffix.lower() not in FINDERS:
        return path
    name = path.relative_to(shard).as_posix()
    try:
        found = FINDERS[shard.suffix.lower()](shard, name)
    except (OSError, tarfile.TarError, ValueError) as error:  # Arrow's errors are ValueErrors
        words = " ".join(str(error).split())[:200]
        raise ImageError(f"{shard} cannot be read: {words}", remedy="Check the file.", reason="broken_shard") from error
    if found is None:
        raise ImageError(f"{shard} holds no {name} any more.", remedy="Bring it back.", reason="missing_file")
    return found


def _in_tar(shard: Path, name: str) -> Locator | None:
    mtime_ns = shard.stat().st_mtime_ns
    with tarfile.open(shard, "r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it would keep every header that it has seen
            if member.isreg() and tar_name(member.name) == name:
                return FileRange(
                    path=shard, name=name, offset=member.offset_data, size_bytes=member.size, mtime_ns=mtime_ns
                )
    return None


def _in_parquet(shard: Path, name: str) -> Locator | None:
    import pyarrow.parquet

    column, _, number = name.rpartition("/")
    if not number.isdecimal():
        return None
    mtime_ns, row = shard.stat().st_mtime_ns, int(number)
    with pyarrow.parquet.ParquetFile(shard) as file:
        if column not in file.schema_arrow.names:
            return None
        for row_group in range(file.num_row_groups):
            rows = file.metadata.row_group(row_group).num_rows
            if row < rows:
                return ParquetCell(
                    path=shard, column=column, number=int(number), row_group=row_group, row=row, mtime_ns=mtime_ns
                )
            row -= rows
    return None


FINDERS = {".tar": _in_tar, ".parquet": _in_parquet}
