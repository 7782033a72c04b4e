"""Hooks: the user's commands, told of a run as JSON on standard input; what they do wrong stops no run."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping
from typing import Any

from pinembed.nouns.progress import Progress

LIMIT_S = 60.0


def call_hook(command: str | None, event: str, told: Mapping[str, Any], progress: Progress) -> None:
    """Run a hook and wait for it.

    Args:
        command: split as a shell would, but run without one; None where there is no such hook.
        event: `start`, `done`, `kept` or `failed`.
        told: what else the JSON object holds.
        progress: hears of a hook that fails.
    """
    if command is None:
        return
    text = json.dumps({"event": event, **told}, default=str) + "\n"
    try:
        ended = subprocess.run(
            shlex.split(command), input=text, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        progress.say(f"The hook {event} could not run: {error}")
        return
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no words on standard error"])[-1]
        progress.say(f"The hook {event} ended with exit code {ended.returncode}: {last}")
