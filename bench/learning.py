"""Does PPO reach a known optimum? Small tasks on a tiny random Llama, for several seeds, on one CPU core.

OMP_NUM_THREADS=1 python bench/learning.py [--seeds N] [--tasks ...] [--methods ...] [--json FILE]

Each seed makes its own start: random weights, taught by a few hundred supervised steps to answer at all, so that the
best answer is drawn now and then. Then it is trained, and answers every prompt again at temperature 1. A policy that
always gives the one best answer has a KL of -log p(best answer) to the start; more than a tenth above that is drift.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from claims import Claim, claim, report
from hrlaif.config import LoraSection, MixSection, PolicySection
from hrlaif.nn.backbone import load_causal, placement, quiet
from hrlaif.nn.batches import collate
from hrlaif.nn.checkpoint import Checkpoints
from hrlaif.nn.forward import hidden_states, logits, predicting
from hrlaif.nn.logprobs import token_logprobs
from hrlaif.nn.seeds import derive
from hrlaif.policy.actors import Actors
from hrlaif.policy.training import Training
from hrlaif.types import Message, Prompt, Task

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from tiny_model import write_tiny_model

PLACE = placement("cpu", "float32")
WORDS = ("red", "blue", "green", "black", "white")
LENGTHS = range(1, 9)
DIGITS = range(5)
RIGHT_AT_START = 0.4
KL_BOUND = 1.1
VERIFIED = MixSection(reward_model=0.0, verifier=1.0, unreadable=-1.0)
EVADABLE = MixSection(reward_model=0.0, verifier=1.0)
EVADABLE_TASK = "a correct sum, unreadable pays 0"
# The default, from which the optimum is asked; the others are measured beside it.
PPO = "PPO, shared trunk"
METHODS = {
    PPO: {},
    "PPO, critic on its own adapter": {"critic": "adapter"},
    "RLOO": {"advantages": "rloo", "samples_per_prompt": 4},
    "GRPO": {"advantages": "grpo", "samples_per_prompt": 4},
}


@dataclass(frozen=True)
class Problem:
    """A task whose best answer to each prompt is known. `start` draws what the start is taught to answer."""

    prompts: tuple[Prompt, ...]
    best: Callable[[Prompt], str]
    start: Callable[[random.Random, Prompt], str]
    reward: Callable[[str, str], float]
    section: PolicySection

    def score(self, conversations: Iterable[tuple[tuple[Message, ...], str]]) -> list[float]:
        """1 for the best answer, less for any other."""
        best = {prompt.messages: self.best(prompt) for prompt in self.prompts}
        return [self.reward(text, best[messages]) for messages, text in conversations]


def asked(texts: Sequence[str], task: Task = Task.OPEN, answers: Sequence[str | None] = ()) -> tuple[Prompt, ...]:
    rows = zip(texts, answers or [None] * len(texts), strict=True)
    return tuple(
        Prompt(f"p{n}", (Message("user", text),), "bench", task, reference=answer)
        for n, (text, answer) in enumerate(rows)
    )


def equal(text: str, best: str) -> float:
    return float(text == best)


def problems() -> dict[str, Problem]:
    """The three tasks; in the last the reward model says nothing and the verifier pays."""
    base = PolicySection(
        lora=LoraSection(rank=16), steps=150, rollouts=64, minibatch=32, epochs=2, learning_rate=1e-3, max_tokens=10,
        kl_weight=0.1, held_out=0, checkpoint_every=1000,
    )  # fmt: skip
    words = Problem(
        asked([f"say {n}" for n in range(8)]),
        lambda _: WORDS[2],
        lambda draw, _: draw.choice(WORDS),
        equal,
        base,
    )
    lengths = Problem(
        asked([f"write {n}" for n in LENGTHS]),
        lambda prompt: "a" * int(prompt.question.split()[1]),
        lambda draw, _: "a" * draw.choice(LENGTHS),
        lambda text, best: 1 - abs(len(text) - len(best)) / LENGTHS[-1],
        base,
    )
    sums = [(a, b) for a in DIGITS for b in DIGITS]
    additions = Problem(
        asked([f"{a}+{b}=" for a, b in sums], Task.MATH, [str(a + b) for a, b in sums]),
        lambda prompt: str(prompt.reference),
        lambda draw, prompt: str(
            prompt.reference if draw.random() < RIGHT_AT_START else draw.randrange(2 * DIGITS[-1] + 1)
        ),
        equal,
        base.model_copy(update={"mix": VERIFIED, "max_tokens": 4, "kl_weight": 0.2}),
    )
    evading = replace(additions, section=additions.section.model_copy(update={"mix": EVADABLE}))
    return {
        "say a word": words,
        "a given length": lengths,
        "a correct sum": additions,
        EVADABLE_TASK: evading,
    }


def taught(problem: Problem, folder: Path, *, seed: int, steps: int) -> None:
    """Write a start that answers like `problem.start`: next-token training on drawn answers."""
    with quiet():
        write_tiny_model(folder, seed)
    backbone = load_causal(str(folder), PLACE)
    backbone.model.requires_grad_(True)
    optimizer = torch.optim.AdamW(backbone.model.parameters(), lr=3e-3, weight_decay=0.0)
    draw = random.Random(derive(seed, "taught"))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
        prompts = [draw.choice(problem.prompts) for _ in range(64)]
        logprobs_N = answer_logprobs(backbone, prompts, [problem.start(draw, prompt) for prompt in prompts])
        optimizer.zero_grad()
        (-logprobs_N.mean()).backward()
        optimizer.step()
    with quiet():
        backbone.model.save_pretrained(folder)


def answer_logprobs(backbone, prompts: Sequence[Prompt], answers: Sequence[str]) -> torch.Tensor:
    """Log-probabilities `N` of the answers' tokens, row after row."""
    rendered = [
        backbone.chat.conversation(prompt.messages, answer, max_tokens=1000)
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    batch = collate(rendered, pad_id=backbone.chat.pad_id, device=PLACE.device, share_opening=False)
    hidden_BTH = predicting(hidden_states(backbone.trunk, batch, drop_last=True), batch)
    logits_NV = logits(backbone.inner, hidden_BTH[batch.is_response_BT])
    return token_logprobs(logits_NV, batch.response_BT[batch.is_response_BT], temperature=1.0)[0]


@dataclass(frozen=True)
class Reached:
    """What one seed reached: mean reward of the start and of the end (best 1), KL of the end, and its bound."""

    start: float
    end: float
    kl: float
    bound: float
    seconds: float


def learned(problem: Problem, section: PolicySection, base: Path, folder: Path, *, seed: int) -> Reached:
    """Train from the start at `base`, then let it answer every prompt 16 times."""
    started = time.perf_counter()
    folder.mkdir()
    actors = Actors(str(base), problem, section, PLACE, seed=seed)
    training = Training(problem.prompts, actors, section, seed=seed)
    before = mean_reward(problem, training)[0]
    training.run(Checkpoints(folder / "checkpoints", settings="bench"), folder / "metrics.jsonl")
    end, kl = mean_reward(problem, training)
    with torch.no_grad():
        start = load_causal(str(base), PLACE)
        best = [problem.best(prompt) for prompt in problem.prompts]
        bound = -float(answer_logprobs(start, problem.prompts, best).sum()) / len(best)
    return Reached(before, end, kl, bound, time.perf_counter() - started)


def mean_reward(problem: Problem, training: Training) -> tuple[float, float]:
    """Mean reward and mean KL (nats per response) of 16 responses to every prompt."""
    questions = training.questions * 16
    actors = training.actors
    sampled = actors.sample(questions, range(len(questions)), max_tokens=training.section.max_tokens)
    answered = actors.answered(questions, sampled)
    reference = [float(row_T.sum()) for row_T in actors.reference_logprobs(answered)]
    kl = sum(sum(one.logprobs) for one in sampled) - sum(reference)
    scores_B = actors.scores(answered)
    return float(scores_B.mean()), kl / len(questions)


def claims_of(name: str, reached: Sequence[Reached], *, at_least: float | None) -> list[Claim]:
    """The worst seed counts; without `at_least` nothing is promised."""
    ends = [one.end for one in reached]
    ratios = [one.kl / one.bound for one in reached]
    seconds = [one.seconds for one in reached]
    starts = [one.start for one in reached]
    middle = len(reached) // 2
    return [
        Claim(f"{name}: start", sorted(starts)[middle], min(starts), max(starts), "optimum"),
        claim(f"{name}: worst seed", ends, "optimum", worst=min, at_least=at_least),
        claim(f"{name}: KL / its bound, largest", ratios, "x", worst=max, at_most=KL_BOUND if at_least else None),
        Claim(f"{name}: time a seed", sorted(seconds)[middle], min(seconds), max(seconds), "s"),
    ]  # fmt: skip


def main() -> None:
    """Parse the command line, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", choices=list(problems()), default=list(problems()))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--steps", type=int, help="steps of each training, instead of the task's own")
    parser.add_argument("--teaching-steps", type=int, default=600)
    parser.add_argument("--at-least", type=float, default=0.95)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    claims: list[Claim] = []
    for task in options.tasks:
        problem = problems()[task]
        with tempfile.TemporaryDirectory() as folder:
            bases = [Path(folder) / f"start-{seed}" for seed in range(options.seeds)]
            for seed, base in enumerate(bases):
                taught(problem, base, seed=seed, steps=options.teaching_steps)
            for method in options.methods:
                changes = METHODS[method] | ({"steps": options.steps} if options.steps else {})
                section = problem.section.model_copy(update=changes)
                reached = [
                    learned(problem, section, base, Path(folder) / f"{method}-{seed}", seed=seed)
                    for seed, base in enumerate(bases)
                ]
                asks = method == PPO and task != EVADABLE_TASK
                claims += claims_of(f"{task}, {method}", reached, at_least=options.at_least if asks else None)
                print(f"{task}, {method}: {[f'{one.end:.3f}' for one in reached]}", file=sys.stderr, flush=True)
    report(claims, options.json)


if __name__ == "__main__":
    main()
