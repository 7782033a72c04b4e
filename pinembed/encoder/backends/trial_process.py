"""Starting a trial process, and listening to it until it has said everything, has crashed, or is asked to stop."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection

from pinembed.encoder.backends.trial import ConvertedTrial, Refused, Trial, TrialAnswer
from pinembed.nouns.stop import Stop

TRIAL = "pinembed.encoder.backends.trial_worker"
_POLL_S = 0.1


def answers_of(trial: Trial, stop: Stop | None = None) -> Iterator[TrialAnswer]:
    """What a process of its own answers; the process is gone when this ends, however it ends.

    A crash comes as a Refused of what was tried. Asked to stop, it ends without a word.
    """
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as words, Connection(ours.detach()) as line:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", TRIAL, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
            )
        try:
            line.send(trial)
            while stop is None or not stop.requested:
                if line.poll(_POLL_S):
                    yield line.recv()
        except (EOFError, OSError):  # it has ended, one way or the other
            if process.wait():
                words.seek(0)
                name = trial.name if isinstance(trial, ConvertedTrial) else ""
                yield _crash(name, process.returncode, words.read().decode(errors="replace"))
        finally:
            process.kill()
            process.wait()


def _crash(name: str, code: int, words: str) -> Refused:
    ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    last = next((line.strip() for line in reversed(words.splitlines()) if line.strip()), "")
    return Refused(
        name=name,
        message=f"The process that measures the backends ended with {ending}{': ' + last if last else ''}.",
        remedy="Use --backend torch; where memory is short, --batch-size 8 needs less.",
    )
