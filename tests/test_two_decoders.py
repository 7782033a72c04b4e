"""Every kind of JPEG that can be made comes out the same by the fast decoder and by Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

from pinembed.images import jpeg
from pinembed.images.decode import decode_image
from pinembed.images.preprocess import preprocess
from pinembed.nouns.encoder_spec import Preprocessing
from tests.icc import adobe_rgb, display_p3

PIXELS = Preprocessing(image_px=64, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic", resize_mode="shortest")
PROFILES = {"display-p3": display_p3, "adobe-rgb": adobe_rgb}
XMP = b"http://ns.adobe.com/xap/1.0/\0"


def photo(mode: str = "RGB") -> Image.Image:
    """Smooth, without any symmetry, so that each orientation gives other pixels."""
    x, y = np.meshgrid(np.linspace(0, 1, 160), np.linspace(0, 1, 100))
    return Image.fromarray((np.stack([x, y, x * y], axis=2) * 255).astype(np.uint8)).convert(mode)


def jpeg_of(mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    photo(mode).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def exif(orientation: int) -> bytes:
    found = Image.Exif()
    found[0x112] = orientation
    return segment(0xE1, found.tobytes())


def long_exif(orientation: int) -> bytes:
    """Big-endian, the orientation as a LONG where the standard wants a SHORT."""
    entry = b"\x01\x12\x00\x04\x00\x00\x00\x01" + orientation.to_bytes(4, "big")
    return segment(0xE1, b"Exif\0\0MM\x00\x2a\x00\x00\x00\x08\x00\x01" + entry + b"\0\0\0\0")


def xmp(orientation: int | None = None) -> bytes:
    name = "" if orientation is None else f'tiff:Orientation="{orientation}"'
    words = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF {name}/></x:xmpmeta>"
    return segment(0xE1, XMP + words.encode())


def with_segments(*segments: bytes) -> bytes:
    raw = jpeg_of()
    return raw[:2] + b"".join(segments) + raw[2:]


KINDS: dict[str, Callable[[], bytes]] = {
    "baseline": jpeg_of,
    "progressive": lambda: jpeg_of(progressive=True),
    "restart-markers": lambda: jpeg_of(restart_marker_blocks=1),
    "4:4:4": lambda: jpeg_of(subsampling=0),
    "4:2:2": lambda: jpeg_of(subsampling=1),
    "quality-5": lambda: jpeg_of(quality=5),
    "grey": lambda: jpeg_of("L"),
    "cmyk": lambda: jpeg_of("CMYK"),
    "srgb-profile": lambda: jpeg_of(icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
    **{name: lambda make=make: jpeg_of(icc_profile=make()) for name, make in PROFILES.items()},
    "comment": lambda: with_segments(segment(0xFE, b"a comment")),
    **{f"exif-{k}": lambda k=k: with_segments(exif(k)) for k in range(1, 9)},
    **{f"xmp-{k}": lambda k=k: with_segments(xmp(k)) for k in (3, 6, 8)},
    "exif-behind-xmp": lambda: with_segments(xmp(), exif(6)),
    "exif-behind-two": lambda: with_segments(segment(0xEE, b"Other\0\0"), xmp(), exif(8)),
    "exif-before-xmp": lambda: with_segments(exif(6), xmp()),
    "exif-as-long": lambda: with_segments(long_exif(6)),
    "exif-out-of-range": lambda: with_segments(exif(99)),
    "exif-damaged": lambda: with_segments(segment(0xE1, b"Exif\0\0MM\x00\x2a\xff\xff")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_both_decoders_give_the_same_pixels_upright(kind: str) -> None:
    content = KINDS[kind]()
    (fast,) = jpeg.jpeg_loaders(fast=True, reduced=False)
    image = decode_image(content, name=kind)
    by_pillow_CHW = preprocess(image, PIXELS)
    answer = fast(content, PIXELS)
    assert (answer is None) == (kind == "cmyk")  # which the fast way leaves to Pillow
    if answer is not None:
        by_torch_CHW, *size = answer
        assert tuple(size) == image.size
        assert np.abs(by_torch_CHW.astype(int) - by_pillow_CHW.astype(int)).max() <= 2


@pytest.mark.parametrize("turn", ["exif-6", "exif-behind-xmp", "xmp-6", "exif-as-long"])
def test_a_turned_jpeg_stands_upright(turn: str) -> None:
    assert decode_image(KINDS[turn](), name=turn).size == (100, 160)


@pytest.mark.parametrize("fault", ["_plain_orientation", "turned"])
def test_a_fast_way_that_turns_pictures_otherwise_is_not_taken(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert jpeg.fast_loader.__wrapped__() is not None
    unturned = {
        "_plain_orientation": lambda content, preprocessing: 1,
        "turned": lambda pixels_CHW, orientation: pixels_CHW,
    }
    monkeypatch.setattr(jpeg, fault, unturned[fault])
    assert jpeg.fast_loader.__wrapped__() is None


@pytest.mark.parametrize("name", PROFILES)
def test_a_colour_profile_changes_no_pixel_in_either_decoder(name: str) -> None:
    for content in (jpeg_of(), jpeg_of(progressive=True)):
        profile = segment(0xE2, b"ICC_PROFILE\0\1\1" + PROFILES[name]())
        tagged = content[:2] + profile + content[2:]
        (fast,) = jpeg.jpeg_loaders(fast=True, reduced=False)
        assert np.array_equal(fast(tagged, PIXELS)[0], fast(content, PIXELS)[0])
        assert np.array_equal(decode_image(tagged, name=name), decode_image(content, name=name))
