"""The align job: a trimmed model and an embedding source to a model that answers from the source."""

from __future__ import annotations

from pinembed.jobs.align.run import align as align
