"""An S3 server as Google Cloud Storage or Azure would speak, as far as reading, writing and conditions go.

Google's XML API is S3's but for how a PUT names what it replaces: `x-goog-if-generation-match` becomes If-None-Match or
If-Match, and the answer's ETag, as a number, the generation. Azure has S3's conditions, lists in other XML, and answers
409 where an object is there already.
Sources: https://cloud.google.com/storage/docs/xml-api/reference-headers,
https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from email.utils import format_datetime
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.passing_on import Answer, PassingOn, passing_on

GENERATION_MATCH, GENERATION = "x-goog-if-generation-match", "x-goog-generation"
PASSED_ON = {"content-length", "content-type", "range", "if-match", "if-none-match"}
S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class _Front(PassingOn):
    """Passes requests on to the S3 server without their credentials: to the bucket that all may use."""

    ignores_conditions = False

    def asked(self) -> tuple[str, dict[str, str]]:
        path, headers = self.translated()
        if self.ignores_conditions:
            headers = {name: value for name, value in headers.items() if not name.lower().startswith("if-")}
        return path, headers

    def translated(self) -> tuple[str, dict[str, str]]:
        """Path and headers as S3 has them."""
        return self.path, {name: value for name, value in self.headers.items() if name.lower() in PASSED_ON}


class _Google(_Front):
    def translated(self) -> tuple[str, dict[str, str]]:
        path, headers = super().translated()
        generation = self.headers.get(GENERATION_MATCH)
        if generation == "0":
            headers["If-None-Match"] = "*"
        elif generation is not None:
            headers["If-Match"] = f'"{int(generation):032x}"'
        return path, headers

    def answered(self, status: int, content: bytes, headers: dict[str, str]) -> Answer:
        if e_tag := headers.get("ETag", headers.get("Etag", "")).strip('"').partition("-")[0]:
            headers[GENERATION] = str(int(e_tag, 16))
        return status, content, headers


class _Azure(_Front):
    def do_POST(self) -> None:
        """A batch: objects to remove, each a request in a part of its own."""
        batch = self.rfile.read(int(self.headers["Content-Length"])).decode()
        parts = []
        for number, path in enumerate(re.findall(r"DELETE (\S+) HTTP", batch)):
            line = http.client.HTTPConnection(*self.behind, timeout=30)
            line.request("DELETE", path)
            line.getresponse().read()
            line.close()
            head = f"--b\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
            parts.append(f"{head}HTTP/1.1 202 Accepted\r\nx-ms-version: 2023-11-03\r\n\r\n")
        answer = "".join([*parts, "--b--\r\n"]).encode()
        self.send_response_only(http.HTTPStatus.ACCEPTED)
        self.send_header("Content-Type", "multipart/mixed; boundary=b")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def translated(self) -> tuple[str, dict[str, str]]:
        path, headers = super().translated()
        url = urlsplit(path)
        wanted = {name: values[0] for name, values in parse_qs(url.query).items()}
        if wanted.get("comp") != "list":
            return url.path, headers
        names = {"prefix": "prefix", "delimiter": "delimiter", "marker": "continuation-token"}
        asked = {name: wanted[azure] for azure, name in names.items() if azure in wanted}
        return f"{url.path}?{urlencode({'list-type': '2', **asked})}", headers

    def answered(self, status: int, content: bytes, headers: dict[str, str]) -> Answer:
        if status == http.HTTPStatus.PRECONDITION_FAILED and self.headers.get("If-None-Match") == "*":
            return http.HTTPStatus.CONFLICT, content, headers
        if self.command == "PUT" and status == http.HTTPStatus.OK:
            return http.HTTPStatus.CREATED, content, headers
        if "comp=list" in self.path and status == http.HTTPStatus.OK:
            return status, _azure_list(ElementTree.fromstring(content)), headers
        return status, content, headers


def _azure_list(listed: ElementTree.Element) -> bytes:
    parts = []
    for found in listed.iter(f"{S3}Contents"):
        told = {name: found.findtext(f"{S3}{name}", "") for name in ("Key", "Size", "ETag", "LastModified")}
        modified = datetime.fromisoformat(told["LastModified"].replace("Z", "+00:00")).astimezone(timezone.utc)
        parts.append(
            f"<Blob><Name>{escape(told['Key'])}</Name><Properties>"
            f"<Last-Modified>{format_datetime(modified, usegmt=True)}</Last-Modified>"
            f"<Etag>{escape(told['ETag'])}</Etag><Content-Length>{told['Size']}</Content-Length>"
            "<Content-Type>x/y</Content-Type></Properties></Blob>"
        )
    below = (found.findtext(f"{S3}Prefix", "") for found in listed.iter(f"{S3}CommonPrefixes"))
    parts += [f"<BlobPrefix><Name>{escape(prefix)}</Name></BlobPrefix>" for prefix in below]
    marker = escape(listed.findtext(f"{S3}NextContinuationToken", ""))
    return (
        f"<EnumerationResults><Blobs>{''.join(parts)}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    ).encode()


@contextmanager
def google_front(behind: str, *, ignores_conditions: bool = False) -> Iterator[dict[str, str]]:
    """Storage options of `gs://` for the S3 server at this URL, whose bucket for all it shows, until the block ends.

    Args:
        behind: URL of the S3 server.
        ignores_conditions: as a store without conditional PUT does.
    """
    with passing_on(_Google, behind, ignores_conditions=ignores_conditions) as url:
        nobody = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        account = {"gcs_base_url": url, "disable_oauth": True, **nobody}
        yield {"google_service_account_key": json.dumps(account), "allow_http": "true"}


@contextmanager
def azure_front(behind: str, *, ignores_conditions: bool = False) -> Iterator[dict[str, str]]:
    """As `google_front`, of `az://`."""
    with passing_on(_Azure, behind, ignores_conditions=ignores_conditions) as url:
        yield {
            "azure_storage_account_name": "made-up",
            "azure_endpoint": url,
            "azure_skip_signature": "true",
            "allow_http": "true",
        }


FRONTS = {"gs": google_front, "az": azure_front}
"""By scheme."""
