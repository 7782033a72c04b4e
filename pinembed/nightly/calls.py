"""The jobs that a night calls, as it sees them: `pinembed.jobs` stands behind this part, so the job hands them in."""

from __future__ import annotations

from typing import Protocol

from pinembed.reports.encode import EncodeReport
from pinembed.reports.evaluate import EvaluateReport
from pinembed.reports.finetune import FinetuneReport
from pinembed.reports.quality import AuditReport
from pinembed.reports.source import ExportReport, VerifyReport
from pinembed.reports.trimmed import AlignReport, TrimReport
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.model import AlignSettings, TrimSettings
from pinembed.settings.quality import AuditSettings
from pinembed.settings.source import ExportSettings, VerifySettings
from pinembed.settings.training import EvaluateSettings, FinetuneSettings


class Jobs(Protocol):
    """The jobs that a night calls; each loads what it needs when it is called."""

    def encode(self, settings: EncodeSettings) -> EncodeReport: ...
    def audit(self, settings: AuditSettings) -> AuditReport: ...
    def finetune(self, settings: FinetuneSettings) -> FinetuneReport: ...
    def export(self, settings: ExportSettings) -> ExportReport: ...
    def verify(self, settings: VerifySettings) -> VerifyReport: ...
    def trim(self, settings: TrimSettings) -> TrimReport: ...
    def align(self, settings: AlignSettings) -> AlignReport: ...
    def evaluate(self, settings: EvaluateSettings) -> EvaluateReport: ...
