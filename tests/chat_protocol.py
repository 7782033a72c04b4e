"""A small server of OpenAI's chat protocol in this process, which answers as it is told and keeps what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DONE = "data: [DONE]\n\n"


def event(text: str | None, *, ends: bool = False) -> str:
    """A piece of an answer as vLLM streams it."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop" if ends else None}
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"


def answer(*pieces: str) -> tuple[str, ...]:
    """A whole streamed answer: the role first, then the pieces, counts, and the end."""
    return (event(""), *map(event, pieces), event(None, ends=True), 'data: {"choices": [], "usage": {}}\n\n', DONE)


@dataclass
class Behaviour:
    """What the server does; it can be changed between requests.

    Attributes:
        models: of /v1/models, or the text that stands there.
        status: of an answer; above 299 its body is `error`.
        events: of the answers to come, the last one again and again.
        slow_s: between the headers of an answer and its first event.
        key: that a request has to bring.
        asked: bodies of the chat requests.
        keys: that the requests brought.
    """

    models: Any = field(default_factory=lambda: [{"id": "shop", "object": "model", "root": "/somewhere"}])
    status: int = 200
    error: Any = ""
    events: list[tuple[str, ...]] = field(default_factory=lambda: [answer("teal")])
    slow_s: float = 0.0
    key: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self) -> None:
        models = self.behaviour.models
        if self._is_refused():
            return
        if self.path != "/v1/models":
            self._send(404, {"error": {"message": "Not Found"}})
        elif isinstance(models, str):
            self._send(200, models)
        else:
            self._send(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._is_refused():
            return
        self.behaviour.asked.append(body)
        if self.behaviour.status > 299:
            self._send(self.behaviour.status, self.behaviour.error)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        time.sleep(self.behaviour.slow_s)
        events = self.behaviour.events
        for one in events.pop(0) if len(events) > 1 else events[0]:
            self.wfile.write(one.encode())
            self.wfile.flush()

    def _is_refused(self) -> bool:
        given = self.headers.get("Authorization")
        self.behaviour.keys.append(given)
        if not self.behaviour.key or given == f"Bearer {self.behaviour.key}":
            return False
        self._send(401, {"error": "Unauthorized"})
        return True

    def _send(self, status: int, body: Any) -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "http://127.0.0.1:9/v1/models")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


class _Quiet(ThreadingHTTPServer):
    """Says nothing of clients that hang up."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        pass


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """The address of a server of this behaviour."""
    handler = type("Handler", (_Handler,), {"behaviour": behaviour})
    server = _Quiet(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
