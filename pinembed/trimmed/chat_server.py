"""ChatServer: a server that speaks OpenAI's chat protocol, asked over HTTP; answers come in pieces."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from pinembed.errors import ServerError, UsageError

KEY = "PINEMBED_SERVER_KEY"
"""Environment variable of the key that a server may ask for; a command line would show it to everybody."""
FLAGS = '--enable-mm-embeds --limit-mm-per-prompt \'{"image": 0, "video": 0}\''
MOST_LINE_BYTES, MOST_ANSWER_CHARACTERS, MOST_TOLD = 1 << 20, 100_000, 300
BROKEN = (OSError, HTTPException)  # what a connection raises that ends early


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the key and the items are for the server that was named."""

    def redirect_request(self, *_: Any) -> None:
        return None


OPENER = urllib.request.build_opener(_Stays)


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A model of a server.

    Attributes:
        name: under which it is asked.
        root: where the server took it from, as the server says; empty where it does not.
    """

    name: str
    root: str


def checked_url(url: str) -> str:
    """The root of a server's routes, .../v1.

    Raises:
        UsageError: no http address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise UsageError(
            f"--server {url.rpartition('@')[2]} is no address of a server.",
            remedy=f"For example: http://localhost:8000; a key comes out of {KEY}.",
        )
    return url.rstrip("/").removesuffix("/v1") + "/v1"


class ChatServer:
    """Asks one server; a connection a request, so that nothing is left behind by one that failed.

    Args:
        url: with or without /v1.
        wait_s: how long it may say nothing.

    Raises:
        UsageError: no http address.
    """

    def __init__(self, url: str, *, wait_s: float) -> None:
        self._root, self._wait_s = checked_url(url), wait_s

    def __str__(self) -> str:
        return self._root.removesuffix("/v1")

    def models(self) -> list[Served]:
        """What it serves.

        Raises:
            ServerError: it is not there, or speaks another language.
        """
        with self._open("/models", None) as response:
            try:
                found = json.loads(response.read(MOST_LINE_BYTES))["data"]
                return [Served(name=str(one["id"]), root=str(one.get("root") or "")) for one in found]
            except BROKEN as error:
                raise self._away(error) from error
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise self._no_chat_server() from error

    def complete(self, body: Mapping[str, Any], on_text: Callable[[str], None] | None = None) -> str:
        """The answer to a chat request.

        Args:
            body: of a POST to /v1/chat/completions.
            on_text: called with each piece as it comes.

        Raises:
            ServerError: it is not there, refuses the request, says nothing for too long, or breaks off.
        """
        pieces, characters = list[str](), 0
        with self._open("/chat/completions", {**body, "stream": True}) as response:
            for piece in self._pieces(response):
                pieces.append(piece)
                if on_text is not None:
                    on_text(piece)
                characters += len(piece)
                if characters > MOST_ANSWER_CHARACTERS:
                    raise ServerError(
                        f"The answer of {self} does not end; {MOST_ANSWER_CHARACTERS:,} characters came.",
                        remedy="Give a smaller --max-new-tokens, and look into the server's log.",
                    )
        return "".join(pieces)

    def _pieces(self, response: HTTPResponse) -> Iterator[str]:
        """The texts of the events; the stream has to say itself that it is over."""
        is_over = False
        for event in self._events(response):
            if event == "[DONE]":
                return
            piece, ends = self._piece(event)
            is_over |= ends
            if piece:
                yield piece
        if not is_over:
            raise ServerError(
                f"{self} broke off within an answer.",
                remedy="Look into the server's log whether it still runs; ask again.",
            )

    def _events(self, response: HTTPResponse) -> Iterator[str]:
        while True:
            try:
                line = response.readline(MOST_LINE_BYTES)
            except BROKEN as error:
                raise self._away(error) from error
            if not line:
                return
            text = line.decode("utf-8", "replace").strip()
            if text.startswith("data:"):
                yield text.removeprefix("data:").strip()

    def _piece(self, event: str) -> tuple[str, bool]:
        """The text of an event, and whether it is the last of the answer."""
        try:
            stored = json.loads(event)
            if "error" in stored:
                raise self._refused(500, _told(stored))
            choices = stored["choices"]
            if not choices:  # an event of counts
                return "", False
            return choices[0]["delta"].get("content") or "", choices[0].get("finish_reason") is not None
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._no_chat_server() from error

    def _open(self, route: str, body: Mapping[str, Any] | None) -> HTTPResponse:
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + route, content, headers)
        try:
            response: HTTPResponse = OPENER.open(request, timeout=self._wait_s)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error.code, _told(_body(error))) from error
        except BROKEN as error:
            raise self._away(error) from error
        return response

    def _away(self, error: BaseException) -> ServerError:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return ServerError(
                f"{self} said nothing for {self._wait_s:g} s.",
                remedy="Ask again when it is less busy, or give it more time with --wait-s.",
            )
        return ServerError(
            f"There is no answer from {self}: {printable(str(reason)) or type(reason).__name__}.",
            remedy=f"Start it, for example: vllm serve MODEL {FLAGS}; or mend --server.",
        )

    def _no_chat_server(self) -> ServerError:
        return ServerError(
            f"What {self} answers is not OpenAI's chat protocol.", remedy="Give the address of a server that speaks it."
        )

    def _refused(self, status: int, told: str) -> ServerError:
        """What an error of the server means for who asked."""
        if status in (401, 403):
            return ServerError(f"{self} wants a key ({status}).", remedy=f"Set {KEY} to the key of the server.")
        if status == 404:
            return ServerError(
                f"{self} knows no such model or route: {told or status}.",
                remedy="Give --served-name the name that the server gives its model, or mend --server.",
            )
        if "mm-embeds" in told or "mm_embeds" in told or "image_embeds" in told:
            return ServerError(
                f"{self} takes no stored embeddings: {told}", remedy=f"Start it with {FLAGS}; see docs/serving.md."
            )
        if status < 500:
            return ServerError(f"{self} refused the request ({status}): {told}", remedy="Ask less at once.")
        return ServerError(f"{self} failed ({status}): {told}", remedy="Look into the server's log; ask again.")


def _body(error: urllib.error.HTTPError) -> Any:
    """The JSON of an error's page; its text where it is none."""
    try:
        text = error.read(MOST_LINE_BYTES).decode("utf-8", "replace")
        return json.loads(text)
    except BROKEN:
        return ""
    except ValueError:
        return text


def _told(stored: Any) -> str:
    """The message of an error, in one line; vLLM's and OpenAI's are {"error": {"message"}}, SGLang's {"message"}."""
    inner = stored.get("error", stored) if isinstance(stored, dict) else stored
    message = inner.get("message", inner) if isinstance(inner, dict) else inner
    return printable(str(message))


def printable(text: str) -> str:
    """What a server says as one short line that a terminal can show."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:MOST_TOLD]
