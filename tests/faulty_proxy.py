"""A proxy before an S3 server that hands a manifest on and then loses, or spoils, the answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.passing_on import Answer, PassingOn, passing_on

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


class _Faulty(PassingOn):
    proxy: FaultyProxy

    def answered(self, status: int, content: bytes, headers: dict[str, str]) -> Answer | None:
        is_commit = self.command == "PUT" and "/_versions/" in self.path and status == 200
        if not (is_commit and self.proxy.faults):
            return status, content, headers
        fault = self.proxy.faults.pop(0)
        self.proxy.done.append(fault)
        return None if fault == DROP else (fault, content, headers)


@contextmanager
def faulty_proxy(behind: str) -> Iterator[FaultyProxy]:
    """A proxy before the server at this URL, until the block ends."""
    proxy = FaultyProxy()
    with passing_on(_Faulty, behind, proxy=proxy) as proxy.endpoint:
        yield proxy
