"""A checkpoint that the user names on the Hugging Face hub; nothing else in this package uses the network."""

from __future__ import annotations

from pathlib import Path

from pinembed.errors import ModelError

PREFIX = "hf-hub:"
WANTED_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.md", "*.model", "LICENSE*", "NOTICE*")


def locate_checkpoint(reference: str) -> Path:
    """A folder as it is, or the local copy of `hf-hub:OWNER/REPO`, fetched where it is not in the cache.

    Raises:
        ModelError: the hub copy is not in the cache and cannot be fetched.
    """
    if not reference.startswith(PREFIX):
        return Path(reference)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(reference.removeprefix(PREFIX), allow_patterns=list(WANTED_FILES)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelError(
            f"{reference} is not in the local cache and cannot be fetched: {str(error).strip().splitlines()[0]}",
            remedy="Bring the checkpoint's folder by hand and give its path.",
        ) from error
