"""Steps a second of a small transformer under each wait policy of OpenMP, alone and beside busy processes.

usage: python tests/benchmarks/wait_policy.py [--seconds 4] [--neighbours 0,2]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

POLICIES = ("", "OMP_WAIT_POLICY=PASSIVE", *(f"GOMP_SPINCOUNT={spins}" for spins in (1_000, 10_000, 100_000)))


def measure(seconds: float) -> None:
    """Print steps and CPU seconds a second of this process."""
    import torch

    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    inputs = torch.randn(32, 24, 128)
    steps, started_s, cpu_s = 0, time.perf_counter(), time.process_time()
    while (elapsed_s := time.perf_counter() - started_s) < seconds:
        optimiser.zero_grad()
        model(inputs).pow(2).mean().backward()
        optimiser.step()
        steps += 1
    print(f"{steps / elapsed_s:6.1f} steps/s, {(time.process_time() - cpu_s) / elapsed_s:.2f} cores")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--neighbours", default="0,2")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.seconds)
        return
    for count in map(int, given.neighbours.split(",")):
        neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
        for policy in POLICIES:
            name, _, value = policy.partition("=")
            environment = {**os.environ, **({name: value} if name else {})}
            command = [sys.executable, __file__, "--measure", "--seconds", str(given.seconds)]
            found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
            print(f"{count} neighbours, {policy or 'default':24} {found}")  # noqa: T201
        for neighbour in neighbours:
            neighbour.kill()


if __name__ == "__main__":
    main()
