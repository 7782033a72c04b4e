"""Which of two encoders finds more on the test split of DATA? python compare_encoders.py DATA NEW CURRENT."""

from __future__ import annotations

import sys
from pathlib import Path

import pinembed
from pinembed.nouns.scores import DIRECTIONS

settings = pinembed.EvaluateSettings(data=Path(sys.argv[1]), encoder=sys.argv[2], against=sys.argv[3:], group="product")
report = pinembed.evaluate(settings)
for direction in DIRECTIONS:
    new = getattr(report.encoder.scores, direction)
    current = getattr(report.comparisons[0].against.scores, direction)
    if new and current:
        print(f"{direction}: mAP {new.map.value:.3f}, was {current.map.value:.3f}")
print("take the new one" if report.promoted else "keep the current one")
