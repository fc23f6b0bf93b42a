"""How often the bundled model is right on the bundled checkable prompts, by category.

A small model learns from these prompts only where it is right sometimes and wrong sometimes. Per category: the share of
right answers, greedy and at temperature 1, and the share of prompts with both a right and a wrong answer among the
samples, which is what makes pairs. What the verifier cannot read counts as not right.

    python bench/bundled_prompts.py --each 16 --samples 4 --json out.json
"""

from __future__ import annotations

import argparse
import hashlib
from collections import defaultdict
from pathlib import Path

from claims import Claim, report
from hrlaif.metrics import wilson
from hrlaif.models.base import Decoding, SampleRequest
from hrlaif.models.bundled import serve
from hrlaif.models.http import HttpModel
from hrlaif.models.http_sampler import HttpSampler
from hrlaif.prompts import bundled
from hrlaif.types import Outcome, Prompt
from hrlaif.verifiers import verify

MAX_TOKENS = 40


def rights(sampler: HttpSampler, prompts: list[Prompt], *, samples: int, temperature: float) -> dict[str, list[bool]]:
    """For every prompt id, which of its samples are right."""
    requests = [SampleRequest(prompt, f"{prompt.id}/{k}", k) for prompt in prompts for k in range(samples)]
    responses = sampler.sample(requests, Decoding(temperature=temperature, max_tokens=MAX_TOKENS))
    found: dict[str, list[bool]] = defaultdict(list)
    for request, response in zip(requests, responses, strict=True):
        found[request.prompt.id].append(verify(request.prompt, response).outcome is Outcome.CORRECT)
    return found


def share(name: str, are_true: list[bool]) -> Claim:
    """A share with its 95 % interval."""
    metric = wilson(sum(are_true), len(are_true), name=name)
    return Claim(f"{name} (n={metric.n})", metric.value, metric.low, metric.high, "share")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--each", type=int, default=16, help="prompts per category")
    options.add_argument("--samples", type=int, default=4, help="samples per prompt at temperature 1")
    options.add_argument("--threads", type=int, default=0)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    by_category: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in sorted(bundled(), key=lambda prompt: hashlib.sha256(prompt.id.encode()).hexdigest()):
        if prompt.task.is_checkable and len(by_category[prompt.category]) < chosen.each:
            by_category[prompt.category].append(prompt)
    prompts = [prompt for category in sorted(by_category) for prompt in by_category[category]]
    with serve(threads=chosen.threads) as endpoint:
        sampler = HttpSampler(HttpModel(endpoint, ledger=None))
        greedy = rights(sampler, prompts, samples=1, temperature=0.0)
        sampled = rights(sampler, prompts, samples=chosen.samples, temperature=1.0)
    claims = []
    for category in sorted(by_category):
        ids = [prompt.id for prompt in by_category[category]]
        claims.append(share(f"{category}: right, greedy", [greedy[name][0] for name in ids]))
        claims.append(share(f"{category}: right, temperature 1", [right for name in ids for right in sampled[name]]))
        mixed = [len(set(sampled[name])) == 2 for name in ids]
        claims.append(share(f"{category}: right and wrong among {chosen.samples}", mixed))
    report(claims, chosen.json)


if __name__ == "__main__":
    main()
