"""Time and memory of training on a CPU: PPO steps and reward-model steps of SmolLM2-135M, beside TRL 1.12.

python bench/training.py [--model FOLDER] [--steps N] [--threads N] [--no-trl] [--json FILE]

Each measurement runs in a process of its own. TRL gets an environment of its own, made on first use. The first step of
each process is left out where there are more: it pays for warming up. Take the clock times of a quiet machine only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from claims import Claim, claim, report
from hrlaif.models import bundled_weights

HERE = Path(__file__).resolve().parent
ENVIRONMENT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hrlaif-bench" / "trl"
TRL = ("trl==1.12.0", "torch==2.13.0", "peft", "pandas", "requests")
LAYERS = 15


def measured(python: Path, script: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run one measurement and return its last line of output."""
    done = subprocess.run(
        [str(python), str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{script} {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def trl_python(folder: Path) -> Path:
    """The interpreter of TRL's environment."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making TRL's environment in {folder} (once)", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *TRL], check=True)
    return python


def claims_of(name: str, found: dict[str, Any]) -> list[Claim]:
    """Clock time, processor time and memory of one measurement."""
    after_first = slice(1 if len(found["wall_s"]) > 1 else 0, None)
    return [
        claim(f"{name}: step", found["wall_s"][after_first], "s"),
        claim(f"{name}: step, processor time", found["cpu_s"][after_first], "s"),
        claim(f"{name}: peak memory", [found["peak_rss_gb"]], "GB"),
    ]


def ratio(name: str, ours: Sequence[Claim], theirs: Sequence[Claim]) -> list[Claim]:
    """How many times as much the other engine needs."""
    return [
        claim(f"{name}: TRL / hrlaif, {what}", [other.value / one.value], "x", at_least=1.0)
        for what, one, other in zip(("time", "processor time", "memory"), ours, theirs, strict=True)
    ]


def main() -> None:
    """Parse the command line, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a folder that transformers loads; the bundled model if left out")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--prompts", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--no-trl", action="store_true")
    parser.add_argument("--trl-env", type=Path, default=ENVIRONMENT)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = options.model or str(bundled_weights.folder())
    shared = [model, "--steps", str(options.steps), "--threads", str(options.threads)]
    python = Path(sys.executable)
    trl = None if options.no_trl else trl_python(options.trl_env)
    claims: list[Claim] = []
    jobs = [
        (f"PPO, {count} x (48 + 48) tokens", ["ppo", *shared, "--prompts", str(count)]) for count in options.prompts
    ]
    for name, job in [*jobs, ("reward model, 16 of 64 pairs", ["reward", *shared])]:
        ours = claims_of(f"{name}, LoRA", measured(python, "training_ours.py", job))
        claims += ours
        top = measured(python, "training_ours.py", [*job, "--layers", str(LAYERS)])
        claims += claims_of(f"{name}, LoRA on {LAYERS} layers", top)
        if trl is not None:
            theirs = claims_of(f"{name}, TRL LoRA", measured(trl, "training_trl.py", job))
            claims += [*theirs, *ratio(name, ours, theirs)]
    report(claims, options.json)


if __name__ == "__main__":
    main()
