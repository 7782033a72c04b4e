"""Failure: one image without an embedding, and why; one record from the scan and the decoder to the table and report.

| reason             | what it says of the image                                                                 |
|--------------------|-------------------------------------------------------------------------------------------|
| missing_file       | the metadata, the list or the scan names it, and it is not there                          |
| unreadable         | the file system refuses it: permissions, a bad disk                                       |
| not_a_file         | a folder, a FIFO, or a link inside of a tar                                               |
| name_not_utf8      | its file name or id cannot be stored as text                                              |
| outside            | the list names a file that lies outside of the folder                                     |
| id_taken           | an earlier item has its id                                                                |
| broken_shard       | its tar or Parquet file is cut or damaged; as a row of its own it stands for all of a file |
| broken_metadata    | the JSON or text beside it in its tar cannot be used                                      |
| no_image_column    | its Parquet file has no column of image bytes                                             |
| changed_while_read | the file was written to between the scan and the end of reading                           |
| empty              | 0 bytes, or no value in its Parquet cell                                                  |
| too_large          | more bytes or pixels than are decoded, or than memory is free for                         |
| truncated          | its end is missing                                                                        |
| broken             | it is an image, and cannot be decoded                                                     |
| not_an_image       | its first bytes are of no known format                                                    |
| needs_heif         | a HEIC photo, and the extra that reads these is not installed                             |
| decoder_crash      | it ended the process that decoded it                                                      |
| timeout            | it was not decoded within the time limit                                                  |
| non_finite         | its embedding holds NaN or inf                                                            |
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One image without an embedding.

    Where it happens, only the file's name and what is wrong may be known; whoever knows the item fills in the rest.

    Attributes:
        file_name: relative to `folder`; once `id` is set, bytes that are no UTF-8 are written as backslash and number.
        reason: short class of the failure, one of the table above.
        message: a sentence for people.
        id: of the item; empty while nobody has said which one it is.
        folder: the IMAGES folder; empty while nobody has said which one it is.
        size_bytes: of the file as the scan saw it; 0 where there is none.
        mtime_ns: of the file as the scan saw it; 0 where there is none.
    """

    file_name: str
    reason: str
    message: str
    id: str = ""
    folder: str = ""
    size_bytes: int = 0
    mtime_ns: int = 0

    def to_json(self) -> dict[str, str]:
        """What reports show of it."""
        return {"id": self.id, "reason": self.reason, "message": self.message}
