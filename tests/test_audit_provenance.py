"""What files say of being made by AI, in every form that generators write, and what hostile metadata costs."""

from __future__ import annotations

import io
import json
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pinembed.quality.blocks import MOST_FILE_BYTES, MOST_TEXT_BYTES, metadata_blocks
from pinembed.quality.provenance import made_by_ai

PICTURE = Image.new("RGB", (16, 12), (90, 120, 60))
PARAMETERS = "a red mug\nNegative prompt: text\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 512x512"
WORKFLOW = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 1}}})
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
USER_COMMENT, EXIF_IFD, MODEL = 0x9286, 0x8769, 0x0110


def xmp(source_type: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description '
        f'Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}{source_type}"/></x:xmpmeta>'
    ).encode()


def encoded(format: str, **given: object) -> bytes:
    file = io.BytesIO()
    PICTURE.save(file, format, **given)
    return file.getvalue()


def png_with(keyword: str, text: str, *, packed: bool = False, international: bool = False) -> bytes:
    info = PngInfo()
    (info.add_itxt if international else info.add_text)(keyword, text, zip=packed)
    return encoded("PNG", pnginfo=info)


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """A JPEG with segments, by their markers, before everything else."""
    whole = encoded("JPEG")
    made = b"".join(struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in segments)
    return whole[:2] + made + whole[2:]


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(name: bytes, content: bytes) -> bytes:
    whole = encoded("PNG")
    return whole[:33] + png_chunk(name, content) + whole[33:]


def user_comment(text: str, encoding: str, code: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = code + text.encode(encoding)
    return exif


def model_of(text: str) -> Image.Exif:
    exif = Image.Exif()
    exif[MODEL] = text
    return exif


# CBOR: the next key's length is a letter, and stands right behind the value
CBOR = b"jumbc2pa\xa1qdigitalSourceTypexF" + SOURCE_TYPE.encode() + b"trainedAlgorithmicMediadkind"


def c2pa_packets(box: bytes, at: int) -> list[tuple[int, bytes]]:
    """The box in two APP11 segments, of which the second repeats its header."""
    header = struct.pack(">I4s", len(box) + 8, b"jumb")
    first = b"JP" + struct.pack(">HI", 1, 1) + header + box[:at]
    return [(0xEB, first), (0xEB, b"JP" + struct.pack(">HI", 1, 2) + header + box[at:])]


FORMS: dict[str, Callable[[], bytes]] = {
    "a1111 in png": lambda: png_with("parameters", PARAMETERS),
    "a1111 in packed png": lambda: png_with("parameters", PARAMETERS, packed=True),
    "a1111 in international png": lambda: png_with("parameters", PARAMETERS + " ü", international=True, packed=True),
    "a1111 in exif, utf-16 big": lambda: encoded("JPEG", exif=user_comment(PARAMETERS, "utf-16-be", b"UNICODE\0")),
    "a1111 in exif, utf-16 little": lambda: encoded("JPEG", exif=user_comment(PARAMETERS, "utf-16-le", b"UNICODE\0")),
    "a1111 in exif, ascii": lambda: encoded("JPEG", exif=user_comment(PARAMETERS, "ascii", b"ASCII\0\0\0")),
    "a1111 in webp": lambda: encoded("WEBP", exif=user_comment(PARAMETERS, "utf-16-be", b"UNICODE\0")),
    "comfyui in png": lambda: png_with("prompt", WORKFLOW),
    "comfyui in webp": lambda: encoded("WEBP", exif=model_of(f"prompt:{WORKFLOW}")),
    "fooocus": lambda: png_with("fooocus_scheme", "fooocus"),
    "fooocus as parameters": lambda: png_with("parameters", '{"version": "Fooocus v2.5.0", "steps": 30}'),
    "invokeai": lambda: png_with("invokeai_metadata", '{"app_version": "4.2.0"}', international=True),
    "invokeai of old": lambda: png_with("sd-metadata", "{}"),
    "novelai": lambda: png_with("Software", "NovelAI"),
    "iptc in jpeg": lambda: jpeg_with((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp("trainedAlgorithmicMedia"))),
    "iptc in png": lambda: png_with("XML:com.adobe.xmp", xmp("trainedAlgorithmicMedia").decode(), international=True),
    "iptc in webp": lambda: encoded("WEBP", xmp=xmp("compositeWithTrainedAlgorithmicMedia")),
    "c2pa in jpeg": lambda: jpeg_with(*c2pa_packets(CBOR, at=len(CBOR))),
    "c2pa in two packets": lambda: jpeg_with(*c2pa_packets(CBOR, at=70)),
    "c2pa in png": lambda: with_chunk(b"caBX", CBOR),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_saying_made_by_ai_is_read_with_evidence(form: str) -> None:
    content = FORMS[form]()
    Image.open(io.BytesIO(content)).load()
    says = made_by_ai(metadata_blocks(content))
    assert says.endswith((".", "…."))
    assert any(name in says for name in ("XMP", "C2PA", "PNG", "EXIF"))


def test_evidence_of_a_manifest_says_that_nobody_checked_the_signature() -> None:
    says = made_by_ai(metadata_blocks(FORMS["c2pa in jpeg"]()))
    assert says == (
        "A C2PA manifest, whose signature was not checked, has the digital source type "
        "trainedAlgorithmicMedia: made by a trained model."
    )


@pytest.mark.parametrize(
    "content",
    [
        encoded("JPEG"),
        encoded("PNG"),
        encoded("WEBP"),
        encoded("JPEG", exif=user_comment("Steps to reproduce: shake well", "ascii", b"ASCII\0\0\0")),
        png_with("parameters", "sharpness: 3"),
        png_with("Software", "GIMP"),
        png_with("prompt", "a question for people"),
        jpeg_with((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp("digitalCapture"))),
        with_chunk(b"caBX", b"jumbc2pa" + SOURCE_TYPE.encode() + b"digitalCapture"),
    ],
)
def test_other_metadata_says_nothing(content: bytes) -> None:
    assert made_by_ai(metadata_blocks(content)) == ""


def test_sample_photos_say_nothing() -> None:
    files = sorted((Path(__file__).parent.parent / "sample_images" / "images").rglob("*.webp"))[::40]
    assert files
    assert not any(made_by_ai(metadata_blocks(file.read_bytes())) for file in files)


def bomb(size_bytes: int) -> bytes:
    packer = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    return b"".join([*(packer.compress(zeros) for _ in range(size_bytes >> 20)), packer.flush()])


ENTITIES = b"".join(b'<!ENTITY l%d "&l%d;&l%d;">' % (n, n - 1, n - 1) for n in range(1, 60)) + b"&l59;&l0;"
HOSTILE: dict[str, Callable[[], bytes]] = {
    "zip bomb of text": lambda: with_chunk(b"zTXt", b"parameters\0\0" + bomb(256 << 20)),
    "zip bomb of international text": lambda: with_chunk(b"iTXt", b"parameters\0\1\0\0\0" + bomb(256 << 20)),
    "many bombs": lambda: encoded("PNG")[:33] + png_chunk(b"zTXt", b"a\0\0" + bomb(16 << 20)) * 3000,
    "100 MB manifest in png": lambda: with_chunk(b"caBX", bytes(100 << 20)),
    "100 MB manifest in jpeg": lambda: jpeg_with(*[(0xEB, b"JP" + bytes(65_000))] * 1600),
    "a million segments": lambda: jpeg_with(*[(0xE1, b"")] * 1_000_000),
    "cyclic entities": lambda: jpeg_with((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + ENTITIES)),
    "lengths beyond the end": lambda: encoded("PNG")[:33] + struct.pack(">I4s", 0x7FFFFFFF, b"tEXt") + b"abc",
    "a length of nothing": lambda: b"\xff\xd8" + b"\xff\xe1\0\0" * 100_000,
    "endless riff": lambda: b"RIFF\0\0\0\0WEBP" + b"XMP \0\0\0\0" * 100_000,
    "damaged packing": lambda: with_chunk(b"zTXt", b"parameters\0\0not zlib"),
    "nearly parameters": lambda: png_with("parameters", "Steps: 1, " * 90_000),
    "one long word": lambda: png_with("prompt", '"class_type"' + " " * 900_000),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_metadata_costs_little_time_and_memory_and_says_nothing(kind: str) -> None:
    content = HOSTILE[kind]()
    tracemalloc.start()
    began_s = time.process_time()
    says = made_by_ai(metadata_blocks(content))
    seconds, peak_bytes = time.process_time() - began_s, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert says == ""
    assert seconds < 2
    assert peak_bytes < 3 * MOST_FILE_BYTES


def test_text_is_unpacked_to_its_limit_and_read_as_far() -> None:
    content = png_with("parameters", PARAMETERS + " " * (2 * MOST_TEXT_BYTES), packed=True)
    (block,) = metadata_blocks(content)
    assert len(block.content) == MOST_TEXT_BYTES
    assert "Steps: 20" in made_by_ai([block])
