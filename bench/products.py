"""Products of a frozen float32 matrix on a CPU: torch's own, oneDNN's, and oneDNN's on packed weights.

python bench/products.py [--threads N] [--json FILE]

The matrices are those of SmolLM2-135M, many of each, so that none waits in a cache as it would not in a model.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

import torch

from claims import Claim, claim, report
from hrlaif.nn.products import PackedLinear, product

ROWS = (8, 32, 512)
SHAPES = {"MLP": (1536, 576), "head": (49152, 576)}
BYTES = 100e6  # of matrices of one shape
REPEATS = 5


def seconds(multiply: Callable[[torch.Tensor, object], torch.Tensor], x: torch.Tensor, many: Sequence[object]) -> float:
    """Seconds of one product, each time with another matrix."""
    matrices = cycle(many)
    count = max(4, len(many))
    started = time.perf_counter()
    for _ in range(count):
        multiply(x, next(matrices))
    return (time.perf_counter() - started) / count


@torch.no_grad()
def main() -> None:
    """Parse the command line, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    claims: list[Claim] = []
    for name, (out, width) in SHAPES.items():
        weights = [torch.randn(out, width) for _ in range(max(2, int(BYTES / (4 * out * width))))]
        packed = [PackedLinear(weight, None) for weight in weights]
        for rows in ROWS:
            x = torch.randn(rows, width)
            kinds: dict[str, tuple[Callable, Sequence[object]]] = {
                "torch": (lambda x, weight: x @ weight.t(), weights),
                "oneDNN": (lambda x, weight: product(x, weight), weights),
                "oneDNN, packed": (lambda x, layer: layer(x), packed),
            }
            # In turns, so that a busy moment of the machine meets all three alike; the first round warms up.
            rounds = [
                {kind: seconds(*work[:1], x, work[1]) for kind, work in kinds.items()} for _ in range(1 + REPEATS)
            ]
            gflop = 2 * rows * out * width / 1e9
            for kind in kinds:
                rates = [gflop / one[kind] for one in rounds[1:]]
                claims.append(claim(f"{name}, {rows} rows, {kind}", rates, "GFLOP/s"))
                if kind != "torch":
                    ratios = [one["torch"] / one[kind] for one in rounds[1:]]
                    claims.append(claim(f"{name}, {rows} rows, {kind} / torch", ratios, "x", at_least=1.0))
    report(claims, options.json)


if __name__ == "__main__":
    main()
