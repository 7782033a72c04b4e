"""Verify: is an exported folder still what was written?"""

from __future__ import annotations

import time

from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.source import VerifyReport
from pinembed.settings.source import VerifySettings
from pinembed.source.check import FolderCheck
from pinembed.source.manifest_file import folder_descriptor


def verify(settings: VerifySettings, *, progress: Progress = SILENT) -> VerifyReport:
    """Read every byte of an exported folder and list all that is wrong.

    Raises:
        SourceError: the folder is no export at all.
    """
    began = time.perf_counter()
    with folder_descriptor(settings.folder) as descriptor:
        check = FolderCheck(settings.folder, descriptor, read=progress.advance)
        progress.start(
            "verifying", sum(path.stat().st_size for path in settings.folder.iterdir() if path.is_file()), "B"
        )
        check.run()
        progress.finish()
    manifest = check.manifest
    return VerifyReport(
        folder=settings.folder,
        format=manifest.format if manifest else None,
        items=manifest.count if manifest else None,
        dim=manifest.dim if manifest else None,
        fingerprint=manifest.encoder.fingerprint if manifest else None,
        files=check.files,
        size_bytes=check.size_bytes,
        findings=tuple(check.findings),
        seconds=time.perf_counter() - began,
    )
