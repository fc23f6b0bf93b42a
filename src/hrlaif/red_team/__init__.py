"""The red-team stage: attack the policy, judge its answers, turn the harmful ones into verified pairs."""

from hrlaif.red_team.pairs import to_pairs
from hrlaif.red_team.stage import attack, check_gate

__all__ = ["attack", "check_gate", "to_pairs"]
