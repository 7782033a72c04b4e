"""Embedding precomputation: fine-tune a CLIP encoder, encode a catalogue, feed a Qwen3-VL without vision tower.

Each command is a function of its settings: `pinembed.encode(pinembed.EncodeSettings(images=..., table=..., ...))`.
The names below load their modules on first use, so that `import pinembed` costs nothing.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pinembed.version import __version__

if TYPE_CHECKING:
    from pinembed.assistant.says import Say as Say
    from pinembed.encoder.encoder import Encoder as Encoder
    from pinembed.encoder.encoder import load_encoder as load_encoder
    from pinembed.errors import PinembedError as PinembedError
    from pinembed.jobs.align import align as align
    from pinembed.jobs.appeal import appeal as appeal
    from pinembed.jobs.ask import ask as ask
    from pinembed.jobs.audit import audit as audit
    from pinembed.jobs.chat import chat as chat
    from pinembed.jobs.encode import encode as encode
    from pinembed.jobs.evaluate import evaluate as evaluate
    from pinembed.jobs.evaluate_chat import evaluate_chat as evaluate_chat
    from pinembed.jobs.export import export as export
    from pinembed.jobs.finetune import finetune as finetune
    from pinembed.jobs.fuse import fuse as fuse
    from pinembed.jobs.generations import generations as generations
    from pinembed.jobs.inspect import inspect as inspect
    from pinembed.jobs.mcp import mcp as mcp
    from pinembed.jobs.refresh import refresh as refresh
    from pinembed.jobs.report import report as report
    from pinembed.jobs.rollback import rollback as rollback
    from pinembed.jobs.sandbox import sandbox as sandbox
    from pinembed.jobs.search import search as search
    from pinembed.jobs.switch import switch as switch
    from pinembed.jobs.taste_evaluate import taste_evaluate as taste_evaluate
    from pinembed.jobs.taste_explain import taste_explain as taste_explain
    from pinembed.jobs.taste_forget import taste_forget as taste_forget
    from pinembed.jobs.taste_inspect import taste_inspect as taste_inspect
    from pinembed.jobs.taste_recommend import taste_recommend as taste_recommend
    from pinembed.jobs.taste_similar import taste_similar as taste_similar
    from pinembed.jobs.taste_update import taste_update as taste_update
    from pinembed.jobs.trim import trim as trim
    from pinembed.jobs.verify import verify as verify
    from pinembed.settings.assistant import ChatSettings as ChatSettings
    from pinembed.settings.assistant import EvaluateChatSettings as EvaluateChatSettings
    from pinembed.settings.assistant import McpSettings as McpSettings
    from pinembed.settings.encoding import EncodeSettings as EncodeSettings
    from pinembed.settings.encoding import InspectSettings as InspectSettings
    from pinembed.settings.encoding import SearchSettings as SearchSettings
    from pinembed.settings.home import GenerationsSettings as GenerationsSettings
    from pinembed.settings.home import RefreshSettings as RefreshSettings
    from pinembed.settings.home import ReportSettings as ReportSettings
    from pinembed.settings.home import RollbackSettings as RollbackSettings
    from pinembed.settings.home import SandboxSettings as SandboxSettings
    from pinembed.settings.home import SwitchSettings as SwitchSettings
    from pinembed.settings.model import AlignSettings as AlignSettings
    from pinembed.settings.model import AskSettings as AskSettings
    from pinembed.settings.model import TrimSettings as TrimSettings
    from pinembed.settings.quality import AppealSettings as AppealSettings
    from pinembed.settings.quality import AuditSettings as AuditSettings
    from pinembed.settings.source import ExportSettings as ExportSettings
    from pinembed.settings.source import VerifySettings as VerifySettings
    from pinembed.settings.taste import TasteEvaluateSettings as TasteEvaluateSettings
    from pinembed.settings.taste import TasteExplainSettings as TasteExplainSettings
    from pinembed.settings.taste import TasteForgetSettings as TasteForgetSettings
    from pinembed.settings.taste import TasteInspectSettings as TasteInspectSettings
    from pinembed.settings.taste import TasteRecommendSettings as TasteRecommendSettings
    from pinembed.settings.taste import TasteSimilarSettings as TasteSimilarSettings
    from pinembed.settings.taste import TasteUpdateSettings as TasteUpdateSettings
    from pinembed.settings.training import EvaluateSettings as EvaluateSettings
    from pinembed.settings.training import FinetuneSettings as FinetuneSettings
    from pinembed.settings.training import FuseSettings as FuseSettings
    from pinembed.source.embedding_source import EmbeddingSource as EmbeddingSource
    from pinembed.stores.options import use_storage_options as use_storage_options
    from pinembed.table.embedding_table import EmbeddingTable as EmbeddingTable
    from pinembed.taste.user_source import UserSource as UserSource
    from pinembed.trimmed.model import TrimmedModel as TrimmedModel
    from pinembed.trimmed.serving import ChatTurn as ChatTurn
    from pinembed.trimmed.serving import ServingRequests as ServingRequests

_COMMANDS = (
    *("align", "appeal", "ask", "audit", "chat", "encode", "evaluate", "evaluate_chat", "export", "finetune", "fuse"),
    *("generations", "inspect", "mcp", "refresh", "report", "rollback", "sandbox", "search", "switch", "trim"),
    "verify",
)
_TASTE = ("evaluate", "explain", "forget", "inspect", "recommend", "similar", "update")
_HOMES = {
    "use_storage_options": "stores.options",
    "EmbeddingSource": "source.embedding_source",
    "EmbeddingTable": "table.embedding_table",
    "Encoder": "encoder.encoder",
    "load_encoder": "encoder.encoder",
    "PinembedError": "errors",
    "ChatTurn": "trimmed.serving",
    "Say": "assistant.says",
    "ServingRequests": "trimmed.serving",
    "TrimmedModel": "trimmed.model",
    "UserSource": "taste.user_source",
    **{f"{name}Settings": "settings.assistant" for name in ("Chat", "EvaluateChat", "Mcp")},
    **{f"{name}Settings": "settings.encoding" for name in ("Encode", "Inspect", "Search")},
    **{
        f"{name}Settings": "settings.home"
        for name in ("Generations", "Refresh", "Report", "Rollback", "Sandbox", "Switch")
    },
    **{f"{name}Settings": "settings.model" for name in ("Align", "Ask", "Trim")},
    **{f"{name}Settings": "settings.quality" for name in ("Appeal", "Audit")},
    **{f"{name}Settings": "settings.source" for name in ("Export", "Verify")},
    **{f"Taste{name.title()}Settings": "settings.taste" for name in _TASTE},
    **{f"{name}Settings": "settings.training" for name in ("Evaluate", "Finetune", "Fuse")},
    **{name: f"jobs.{name}" for name in (*_COMMANDS, *(f"taste_{name}" for name in _TASTE))},
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pinembed' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"pinembed.{_HOMES[name]}"), name)
    return _with_places(found) if _HOMES[name].startswith("jobs.") else found


def _with_places(job: Callable[..., Any]) -> Callable[..., Any]:
    """A job as the command line calls it: addresses in object stores are brought and put up."""
    from pinembed.settings.places import local_places

    @functools.wraps(job)
    def command(settings: Any, **beside: Any) -> Any:
        with local_places(settings) as local:
            return job(local.settings, **beside)

    return command
