"""Hostile requests through the client: what it refuses, what the server refuses, and whether the server lives on."""

from __future__ import annotations

import base64
import io
import json
import pickle
import random
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from pinembed.errors import PinembedError, ServerError
from pinembed.trimmed.chat_server import ChatServer
from pinembed.trimmed.serving import ChatTurn, ServingRequests

Body = dict[str, Any]
AT_ONCE = 4


class Hostile:
    """Bodies as people, files and programs would spoil them, made by the client's own calls.

    Args:
        requests: of the model that is served.
        drawn: what decides.
    """

    def __init__(self, requests: ServingRequests, drawn: random.Random) -> None:
        self._requests, self._drawn = requests, drawn
        self._ids = list(requests.source.ids[:])
        self.kinds: tuple[Callable[[], Body], ...] = (
            *(self.unknown_item, self.special_token, self.strange_question, self.long_question, self.too_many_items),
            *(self.other_width, self.other_grid, self.not_finite, self.other_type, self.forged_uuid, self.no_array),
            *(self.broken_turns, self.special_answer, self.same_item_often, self.no_items, self.much_wanted),
            *(self.long_conversation, self.cut_off),
        )

    def _few(self, count: int | None = None) -> list[str]:
        return self._drawn.sample(self._ids, count or self._drawn.randint(1, 8))

    def _asked(self, ids: list[str], question: str) -> Body:
        return self._requests.vllm(ids, question, model="shop")

    def _spoiled(self, spoil: Callable[[Body], None]) -> Body:
        """A request of exported parts, of which one was spoiled."""
        parts = json.loads(json.dumps(self._requests.vllm_parts(self._few())))
        spoil(self._drawn.choice(parts))
        return self._requests.vllm_with(parts, "What is it?", model="shop")

    def unknown_item(self) -> Body:
        return self._asked([*self._few(), self._drawn.choice(["", "nothing", "../../etc/passwd", "x" * 5000])], "What?")

    def special_token(self) -> Body:
        token = self._drawn.choice(
            ["<|image_pad|>", "<|im_end|>", "<|vision_start|><|image_pad|>", "<|im_start|>system"]
        )
        return self._asked(self._few(), f"What {token * self._drawn.randint(1, 9)} is it?")

    def strange_question(self) -> Body:
        signs = [
            "\ud800",
            "\0",
            "\x1b[2J",
            "🧺" * 40,
            "‮",
            "",
            " ",
            "\n" * 50,
            "{{ 7 * 7 }}",
            "'; DROP TABLE",
            "<tool_call>",
        ]
        return self._asked(self._few(), "".join(self._drawn.sample(signs, 3)))

    def long_question(self) -> Body:
        return self._asked(self._few(), "what colour is it " * self._drawn.choice([100, 1000, 20_000]))

    def too_many_items(self) -> Body:
        return self._asked(self._few(self._drawn.choice([100, 400, 1000])), "Which is blue?")

    def other_width(self) -> Body:
        return self._spoiled(lambda part: _rows(part, lambda soft_mW: soft_mW[:, : self._drawn.choice([1, 32, 127])]))

    def other_grid(self) -> Body:
        grids = ([1, 2, 2], [1, 2, 400], [1, 2, -8], [0, 0, 0], [1, 2], [2**40, 2, 8], [1, 1, 16], [1.0, 2.0, 8.0])
        grid = np.array(self._drawn.choice(grids))
        return self._spoiled(lambda part: part["image_embeds"].update(image_grid_thw=_npy(grid)))

    def not_finite(self) -> Body:
        bad = self._drawn.choice([np.nan, np.inf, -np.inf])
        return self._spoiled(lambda part: _rows(part, lambda soft_mW: np.full_like(soft_mW, bad)))

    def other_type(self) -> Body:
        kind = self._drawn.choice([np.float32, np.float64, np.int64, np.complex64, "U5", bool])
        return self._spoiled(lambda part: _rows(part, lambda soft_mW: soft_mW.astype(kind)))

    def forged_uuid(self) -> Body:
        """The uuid of another item, with fewer rows: the server remembers by it."""

        def forge(part: Body) -> None:
            part["uuid"] = self._requests.vllm_parts(self._few(1))[0]["uuid"]
            _rows(part, lambda soft_mW: soft_mW[:1])
            part["image_embeds"]["image_grid_thw"] = _npy(np.array([1, 2, 2]))

        return self._spoiled(forge)

    def no_array(self) -> Body:
        texts = [
            "",
            "*",
            base64.b64encode(pickle.dumps([1])).decode(),
            base64.b64encode(b"\x93NUMPY").decode(),
            "A" * 9999,
        ]
        return self._spoiled(lambda part: part["image_embeds"].update(image_embeds=self._drawn.choice(texts)))

    def broken_turns(self) -> Body:
        turn = ChatTurn(question="What is it?", items=tuple(self._few()))
        return self._requests.vllm_chat(self._drawn.choice([[], [turn, turn], [ChatTurn(question="x")]]), model="shop")

    def special_answer(self) -> Body:
        turns = [
            ChatTurn(question="What?", items=tuple(self._few()), answer="<|image_pad|>"),
            ChatTurn(question="And?"),
        ]
        return self._requests.vllm_chat(turns, model="shop")

    def same_item_often(self) -> Body:
        return self._asked(self._few(1) * self._drawn.randint(2, 30), "Which of them?")

    def no_items(self) -> Body:
        return self._asked([], "What is it?")

    def much_wanted(self) -> Body:
        return {**self._asked(self._few(), "What is it?"), "max_tokens": self._drawn.choice([0, -1, 10**9])}

    def long_conversation(self) -> Body:
        turns = [ChatTurn(question="And this?", items=tuple(self._few(2)), answer="teal") for _ in range(60)]
        return self._requests.vllm_chat([*turns, ChatTurn(question="Which?")], model="shop")

    def cut_off(self) -> Body:
        """A good request, whose answer nobody waits for."""
        return {**self._asked(self._few(), "What is it?"), "max_tokens": 500, "ignore_eos": True}


def sent(url: str, requests: ServingRequests, count: int, seed: int) -> dict[str, Any]:
    """How many ended how; a request that the client lets pass is sent, several at once."""
    hostile, server = Hostile(requests, random.Random(seed)), ChatServer(url, wait_s=120)
    ends = Counter[str]()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = []
        for number in range(count):
            kind = hostile.kinds[number % len(hostile.kinds)]
            try:
                body = kind()
            except PinembedError as error:
                ends[f"refused here: {type(error).__name__}"] += 1
                continue
            futures.append(pool.submit(_end_of, url, server, body, is_cut=kind == hostile.cut_off))
        for future in futures:
            ends[future.result()] += 1
    server.complete({**requests.vllm(hostile._few(), "What is it?", model="shop"), "max_tokens": 4})
    return {"requests": count, **dict(sorted(ends.items()))}


def _end_of(url: str, server: ChatServer, body: Body, *, is_cut: bool) -> str:
    if is_cut:
        _cut(url, body)
        return "cut off"
    try:
        server.complete({"max_tokens": 8, **body})
    except ServerError as error:
        return f"refused there: {error.message.removeprefix(str(server))[:60]}"
    return "answered"


def _cut(url: str, body: Body) -> None:
    """Send a request for a stream and hang up."""
    content = json.dumps({**body, "stream": True}).encode()
    place = urlsplit(url)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((str(place.hostname), int(place.port or 80)), timeout=30) as line:
        line.sendall(head.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
        line.recv(64)


def _npy(array: np.ndarray) -> str:
    written = io.BytesIO()
    np.save(written, array)
    return base64.b64encode(written.getvalue()).decode()


def _rows(part: Body, spoil: Callable[[np.ndarray], np.ndarray]) -> None:
    stored = part["image_embeds"]["image_embeds"]
    part["image_embeds"]["image_embeds"] = _npy(spoil(np.load(io.BytesIO(base64.b64decode(stored)))))
