"""The one place where open_clip is imported, so that a mismatched torchvision becomes a sentence."""

from __future__ import annotations

import importlib
from types import ModuleType

from pinembed.errors import InstallationError


def import_open_clip() -> ModuleType:
    """open_clip, or a sentence that says why it does not load.

    Raises:
        InstallationError: torch and torchvision are not a pair, or a package is missing.
    """
    try:
        return importlib.import_module("open_clip")
    except (ImportError, RuntimeError, AttributeError) as error:
        raise InstallationError(
            f"open_clip does not load: {error}",
            remedy="torch and torchvision must be one pair, e.g. torch==2.15.0 with torchvision==0.29.2; "
            "run `pinembed doctor`, then install both in one pip command.",
        ) from error
