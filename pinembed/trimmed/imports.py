"""The one place where transformers is imported, so that a missing extra becomes a sentence."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from pinembed.errors import InstallationError, MissingExtraError


def import_transformers(feature: str) -> ModuleType:
    """Transformers, or a sentence that says how to get it.

    Args:
        feature: what the user asked for, as the start of a sentence.

    Raises:
        MissingExtraError: the extra `vlm` is not installed.
        InstallationError: it is installed and does not load, or is too old to know Qwen3-VL.
    """
    if importlib.util.find_spec("transformers") is None:
        raise MissingExtraError(feature, extra="vlm", package="transformers")
    try:
        transformers = importlib.import_module("transformers")
        getattr(transformers, "Qwen3VLForConditionalGeneration")  # noqa: B009  (loads the lazy module here)
    except (ImportError, RuntimeError, AttributeError) as error:
        raise InstallationError(
            f"transformers does not load with Qwen3-VL: {str(error).splitlines()[0]}",
            remedy='Run `pinembed doctor`, then: pip install --upgrade "pinembed[vlm]"',
        ) from error
    return transformers


@contextmanager
def without_bars(transformers: ModuleType) -> Iterator[None]:
    """Loading and saving without transformers' own bars and advice: pinembed shows its own progress."""
    logging = transformers.utils.logging
    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
