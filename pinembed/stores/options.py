"""What is said of object stores beside their addresses: `--storage-option KEY=VALUE`, with Lance's keys.

What is not said there, the stores take from the usual environment: AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT and
the like. What is said holds for the whole process, for images, tables and folders alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from pinembed.errors import UsageError

ENDPOINTS = ("aws_endpoint", "aws_endpoint_url", "aws_endpoint_url_s3", "endpoint", "endpoint_url")
ALLOW_HTTP = "allow_http"
_said: dict[str, str] = {}


def parse_storage_options(written: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping, keys in small letters.

    Raises:
        UsageError: a text without a key or `=`, or a key with two values.
    """
    options: dict[str, str] = {}
    for text in written:
        key, equals, value = text.partition("=")
        key = key.strip().lower()
        if not (key and equals):
            raise UsageError(
                f"--storage-option {key or text!r} says nothing; wanted KEY=VALUE.",
                remedy="For example: --storage-option aws_region=eu-central-1",
            )
        if options.setdefault(key, value) != value:
            raise UsageError(f"--storage-option {key} is given twice, with two values.", remedy="Give it once.")
    return options


def use_storage_options(options: Mapping[str, str]) -> None:
    """Say what holds from here on; what was said before is forgotten."""
    _said.clear()
    _said.update({key.lower(): value for key, value in options.items()})


def storage_options() -> dict[str, str]:
    """What was said, for Lance's `storage_options`, and for a process elsewhere that is to say the same.

    An endpoint that begins with http:// says by itself that plain HTTP is meant.
    """
    options = dict(_said)
    endpoint = next(filter(None, (_said.get(key) or os.environ.get(key.upper()) for key in ENDPOINTS)), "")
    if endpoint.lower().startswith("http://"):
        options.setdefault(ALLOW_HTTP, "true")
    return options
