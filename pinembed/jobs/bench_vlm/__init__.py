"""The bench vlm job: the same questions to a full Qwen3-VL and to the trimmed one."""

from __future__ import annotations

from pinembed.jobs.bench_vlm.run import bench_vlm as bench_vlm
