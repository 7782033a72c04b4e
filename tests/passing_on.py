"""A server before an S3 server that passes on what it is asked, so that tests can change requests and answers."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

OF_THE_LINE = {"content-length", "transfer-encoding", "connection"}
Answer = tuple[int, bytes, dict[str, str]]
"""Status, content and headers."""


class PassingOn(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    behind = ("", 0)

    def log_message(self, *args: object) -> None: ...

    def _pass_on(self) -> None:
        line = http.client.HTTPConnection(*self.behind, timeout=30)
        path, headers = self.asked()
        has_host = any(name.lower() == "host" for name in headers)
        line.putrequest(self.command, path, skip_host=has_host, skip_accept_encoding=True)
        for name, value in headers.items():
            line.putheader(name, value)
        line.endheaders(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        answer = line.getresponse()
        told = self.answered(answer.status, answer.read(), dict(answer.getheaders()))
        line.close()
        if told is None:
            self.close_connection = True
            self.connection.close()
            return
        status, content, more = told
        self.send_response_only(status)
        for name, value in more.items():
            if name.lower() not in OF_THE_LINE:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(content)

    def asked(self) -> tuple[str, dict[str, str]]:
        """Path and headers for the S3 server."""
        return self.path, dict(self.headers.items())

    def answered(self, status: int, content: bytes, headers: dict[str, str]) -> Answer | None:
        """Its answer as the client gets it; None to break the connection off."""
        return status, content, headers

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on


@contextmanager
def passing_on(kind: type[PassingOn], behind: str, **own: Any) -> Iterator[str]:
    """The URL of such a server before the one at this URL, until the block ends.

    Args:
        kind: what it does.
        behind: URL of the S3 server.
        own: attributes of this one.
    """
    server = urlsplit(behind)
    known = {"behind": (server.hostname, server.port), **own}
    with ThreadingHTTPServer(("127.0.0.1", 0), type(kind.__name__, (kind,), known)) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
