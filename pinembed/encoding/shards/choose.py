"""Which engine a run has."""

from __future__ import annotations

from pinembed.encoding.shards.engine import Engine, LocalEngine
from pinembed.encoding.shards.worker import ShardWork


def engine_of(work: ShardWork) -> Engine:
    """The engine that the settings name.

    Raises:
        MissingExtraError: its package is not installed.
        EngineError: there is no such cluster, or it has no room.
    """
    settings = work.settings
    if settings.engine == "local":
        return LocalEngine(work)
    from pinembed.encoding.shards.ray_engine import RayEngine

    return RayEngine(work, address=settings.address, workers=settings.engine_workers)
