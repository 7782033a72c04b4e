"""The teach job: an untrimmed model looks at the training images once, for `align` to learn from what it says."""

from __future__ import annotations

from pinembed.jobs.teach.run import teach as teach
