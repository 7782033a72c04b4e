"""Embedding precomputation: fine-tune a CLIP encoder, encode a catalogue, feed a Qwen3-VL without vision tower.

The names below load their modules on first use, so that `import pinembed` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pinembed.version import __version__

if TYPE_CHECKING:
    from pinembed.encoder.encoder import Encoder as Encoder
    from pinembed.encoder.encoder import load_encoder as load_encoder
    from pinembed.errors import PinembedError as PinembedError
    from pinembed.jobs.evaluate import evaluate as evaluate
    from pinembed.jobs.finetune import finetune as finetune
    from pinembed.source.embedding_source import EmbeddingSource as EmbeddingSource
    from pinembed.table.embedding_table import EmbeddingTable as EmbeddingTable
    from pinembed.trimmed.model import TrimmedModel as TrimmedModel
    from pinembed.trimmed.serving import ServingRequests as ServingRequests

_HOMES = {
    "EmbeddingSource": "pinembed.source.embedding_source",
    "EmbeddingTable": "pinembed.table.embedding_table",
    "Encoder": "pinembed.encoder.encoder",
    "load_encoder": "pinembed.encoder.encoder",
    "PinembedError": "pinembed.errors",
    "evaluate": "pinembed.jobs.evaluate",
    "finetune": "pinembed.jobs.finetune",
    "ServingRequests": "pinembed.trimmed.serving",
    "TrimmedModel": "pinembed.trimmed.model",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pinembed' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
