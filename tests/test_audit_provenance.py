"""What files say of being made by AI, in every form that generators write, and what hostile metadata costs."""

from __future__ import annotations

import io
import json
import struct
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pinembed.quality.blocks import MOST_FILE_BYTES, MOST_TEXT_BYTES, UNREAD, metadata_blocks
from pinembed.quality.provenance import made_by_ai
from pinembed.quality.signature import signature_of

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
    "12 MB of nearly parameters": lambda: (
        encoded("PNG")[:33] + 3 * png_chunk(b"tEXt", b"a\0" + b"Steps: 1, " * 400_000)
    ),
    "one long word": lambda: png_with("prompt", '"class_type"' + " " * 900_000),
}


READ_WHOLE = {
    *("cyclic entities", "lengths beyond the end", "damaged packing", "one long word"),
    *("nearly parameters", "12 MB of nearly parameters"),
}
MOST_S = 15.0  # some take a tenth of that on an idle core, while memory is traced


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_metadata_ends_within_its_time_and_memory_and_is_told(kind: str) -> None:
    content = HOSTILE[kind]()
    tracemalloc.start()
    started_s = time.process_time()
    blocks = list(metadata_blocks(content))
    says = made_by_ai(blocks)
    seconds, peak_bytes = time.process_time() - started_s, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert says == ""
    assert any(block.kind == UNREAD for block in blocks) == (kind not in READ_WHOLE)
    assert peak_bytes < 3 * MOST_FILE_BYTES
    assert seconds < MOST_S


def test_a_large_png_of_many_pieces_has_nothing_unread() -> None:
    whole = encoded("PNG")
    pieces = png_chunk(b"IDAT", b"") * 5000
    assert [block.kind for block in metadata_blocks(whole[:33] + pieces + whole[33:])] == []


def test_text_is_unpacked_to_its_limit_and_read_as_far() -> None:
    content = png_with("parameters", PARAMETERS + " " * (2 * MOST_TEXT_BYTES), packed=True)
    block, more = metadata_blocks(content)
    assert (len(block.content), more.kind) == (MOST_TEXT_BYTES, UNREAD)
    assert "Steps: 20" in made_by_ai([block])


class FakeC2pa:
    """The part of c2pa-python that is used, with an answer made beforehand."""

    C2paError = type("C2paError", (Exception,), {})

    def __init__(self, state: str) -> None:
        self.state = state
        self.settings: dict[str, dict[str, bool]] = {}
        self.Settings = self.Context = self

    def from_dict(self, settings: dict[str, dict[str, bool]]) -> str:
        self.settings = settings
        return "settings"

    def __call__(self, _: str) -> str:
        return "context"

    def Reader(self, mime: str, _: io.BytesIO, *, context: str) -> FakeC2pa:
        assert (mime, context) == ("image/jpeg", "context")
        if self.state == "broken":
            raise self.C2paError
        return self

    def __enter__(self) -> FakeC2pa:
        return self

    def __exit__(self, *_: object) -> None: ...

    def get_validation_state(self) -> str:
        return self.state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("Valid", "whose signature is intact (who signed was not looked up)"),
        ("Invalid", "whose signature does not fit the file"),
        ("broken", "whose signature cannot be read"),
    ],
)
def test_the_signature_is_told_where_the_package_is_there_and_its_network_is_off(
    state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeC2pa(state)
    monkeypatch.setitem(sys.modules, "c2pa", fake)
    content = FORMS["c2pa in jpeg"]()
    assert words in made_by_ai(metadata_blocks(content), signature=lambda: signature_of(content))
    assert state == "broken" or not any(fake.settings["verify"].values())


def test_the_signature_is_not_checked_where_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert signature_of(FORMS["c2pa in jpeg"]()) == "whose signature was not checked"


def test_a_photo_without_a_mark_never_asks_for_a_signature() -> None:
    def never() -> str:
        raise AssertionError

    assert made_by_ai(metadata_blocks(encoded("JPEG")), signature=never) == ""
    assert "XMP" in made_by_ai(metadata_blocks(FORMS["iptc in jpeg"]()), signature=never)


@pytest.mark.parametrize(("format", "mime"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_a_signed_picture_is_intact_and_one_flipped_byte_is_told(format: str, mime: str) -> None:
    content = signed(format, mime)
    assert "whose signature is intact" in made_by_ai(metadata_blocks(content), signature=lambda: signature_of(content))
    flipped = bytearray(content)
    flipped[-30 if format == "PNG" else -5] ^= 1
    assert "does not fit the file" in signature_of(bytes(flipped))


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """The address of a server on this machine, and what it was asked: a trap for code that is not Python, too."""
    paths: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/manifest.c2pa", paths
        server.shutdown()


def test_no_manifest_is_fetched_though_the_picture_names_where_one_lies(asked: tuple[str, list[str]]) -> None:
    address, paths = asked
    content = signed("JPEG", "image/jpeg", manifest_at=address)
    assert signature_of(content) == "whose signature cannot be read"
    assert paths == []
    import c2pa

    with pytest.raises(c2pa.C2paError):  # left to itself, the package asks
        c2pa.Reader("image/jpeg", io.BytesIO(content))
    assert paths == ["/manifest.c2pa"]


def signed(format: str, mime: str, *, manifest_at: str | None = None) -> bytes:
    """A picture signed with a certificate of its own, whose manifest says that a model made it.

    Args:
        format: of the picture, as Pillow names it.
        mime: the same, as C2PA does.
        manifest_at: address that the picture names in place of its manifest.
    """
    c2pa = pytest.importorskip("c2pa")
    pytest.importorskip("cryptography")
    chain, key = certificate()
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, key, None))
    action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE + "trainedAlgorithmicMedia"}
    manifest = {
        "claim_generator_info": [{"name": "test", "version": "1"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
    }
    builder = c2pa.Builder(json.dumps(manifest))
    if manifest_at is not None:
        builder.set_no_embed()
        builder.set_remote_url(manifest_at)
    made = io.BytesIO()
    builder.sign(signer, mime, io.BytesIO(encoded(format)), made)
    return made.getvalue()


def certificate() -> tuple[bytes, bytes]:
    """A signer's certificate below a root of its own, and its key, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now, root_key, key = datetime.now(timezone.utc), *(ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def made(name: str, of: ec.EllipticCurvePrivateKey, *, is_root: bool) -> bytes:
        names = {
            who: x509.Name(
                [x509.NameAttribute(NameOID.COMMON_NAME, who), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test")]
            )
            for who in ("root", name)
        }
        builder = (
            x509.CertificateBuilder(names["root"], names[name], of.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=9))
            .add_extension(x509.BasicConstraints(is_root, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(of.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(not is_root, False, False, False, False, is_root, is_root, False, False), critical=True
            )
        )
        if not is_root:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(usage, critical=False)
        return builder.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made("signer", key, is_root=False) + made("root", root_key, is_root=True), key.private_bytes(*private)
