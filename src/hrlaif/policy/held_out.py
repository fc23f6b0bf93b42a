"""How good the policy is on prompts that it is not trained on, measured the same way each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from hrlaif.config import PolicySection
from hrlaif.nn.seeds import derive, place_of
from hrlaif.policy.actors import Actors, Question
from hrlaif.policy.rollouts import draw
from hrlaif.policy.scores import Normaliser

# Fewer prompts than this choose a policy by chance.
FEWEST = 4
LARGEST_SHARE = 0.1


def hold_out(questions: Sequence[Question], section: PolicySection) -> tuple[list[Question], list[Question]]:
    """(training questions, held-out questions): those with the lowest hash of the prompt's id, or none if too few."""
    count = min(section.held_out, int(LARGEST_SHARE * len(questions)))
    if count < FEWEST:
        return list(questions), []
    order = sorted(range(len(questions)), key=lambda index: place_of(questions[index].prompt.id))
    out = set(order[:count])
    return (
        [question for index, question in enumerate(questions) if index not in out],
        [questions[index] for index in sorted(out)],
    )


class HeldOut:
    """Measures policies on fixed prompts with fixed random numbers, and remembers which step was best.

    `held_out_objective = mean of what the responses are paid - kl_weight * KL`, with the scale of the scores taken from
    the start and the KL weight from the configuration, so that numbers of different steps can be compared.
    """

    def __init__(self, questions: Sequence[Question], section: PolicySection, *, seed: int) -> None:
        self.questions, self.section = questions, section
        self.seeds = [derive(seed, "held out", row) for row in range(len(questions))]
        mode: Literal["none", "running"] = "none" if section.score_normalise == "none" else "running"
        self.normaliser = Normaliser(mode, clip=section.score_clip)
        self.start: dict[str, float] = {}
        self.best: dict[str, float] = {}

    def is_due(self, step: int) -> bool:
        """True after every `measure_every` steps and after the last one."""
        return bool(self.questions) and (step % self.section.measure_every == 0 or step == self.section.steps)

    def measure(self, actors: Actors, *, step: int) -> dict[str, float]:
        """The policy's numbers after `step` steps; after 0 steps they set the scale."""
        is_start = not self.start
        actors.publish(step)
        found = draw(
            actors,
            self.questions,
            self.seeds,
            self.section,
            normalise=self.normaliser if is_start else self.normaliser.scaled,
            where=f"PPO, held-out prompts after step {step}",
        )
        kl = float(found.kl_B.mean())
        row = {
            "held_out_reward": float(found.scores_B.mean()),
            "held_out_kl": kl,
            "held_out_objective": found.pay.terms["paid"] - self.section.kl_weight * kl,
        }
        if is_start:
            self.start = row
        elif not self.best or row["held_out_objective"] > self.best["held_out_objective"]:
            self.best = {"step": step, **row}
        return row

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"scale": self.normaliser.state(), "start": self.start, "best": self.best}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self.normaliser.restore(state["scale"])
        self.start, self.best = state["start"], state["best"]
