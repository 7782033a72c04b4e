"""A proxy before an S3 server that hands a manifest on and then loses, or spoils, the answer."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

DROP = 0


class FaultyProxy:
    """What the proxy does to the answers of commits.

    Attributes:
        endpoint: its URL.
        faults: of the next PUTs of a manifest, in this order: a status to answer with in place of the server's, or DROP
            to close the connection.
        done: faults that came to pass.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.faults: list[int] = []
        self.done: list[int] = []


@contextmanager
def faulty_proxy(behind: str) -> Iterator[FaultyProxy]:
    """A proxy before the server at this URL, until the block ends."""
    proxy, server = FaultyProxy(), urlsplit(behind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None: ...

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            line = http.client.HTTPConnection(server.hostname or "", server.port, timeout=30)
            line.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                line.putheader(name, value)
            line.endheaders(body)
            answer = line.getresponse()
            content = answer.read()
            is_commit = self.command == "PUT" and "/_versions/" in self.path and answer.status == 200
            fault = proxy.faults.pop(0) if is_commit and proxy.faults else None
            if fault is not None:
                proxy.done.append(fault)
            if fault == DROP:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response_only(fault or answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(content)
            line.close()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        proxy.endpoint = f"http://127.0.0.1:{made.server_address[1]}"
        yield proxy
        made.shutdown()
