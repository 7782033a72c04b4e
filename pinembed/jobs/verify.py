"""Verify: is an exported folder still what was written?"""

from __future__ import annotations

import time

from pinembed.generation.reading import hold
from pinembed.generation.record import SOURCE
from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.source import VerifyReport
from pinembed.settings.source import VerifySettings
from pinembed.source.check import FolderCheck
from pinembed.source.manifest_file import folder_descriptor


def verify(settings: VerifySettings, *, progress: Progress = SILENT) -> VerifyReport:
    """Read every byte of an exported folder, but for files that `base` holds too, and list all that is wrong.

    Raises:
        SourceError: the folder is no export at all.
    """
    began = time.perf_counter()
    held = hold(settings.folder, generation=settings.generation)
    folder = settings.folder if held is None else held.part(SOURCE)
    with folder_descriptor(folder) as descriptor:
        check = FolderCheck(folder, descriptor, read=progress.advance, base=settings.base)
        progress.start("verifying", sum(path.stat().st_size for path in folder.iterdir() if path.is_file()), "B")
        check.run()
        progress.finish()
    manifest = check.manifest
    return VerifyReport(
        folder=folder,
        format=manifest.format if manifest else None,
        items=manifest.count if manifest else None,
        dim=manifest.dim if manifest else None,
        fingerprint=manifest.encoder.fingerprint if manifest else None,
        files=check.files,
        size_bytes=check.size_bytes,
        findings=tuple(check.findings),
        seconds=time.perf_counter() - began,
    )
