"""The steps that attack a policy: the rounds of the red team, and the frozen set after each of them."""

from __future__ import annotations

from pathlib import Path

from hrlaif import artifacts, red_team
from hrlaif.judges.harm_quality import harm_cuts
from hrlaif.make import of_split, read
from hrlaif.plan import Step
from hrlaif.run import Run
from hrlaif.types import Prompt, RedTeamCase, Split


def make_red_team(run: Run, step: Step) -> None:
    """Attack the policy of the round before, judge its answers, rewrite the harmful ones, and verify the rewrites."""
    policy = _policy(step)
    # A trained policy is on this machine only, whoever serves the one that it was trained from.
    sampler = run.training_sampler()[0] if policy is None else run.trained(policy)
    rounds = [path for path in step.inputs if path.name == "red_team.jsonl"]
    red_team.attack(
        of_split(run, Split.TRAIN),
        sampler=sampler,
        judge=run.judge,
        rewriter=run.judge,
        attacker=run.attacker,
        section=run.config.red_team,
        seed=run.config.seed,
        path=step.path,
        fingerprint=step.fingerprint,
        harm_cuts=harm_cuts(run.config, run.config.judge),
        earlier=[case for path in rounds for case in artifacts.read_records(path, RedTeamCase)],
        round_number=step.round,
    )


def make_regression(run: Run, step: Step) -> None:
    """Attack the policy that a round trained, or the start, with the frozen set."""
    red_team.regress(
        read(run, "prompts.jsonl", Prompt),
        sampler=run.trained(_policy(step)),
        judge=run.judge,
        section=run.config.red_team,
        seed=run.config.seed,
        path=step.path,
        fingerprint=step.fingerprint,
        harm_cuts=harm_cuts(run.config, run.config.judge),
    )


def _policy(step: Step) -> Path | None:
    """The trained policy among a step's inputs; None where the start is attacked."""
    return next((path for path in step.inputs if path.name == "policy"), None)
