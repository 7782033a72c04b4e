"""Addresses, options and objects of stores, and each answer of a store as a sentence."""

from __future__ import annotations

import builtins
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pinembed.errors import (
    MissingExtraError,
    MissingObjectError,
    ObjectChangedError,
    PinembedError,
    StoreError,
    UsageError,
)
from pinembed.stores.address import Address, is_address, parse_place
from pinembed.stores.objects import (
    create_object,
    is_prefix,
    list_objects,
    look_at,
    put_object,
    read_object,
    read_range,
    remove_object,
    replace_object,
)
from pinembed.stores.opening import open_store
from pinembed.stores.options import parse_storage_options, storage_options, use_storage_options
from tests.object_store import BUCKET, PUBLIC, S3Server


@pytest.fixture
def said() -> Iterator[Callable[..., None]]:
    """Say storage options; nothing is said afterwards."""
    yield lambda **options: use_storage_options(options)
    use_storage_options({})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("s3://shop/pins/a b.jpg", "s3://shop/pins/a b.jpg"),
        (Path("s3://shop//pins"), "s3://shop/pins"),
        ("s3a://shop/pins/", "s3://shop/pins"),
        ("gcs://shop", "gs://shop"),
        ("az://box/a-{000..099}.tar", "az://box/a-{000..099}.tar"),
        ("abfss://box@account.dfs.core.windows.net/a", "abfss://box@account.dfs.core.windows.net/a"),
        ("file:///photos/a%20b", "/photos/a b"),
        (Path("pins/a"), "pins/a"),
        ("c:/pins", "c:/pins"),
    ],
)
def test_place_is_the_path_or_address_that_is_meant(written: str | Path, meant: str) -> None:
    assert str(parse_place(written)) == meant


def test_address_has_the_parts_of_a_path() -> None:
    address = Address("s3", "shop", "pins") / "train/0001.tar"
    assert (address.name, address.suffix, str(address.parent)) == ("0001.tar", ".tar", "s3://shop/pins/train")
    assert [str(parent) for parent in address.parents] == ["s3://shop/pins/train", "s3://shop/pins", "s3://shop"]
    assert address.relative_to(Address("s3", "shop")) == "pins/train/0001.tar"
    assert is_address(Path("s3://shop/a"))
    assert not is_address("pins")
    with pytest.raises(ValueError, match="does not lie below"):
        address.relative_to(Address("s3", "shop", "pin"))


def test_address_is_never_opened_as_a_file() -> None:
    with pytest.raises(TypeError, match="is in an object store"):
        Path(Address("s3", "shop", "a"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("written", "found"), [("s3:///a", "no bucket"), ("ftp://host/a", "of the scheme ftp")])
def test_address_that_cannot_be_meant_is_told(written: str, found: str) -> None:
    with pytest.raises(UsageError, match=found):
        parse_place(written)


@pytest.mark.parametrize(("written", "found"), [(["aws_region"], "says nothing"), (["a=1", "A=2"], "given twice")])
def test_storage_option_that_cannot_be_meant_is_told(written: list[str], found: str) -> None:
    with pytest.raises(UsageError, match=found):
        parse_storage_options(written)


def test_endpoint_of_plain_http_says_that_it_is_meant(
    said: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    said(AWS_ENDPOINT="http://localhost:1", secret="a=b")
    assert storage_options() == {"aws_endpoint": "http://localhost:1", "secret": "a=b", "allow_http": "true"}
    said()
    assert storage_options() == {}
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1")
    assert storage_options() == {"allow_http": "true"}


def test_missing_extra_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_obstore(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("obstore"):
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without_obstore)
    with pytest.raises(MissingExtraError, match="s3://shop/a needs the package obstore") as raised:
        look_at(Address("s3", "shop", "a"))
    assert raised.value.remedy == 'Run: pip install "pinembed[cloud]"'


ANSWERS = [
    (301, "<Code>PermanentRedirect</Code>", "shop is in another region", "aws_region=REGION"),
    (
        400,
        "<Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region>",
        "another region than the one that was asked, eu-west-1",
        "aws_region=REGION",
    ),
    (404, "<Code>NoSuchBucket</Code>", "There is no bucket or container shop", "makes no buckets"),
    (403, "<Code>InvalidAccessKeyId</Code>", r"does not take the credentials .*InvalidAccessKeyId", "AWS_ACCESS_KEY"),
    (403, "<Code>AccessDenied</Code>", r"forbids this for s3://shop/a", "skip_signature=true"),
    (501, "<Code>NotImplemented</Code>", "cannot do what is needed", "conditional PUT"),
    (503, "<Code>SlowDown</Code>", "does not answer", "Check the network"),
]


@pytest.mark.parametrize(("status", "body", "found", "remedy"), ANSWERS)
def test_answer_of_a_store_is_told_with_a_remedy(
    status: int, body: str, found: str, remedy: str, said: Callable[..., None]
) -> None:
    pytest.importorskip("obstore", reason="the extra cloud is not installed")

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        said(aws_endpoint=endpoint, aws_access_key_id="k", aws_secret_access_key="s")
        with pytest.raises(StoreError, match=found) as raised:
            create_object(Address("s3", "shop", "a"), b"1")
    finally:
        server.shutdown()
        server.server_close()
    assert remedy in raised.value.remedy


def test_store_that_is_away_is_told_within_seconds(said: Callable[..., None]) -> None:
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    said(aws_endpoint="http://127.0.0.1:1", aws_access_key_id="k", aws_secret_access_key="s")
    with pytest.raises(StoreError, match="The store of s3://shop/a does not answer"):
        read_object(Address("s3", "shop", "a"))


def test_google_store_that_is_away_is_told_without_words_about_amazon(said: Callable[..., None]) -> None:
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    account = {"gcs_base_url": "http://127.0.0.1:1", "disable_oauth": True, "client_email": "", "private_key": ""}
    said(google_service_account_key=json.dumps(account | {"private_key_id": ""}), allow_http="true")
    with pytest.raises(StoreError, match="The store of gs://shop/a does not answer") as raised:
        read_object(Address("gs", "shop", "a"))
    assert raised.value.remedy == "Check the network, then run the same command again."


def test_unknown_storage_option_is_told(said: Callable[..., None]) -> None:
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    said(aws_regoin="eu-west-1")
    with pytest.raises(UsageError, match="aws_regoin"):
        open_store(Address("s3", "shop", "a"))


ODD_NAMES = ("a b.jpg", "ü.jpg", "a#b.jpg", "a%20b.jpg", "a*b.jpg", "a[1]{2}.jpg", "pl+us?.jpg", "d/e/f.jpg")


def test_objects_are_listed_and_read_under_their_own_names(at_s3: S3Server) -> None:
    prefix = Address("s3", BUCKET, "odd")
    for name in ODD_NAMES:
        put_object(prefix / name, name.encode())
    listed = {found.address.relative_to(prefix): found for found in list_objects(prefix)}
    assert listed.keys() == {*ODD_NAMES}
    for name, found in listed.items():
        content, read = read_object(found.address)
        assert (content, read) == (name.encode(), found)


def test_listing_goes_into_every_prefix(at_s3: S3Server) -> None:
    prefix = Address("s3", BUCKET, "deep")
    names = {f"{a}/{b}/{c}.jpg" for a in "xy" for b in range(6) for c in range(2)} | {"x/one.jpg", "top.jpg"}
    for name in names:
        put_object(prefix / name, b"1")
    assert {found.address.relative_to(prefix) for found in list_objects(prefix)} == names
    assert is_prefix(prefix)
    assert not is_prefix(prefix / "z")


def test_mark_of_a_folder_is_no_object(at_s3: S3Server) -> None:
    prefix = Address("s3", BUCKET, "marked")
    put_object(prefix / "sub/a.jpg", b"1")
    put_object(prefix / "empty", b"")  # what a store says of `empty/`, as its console makes it
    assert [found.address for found in list_objects(prefix)] == [prefix / "sub/a.jpg"]
    remove_object(prefix / "sub/a.jpg")
    assert not is_prefix(prefix)


def test_object_is_made_once_and_replaced_by_who_knows_it(at_s3: S3Server) -> None:
    address = Address("s3", BUCKET, "conditional/one")
    first = create_object(address, b"1")
    assert first
    assert create_object(address, b"2") is None
    second = replace_object(address, b"2", first)
    assert second
    assert replace_object(address, b"3", first) is None
    assert read_object(address)[0] == b"2"
    remove_object(address)
    remove_object(address)
    assert look_at(address) is None
    assert replace_object(address, b"4", second) is None


def test_range_is_of_the_object_that_was_listed(at_s3: S3Server) -> None:
    address = Address("s3", BUCKET, "ranged")
    put_object(address, b"0123456789")
    found = look_at(address)
    assert found is not None
    assert read_range(address, 8, 5, e_tag=found.e_tag) == b"89"
    assert read_range(address, 10, 5) == b""
    put_object(address, b"9876543210")
    with pytest.raises(ObjectChangedError, match=f"s3://{BUCKET}/ranged has changed"):
        read_range(address, 8, 5, e_tag=found.e_tag)
    with pytest.raises(MissingObjectError, match="is not there"):
        read_range(address / "gone", 0, 1)


def _refusals(s3: S3Server) -> list[tuple[dict[str, str], str, str]]:
    return [
        (s3.options, "no-such-bucket", "There is no bucket or container no-such-bucket"),
        (s3.options | {"aws_secret_access_key": "other"}, BUCKET, "does not take the credentials"),
        (s3.anonymous, BUCKET, "The store forbids this"),
    ]


@pytest.mark.parametrize("case", range(3))
def test_refusal_of_a_real_server_is_told(case: int, s3: S3Server, said: Callable[..., None]) -> None:
    options, bucket, found = _refusals(s3)[case]
    said(**options)
    with pytest.raises(PinembedError, match=found):
        list(list_objects(Address("s3", bucket, "a")))


def test_public_bucket_is_read_without_credentials(at_s3: S3Server) -> None:
    address = Address("s3", PUBLIC, "seen/by/all.txt")
    put_object(address, b"1")
    use_storage_options(at_s3.anonymous)
    assert [found.address for found in list_objects(address.parent)] == [address]
    assert read_object(address)[0] == b"1"
    with pytest.raises(StoreError, match="forbids this"):
        put_object(address, b"2")
