"""An S3 server as Google Cloud Storage would speak: its XML API is S3's, but for how a PUT names what it replaces.

`x-goog-if-generation-match` becomes If-None-Match or If-Match, and the answer's ETag, as a number, the generation.
Source: https://cloud.google.com/storage/docs/xml-api/reference-headers
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

GENERATION_MATCH, GENERATION = "x-goog-if-generation-match", "x-goog-generation"
OF_THE_LINE = {"content-length", "transfer-encoding", "connection"}


@contextmanager
def google_front(behind: str, *, ignores_conditions: bool = False) -> Iterator[dict[str, str]]:
    """Storage options of `gs://` for the S3 server at this URL, whose bucket for all it shows, until the block ends.

    Args:
        behind: URL of the S3 server.
        ignores_conditions: as a store without conditional PUT does.
    """
    server = urlsplit(behind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None: ...

        def _pass_on(self) -> None:
            line = http.client.HTTPConnection(server.hostname or "", server.port, timeout=30)
            line.putrequest(self.command, self.path, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() == GENERATION_MATCH and not ignores_conditions:
                    line.putheader(*_condition(value))
                elif name.lower() not in {"host", "authorization"} and not name.lower().startswith("x-goog-"):
                    line.putheader(name, value)
            line.endheaders(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            answer = line.getresponse()
            content = answer.read()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in OF_THE_LINE:
                    self.send_header(name, value)
            if e_tag := answer.getheader("ETag"):
                self.send_header(GENERATION, str(int(e_tag.strip('"').partition("-")[0], 16)))
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(content)
            line.close()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        account = {
            "gcs_base_url": f"http://127.0.0.1:{made.server_address[1]}",
            "disable_oauth": True,
            **dict.fromkeys(("client_email", "private_key", "private_key_id"), ""),
        }
        yield {"google_service_account_key": json.dumps(account), "allow_http": "true"}
        made.shutdown()


def _condition(generation: str) -> tuple[str, str]:
    return ("If-None-Match", "*") if generation == "0" else ("If-Match", f'"{int(generation):032x}"')
