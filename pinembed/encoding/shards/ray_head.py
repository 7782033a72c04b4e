"""Head: whether the head of a Ray cluster is there, by what its port answers."""

from __future__ import annotations

import socket
import time

from pinembed.errors import EngineError

CONNECT_S = 10.0
ASK_HEAD_S = 5.0
MOST_MISSED = 3
ASK_AGAIN_S = 1.0


class Head:
    """Whether the head of the cluster is there, by what its port answers.

    A driver whose head has died may wait for its workers for ever, or be ended by Ray without a word.

    Args:
        address: HOST:PORT; empty for one that cannot be asked.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._asked_s = time.monotonic()
        self._missed = 0

    def check(self) -> None:
        """Ask from time to time.

        Raises:
            EngineError: it has not answered several times in a row.
        """
        if time.monotonic() - self._asked_s >= ASK_HEAD_S:
            self._ask()

    def require(self) -> None:
        """Ask now, and again until it answers, before something that would wait for it for ever.

        Raises:
            EngineError: as for check.
        """
        self._ask()
        while self._missed:
            time.sleep(ASK_AGAIN_S)
            self._ask()

    def _ask(self) -> None:
        self._asked_s = time.monotonic()
        try:
            refuse_nobody(self._address)
        except EngineError as error:
            self._missed += 1
            if self._missed >= MOST_MISSED:
                raise EngineError(
                    f"The head of the Ray cluster at {self._address} is gone.",
                    remedy="Start it again, and run the same command again; what was committed is whole.",
                ) from error
        else:
            self._missed = 0


def refuse_nobody(address: str) -> None:
    """Tell at once where nobody answers at HOST:PORT; Ray itself would try for minutes.

    Raises:
        EngineError: so it is.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "://" in address:
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise no_cluster(address, str(error)) from error


def no_cluster(address: str, reason: str) -> EngineError:
    return EngineError(
        f"There is no Ray cluster at {address}: {reason}",
        remedy="Start one with `ray start --head`, give its --address, and the token of a cluster that wants one.",
    )
