"""The evaluate job: how well an encoder finds the right items of a split, alone or beside another encoder."""

from __future__ import annotations

from pinembed.jobs.evaluate.run import evaluate as evaluate
