"""The ask job: questions about items to answers, from stored embeddings alone."""

from __future__ import annotations

from pinembed.jobs.ask.run import ask as ask
