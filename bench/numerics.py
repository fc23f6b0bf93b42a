"""Our formulas beside TRL 1.12's on the same random tensors: advantages, losses, KL estimates, log-probabilities.

python bench/numerics.py [--trl-env FOLDER] [--json FILE]

TRL gets an environment of its own, made on first use (bench/training.py uses the same). Where the definitions agree the
largest difference over 5 draws must stay below 1e-5; where ours differs on purpose, the table says why.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from claims import Claim, report
from training import ENVIRONMENT, HERE, trl_python

LARGEST = 1e-5


def main() -> None:
    """Parse the command line, compare, report; exit code 1 where numbers that should agree do not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl-env", type=Path, default=ENVIRONMENT)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    done = subprocess.run(
        [str(trl_python(options.trl_env)), str(HERE / "numerics_trl.py")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent / "src")},
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"numerics_trl.py failed:\n{done.stderr[-3000:]}")
    rows = json.loads(done.stdout.strip().splitlines()[-1])
    agreeing = [row for row in rows if not row["why"]]
    claims = [
        Claim(row["name"], row["difference"], row["difference"], row["difference"], "", f"<= {LARGEST}",
              row["difference"] <= LARGEST)
        for row in agreeing
    ]  # fmt: skip
    claims += [Claim(row["name"], *[row["difference"]] * 3, "on purpose") for row in rows if row["why"]]
    report(claims, options.json)
    print("\nWhy some differ:")
    for row in rows:
        if row["why"]:
            print(f"  {row['name']}: {row['why']}")
    if not all(one.met for one in claims if one.target):
        sys.exit(1)


if __name__ == "__main__":
    main()
