"""The blocks of metadata around a picture in a file: EXIF, XMP, C2PA and PNG's texts, without decoding anything.

Nothing here trusts a length: what a file may cost is bounded, whatever it claims. Text that is packed is unpacked up to
MOST_TEXT_BYTES; of a large block only the beginning is looked at. Where something was left out, a block says so.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

EXIF, XMP, C2PA, TEXT, TABLES = "EXIF", "XMP", "C2PA", "text", "tables"
UNREAD = "unread"  # stands where there is more than is looked at
MOST_BLOCKS = 1 << 16
MOST_TEXT_BYTES = 1 << 20
MOST_BLOCK_BYTES = 4 << 20
MOST_FILE_BYTES = 16 << 20  # of blocks together
JPEG_START, PNG_START, RIFF, WEBP = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF", b"WEBP"
EXIF_START, XMP_START, MORE_XMP = (
    b"Exif\0\0",
    b"http://ns.adobe.com/xap/1.0/\0",
    b"http://ns.adobe.com/xmp/extension/\0",
)
JUMBF_HEADER_BYTES, PACKET_AT = 8, 4  # of an APP11 segment: `JP`, number of the box, number of the packet
FIRST_PACKET, BOX_HEADER_BYTES = b"\0\0\0\1", 8  # later packets repeat the header of their box
APP1, APP11, DQT, SOS, EOI = 0xE1, 0xEB, 0xDB, 0xDA, 0xD9
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
RIFF_KINDS = {b"EXIF": EXIF, b"XMP ": XMP, b"C2PA": C2PA}
PNG_KINDS = {b"eXIf": EXIF, b"caBX": C2PA, b"tEXt": TEXT, b"zTXt": TEXT, b"iTXt": TEXT}
XMP_KEYWORD = "XML:com.adobe.xmp"


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One piece of metadata.

    Attributes:
        kind: EXIF, XMP, C2PA, TEXT, TABLES (a JPEG's quantisation), or UNREAD, which has no content.
        keyword: of a PNG's text.
        content: its bytes, unpacked, cut after MOST_BLOCK_BYTES.
    """

    kind: str
    content: bytes
    keyword: str = ""


MORE = Block(kind=UNREAD, content=b"")


def metadata_blocks(content: bytes) -> Iterator[Block]:
    """The blocks of a JPEG, PNG or WebP in order; nothing for other formats, and of a broken one what is whole."""
    if content.startswith(JPEG_START):
        blocks = _jpeg_blocks(content)
    elif content.startswith(PNG_START):
        blocks = _png_blocks(content)
    elif content[:4] == RIFF and content[8:12] == WEBP:
        blocks = _webp_blocks(content)
    else:
        return
    left_bytes = MOST_FILE_BYTES
    for block in blocks:
        yield block
        left_bytes -= len(block.content)
        if left_bytes <= 0:
            yield MORE
            return


def _jpeg_blocks(content: bytes) -> Iterator[Block]:
    """Segments before the picture; the packets of C2PA boxes joined."""
    packets = bytearray()
    for kind, segment in _segments(content):
        if kind == C2PA:
            is_next = bool(packets) and segment[PACKET_AT:JUMBF_HEADER_BYTES] != FIRST_PACKET
            packets += segment[JUMBF_HEADER_BYTES + (BOX_HEADER_BYTES if is_next else 0) :]
            if len(packets) > MOST_BLOCK_BYTES:
                break
        else:
            yield Block(kind=kind, content=segment)
    if packets:
        yield Block(kind=C2PA, content=bytes(packets[:MOST_BLOCK_BYTES]))
    if len(packets) > MOST_BLOCK_BYTES:
        yield MORE


def _segments(content: bytes) -> Iterator[tuple[str, bytes]]:
    at = len(JPEG_START)
    for _ in range(MOST_BLOCKS):
        if at + 4 > len(content) or content[at] != 0xFF:
            return
        marker = content[at + 1]
        if marker == 0xFF or marker in WITHOUT_LENGTH:  # fill bytes, and markers that stand alone
            at += 1 if marker == 0xFF else 2
            continue
        if marker in (SOS, EOI):
            return
        length = struct.unpack_from(">H", content, at + 2)[0]
        segment = content[at + 4 : at + 2 + length]
        if marker == APP11:
            yield C2PA, segment
        elif marker == DQT:
            yield TABLES, segment
        elif marker == APP1 and segment.startswith(EXIF_START):
            yield EXIF, segment[len(EXIF_START) :]
        elif marker == APP1 and segment.startswith((XMP_START, MORE_XMP)):
            yield XMP, segment
        at += 2 + max(length, 2)
    yield UNREAD, b""


def _chunks(content: bytes, at: int, header: str, trailer_bytes: int) -> Iterator[tuple[bytes | None, bytes]]:
    """Name and content of chunks that carry their length; a PNG's picture is passed over without a copy.

    The name None says that there are more.
    """
    for _ in range(MOST_BLOCKS):
        if at + 8 > len(content):
            return
        first, second = struct.unpack_from(header, content, at)
        name, length = (second, first) if isinstance(first, int) else (first, second)
        is_wanted = name in PNG_KINDS or name in RIFF_KINDS
        yield name, content[at + 8 : at + 8 + min(length, MOST_BLOCK_BYTES)] if is_wanted else b""
        if is_wanted and min(length, len(content) - at - 8) > MOST_BLOCK_BYTES:
            yield None, b""
        at += 8 + length + (trailer_bytes or length % 2)
    yield None, b""


def _png_blocks(content: bytes) -> Iterator[Block]:
    for name, chunk in _chunks(content, len(PNG_START), ">I4s", 4):
        if name is None:
            yield MORE
        if name not in PNG_KINDS:
            continue
        kind = PNG_KINDS[name]
        keyword, _, rest = chunk.partition(b"\0") if kind == TEXT else (b"", b"", chunk)
        if name == b"zTXt":
            rest = _unpacked(rest[1:])
        elif name == b"iTXt":
            is_packed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
            rest = _unpacked(rest) if is_packed else rest
        name_of_text = keyword.decode("latin-1")
        kind = XMP if name_of_text == XMP_KEYWORD else kind
        yield Block(kind=kind, content=rest, keyword=name_of_text)
        if len(rest) == MOST_TEXT_BYTES:  # where unpacking ended
            yield MORE


def _webp_blocks(content: bytes) -> Iterator[Block]:
    for name, chunk in _chunks(content, 12, "<4sI", 0):
        if name is None:
            yield MORE
        elif name in RIFF_KINDS:
            yield Block(kind=RIFF_KINDS[name], content=chunk.removeprefix(EXIF_START))


def _unpacked(packed: bytes) -> bytes:
    """The first MOST_TEXT_BYTES; what is damaged gives what comes before."""
    try:
        return zlib.decompressobj().decompress(packed, MOST_TEXT_BYTES)
    except zlib.error:
        return b""
