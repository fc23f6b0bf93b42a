"""The red-team stage: attack the policy, judge its answers, turn the harmful ones into verified pairs."""

from hrlaif.red_team.pairs import to_pairs
from hrlaif.red_team.stage import attack

__all__ = ["attack", "to_pairs"]
